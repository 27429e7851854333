//! One run of several: machines that share a backup write a run each, and the last one, or whoever seals, joins them.
//!
//! Nothing is locked. The joint run's name follows from the shards' runs, and it is put only if absent: of two that seal at
//! once, one finds that it is done.

use std::collections::{BTreeMap, BTreeSet};

use super::run::{Part, Run, RunName};
use super::{Shard, Store};
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};

/// How many hex digits of an id's SHA-256 are in the names of its runs.
const KEY: usize = 12;
/// The longest id of a joint run.
const LONGEST: usize = 128;

/// The id that the shards of one backup share: `--run-id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JointId(String);

/// What sealing came to.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The id.
    pub id: JointId,
    /// The joint run; None where shards are missing.
    pub run: Option<RunName>,
    /// Whether this call made it.
    pub new: bool,
    /// How many shards there are.
    pub of: u32,
    /// Shards without a run.
    pub missing: Vec<u32>,
    /// Shards whose only runs ended early.
    pub early: Vec<u32>,
    /// Accounts and regions in the joint run.
    pub regions: usize,
    /// The counts of all shards together.
    pub counts: BTreeMap<String, u64>,
}

impl JointId {
    /// Reads an id.
    ///
    /// # Errors
    /// It is empty, longer than 128 characters, or has others than letters, digits and `._:+-`.
    pub fn new(text: &str) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:+-".contains(&b);
        if text.is_empty() || text.len() > LONGEST || !text.bytes().all(plain) {
            return Err(format!(
                "expected an id of at most {LONGEST} letters, digits and ._:+- such as nightly-2026-01-31"
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands in the names of its runs.
    fn key(&self) -> String {
        Sha256Digest::of(self.0.as_bytes()).hex()[..KEY].to_owned()
    }

    /// The id at the end of a shard's run's name: its own, and the key.
    pub fn shard_run(&self, run_id: &str) -> String {
        format!("{run_id}{}", self.key())
    }

    /// Whether `name` is the joint run of all shards.
    fn is_joint(&self, name: &RunName) -> bool {
        name.id() == self.key()
    }
}

impl std::fmt::Display for JointId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A shard's run.
struct OfShard {
    shard: Shard,
    whole: bool,
    run: Run,
}

impl Store {
    /// The joint run of all shards, if it is there.
    ///
    /// # Errors
    /// The store cannot be listed.
    pub async fn joint(&self, id: &JointId) -> Result<Option<RunName>> {
        let mut names = self.runs().await?.names;
        names.retain(|name| id.is_joint(name));
        Ok(names.pop())
    }

    /// The id of the newest shard's run.
    ///
    /// # Errors
    /// The store cannot be listed, or that run cannot be read.
    pub async fn newest_joint_id(&self) -> Result<Option<JointId>> {
        for name in self.runs().await?.names.iter().rev() {
            // Only those names are longer, so that no other run is read.
            if name.id().len() <= KEY {
                continue;
            }
            if let Some(Part::Shard { joint, .. }) = self.run(name).await?.part {
                return Ok(Some(joint));
            }
        }
        Ok(None)
    }

    /// Writes the joint run over the runs of all shards of `id`. With `partial` over those that are there. Where shards are
    /// missing otherwise, nothing is written and the answer names them.
    ///
    /// # Errors
    /// There is no shard's run of this id; the shards do not agree on how many they are; the store fails.
    pub async fn seal(&self, id: &JointId, partial: bool) -> Result<Sealed> {
        let mut shards = Vec::new();
        for name in self.runs().await?.names {
            if name.id().len() > KEY && name.id().ends_with(&id.key()) {
                let run = self.run(&name).await?;
                if let Some(Part::Shard {
                    joint,
                    shard,
                    whole,
                }) = &run.part
                    && joint == id
                {
                    let (shard, whole) = (*shard, *whole);
                    shards.push(OfShard { shard, whole, run });
                }
            }
        }
        let Some(first) = shards.first() else {
            return Err(Error::new(
                ErrorKind::NotFound,
                "the store has no run of a shard with this id",
            )
            .about(id.as_str())
            .hint("larder store list shows the runs and their ids"));
        };
        let of = first.shard.of();
        if let Some(other) = shards.iter().find(|s| s.shard.of() != of) {
            return Err(Error::new(
                ErrorKind::Usage,
                format!("one shard is of {of}, another of {}", other.shard.of()),
            )
            .about(id.as_str())
            .hint("give each backup an id of its own, and all its shards the same number"));
        }
        let began = shards.iter().map(|s| s.run.name.time()).min();
        let mut sealed = Sealed {
            id: id.clone(),
            run: None,
            new: false,
            of,
            missing: Vec::new(),
            early: Vec::new(),
            regions: 0,
            counts: BTreeMap::new(),
        };
        let chosen = choose(shards, &mut sealed);
        let complete = sealed.missing.is_empty() && sealed.early.is_empty();
        if !complete && !partial {
            return Ok(sealed);
        }
        if complete && let Some(name) = self.joint(id).await? {
            let run = self.run(&name).await?;
            (sealed.regions, sealed.counts) = (run.regions.len(), run.counts);
            sealed.run = Some(name);
            return Ok(sealed);
        }
        let numbers: Vec<u32> = chosen.keys().copied().collect();
        let mut run = Run {
            name: RunName::new(
                began.unwrap_or_default(),
                &joint_name(id, &numbers, complete),
            ),
            regions: Vec::new(),
            counts: BTreeMap::new(),
            part: Some(Part::Joint {
                joint: id.clone(),
                shards: numbers,
                of,
            }),
        };
        for of_shard in chosen.into_values() {
            run.regions.extend(of_shard.run.regions);
            for (status, count) in of_shard.run.counts {
                *run.counts.entry(status).or_default() += count;
            }
        }
        run.regions
            .sort_by(|a, b| (&a.account, &a.region).cmp(&(&b.account, &b.region)));
        sealed.new = self.publish_if_new(&run).await?;
        // Another who sealed may have seen a later attempt of a shard: then what is there counts.
        if !sealed.new {
            run = self.run(&run.name).await?;
        }
        self.refresh_index(false).await?;
        sealed.regions = run.regions.len();
        sealed.counts = run.counts;
        sealed.run = Some(run.name);
        Ok(sealed)
    }
}

/// One run for each shard: the newest that came to its end, else the newest. Says which are missing.
fn choose(mut runs: Vec<OfShard>, sealed: &mut Sealed) -> BTreeMap<u32, OfShard> {
    runs.sort_by(|a, b| (a.whole, &a.run.name).cmp(&(b.whole, &b.run.name)));
    let chosen: BTreeMap<u32, OfShard> = runs
        .into_iter()
        .map(|run| (run.shard.number(), run))
        .collect();
    let there: BTreeSet<u32> = chosen.keys().copied().collect();
    sealed.missing = (1..=sealed.of).filter(|n| !there.contains(n)).collect();
    let early = chosen.iter().filter(|(_, run)| !run.whole);
    sealed.early = early.map(|(number, _)| *number).collect();
    chosen
}

/// The id in the joint run's name: the key alone where all shards are in it, so that all who seal make the same.
fn joint_name(id: &JointId, numbers: &[u32], complete: bool) -> String {
    if complete {
        return id.key();
    }
    let list: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    let of_list = Sha256Digest::of(list.join(",").as_bytes()).hex();
    format!("{}{}", id.key(), &of_list[..KEY])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{RegionRef, Scope};

    fn store() -> Store {
        Store::absent("test")
    }

    async fn shard(store: &Store, id: &JointId, k: u32, second: u32, whole: bool) -> RegionRef {
        let region = store
            .put_region(
                "123456789012",
                &format!("r-{k}-{second}"),
                Scope::All,
                Vec::new(),
            )
            .await
            .unwrap();
        let at = format!("2026-01-31T02:00:{second:02}Z").parse().unwrap();
        let run = Run {
            name: RunName::new(at, &id.shard_run(&format!("{k:06x}{second:06x}"))),
            regions: vec![region.clone()],
            counts: BTreeMap::from([("saved".to_owned(), 1)]),
            part: Some(Part::Shard {
                joint: id.clone(),
                shard: Shard::new(k, 3).unwrap(),
                whole,
            }),
        };
        store.publish(&run).await.unwrap();
        region
    }

    #[tokio::test]
    async fn all_shards_make_one_run_whoever_seals() {
        let (store, id) = (store(), JointId::new("nightly-1").unwrap());
        assert_eq!(
            store.seal(&id, true).await.unwrap_err().kind(),
            ErrorKind::NotFound
        );
        shard(&store, &id, 2, 5, true).await;
        let of_3 = shard(&store, &id, 3, 1, false).await;
        let sealed = store.seal(&id, false).await.unwrap();
        assert_eq!(
            (sealed.run, sealed.missing, sealed.early),
            (None, vec![1], vec![3])
        );
        let partial = store.seal(&id, true).await.unwrap();
        let partial = store.run(&partial.run.unwrap()).await.unwrap();
        assert!(partial.regions.contains(&of_3));
        // Another attempt of the third comes to its end, and a late one of it does not.
        let whole = shard(&store, &id, 3, 30, true).await;
        shard(&store, &id, 3, 40, false).await;
        shard(&store, &id, 1, 20, true).await;
        let (one, two) = tokio::join!(store.seal(&id, false), store.seal(&id, false));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert!(one.new ^ two.new || store.joint(&id).await.unwrap().is_some());
        assert_eq!(one.run, two.run);
        let name = one.run.unwrap();
        assert_eq!(store.joint(&id).await.unwrap(), Some(name.clone()));
        let joint = store.run(&name).await.unwrap();
        assert_eq!(joint.regions.len(), 3);
        assert!(joint.regions.contains(&whole) && !joint.regions.contains(&of_3));
        assert_eq!(joint.counts["saved"], 3);
        assert_eq!(name.time(), "2026-01-31T02:00:01Z".parse().unwrap());
        assert_eq!(store.newest_joint_id().await.unwrap(), Some(id.clone()));
        let again = store.seal(&id, false).await.unwrap();
        assert_eq!((again.run, again.new), (Some(name), false));
    }

    #[tokio::test]
    async fn ids_do_not_mix() {
        let (store, id) = (store(), JointId::new("a").unwrap());
        shard(&store, &id, 1, 1, true).await;
        let other = JointId::new("b").unwrap();
        assert!(store.seal(&other, true).await.is_err());
        let run = Run {
            name: RunName::new(
                "2026-01-31T03:00:00Z".parse().unwrap(),
                &id.shard_run("ffffffffffff"),
            ),
            regions: Vec::new(),
            counts: BTreeMap::new(),
            part: Some(Part::Shard {
                joint: id.clone(),
                shard: Shard::new(1, 4).unwrap(),
                whole: true,
            }),
        };
        store.publish(&run).await.unwrap();
        assert_eq!(
            store.seal(&id, true).await.unwrap_err().kind(),
            ErrorKind::Usage
        );
    }

    #[test]
    fn an_id_is_a_plain_word() {
        for good in [
            "nightly-2026-01-31",
            "a",
            "5c1b3f5e-1b7a-4c61-8a2a-0f1e2d3c4b5a",
            "x_y.z:1+2",
        ] {
            assert!(JointId::new(good).is_ok());
        }
        for bad in ["", "a b", "a/b", "é", &"x".repeat(129)] {
            assert!(JointId::new(bad).is_err(), "{bad}");
        }
    }
}
