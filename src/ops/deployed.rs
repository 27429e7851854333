//! What is deployed in one region: from a listing where many functions are asked for, else one by one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::aws::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Reporter;
use crate::function::FunctionRef;
use crate::image::Registries;
use crate::lambda::{Alias, Lambda, Listed, Scope};

/// Up to so many functions are asked for one by one, each with its state; more by a listing.
pub(super) const ONE_BY_ONE: usize = 10;
/// The longest pause between two looks at a function that is being changed.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// One region.
pub(super) struct Place {
    pub(super) session: Session,
    pub(super) lambda: Lambda,
    /// Asked where the digest of an image alone does not tell. Makes no call before.
    pub(super) registries: Registries,
    listing: Option<Listing>,
    /// What was asked one by one, so that it is asked once.
    asked: HashMap<(String, String), Listed>,
}

struct Listing {
    scope: Scope,
    /// By name and version.
    versions: HashMap<(String, String), Listed>,
    account: Option<String>,
}

/// A version as it was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) listed: Listed,
    /// Whether the state of the function is in it: a listing has none.
    pub(super) with_state: bool,
}

impl Place {
    pub(super) fn new(session: Session, reporter: Arc<dyn Reporter>) -> Self {
        Self {
            lambda: Lambda::new(&session, Arc::clone(&reporter)),
            registries: Registries::new(&session, reporter),
            session,
            listing: None,
            asked: HashMap::new(),
        }
    }

    /// Lists the whole region: with `Scope::All` every published version too, which costs a page for 50 of them.
    pub(super) async fn list(&mut self, scope: Scope) -> Result<()> {
        let mut pages = self.lambda.functions(scope);
        let mut listing = Listing {
            scope,
            versions: HashMap::new(),
            account: None,
        };
        while let Some(page) = pages.next().await? {
            for listed in page {
                // What there is to compare of Lambda@Edge is the master.
                if listed.master_arn().is_some() {
                    continue;
                }
                listing
                    .account
                    .get_or_insert_with(|| listed.account().to_owned());
                let key = (listed.name().to_owned(), listed.version().to_owned());
                listing.versions.insert(key, listed);
            }
        }
        self.listing = Some(listing);
        Ok(())
    }

    /// `$LATEST` of all functions of the listing, sorted by name.
    pub(super) fn all(&self) -> Vec<&Listed> {
        let versions = self.listing.iter().flat_map(|l| l.versions.values());
        let mut all: Vec<&Listed> = versions.filter(|l| l.version() == "$LATEST").collect();
        all.sort_by(|a, b| a.name().cmp(b.name()));
        all
    }

    /// `function` at a version number, an alias or `$LATEST`; None when there is no such thing.
    pub(super) async fn find(
        &mut self,
        function: &FunctionRef,
        qualifier: &str,
    ) -> Result<Option<Found>> {
        let key = (function.name().to_owned(), qualifier.to_owned());
        if let Some(listing) = &self.listing {
            let own = function
                .account()
                .is_none_or(|account| listing.account.as_deref().is_none_or(|a| a == account));
            let number = qualifier.bytes().all(|b| b.is_ascii_digit());
            let covered = qualifier == "$LATEST" || (number && listing.scope == Scope::All);
            if own && covered {
                return Ok(listing.versions.get(&key).map(|listed| Found {
                    listed: listed.clone(),
                    with_state: false,
                }));
            }
        }
        if let Some(listed) = self.asked.get(&key) {
            return Ok(Some(Found {
                listed: listed.clone(),
                with_state: true,
            }));
        }
        match self.ask(function, qualifier).await {
            Ok(listed) => {
                self.asked.insert(key, listed.clone());
                Ok(Some(Found {
                    listed,
                    with_state: true,
                }))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn ask(&self, function: &FunctionRef, qualifier: &str) -> Result<Listed> {
        // Asked for without a qualifier, $LATEST needs a permission on the function's own ARN alone.
        let qualifier = (qualifier != "$LATEST").then_some(qualifier);
        let reference = FunctionRef::new(function.unqualified(), qualifier)
            .map_err(|e| Error::from(e).about(function.to_string()))?;
        self.lambda.configuration(&reference).await
    }

    /// Waits until the version is neither being created nor changed, asking again and again for at most `wait`.
    ///
    /// # Errors
    /// It still is ([`ErrorKind::Timeout`]), or a call failed.
    pub(super) async fn settled(
        &mut self,
        function: &FunctionRef,
        qualifier: &str,
        found: Found,
        wait: Duration,
    ) -> Result<Listed> {
        let deadline = Instant::now() + wait;
        let mut pause = Duration::from_secs(1);
        let mut listed = if found.with_state {
            found.listed
        } else {
            self.ask(function, qualifier).await?
        };
        while let Some(what) = unsettled(&listed) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::new(
                    ErrorKind::Timeout,
                    format!(
                        "Lambda is still changing it ({what}) after {} s",
                        wait.as_secs()
                    ),
                )
                .hint("run again later, or wait longer with --wait"));
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            listed = self.ask(function, qualifier).await?;
        }
        let key = (function.name().to_owned(), qualifier.to_owned());
        self.asked.insert(key, listed.clone());
        Ok(listed)
    }

    /// The aliases of a function.
    pub(super) async fn aliases(&self, function: &FunctionRef) -> Result<Vec<Alias>> {
        self.lambda.aliases(function.unqualified()).await
    }
}

/// Why a version may be another one in a moment.
fn unsettled(listed: &Listed) -> Option<&'static str> {
    let answer = listed.answer();
    if answer.text("/State") == Some("Pending") {
        Some("Pending")
    } else if answer.text("/LastUpdateStatus") == Some("InProgress") {
        Some("InProgress")
    } else {
        None
    }
}
