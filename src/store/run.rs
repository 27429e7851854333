//! Runs: the backup points, each an immutable file that appears in one step.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::entry::Entry;
use super::joint::JointId;
use super::manifest::{Descriptor, INDEX, Index, REGION, RUN};
use super::{FORMAT, Shard, Store};
use crate::error::{Error, ErrorKind, Result};

/// The folder of the runs.
pub(super) const RUNS: &str = "runs";
const FORMAT_NOTE: &str = "larder.format";
const CREATED: &str = "org.opencontainers.image.created";
const TOOL: &str = "larder.tool";
pub(super) const ACCOUNT: &str = "larder.account";
pub(super) const REGION_NAME: &str = "larder.region";
const SCOPE: &str = "larder.scope";
const JOINT: &str = "larder.joint";
const SHARD: &str = "larder.shard";
const SHARDS: &str = "larder.shards";
const ENDED: &str = "larder.ended";

/// The name of a run: `20260131T020000.000Z-0123456789ab`. Names sort by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunName(String);

impl RunName {
    /// The name of a run that began `at` and has this id: hex digits.
    pub fn new(at: Timestamp, id: &str) -> Self {
        let time = at.strftime("%Y%m%dT%H%M%S%.3fZ");
        Self(format!("{time}-{id}"))
    }

    /// Reads a name; None of what is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (time, id) = text.split_once('-')?;
        let id_is_hex = !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit());
        (id_is_hex && read_time(time).is_some()).then(|| Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When the run began.
    pub fn time(&self) -> Timestamp {
        let time = self.0.split('-').next().and_then(read_time);
        time.unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The id at its end.
    pub fn id(&self) -> &str {
        self.0.split_once('-').map_or("", |(_, id)| id)
    }

    pub(super) fn file(&self) -> String {
        format!("{RUNS}/{}.json", self.0)
    }
}

impl std::fmt::Display for RunName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// `20260131T020000.000Z`.
fn read_time(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if bytes.len() != 20
        || bytes[8] != b'T'
        || bytes[15] != b'.'
        || bytes[19] != b'Z'
        || !text.is_ascii()
    {
        return None;
    }
    let at = |from: usize, to: usize| &text[from..to];
    format!(
        "{}-{}-{}T{}:{}:{}Z",
        at(0, 4),
        at(4, 6),
        at(6, 8),
        at(9, 11),
        at(11, 13),
        at(13, 19)
    )
    .parse()
    .ok()
}

/// How much of an account and region a run looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of its functions and versions: what is not there did not exist.
    All,
    /// A part: some functions or versions, or the run ended early.
    Part,
}

/// An account and region of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionRef {
    /// The account, 12 digits.
    pub account: String,
    /// The region.
    pub region: String,
    /// How much of it was looked at.
    pub scope: Scope,
    /// Its index.
    pub index: Descriptor,
}

/// A backup point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its name.
    pub name: RunName,
    /// Its accounts and regions.
    pub regions: Vec<RegionRef>,
    /// What was counted: `saved`, `unchanged` and so on.
    pub counts: BTreeMap<String, u64>,
    /// Its part in a backup that several machines share; None of a run that stands alone.
    pub part: Option<Part>,
}

/// What a run is of a backup that several machines share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// One machine's share.
    Shard {
        /// The id that all shards have.
        joint: JointId,
        /// Which share.
        shard: Shard,
        /// Whether it came to its end.
        whole: bool,
    },
    /// All shares together.
    Joint {
        /// The id that all shards have.
        joint: JointId,
        /// Which shares are in it.
        shards: Vec<u32>,
        /// How many there are.
        of: u32,
    },
}

impl Part {
    fn notes(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Shard {
                joint,
                shard,
                whole,
            } => {
                let ended = if *whole { "whole" } else { "early" };
                vec![
                    (JOINT, joint.to_string()),
                    (SHARD, shard.to_string()),
                    (ENDED, ended.to_owned()),
                ]
            }
            Self::Joint { joint, shards, of } => {
                let list: Vec<String> = shards.iter().map(ToString::to_string).collect();
                vec![
                    (JOINT, joint.to_string()),
                    (SHARDS, format!("{}/{of}", list.join(","))),
                ]
            }
        }
    }

    fn of_index(index: &Index) -> Option<Self> {
        let joint = JointId::new(index.annotation(JOINT)?).ok()?;
        if let Some(shard) = index.annotation(SHARD) {
            return Some(Self::Shard {
                joint,
                shard: shard.parse().ok()?,
                whole: index.annotation(ENDED) == Some("whole"),
            });
        }
        let (list, of) = index.annotation(SHARDS)?.split_once('/')?;
        let shards = list.split(',').map(str::parse).collect::<Result<_, _>>();
        Some(Self::Joint {
            joint,
            shards: shards.ok()?,
            of: of.parse().ok()?,
        })
    }
}

/// All runs of a store.
#[derive(Debug, Clone, Default)]
pub struct Runs {
    /// The names, oldest first.
    pub names: Vec<RunName>,
    /// Files beside them that are no runs.
    pub strange: Vec<String>,
}

impl Run {
    pub(super) fn to_json(&self) -> Vec<u8> {
        let regions = self.regions.iter().map(|region| {
            let mut out = region.index.clone();
            INDEX.clone_into(&mut out.media_type);
            out.artifact_type = Some(REGION.to_owned());
            let scope = match region.scope {
                Scope::All => "all",
                Scope::Part => "part",
            };
            for (name, value) in [
                (ACCOUNT, region.account.as_str()),
                (REGION_NAME, &region.region),
                (SCOPE, scope),
            ] {
                out.annotations.insert(name.to_owned(), value.to_owned());
            }
            out
        });
        let mut annotations = BTreeMap::from([
            (FORMAT_NOTE.to_owned(), FORMAT.to_string()),
            (CREATED.to_owned(), format!("{:.3}", self.name.time())),
            (
                TOOL.to_owned(),
                concat!("larder/", env!("CARGO_PKG_VERSION")).to_owned(),
            ),
        ]);
        for (status, count) in &self.counts {
            annotations.insert(format!("larder.count.{status}"), count.to_string());
        }
        for (name, value) in self.part.iter().flat_map(Part::notes) {
            annotations.insert(name.to_owned(), value);
        }
        Index::new(Some(RUN), regions.collect(), annotations).to_json()
    }

    pub(super) fn from_json(bytes: &[u8], name: &RunName) -> Result<Self> {
        let subject = name.file();
        let index = Index::from_json(bytes, &subject)?;
        let format = index.annotation(FORMAT_NOTE).and_then(|f| f.parse().ok());
        match format {
            Some(1..=FORMAT) => {}
            Some(newer) => {
                return Err(Error::new(
                    ErrorKind::Usage,
                    format!("the run has version {newer}; this larder reads up to {FORMAT}"),
                )
                .about(subject)
                .hint("a newer larder wrote it; use that one or a later one"));
            }
            None => return Err(Error::new(ErrorKind::Mismatch, "this is no run").about(subject)),
        }
        let counts = index.annotations.iter().filter_map(|(key, value)| {
            let status = key.strip_prefix("larder.count.")?;
            Some((status.to_owned(), value.parse().ok()?))
        });
        let regions = index.manifests.iter().filter_map(|descriptor| {
            Some(RegionRef {
                account: descriptor.annotation(ACCOUNT)?.to_owned(),
                region: descriptor.annotation(REGION_NAME)?.to_owned(),
                scope: match descriptor.annotation(SCOPE) {
                    Some("all") => Scope::All,
                    _ => Scope::Part,
                },
                index: Descriptor {
                    annotations: BTreeMap::new(),
                    ..descriptor.clone()
                },
            })
        });
        Ok(Self {
            name: name.clone(),
            regions: regions.collect(),
            counts: counts.collect(),
            part: Part::of_index(&index),
        })
    }
}

impl Store {
    /// The names of all runs. `index.json` is not believed.
    ///
    /// # Errors
    /// The store cannot be listed.
    pub async fn runs(&self) -> Result<Runs> {
        let mut runs = Runs::default();
        for object in self.list(RUNS).await? {
            match object.name.strip_suffix(".json").and_then(RunName::parse) {
                Some(name) => runs.names.push(name),
                None => runs.strange.push(format!("{RUNS}/{}", object.name)),
            }
        }
        runs.names.sort();
        runs.strange.sort();
        Ok(runs)
    }

    /// A run.
    ///
    /// # Errors
    /// It is not there, or no run, or one of a newer version.
    pub async fn run(&self, name: &RunName) -> Result<Run> {
        let bytes = self.run_bytes(name).await?;
        Run::from_json(&bytes, name)
    }

    pub(super) async fn run_bytes(&self, name: &RunName) -> Result<Vec<u8>> {
        self.read(&name.file()).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "there is no such run").about(name.as_str())
        })
    }

    /// The entries of an account and region of a run, sorted by ARN. Those of kinds that this version does not know are
    /// left out.
    ///
    /// # Errors
    /// The index is lost or not what it was.
    pub async fn entries(&self, region: &RegionRef) -> Result<Vec<Entry>> {
        let bytes = self.document(&region.index).await?;
        let index = Index::from_json(&bytes, &region.index.digest)?;
        drop(bytes);
        Ok(index
            .manifests
            .iter()
            .filter_map(Entry::of_descriptor)
            .collect())
    }

    /// Puts the index of an account and region.
    ///
    /// # Errors
    /// It cannot be put.
    pub async fn put_region(
        &self,
        account: &str,
        region: &str,
        scope: Scope,
        mut entries: Vec<Entry>,
    ) -> Result<RegionRef> {
        entries.sort_by(|a, b| (a.subject, &a.arn).cmp(&(b.subject, &b.arn)));
        let manifests = entries.iter().map(Entry::to_descriptor).collect();
        drop(entries);
        let annotations = BTreeMap::from([
            (ACCOUNT.to_owned(), account.to_owned()),
            (REGION_NAME.to_owned(), region.to_owned()),
        ]);
        let json = Index::new(Some(REGION), manifests, annotations).to_json();
        Ok(RegionRef {
            account: account.to_owned(),
            region: region.to_owned(),
            scope,
            // As it comes back from a run.
            index: Descriptor {
                artifact_type: Some(REGION.to_owned()),
                ..self.put_document(INDEX, json).await?
            },
        })
    }

    /// Publishes a run: all that it refers to is in the store and durable before it appears, whatever a prune did meanwhile.
    ///
    /// # Errors
    /// It cannot be put, or there is another run of this name; or a prune took what it refers to.
    pub async fn publish(&self, run: &Run) -> Result<()> {
        let new = self.publish_if_new(run).await?;
        let file = run.name.file();
        if !new && self.read(&file).await? != Some(run.to_json()) {
            return Err(
                Error::new(ErrorKind::Bug, "there is another run of this name").about(file),
            );
        }
        Ok(())
    }

    /// The same, and answers whether there was none of this name.
    pub(super) async fn publish_if_new(&self, run: &Run) -> Result<bool> {
        let json = run.to_json();
        // The same bytes as a blob, so that OCI tools find it.
        self.put_document(INDEX, json.clone()).await?;
        self.sync().await?;
        self.settle(&json, &run.name).await?;
        let file = run.name.file();
        let new = self.put_new_in(&self.durable, &file, json.clone()).await?;
        self.settle(&json, &run.name).await?;
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256Digest;

    #[test]
    fn names_hold_time_and_id_and_sort() {
        let at: Timestamp = "2026-01-31T02:03:04.005Z".parse().unwrap();
        let name = RunName::new(at, "0123456789ab");
        assert_eq!(name.as_str(), "20260131T020304.005Z-0123456789ab");
        assert_eq!(RunName::parse(name.as_str()), Some(name.clone()));
        assert_eq!((name.time(), name.id()), (at, "0123456789ab"));
        for text in [
            "",
            "x-1",
            "20260131T020304.005Z",
            "20260131T020304.005Z-",
            "20261331T020304.005Z-ab",
            "20260131T020304.005Z-../x",
        ] {
            assert_eq!(RunName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_run_comes_back_and_a_newer_one_is_refused() {
        let name = RunName::parse("20260131T020304.005Z-ab").unwrap();
        let run = Run {
            name: name.clone(),
            regions: vec![RegionRef {
                account: "123456789012".to_owned(),
                region: "us-east-1".to_owned(),
                scope: Scope::Part,
                index: Descriptor {
                    artifact_type: Some(REGION.to_owned()),
                    ..Descriptor::new(INDEX, &Sha256Digest::of(b"i"), 1)
                },
            }],
            counts: BTreeMap::from([("saved".to_owned(), 3)]),
            part: None,
        };
        let json = run.to_json();
        assert_eq!(Run::from_json(&json, &name).unwrap(), run);
        let text = String::from_utf8(json).unwrap();
        let newer = text.replace("\"larder.format\":\"1\"", "\"larder.format\":\"2\"");
        let e = Run::from_json(newer.as_bytes(), &name).unwrap_err();
        assert!(e.to_string().contains("version 2"), "{e}");
        for broken in [
            "",
            "{}",
            "[]",
            "{\"schemaVersion\":2,\"mediaType\":\"x\",\"manifests\":[]}",
        ] {
            assert!(Run::from_json(broken.as_bytes(), &name).is_err());
        }
    }
}
