//! `larder lock`: what is deployed, written down as what is expected.
//!
//! What an earlier lock knows of a package or a layer version is taken over, because neither changes: a package is downloaded
//! only where its digest is new, to know what is in it.

mod packages;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::deployed::{ONE_BY_ONE, Place};
use super::select::Selection;
use crate::aws::{Session, SessionOptions};
use crate::digest::Sha256Digest;
use crate::drift::lock::{Entry, Lock, Locked, LockedAlias, LockedLayer, without_account};
use crate::drift::{Cache, Config};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::function::FunctionRef;
use crate::lambda::{Listed, Scope};
use crate::task::or_interrupted;
use crate::unpack::Limits;

/// What is locked, and how.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct LockOptions {
    /// These functions; empty is all that the lock has, or with `all` those of the region.
    pub functions: Vec<FunctionRef>,
    /// Every function of the regions that is selected.
    pub all: bool,
    /// Which of them.
    pub selection: Selection,
    /// The regions; empty is the session's own, and those of the lock's entries.
    pub regions: Vec<String>,
    /// Write the account into the entries.
    pub with_account: bool,
    /// Drop entries of functions that no longer exist.
    pub prune: bool,
    /// A layer version that is deleted or denied is a failure.
    pub strict_layers: bool,
    /// How long to wait for a function that is being changed.
    pub wait: Duration,
    /// Bounds of reading packages.
    pub limits: Limits,
    /// Contents of packages that were seen before.
    pub cache: Cache,
}

/// What became of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// It is new.
    Added,
    /// It is another one than before.
    Updated,
    /// It is the same.
    Unchanged,
    /// Its function no longer exists.
    Removed,
}

/// What [`lock()`] made.
#[derive(Debug)]
pub struct LockOutcome {
    /// The lock as it should be written.
    pub lock: Lock,
    /// What became of which function (`NAME in REGION`), sorted.
    pub entries: Vec<(String, Became)>,
    /// The functions that could not be locked; entries that they had are as before.
    pub failed: Vec<(String, Error)>,
}

/// Brings `prior` up to date, or makes a new lock.
///
/// # Errors
/// There is no region, there is nothing to lock or none of it is selected, or the run was interrupted. What failed for one function is in the outcome.
pub async fn lock(
    common: &SessionOptions,
    prior: Option<Lock>,
    options: LockOptions,
    reporter: Arc<dyn Reporter>,
    cancel: CancellationToken,
) -> Result<LockOutcome> {
    let work = Box::pin(run(common, prior, options, reporter, cancel.clone()));
    or_interrupted(&cancel, work).await
}

struct Locker {
    options: LockOptions,
    reporter: Arc<dyn Reporter>,
    cancel: CancellationToken,
    lock: Lock,
    /// By function and region, what it became.
    entries: BTreeMap<String, Became>,
    failed: Vec<(String, Error)>,
    /// Digests of layer versions that were asked for; None where one cannot be had.
    layers: BTreeMap<String, Option<LockedLayer>>,
}

async fn run(
    common: &SessionOptions,
    prior: Option<Lock>,
    options: LockOptions,
    reporter: Arc<dyn Reporter>,
    cancel: CancellationToken,
) -> Result<LockOutcome> {
    let all = options.all || (options.functions.is_empty() && prior.is_none());
    let lock = prior.unwrap_or_default();
    let hint = options
        .functions
        .iter()
        .find_map(|f| f.region().map(ToOwned::to_owned))
        .or_else(|| lock.functions.first().map(|e| e.region.clone()));
    let session = Session::connect(common, hint.as_deref()).await?;
    let mut locker = Locker {
        options,
        reporter,
        cancel,
        lock,
        entries: BTreeMap::new(),
        failed: Vec::new(),
        layers: BTreeMap::new(),
    };
    for (region, functions) in locker.by_region(&session, all)? {
        let session = session.in_region(&region)?;
        let mut place = Place::new(session, Arc::clone(&locker.reporter));
        locker.region(&mut place, functions, all).await?;
    }
    if locker.entries.is_empty() && locker.failed.is_empty() {
        return Err(Error::new(
            ErrorKind::Usage,
            "nothing was locked: there is no function, or none is selected",
        )
        .hint("look at --include, --exclude, --tag and --region"));
    }
    Ok(LockOutcome {
        lock: locker.lock,
        entries: locker.entries.into_iter().collect(),
        failed: locker.failed,
    })
}

impl Locker {
    /// Which functions are to be looked at in which region; with `all`, none is named yet.
    fn by_region(
        &self,
        session: &Session,
        all: bool,
    ) -> Result<BTreeMap<String, BTreeSet<FunctionName>>> {
        let own = session.region().to_owned();
        let mut regions: BTreeMap<String, BTreeSet<FunctionName>> = BTreeMap::new();
        let named = &self.options.regions;
        for function in &self.options.functions {
            let places = match (named.is_empty(), function.region()) {
                (true, Some(region)) => vec![region.to_owned()],
                (true, None) => vec![own.clone()],
                (false, _) => named.clone(),
            };
            for region in places {
                let name = FunctionName::of(function);
                regions.entry(region).or_default().insert(name);
            }
        }
        if all {
            if named.is_empty() {
                regions.entry(own).or_default();
            }
            for region in named {
                regions.entry(region.clone()).or_default();
            }
        }
        if self.options.functions.is_empty() || self.options.prune {
            // With --prune those that are not named are looked at too, if only for whether they exist.
            for entry in &self.lock.functions {
                let meant = named.is_empty() || named.contains(&entry.region);
                if meant && self.options.selection.matches_name(&entry.name) {
                    let name = FunctionName {
                        name: entry.name.clone(),
                        text: entry.name.clone(),
                    };
                    regions
                        .entry(entry.region.clone())
                        .or_default()
                        .insert(name);
                }
            }
        }
        if regions.values().all(BTreeSet::is_empty) && !all {
            return Err(Error::new(
                ErrorKind::Usage,
                "the lock has no function to bring up to date",
            )
            .hint("name functions, or lock all of the region with --all"));
        }
        Ok(regions)
    }

    async fn region(
        &mut self,
        place: &mut Place,
        mut functions: BTreeSet<FunctionName>,
        all: bool,
    ) -> Result<()> {
        if all || functions.len() > ONE_BY_ONE {
            match place.list(Scope::All).await {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::AccessDenied && !all => {
                    self.warn(
                        place.session.region(),
                        "the functions cannot be listed, so each is asked for by itself",
                        e.hint_text(),
                    );
                }
                Err(e) => return Err(e),
            }
        }
        if all {
            let tags = &self.options.selection.tags;
            let tagged = if tags.is_empty() {
                None
            } else {
                Some(place.session.functions_tagged(tags).await?)
            };
            for listed in place.all() {
                if self.options.selection.matches(listed, tagged.as_ref()) {
                    functions.insert(FunctionName {
                        name: listed.name().to_owned(),
                        text: listed.name().to_owned(),
                    });
                }
            }
        }
        for function in functions {
            self.function(place, &function).await?;
        }
        Ok(())
    }

    async fn function(&mut self, place: &mut Place, named: &FunctionName) -> Result<()> {
        let region = place.session.region().to_owned();
        let key = format!("{} in {region}", named.name);
        let function: FunctionRef = named
            .text
            .parse()
            .map_err(|e| Error::from(e).about(named.text.clone()))?;
        let wanted = self.options.functions.is_empty()
            || self
                .options
                .functions
                .iter()
                .any(|f| f.name() == named.name);
        let latest = match place.find(&function, "$LATEST").await {
            Ok(Some(found)) if found.with_state && wanted => {
                place
                    .settled(&function, "$LATEST", found, self.options.wait)
                    .await
            }
            Ok(Some(found)) => Ok(found.listed),
            Ok(None) => {
                let before = self.lock.functions.len();
                if self.options.prune {
                    self.lock
                        .functions
                        .retain(|e| !(e.name == named.name && e.region == region));
                }
                if self.lock.functions.len() < before {
                    self.entries.insert(key, Became::Removed);
                    return Ok(());
                }
                Err(Error::new(ErrorKind::NotFound, "there is no such function")
                    .about(key.clone())
                    .hint("--prune drops entries of functions that no longer exist"))
            }
            Err(e) => Err(e),
        };
        let made = match latest {
            Ok(_) if !wanted => return Ok(()),
            Ok(latest) => self.entry(place, &function, &latest).await,
            Err(e) => Err(e),
        };
        match made {
            Ok((at, entry)) => {
                let became = match at {
                    Some(at) if self.lock.functions[at] == entry => Became::Unchanged,
                    Some(at) => {
                        self.lock.functions[at] = entry;
                        Became::Updated
                    }
                    None => {
                        self.lock.functions.push(entry);
                        Became::Added
                    }
                };
                self.entries.insert(key, became);
                Ok(())
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => Err(e),
            Err(e) => {
                let e = e.about(key.clone());
                self.failed.push((key, e));
                Ok(())
            }
        }
    }

    /// The entry of a function, and where the lock has it already.
    async fn entry(
        &mut self,
        place: &mut Place,
        function: &FunctionRef,
        latest: &Listed,
    ) -> Result<(Option<usize>, Entry)> {
        let account = latest.account().to_owned();
        let at = self
            .lock
            .find(latest.name(), place.session.region(), &account);
        let before = at.map(|at| self.lock.functions[at].clone());
        let with =
            self.options.with_account || before.as_ref().is_some_and(|e| e.account.is_some());
        let mut aliases = BTreeMap::new();
        let locked = self
            .version(place, function, latest, before.as_ref(), with)
            .await?;
        for alias in place.aliases(function).await? {
            let mut versions = BTreeMap::new();
            for number in alias.versions() {
                if versions.contains_key(number) {
                    continue;
                }
                let Some(found) = place.find(function, number).await? else {
                    return Err(Error::new(
                        ErrorKind::Unsettled,
                        format!(
                            "the alias {} routes to version {number}, which is not there",
                            alias.name
                        ),
                    )
                    .about(function.to_string())
                    .hint("run again"));
                };
                let version = self
                    .version(place, function, &found.listed, before.as_ref(), with)
                    .await?;
                versions.insert(number.to_owned(), version);
            }
            aliases.insert(
                alias.name.clone(),
                LockedAlias {
                    version: alias.version.clone(),
                    weights: alias.weights.clone(),
                    versions,
                },
            );
        }
        let entry = Entry {
            name: latest.name().to_owned(),
            region: place.session.region().to_owned(),
            account: with.then_some(account),
            latest: locked,
            aliases,
            accept: before.and_then(|e| e.accept),
        };
        Ok((at, entry))
    }

    /// What is locked of one version.
    async fn version(
        &mut self,
        place: &Place,
        function: &FunctionRef,
        listed: &Listed,
        before: Option<&Entry>,
        with: bool,
    ) -> Result<Locked> {
        let account = listed.account();
        let own = |arn: &str| {
            if with {
                arn.to_owned()
            } else {
                without_account(arn, account)
            }
        };
        let code_sha256 = listed.code_sha256_text().map(ToOwned::to_owned);
        let digest = code_sha256
            .as_deref()
            .and_then(|d| d.parse::<Sha256Digest>().ok());
        let image = match listed.package_type() {
            "Zip" => false,
            "Image" => true,
            other => {
                return Err(Error::new(
                    ErrorKind::Service,
                    format!("it is of the package type {other:?}, which a lock cannot hold"),
                )
                .about(function.to_string())
                .hint("a newer larder may know it"));
            }
        };
        let known = code_sha256
            .as_deref()
            .and_then(|code| before?.with_code(code))
            .filter(|locked| locked.tree.is_some());
        let (h1, tree) = match (known, digest) {
            (Some(known), _) => (known.h1.clone(), known.tree.clone()),
            (None, Some(digest)) if !image => self.hashes(place, function, listed, digest).await?,
            _ => (None, None),
        };
        let config = Config::of(listed);
        Ok(Locked {
            package_type: listed.package_type().to_owned(),
            code_size: listed.code_size(),
            h1,
            tree,
            image_digest: digest
                .filter(|_| image)
                .map(|digest| format!("sha256:{}", digest.hex())),
            code_sha256,
            layers: self.layers(place, listed, before, &own).await?,
            runtime: config.runtime,
            handler: config.handler,
            architectures: config.architectures.unwrap_or_default(),
            memory_size: config.memory_size,
            timeout: config.timeout,
            role: config.role.as_deref().map(own),
            environment: config.environment.unwrap_or_default(),
            config_sha256: config.config_sha256,
        })
    }

    fn warn(&self, subject: &str, message: &str, hint: Option<&str>) {
        self.reporter.report(&Event::Warning {
            subject,
            message,
            hint,
        });
    }
}

/// A function to be locked: its name, and what is sent as `FunctionName`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct FunctionName {
    name: String,
    text: String,
}

impl LockOutcome {
    /// Whether the lock has an entry of a function that could not be locked now: the one from before.
    pub fn has_kept(&self, function: &str) -> bool {
        let mut entries = self.lock.functions.iter();
        entries.any(|entry| format!("{} in {}", entry.name, entry.region) == function)
    }
}

impl FunctionName {
    fn of(function: &FunctionRef) -> Self {
        Self {
            name: function.name().to_owned(),
            text: function.unqualified().to_owned(),
        }
    }
}
