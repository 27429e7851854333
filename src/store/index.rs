//! `index.json`: the way in for OCI tools. A cache of the runs, rebuilt from them; larder itself never believes it.

use std::collections::{BTreeMap, BTreeSet};

use super::Store;
use super::manifest::{Descriptor, INDEX, Index};
use super::run::{Run, RunName};
use crate::digest::Sha256Digest;
use crate::error::Result;

const INDEX_JSON: &str = "index.json";
/// The name by which tools ask for an entry.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const RUN_NOTE: &str = "larder.run";

impl Store {
    /// Brings `index.json` up to date: one entry a run, named like it, and one for each of its accounts and regions, named
    /// `RUN/ACCOUNT/REGION`. Runs that it knows are not read again, but with `anew`. Runs that cannot be read are left out.
    ///
    /// # Errors
    /// The store cannot be listed or written.
    pub async fn refresh_index(&self, anew: bool) -> Result<()> {
        let known = match self.read(INDEX_JSON).await? {
            Some(bytes) if !anew => Index::from_json(&bytes, INDEX_JSON).ok(),
            _ => None,
        };
        let mut by_run: BTreeMap<String, Vec<Descriptor>> = BTreeMap::new();
        for descriptor in known.into_iter().flat_map(|index| index.manifests) {
            if let Some(run) = descriptor.annotation(RUN_NOTE) {
                by_run.entry(run.to_owned()).or_default().push(descriptor);
            }
        }
        let names = self.runs().await?.names;
        let present: BTreeSet<&str> = names.iter().map(RunName::as_str).collect();
        by_run.retain(|run, _| present.contains(run.as_str()));
        for name in &names {
            if !by_run.contains_key(name.as_str())
                && let Ok(bytes) = self.run_bytes(name).await
                && let Ok(run) = Run::from_json(&bytes, name)
            {
                by_run.insert(name.to_string(), entries(&run, &bytes));
            }
        }
        let manifests = by_run.into_values().flatten().collect();
        let json = Index::new(None, manifests, BTreeMap::new()).to_json();
        self.put_over(INDEX_JSON, json).await
    }

    /// Whether `index.json` names just the runs that there are.
    pub(super) async fn index_is_current(&self, names: &[RunName]) -> Result<bool> {
        let Some(bytes) = self.read(INDEX_JSON).await? else {
            return Ok(names.is_empty());
        };
        let Ok(index) = Index::from_json(&bytes, INDEX_JSON) else {
            return Ok(false);
        };
        let listed: BTreeSet<&str> = index
            .manifests
            .iter()
            .filter_map(|descriptor| descriptor.annotation(RUN_NOTE))
            .collect();
        Ok(listed == names.iter().map(RunName::as_str).collect())
    }
}

fn entries(run: &Run, bytes: &[u8]) -> Vec<Descriptor> {
    let own = Descriptor::new(INDEX, &Sha256Digest::of(bytes), bytes.len() as u64);
    let named = |mut descriptor: Descriptor, name: String| {
        let notes = &mut descriptor.annotations;
        notes.insert(REF_NAME.to_owned(), name);
        notes.insert(RUN_NOTE.to_owned(), run.name.to_string());
        descriptor
    };
    let mut out = vec![named(own, run.name.to_string())];
    out.extend(run.regions.iter().map(|region| {
        let name = format!("{}/{}/{}", run.name, region.account, region.region);
        named(region.index.clone(), name)
    }));
    out
}
