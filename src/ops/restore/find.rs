//! Which entry of which run is meant.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::function::FunctionRef;
use crate::store::{Entry, Manifest, RegionRef, Run, RunName, Scope, Store, Subject};

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
}

/// The newest run that has the function, of those that are meant.
pub(super) async fn find(
    store: &Store,
    function: &FunctionRef,
    options: &Which,
    reporter: &dyn Reporter,
) -> Result<Found> {
    let names = names(store, options).await?;
    // A region that did not change has the same index in many runs.
    let mut looked_at: HashMap<String, bool> = HashMap::new();
    for name in names.iter().rev() {
        let Some(run) = read(store, name, options, reporter).await? else {
            continue;
        };
        let mut found = Vec::new();
        for region in &run.regions {
            let asked = options.region.as_deref().or(function.region());
            if asked.is_some_and(|asked| asked != region.region)
                || looked_at.get(&region.index.digest) == Some(&false)
            {
                continue;
            }
            let entries = store.entries(region).await?;
            let one = pick(store, &entries, function).await?;
            looked_at.insert(region.index.digest.clone(), one.is_some());
            found.extend(one.map(|entry| (region.clone(), entry)));
        }
        match found.len() {
            0 => {}
            1 => {
                let (region, entry) = found.remove(0);
                return Ok(Found {
                    run: name.clone(),
                    region,
                    entry,
                });
            }
            _ => {
                let arns: Vec<&str> = found.iter().map(|(_, entry)| &*entry.arn).collect();
                return Err(
                    Error::new(ErrorKind::Usage, "is in several accounts or regions")
                        .about(function.to_string())
                        .hint(format!("name one of them by its ARN: {}", arns.join(", "))),
                );
            }
        }
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
    names.retain(|name| {
        options.at.is_none_or(|at| name.time() <= at)
            && options
                .run
                .as_deref()
                .is_none_or(|run| name.as_str().starts_with(run) || name.id().starts_with(run))
    });
    if let Some(wanted) = &options.run {
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

/// A run; None where it cannot be read and another may do.
async fn read(
    store: &Store,
    name: &RunName,
    options: &Which,
    reporter: &dyn Reporter,
) -> Result<Option<Run>> {
    match store.run(name).await {
        Ok(run) => Ok(Some(run)),
        Err(e) if options.run.is_none() => {
            reporter.report(&Event::Warning {
                subject: name.as_str(),
                message: &format!("this run is passed over: {e}"),
                hint: e.hint_text(),
            });
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// Each account and region, with the newest of the runs that are meant which looked at all of it; where none did, the newest.
pub(super) async fn regions(
    store: &Store,
    options: &Which,
    reporter: &dyn Reporter,
) -> Result<Vec<(RunName, RegionRef)>> {
    let mut found: BTreeMap<(String, String), (RunName, RegionRef)> = BTreeMap::new();
    for name in names(store, options).await?.iter().rev() {
        let Some(run) = read(store, name, options, reporter).await? else {
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
