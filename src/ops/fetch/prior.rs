//! What an earlier fetch left at the destination, for `--update`.

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::files;
use crate::record::{
    CODE, FUNCTION_JSON, FunctionRecord, IMAGE, PACKAGE_ZIP, RECORD, Record, Status,
};

/// The largest record that is read, in bytes.
const MAX_RECORD: u64 = 16 << 20;

/// What larder makes at the top of a destination.
const OURS: [&str; 6] = [RECORD, FUNCTION_JSON, PACKAGE_ZIP, CODE, "layers", IMAGE];

/// A destination that an earlier run published.
#[derive(Debug)]
pub(super) struct Prior {
    dest: PathBuf,
    record: Record,
    /// The record's bytes.
    json: Vec<u8>,
}

impl Prior {
    /// Reads the record at `dest`. None when there is nothing, or an empty directory.
    ///
    /// # Errors
    /// The record is broken, or of a newer version. Whatever else stands at `dest` is for the staging to refuse.
    pub(super) fn read(dest: &Path) -> Result<Option<Self>> {
        if !files::is_record(dest) {
            return Ok(None);
        }
        let path = dest.join(RECORD);
        let json = files::read_small(&path, MAX_RECORD)?;
        let record = Record::from_json(&json).map_err(|e| {
            Error::from(e)
                .about(path.display().to_string())
                .hint("--force replaces the directory whatever its record says")
        })?;
        Ok(Some(Self {
            dest: dest.to_owned(),
            record,
            json,
        }))
    }

    /// Refuses to update the record of one function with another function.
    pub(super) fn check_same(&self, now: &FunctionRecord) -> Result<()> {
        let before = &self.record.function;
        let same = before.name == now.name
            && before.region == now.region
            && before.account == now.account
            && before.qualifier == now.qualifier;
        if same {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::DestinationExists,
            format!("holds another function: {}", before.arn),
        )
        .about(self.dest.display().to_string())
        .hint("--update keeps one function or one version of it up to date; choose another destination, or --force"))
    }

    /// Whether the destination holds just what `record` and `function_json` say: then there is nothing to publish.
    pub(super) fn is_the_same(&self, record: &Record, function_json: &[u8]) -> bool {
        let layers_kept = record
            .layers
            .iter()
            .all(|layer| layer.status == Status::Unchanged)
            && self.record.layers.len() == record.layers.len();
        layers_kept && self.states(record, function_json)
    }

    /// The same, apart from the layers.
    pub(super) fn states(&self, record: &Record, function_json: &[u8]) -> bool {
        let before = &self.record;
        let json = files::read_small(&self.dest.join(FUNCTION_JSON), MAX_RECORD);
        record.status == Status::Unchanged
            && before.package == record.package
            && before.unpacked == record.unpacked
            && before.image == record.image
            && before.environment_redacted == record.environment_redacted
            && json.is_ok_and(|json| json == function_json)
    }

    /// Says which of the user's own files go with the destination that is replaced.
    pub(super) fn warn_of_others(&self, reporter: &dyn Reporter) {
        let others: Vec<String> = files::names(&self.dest)
            .into_iter()
            .filter(|name| !OURS.contains(&name.as_str()))
            .collect();
        if !others.is_empty() {
            reporter.report(&Event::Warning {
                subject: &self.dest.display().to_string(),
                message: &format!(
                    "is replaced as a whole, and with it goes what larder had not made: {}",
                    others.join(", ")
                ),
                hint: Some("keep files of your own elsewhere"),
            });
        }
    }

    /// Whether the record is the one that was read.
    pub(super) fn is_still_there(&self) -> bool {
        files::read_small(&self.dest.join(RECORD), MAX_RECORD).is_ok_and(|json| json == self.json)
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// What was published as `name`.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dest.join(name)
    }

    /// Where the tree of that time lies, with its `t1` hash, if it was unpacked.
    pub(super) fn tree(&self) -> Option<(PathBuf, String)> {
        let unpacked = self.record.unpacked.as_ref()?;
        Some((self.dest.join(CODE), unpacked.tree.clone()))
    }
}
