//! What there is to do in a region, as the listing brings it, page by page.

use std::collections::{BTreeSet, HashSet, VecDeque};

use super::forecast::Forecast;
use super::layer_feed::LayerFeed;
use super::region::{Shared, lock};
use super::units::OneAccount;
use super::{BackupOptions, Tally};
use crate::error::{Error, ErrorKind, Result};
use crate::function::FunctionRef;
use crate::lambda::{Lambda, Listed, Pages};
use crate::store::{Entry, Subject};

/// Something to do.
#[derive(Debug)]
pub(super) enum Item {
    /// A function version, with what the store has of it.
    Version {
        listed: Box<Listed>,
        /// How to ask for the function.
        ask: String,
        known: Option<Box<Entry>>,
    },
    /// What is asked about the region itself.
    Region,
    /// What is asked about a function once: its aliases, and what is beside its code.
    Function {
        ask: String,
        arn: String,
        image: bool,
        known: Option<Box<Entry>>,
    },
    /// A layer version of the account, used or not.
    Layer { arn: String },
    /// The layers cannot be listed, or no further.
    LayersUnlisted { error: Error },
    /// A function that was named and cannot be listed.
    Unlisted { function: String, error: Error },
}

/// The listing of a region.
pub(super) struct Feed<'a> {
    lambda: &'a Lambda,
    options: &'a BackupOptions,
    forecast: &'a Forecast<'a>,
    tally: &'a Tally,
    shared: &'a Shared,
    account: &'a OneAccount,
    tagged: Option<BTreeSet<String>>,
    /// Whether the region itself was given out.
    region: bool,
    source: Source,
    /// Functions whose aliases are on the list.
    seen: HashSet<Box<str>>,
    /// What comes after all functions.
    layers: Option<LayerFeed>,
}

enum Source {
    All(Box<Pages>),
    Named {
        left: VecDeque<FunctionRef>,
        pages: Option<(Box<Pages>, FunctionRef)>,
    },
}

impl<'a> Feed<'a> {
    pub(super) fn new(
        lambda: &'a Lambda,
        options: &'a BackupOptions,
        forecast: &'a Forecast<'a>,
        tally: &'a Tally,
        shared: &'a Shared,
        account: &'a OneAccount,
        tagged: Option<BTreeSet<String>>,
    ) -> Self {
        let source = if options.functions.is_empty() {
            Source::All(Box::new(lambda.functions(options.versions.scope())))
        } else {
            let here = |f: &&FunctionRef| options.is_asked(f, account, lambda.region());
            Source::Named {
                left: options.functions.iter().filter(here).cloned().collect(),
                pages: None,
            }
        };
        // Where none of the functions that were named can be, nothing is asked.
        let none = matches!(&source, Source::Named { left, .. } if left.is_empty());
        Self {
            lambda,
            options,
            forecast,
            tally,
            shared,
            account,
            tagged,
            region: !options.sides || none,
            source,
            seen: HashSet::new(),
            layers: options.all_layers.then(|| LayerFeed::new(lambda)),
        }
    }

    /// What the next page brings; None after the last one.
    ///
    /// # Errors
    /// The region cannot be listed any further.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Item>>> {
        if self.account.stopped().is_some() {
            return Ok(None);
        }
        match &mut self.source {
            Source::All(pages) => {
                let Some(mut page) = pages.next().await? else {
                    self.forecast.ended();
                    return match self.next_layers().await? {
                        None => Ok(self.next_region()),
                        items => Ok(items),
                    };
                };
                self.asked("ListFunctions");
                let (options, tagged) = (self.options, self.tagged.as_ref());
                page.retain(|listed| {
                    options.versions.holds(listed.version())
                        && options.selection.matches(listed, tagged)
                });
                Ok(Some(self.items(page, None)))
            }
            Source::Named { .. } => self.next_named().await,
        }
    }

    /// The region itself, once, after all else.
    fn next_region(&mut self) -> Option<Vec<Item>> {
        let given_out = std::mem::replace(&mut self.region, true);
        (!given_out).then(|| vec![Item::Region])
    }

    /// Counts a call that a backup makes as a dry run does.
    fn asked(&self, operation: &'static str) {
        lock(&self.shared.estimate).call(operation, 1);
    }

    /// The layers, once all functions are listed. That they cannot be listed says nothing of the functions.
    async fn next_layers(&mut self) -> Result<Option<Vec<Item>>> {
        let Some(layers) = &mut self.layers else {
            return Ok(None);
        };
        let asked = |operation| lock(&self.shared.estimate).call(operation, 1);
        match layers.next(asked).await {
            Ok(Some(arns)) => {
                let items = arns.into_iter().map(|arn| Item::Layer { arn });
                Ok(Some(items.collect()))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                self.layers = None;
                Ok(Some(vec![Item::LayersUnlisted { error }]))
            }
        }
    }

    async fn next_named(&mut self) -> Result<Option<Vec<Item>>> {
        let Source::Named { left, pages } = &mut self.source else {
            return Ok(None);
        };
        if let Some((of_function, function)) = pages {
            let function = function.clone();
            let page = match of_function.next().await {
                Ok(Some(page)) => page,
                Ok(None) => {
                    *pages = None;
                    return Ok(Some(Vec::new()));
                }
                Err(error) => {
                    *pages = None;
                    return unlisted(&function, error);
                }
            };
            self.asked("ListVersionsByFunction");
            let meant = |listed: &Listed| self.options.versions.holds(listed.version());
            let page = page.into_iter().filter(meant).collect();
            return Ok(Some(self.items(page, Some(&function))));
        }
        let Some(function) = left.pop_front() else {
            return Ok(self.next_region());
        };
        if function.qualifier().is_none() {
            let of_function = self.lambda.versions(function.unqualified());
            *pages = Some((Box::new(of_function), function));
            return Ok(Some(Vec::new()));
        }
        match self.lambda.configuration(&function).await {
            Ok(listed) => {
                self.asked("GetFunctionConfiguration");
                Ok(Some(self.items(vec![listed], Some(&function))))
            }
            Err(error) => unlisted(&function, error),
        }
    }

    fn items(&mut self, page: Vec<Listed>, named: Option<&FunctionRef>) -> Vec<Item> {
        let mut items = Vec::with_capacity(page.len());
        let mut count = 0;
        let mut prior = lock(&self.shared.prior);
        for listed in page {
            if listed.master_arn().is_some() {
                self.tally.replica();
                continue;
            }
            let ask = named
                .map_or(listed.name(), FunctionRef::unqualified)
                .to_owned();
            let arn = listed.function_arn().to_owned();
            if self.options.aliases && !self.seen.contains(arn.as_str()) {
                self.seen.insert(arn.as_str().into());
                let known = prior.take(Subject::Aliases, &arn).map(Box::new);
                let ask = ask.clone();
                let image = listed.package_type() == "Image";
                items.push(Item::Function {
                    ask,
                    arn,
                    image,
                    known,
                });
            }
            count += 1;
            let known = prior.take(Subject::Function, &listed.version_arn());
            items.push(Item::Version {
                ask,
                known: known.map(Box::new),
                listed: Box::new(listed),
            });
        }
        self.forecast.listed(count);
        items
    }
}

/// Without credentials nothing else can be had either; else one function's failure is its own.
fn unlisted(function: &FunctionRef, error: Error) -> Result<Option<Vec<Item>>> {
    if matches!(
        error.kind(),
        ErrorKind::NoCredentials | ErrorKind::CredentialsRefused
    ) {
        return Err(error);
    }
    let function = function.to_string();
    Ok(Some(vec![Item::Unlisted { function, error }]))
}
