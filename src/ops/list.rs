//! What is deployed: the functions of one or several regions, page by page.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::select::Selection;
use crate::aws::{Session, SessionOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::events::Reporter;
use crate::lambda::{Lambda, Listed, Scope};
use crate::task::or_interrupted;

/// Which versions of a function are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// `$LATEST`.
    Latest,
    /// The published ones.
    Published,
    /// All.
    All,
}

impl Versions {
    /// What to ask for.
    pub fn scope(self) -> Scope {
        match self {
            Self::Latest => Scope::Latest,
            Self::Published | Self::All => Scope::All,
        }
    }

    /// Whether a version is meant.
    pub fn holds(self, version: &str) -> bool {
        match self {
            Self::Latest => version == "$LATEST",
            Self::Published => version != "$LATEST",
            Self::All => true,
        }
    }
}

/// Which regions are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Regions {
    /// The session's own.
    Own,
    /// These.
    Named(Vec<String>),
    /// All that are enabled for the account.
    All,
}

/// What to list.
#[derive(Debug, Clone)]
pub struct ListOptions {
    /// Where.
    pub regions: Regions,
    /// Which versions.
    pub versions: Versions,
    /// Which functions.
    pub selection: Selection,
}

/// What a listing came to.
#[derive(Debug, Default)]
pub struct Listing {
    /// How many function versions were listed.
    pub listed: u64,
    /// Regions that could not be listed, each with its reason.
    pub failed: Vec<(String, Error)>,
    /// How many regions were asked.
    pub regions: usize,
}

/// The sessions of the regions that are meant, each region once, in the order given.
///
/// # Errors
/// There is no region, a name is none, or the account's regions could not be had.
pub async fn sessions(common: &SessionOptions, regions: &Regions) -> Result<Vec<Session>> {
    let mut options = common.clone();
    if let Regions::Named(names) = regions {
        options.region = names.first().cloned().or(options.region);
    }
    let first = Session::connect(&options, None).await?;
    let names = match regions {
        Regions::Own => return Ok(vec![first]),
        Regions::Named(names) => names.clone(),
        Regions::All => first.enabled_regions().await?,
    };
    let mut seen = BTreeSet::new();
    let names = names.iter().filter(|name| seen.insert(name.as_str()));
    names.map(|name| first.in_region(name)).collect()
}

/// Lists, and hands what is meant of each page to `each` as it arrives. A region that cannot be listed does not stop the
/// others.
///
/// # Errors
/// No region could be listed: the first one's reason; the run was interrupted; or `each` failed.
pub async fn list(
    common: &SessionOptions,
    options: &ListOptions,
    reporter: Arc<dyn Reporter>,
    cancel: &CancellationToken,
    mut each: impl FnMut(Vec<Listed>) -> Result<()>,
) -> Result<Listing> {
    let sessions = or_interrupted(cancel, Box::pin(sessions(common, &options.regions))).await?;
    let mut listing = Listing {
        regions: sessions.len(),
        ..Listing::default()
    };
    for session in sessions {
        let region = session.region().to_owned();
        let listed = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Error::interrupted()),
            listed = one_region(&session, options, Arc::clone(&reporter), &mut each) => listed,
        };
        match listed {
            Ok(count) => listing.listed += count,
            Err(Stop::Region(e)) => listing.failed.push((region, e)),
            Err(Stop::Run(e)) => return Err(e),
        }
    }
    if listing.failed.len() == listing.regions && !listing.failed.is_empty() {
        let (_, first) = listing.failed.remove(0);
        return Err(first);
    }
    Ok(listing)
}

/// What a failure stops.
enum Stop {
    Region(Error),
    Run(Error),
}

async fn one_region(
    session: &Session,
    options: &ListOptions,
    reporter: Arc<dyn Reporter>,
    each: &mut impl FnMut(Vec<Listed>) -> Result<()>,
) -> Result<u64, Stop> {
    let lambda = Lambda::new(session, reporter);
    let tags = &options.selection.tags;
    let tagged = if tags.is_empty() {
        None
    } else {
        Some(session.functions_tagged(tags).await.map_err(judge)?)
    };
    let mut pages = lambda.functions(options.versions.scope());
    let mut count = 0;
    while let Some(page) = pages.next().await.map_err(judge)? {
        let mut meant = page;
        meant.retain(|listed| {
            options.versions.holds(listed.version())
                && options.selection.matches(listed, tagged.as_ref())
        });
        count += meant.len() as u64;
        if !meant.is_empty() {
            each(meant).map_err(Stop::Run)?;
        }
    }
    Ok(count)
}

/// Without credentials no other region will answer either.
fn judge(error: Error) -> Stop {
    match error.kind() {
        ErrorKind::NoCredentials => Stop::Run(error),
        _ => Stop::Region(error),
    }
}
