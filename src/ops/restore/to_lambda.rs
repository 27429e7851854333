//! A function version from a store back to Lambda: the plan, and with `yes` the deed.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::beside::Beside;
use super::environment::Environment;
use super::find::{self, Found, Which};
use super::kept::{self, Kept};
use super::plan::Plan;
use super::prepare::{self, Backup, Place};
use super::target::Existing;
use super::{alias, apply};
use crate::aws::{BucketOptions, Session, SessionOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::events::Reporter;
use crate::function::FunctionRef;
use crate::image::Registries;
use crate::lambda::Lambda;
use crate::store::{Entry, StagingBucket, Store, Subject};

/// Which versions are restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// The one that is named, to `$LATEST`.
    One,
    /// All that the run has, republished in order.
    All,
}

/// What [`to_lambda()`] is to do.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Debug, Clone)]
pub struct ToLambdaOptions {
    /// From which run and region.
    pub which: Which,
    /// The name that the function gets; None is its own.
    pub name: Option<String>,
    /// The region that it gets; None is its own.
    pub region: Option<String>,
    /// The execution role; None is its own.
    pub execution_role: Option<String>,
    /// Where packages go that are too large for a request.
    pub staging_bucket: Option<String>,
    /// Which versions.
    pub versions: Versions,
    /// Publish what was restored as a version.
    pub publish: bool,
    /// Restore aliases.
    pub aliases: bool,
    /// Values of environment variables.
    pub environment: Option<Environment>,
    /// The image of an image function.
    pub image_uri: Option<String>,
    /// Go on without layers that cannot be had.
    pub allow_missing_layers: bool,
    /// Do it.
    pub yes: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Restoration {
    /// The plan, with the state of each step.
    pub plan: Plan,
    /// Why it is not done, where it should have been.
    pub error: Option<Error>,
}

/// Plans the restoration of `function` (as for [`restore()`](super::restore())) to Lambda as `session` reaches it, and with
/// `yes` carries it out. Nothing is changed before all that can be known beforehand is known.
///
/// # Errors
/// The store has no such function, AWS cannot be asked, or what is there cannot become what the backup says. A failure after
/// something was changed is in the [`Restoration`].
pub async fn to_lambda(
    store: &Store,
    session: &SessionOptions,
    function: &FunctionRef,
    options: &ToLambdaOptions,
    reporter: Arc<dyn Reporter>,
    cancel: &CancellationToken,
) -> Result<Restoration> {
    store.open().await?;
    let found = find(store, session, function, options, &*reporter).await?;
    let backup = read(store, &found, options).await?;
    let region = options
        .region
        .clone()
        .unwrap_or(found.region.region.clone());
    let session = SessionOptions {
        region: Some(region),
        ..session.clone()
    };
    let session = Session::connect(&session, None).await?;
    let account = session.caller().await?.account;
    let lambda = Lambda::new(&session, Arc::clone(&reporter));
    let name = options.name.as_deref().unwrap_or(found.entry.name());
    let place = Place {
        account,
        region: session.region().to_owned(),
        name: name.to_owned(),
    };
    let target: FunctionRef = name.parse().map_err(|e| Error::from(e).about(name))?;
    if target.name() != name || name.len() > 64 || name.contains('.') {
        return Err(
            Error::new(ErrorKind::Usage, "is no name that a function can be given")
                .about(name)
                .hint("letters, digits, - and _, at most 64 of them"),
        );
    }
    let existing = Existing::look(&lambda, &target).await?;
    let prepare = prepare::Preparation {
        lambda: &lambda,
        session: &session,
        options,
        place: &place,
        registries: &Registries::new(&session, Arc::clone(&reporter)),
        reporter: &*reporter,
    };
    let mut prepared = Box::pin(prepare.prepare(&found, backup, existing)).await?;
    if !options.yes {
        return Ok(Restoration {
            plan: prepared.plan,
            error: None,
        });
    }
    if let Some(need) = prepared.plan.needs.first() {
        let reasons: Vec<String> = (prepared.plan.needs.iter())
            .map(|need| format!("{}: {}", need.option, need.reason))
            .collect();
        let error = Error::new(need.kind, "cannot be restored so, and nothing was changed")
            .about(&*place.name)
            .because(reasons.join("; "))
            .hint(format!("give {}", need.option));
        return Ok(Restoration {
            plan: prepared.plan,
            error: Some(error),
        });
    }
    let staging = match &options.staging_bucket {
        Some(bucket) => {
            let objects = session.bucket(bucket, &BucketOptions::default())?;
            Some(StagingBucket::new(objects, bucket, session.run_id()))
        }
        None => None,
    };
    let work = apply::Applier::new(store, &lambda, &place, staging.as_ref(), reporter);
    let error = Box::pin(work.run(&mut prepared, cancel)).await.err();
    Ok(Restoration {
        plan: prepared.plan,
        error,
    })
}

/// The entry that is restored. A name without an account may be that of functions in several: then it is the caller's own.
async fn find(
    store: &Store,
    session: &SessionOptions,
    function: &FunctionRef,
    options: &ToLambdaOptions,
    reporter: &dyn Reporter,
) -> Result<Found> {
    let mut all = find::places(store, function, &options.which, reporter).await?;
    if let [first, _, ..] = &*all {
        let session = SessionOptions {
            region: Some(first.region.region.clone()),
            ..session.clone()
        };
        let caller = Session::connect(&session, None).await?.caller().await?;
        let own = |found: &Found| found.region.account == caller.account;
        if all.iter().any(own) {
            all.retain(own);
        }
    }
    let found = find::one(function, all)?;
    let chosen = options.which.run.is_some() || options.which.at.is_some();
    match &found.passed_over {
        Some(e) if options.yes && !chosen => Err(Error::new(
            e.kind(),
            "nothing was changed: a newer run than the one that would be restored cannot be read",
        )
        .about(function.to_string())
        .because(e.sentence())
        .hint(format!(
            "--run {} restores from the newest one that can be read",
            found.run
        ))),
        _ => {
            find::warn_of_older(&found.run, &found.entry, reporter);
            Ok(found)
        }
    }
}

/// What the store says of the function in that run.
async fn read(store: &Store, found: &Found, options: &ToLambdaOptions) -> Result<Backup> {
    let entries = store.entries(&found.region).await?;
    let arn = found.entry.arn.rsplit_once(':').map_or("", |(arn, _)| arn);
    let of_function = |entry: &&Entry| {
        entry.subject == Subject::Function
            && entry
                .arn
                .rsplit_once(':')
                .is_some_and(|(other, _)| other == arn)
    };
    let mut all: Vec<&Entry> = entries.iter().filter(of_function).collect();
    // `$LATEST` comes last: it is what the function is left with.
    all.sort_by_key(|entry| entry.version().parse::<u64>().unwrap_or(u64::MAX));
    let aliases = kept::aliases(store, &entries, arn).await?;
    let aliases: Vec<alias::Kept> = aliases.iter().filter_map(alias::Kept::read).collect();
    let mut versions = Vec::new();
    let mut others = Vec::new();
    for entry in all {
        let chosen = match options.versions {
            Versions::All => true,
            Versions::One => entry.arn == found.entry.arn,
        };
        let led_to = aliases
            .iter()
            .any(|alias| alias.versions().any(|v| v == entry.version()));
        if chosen {
            versions.push(Kept::read(store, entry).await?);
        } else if entry.version() == "$LATEST" || led_to {
            others.push(Kept::read(store, entry).await?);
        }
    }
    let beside = Beside::read(store, &entries, arn).await?;
    Ok(Backup {
        arn: arn.to_owned(),
        beside,
        versions,
        others,
        aliases,
    })
}
