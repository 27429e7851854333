//! The last backup in a store, as what is expected (`--store`).

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;

use crate::digest::Sha256Digest;
use crate::drift::{
    AliasExpectation, Code, Config, Expectation, Layer, Source, SourceKind, State, Stated,
    StatedWarning, Target,
};
use crate::error::{Error, ErrorKind, Result};
use crate::events::Reporter;
use crate::function::FunctionRef;
use crate::lambda::Listed;
use crate::ops::backup::prior::{History, Prior};
use crate::record::{FUNCTION_JSON, Record, Status};
use crate::store::{Entry, Manifest, Store, Subject, Titled as _};

/// How many functions are read at once.
const AT_ONCE: usize = 16;

/// What the newest runs of the store have of each function: `$LATEST`, and by alias the versions it routed to. With `functions` only
/// those; with `account` only that account's, and the rest is said in a warning.
///
/// # Errors
/// There is no store, or it cannot be read; what it has of one function and cannot be read is that function's own unknown.
pub(super) async fn read(
    store: &Store,
    functions: &[FunctionRef],
    account: Option<&str>,
    reporter: &dyn Reporter,
) -> Result<Stated> {
    store.open().await?;
    let mut stated = Stated::default();
    let mut others = BTreeSet::new();
    let history = History::of(store).await?;
    for (of_account, region) in history.places(store, reporter).await? {
        if account.is_some_and(|account| account != of_account) {
            others.insert(of_account);
            continue;
        }
        let prior = Prior::read(store, &history, (&of_account, &region), reporter).await?;
        let kept = by_function(prior.into_entries(), functions);
        let read = futures_util::stream::iter(kept.into_values())
            .map(|kept| expectation(store, kept))
            .buffered(AT_ONCE);
        stated
            .expectations
            .extend(read.try_collect::<Vec<_>>().await?);
    }
    if !others.is_empty() {
        let others: Vec<String> = others.into_iter().collect();
        stated.warnings.push(StatedWarning {
            subject: store.name().to_owned(),
            message: format!(
                "functions of other accounts in it were left out: {}",
                others.join(", ")
            ),
            hint: Some("check them as these accounts: --profile or --role-arn".to_owned()),
        });
    }
    if stated.expectations.is_empty() && functions.is_empty() {
        return Err(Error::new(
            ErrorKind::Usage,
            "the store has no function of this account",
        )
        .about(store.name())
        .hint("larder store list shows what it has"));
    }
    Ok(stated)
}

/// What is kept of one function.
#[derive(Default)]
struct Kept {
    versions: BTreeMap<String, Entry>,
    aliases: Option<Entry>,
}

/// The entries of each function, by its ARN without a version.
fn by_function(entries: Vec<Entry>, functions: &[FunctionRef]) -> BTreeMap<String, Kept> {
    let mut kept: BTreeMap<String, Kept> = BTreeMap::new();
    for entry in entries {
        let named = functions.is_empty() || functions.iter().any(|f| f.name() == entry.name());
        if !named {
            continue;
        }
        let arn = entry.unversioned().to_owned();
        match entry.subject {
            Subject::Function => {
                let version = entry.version().to_owned();
                kept.entry(arn).or_default().versions.insert(version, entry);
            }
            Subject::Aliases => kept.entry(arn).or_default().aliases = Some(entry),
            Subject::Layer | Subject::Config => {}
        }
    }
    kept.retain(|_, kept| !kept.versions.is_empty());
    kept
}

async fn expectation(store: &Store, kept: Kept) -> Result<Expectation> {
    let first = kept.versions.values().next();
    let first = first.ok_or_else(|| Error::new(ErrorKind::Bug, "a function has no version"))?;
    let arn = first.unversioned();
    let function: FunctionRef = arn.parse().map_err(|e| Error::from(e).about(arn))?;
    let source = Source::new(SourceKind::Store, store.name()).labelled(arn);
    let mut expected = Expectation::of_code(Target::of(function), source, Code::Unstated);
    match kept.versions.get("$LATEST") {
        Some(entry) => {
            expected.state = told(state(store, entry).await)?;
            expected
                .notes
                .push(format!("as of the backup of {}", entry.described_at));
        }
        None => expected
            .notes
            .push("the store has published versions of it alone".to_owned()),
    }
    if let Some(entry) = &kept.aliases {
        match aliases(store, entry, &kept.versions).await {
            Ok(aliases) => {
                expected.aliases = aliases;
                expected.aliases_complete = true;
            }
            Err(e) if is_of_the_entry(&e) => {
                expected.state.code = Code::CannotTell(e.sentence());
            }
            Err(e) => return Err(e),
        }
    }
    Ok(expected)
}

/// A failure that is one entry's makes that one unknown.
fn told(state: Result<State>) -> Result<State> {
    match state {
        Err(e) if is_of_the_entry(&e) => Ok(State {
            code: Code::CannotTell(e.sentence()),
            ..State::default()
        }),
        other => other,
    }
}

fn is_of_the_entry(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Mismatch | ErrorKind::NotFound)
}

async fn state(store: &Store, entry: &Entry) -> Result<State> {
    let manifest = store.document(&entry.descriptor()).await?;
    let manifest = Manifest::from_json(&manifest, &entry.arn)?;
    let record = store.document(&manifest.config).await?;
    let record = Record::from_json(&record).map_err(|e| Error::from(e).about(&*entry.arn))?;
    let broken = |what: &str| Error::new(ErrorKind::Mismatch, what.to_owned()).about(&*entry.arn);
    let json = manifest
        .titled(FUNCTION_JSON)
        .ok_or_else(|| broken("the manifest lacks function.json"))?;
    let json: Value = serde_json::from_slice(&store.document(json).await?)
        .map_err(|_| broken("its function.json is no JSON"))?;
    let listed = Listed::of_configuration(json["Configuration"].clone())
        .ok_or_else(|| broken("its function.json has no configuration"))?;
    let basis = format!("the backup of {}", entry.described_at);
    let layers = listed.layers().into_iter().map(|layer| {
        let record = record.layers.iter().find(|kept| kept.arn == layer.arn);
        let stated = record.and_then(|kept| kept.code_sha256.as_deref()?.parse().ok());
        Layer {
            label: layer.arn.clone(),
            arn: Some(layer.arn),
            code: stated.map_or(Code::Unstated, |sha256| digest(sha256, None, &basis)),
        }
    });
    Ok(State {
        layers: Some(layers.collect()),
        config: Config::of(&listed),
        code: code(entry, &record, &basis),
    })
}

fn code(entry: &Entry, record: &Record, basis: &str) -> Code {
    if let Some(image) = &record.image {
        return Code::Image {
            digest: image
                .digest
                .as_deref()
                .and_then(|digest| digest.parse().ok()),
            uri: image.image_uri.clone(),
            basis: format!("image digest in {basis}"),
        };
    }
    let stated = record.package.as_ref();
    match stated.and_then(|package| Some((package.code_sha256.parse().ok()?, package.size))) {
        Some((sha256, size)) => digest(sha256, Some(size), basis),
        None if entry.status == Status::Partial => {
            Code::CannotTell("the backup of it is partial: its code was not to be had".to_owned())
        }
        None => Code::CannotTell("the backup has no code of it".to_owned()),
    }
}

fn digest(sha256: Sha256Digest, size: Option<u64>, basis: &str) -> Code {
    Code::Digest {
        sha256,
        size,
        tree: None,
        h1: None,
        basis: format!("CodeSha256 in {basis}"),
        instead: Vec::new(),
    }
}

/// The aliases as they were, and what the versions were that they routed to.
async fn aliases(
    store: &Store,
    entry: &Entry,
    versions: &BTreeMap<String, Entry>,
) -> Result<Vec<AliasExpectation>> {
    let manifest = store.document(&entry.descriptor()).await?;
    let manifest = Manifest::from_json(&manifest, &entry.arn)?;
    let document: Value = serde_json::from_slice(&store.document(&manifest.config).await?)
        .map_err(|_| {
            Error::new(ErrorKind::Mismatch, "its aliases are no JSON").about(&*entry.arn)
        })?;
    let mut out = Vec::new();
    for alias in document["Aliases"].as_array().into_iter().flatten() {
        let (Some(name), Some(version)) =
            (alias["Name"].as_str(), alias["FunctionVersion"].as_str())
        else {
            return Err(
                Error::new(ErrorKind::Mismatch, "an alias in it has no name or version")
                    .about(&*entry.arn),
            );
        };
        let weights = alias["RoutingConfig"]["AdditionalVersionWeights"].as_object();
        let weights: BTreeMap<String, f64> = weights
            .into_iter()
            .flatten()
            .filter_map(|(version, weight)| Some((version.clone(), weight.as_f64()?)))
            .collect();
        let mut states = BTreeMap::new();
        for number in std::iter::once(version).chain(weights.keys().map(String::as_str)) {
            if let Some(entry) = versions.get(number) {
                states.insert(number.to_owned(), told(state(store, entry).await)?);
            }
        }
        out.push(AliasExpectation {
            name: name.to_owned(),
            version: version.to_owned(),
            weights,
            versions: states,
            source: None,
        });
    }
    Ok(out)
}
