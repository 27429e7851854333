//! Which entry of which run is meant.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::function::FunctionRef;
use crate::store::{
    Entry, Manifest, RegionRef, Run, RunName, Scope, Store, Subject, concerns_one_run,
};

/// From which run, and from which region of it.
#[derive(Debug, Clone, Default)]
pub struct Which {
    /// Only of this region.
    pub region: Option<String>,
    /// The run of this name or id; its beginning is enough.
    pub run: Option<String>,
    /// The newest run that began at this time or before.
    pub at: Option<Timestamp>,
}

/// What was found.
pub(super) struct Found {
    pub(super) run: RunName,
    pub(super) region: RegionRef,
    pub(super) entry: Entry,
    /// Why the newest of the runs after it could not be read, where there are such.
    pub(super) passed_over: Option<Arc<Error>>,
}

/// The newest run that has the function, of those that are meant.
pub(super) async fn find(
    store: &Store,
    function: &FunctionRef,
    options: &Which,
    reporter: &dyn Reporter,
) -> Result<Found> {
    one(
        function,
        look(store, function, options, reporter, Until::First).await?,
    )
}

/// Of every account and region that has the function, the newest run that has it there, of those that are meant.
pub(super) async fn places(
    store: &Store,
    function: &FunctionRef,
    options: &Which,
    reporter: &dyn Reporter,
) -> Result<Vec<Found>> {
    look(store, function, options, reporter, Until::Oldest).await
}

/// The one that was found; none may be chosen from several.
pub(super) fn one(function: &FunctionRef, mut found: Vec<Found>) -> Result<Found> {
    if found.len() == 1 {
        return Ok(found.remove(0));
    }
    let arns: Vec<&str> = found.iter().map(|found| &*found.entry.arn).collect();
    Err(
        Error::new(ErrorKind::Usage, "is in several accounts or regions")
            .about(function.to_string())
            .hint(format!("name one of them by its ARN: {}", arns.join(", "))),
    )
}

/// Says where the run could not get a version that is there, and has it as an earlier run did.
pub(super) fn warn_of_older(run: &RunName, entry: &Entry, reporter: &dyn Reporter) {
    let asked: Option<Timestamp> = entry.described_at.parse().ok();
    if entry.listed.is_none() && asked.is_some_and(|asked| asked < run.time()) {
        reporter.report(&Event::Warning {
            subject: &entry.arn,
            message: &format!(
                "run {run} could not get it: this is what was kept of it at {}",
                entry.described_at
            ),
            hint: Some("what was deployed when that run began may have been another"),
        });
    }
}

/// How far back is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// To the newest run that has the function.
    First,
    /// Through all runs.
    Oldest,
}

/// What was found, one at least and one a place at the most.
async fn look(
    store: &Store,
    function: &FunctionRef,
    options: &Which,
    reporter: &dyn Reporter,
    until: Until,
) -> Result<Vec<Found>> {
    let names = names(store, options).await?;
    // A region that did not change has the same index in many runs.
    let mut looked_at: HashSet<String> = HashSet::new();
    let mut found: Vec<Found> = Vec::new();
    let mut passed_over = None;
    for name in names.iter().rev() {
        let run = match read(store, name, options, reporter).await? {
            Ok(run) => run,
            Err(e) => {
                passed_over.get_or_insert(Arc::new(e));
                continue;
            }
        };
        for region in run.regions {
            let asked = options.region.as_deref().or(function.region());
            if asked.is_some_and(|asked| asked != region.region)
                || looked_at.contains(&region.index.digest)
                || found.iter().any(|newer| is_same_place(newer, &region))
            {
                continue;
            }
            let entries = store.entries(&region).await?;
            looked_at.insert(region.index.digest.clone());
            if let Some(entry) = pick(store, &entries, function).await? {
                found.push(Found {
                    run: name.clone(),
                    region,
                    entry,
                    passed_over: passed_over.clone(),
                });
            }
        }
        if until == Until::First && !found.is_empty() {
            break;
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }
    Err(Error::new(
        ErrorKind::NotFound,
        "no run of the store has this function or version",
    )
    .about(function.to_string())
    .hint(match &options.region {
        Some(region) => {
            format!("--region {region} is where it was; larder store list shows the runs")
        }
        None => "larder store list shows the runs".to_owned(),
    }))
}

/// The runs that are meant, the oldest first.
async fn names(store: &Store, options: &Which) -> Result<Vec<RunName>> {
    let mut names = store.runs().await?.names;
    names.retain(|name| options.at.is_none_or(|at| name.time() <= at));
    if let Some(wanted) = &options.run {
        names = meant_by(&names, wanted);
        match names.len() {
            0 => {
                return Err(Error::new(ErrorKind::NotFound, "there is no such run")
                    .about(wanted)
                    .hint("larder store list shows the runs"));
            }
            1 => {}
            _ => {
                return Err(Error::new(ErrorKind::Usage, "names several runs")
                    .about(wanted)
                    .hint("larder store list shows the runs"));
            }
        }
    }
    Ok(names)
}

/// The runs that a user's words mean: those of exactly this name or id, and where there is none, those whose name or id begins so.
pub(in crate::ops) fn meant_by(names: &[RunName], text: &str) -> Vec<RunName> {
    let of = |fits: &dyn Fn(&RunName) -> bool| -> Vec<RunName> {
        names.iter().filter(|name| fits(name)).cloned().collect()
    };
    let exact = of(&|name| name.as_str() == text || name.id() == text);
    if !exact.is_empty() {
        return exact;
    }
    of(&|name| name.as_str().starts_with(text) || name.id().starts_with(text))
}

/// A run; or, inside, why it cannot be read where another may do. That the store cannot be read is no such reason.
async fn read(
    store: &Store,
    name: &RunName,
    options: &Which,
    reporter: &dyn Reporter,
) -> Result<std::result::Result<Run, Error>> {
    match store.run(name).await {
        Ok(run) => Ok(Ok(run)),
        Err(e) if may_pass_over(options, &e) => {
            reporter.report(&Event::Warning {
                subject: name.as_str(),
                message: &format!("this run is passed over: {e}"),
                hint: e.hint_text(),
            });
            Ok(Err(e))
        }
        Err(e) => Err(e),
    }
}

/// Whether another run may stand in for one that failed so: not for one that was named, nor where the store itself fails.
fn may_pass_over(options: &Which, e: &Error) -> bool {
    options.run.is_none() && concerns_one_run(e)
}

fn is_same_place(found: &Found, region: &RegionRef) -> bool {
    found.region.account == region.account && found.region.region == region.region
}

/// Each account and region, with the newest of the runs that are meant which looked at all of it; where none did, the newest.
pub(super) async fn regions(
    store: &Store,
    options: &Which,
    reporter: &dyn Reporter,
) -> Result<Vec<(RunName, RegionRef)>> {
    let mut found: BTreeMap<(String, String), (RunName, RegionRef)> = BTreeMap::new();
    for name in names(store, options).await?.iter().rev() {
        let Ok(run) = read(store, name, options, reporter).await? else {
            continue;
        };
        for region in run.regions {
            if options
                .region
                .as_ref()
                .is_some_and(|asked| *asked != region.region)
            {
                continue;
            }
            let place = (region.account.clone(), region.region.clone());
            match found.get(&place) {
                Some((_, newer)) if newer.scope == Scope::All || region.scope == Scope::Part => {}
                _ => {
                    found.insert(place, (name.clone(), region));
                }
            }
        }
    }
    Ok(found.into_values().collect())
}

/// The entry that is meant: the version, what an alias led to, or the latest.
async fn pick(store: &Store, entries: &[Entry], function: &FunctionRef) -> Result<Option<Entry>> {
    let of_function = |entry: &&Entry| {
        entry.name() == function.name()
            && function
                .account()
                .is_none_or(|account| entry.arn.split(':').nth(4) == Some(account))
    };
    let versions = || {
        let functions = entries.iter().filter(|e| e.subject == Subject::Function);
        functions.filter(of_function)
    };
    let version = |wanted: &str| versions().find(|entry| entry.version() == wanted).cloned();
    let Some(qualifier) = function.qualifier() else {
        let newest = versions().max_by_key(|entry| entry.version().parse::<u64>().unwrap_or(0));
        return Ok(version("$LATEST").or(newest.cloned()));
    };
    if let Some(entry) = version(qualifier) {
        return Ok(Some(entry));
    }
    let mut aliases = entries.iter().filter(|e| e.subject == Subject::Aliases);
    let Some(aliases) = aliases.find(of_function) else {
        return Ok(None);
    };
    let manifest = store.document(&aliases.descriptor()).await?;
    let manifest = Manifest::from_json(&manifest, &aliases.arn)?;
    let document = store.document(&manifest.config).await?;
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap_or_default();
    let alias = document["Aliases"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|alias| alias["Name"] == qualifier);
    Ok(alias
        .and_then(|alias| alias["FunctionVersion"].as_str())
        .and_then(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_run_that_is_lost_or_damaged_is_passed_over() {
        use ErrorKind as K;
        let any = Which::default();
        let named = Which {
            run: Some("ab".to_owned()),
            ..Which::default()
        };
        for (kind, may) in [
            (K::NotFound, true),
            (K::Mismatch, true),
            (K::AccessDenied, false),
            (K::CredentialsRefused, false),
            (K::Network, false),
            (K::Timeout, false),
            (K::Service, false),
            (K::Io, false),
            (K::Interrupted, false),
        ] {
            let e = Error::new(kind, "x");
            assert_eq!(may_pass_over(&any, &e), may, "{kind:?}");
            assert!(!may_pass_over(&named, &e), "{kind:?}");
        }
    }

    #[test]
    fn a_whole_name_or_id_is_meant_before_one_that_begins_so() {
        let time = "20260131T020000.000Z";
        let all = [
            format!("{time}-ab"),
            format!("{time}-abcd"),
            format!("{time}-cd"),
        ];
        let names: Vec<RunName> = all.iter().filter_map(|n| RunName::parse(n)).collect();
        assert_eq!(names.len(), 3);
        let meant = |text: &str| -> Vec<String> {
            let meant = meant_by(&names, text);
            meant.iter().map(|name| name.id().to_owned()).collect()
        };
        assert_eq!(meant(&all[0]), ["ab"]);
        assert_eq!(meant("ab"), ["ab"]);
        assert_eq!(meant("abc"), ["abcd"]);
        assert_eq!(meant("a"), ["ab", "abcd"]);
        assert_eq!(meant(time), ["ab", "abcd", "cd"]);
        assert!(meant("e").is_empty());
    }
}
