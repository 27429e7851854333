//! Drift: is what Lambda runs what somebody means it to run?
//!
//! ```text
//! a zip, directory, digest ─┐
//! larder.lock ──────────────┤                                    ┌ in_sync, repackaged, drifted, missing,
//! terraform, cdk, sam ──────┼─> Expectation ─┐                   │ unexpected, unknown, accepted
//!                           ┘                ├─> compare ─> Report
//!          listing, aliases ────> what runs ─┘
//! ```
//!
//! Everything below this module is plain: expectations are read from bytes, contents from open files, and comparisons are
//! functions of two values. What asks AWS, and in which order, is in [`ops::check`](crate::ops::check).
//!
//! | file | what it knows |
//! |---|---|
//! | `expectation` | what a source of expectations can say, in one type for all of them |
//! | `input` | how a parser reads files, and what it hands back |
//! | `content`, `ignore`, `cache` | the files of a package or directory, what is left out, what was read before |
//! | `config`, `diff` | settings; unified diffs without secrets |
//! | `lock`, `accept` | `larder.lock`; known exceptions |
//! | `terraform`, `cdk`, `sam` | one parser each; `template` and `yaml` are CloudFormation's part of the latter two |
//! | `compare` | two trees, path by path |
//! | `report` | the result, as `--output json` prints it and every report format reads it |
//!
//! A parser is one file here, a plain function
//! `read(path: &Path, files: &dyn Files, options: &Options) -> Result<Stated>`: `path` as the user gave it, `files` to read
//! it and what it names. A source that is broken as a whole is an error of kind [`Usage`](crate::error::ErrorKind::Usage);
//! what is wrong with one function in it is that function's [`Code::CannotTell`] or [`Named::Unknown`].
//!
//! A report format is one file in `cli/report/`: a plain function `render(report: &Report) -> Result<Vec<u8>>`.

pub mod accept;
mod cache;
pub mod cdk;
mod compare;
mod config;
mod content;
pub mod diff;
mod expectation;
mod ignore;
mod input;
pub mod lock;
mod report;
pub mod sam;
pub mod template;
pub mod terraform;
mod yaml;

pub use cache::Cache;
pub use compare::{Changes, MAX_CHANGES, compare, loosened, shown};
pub use content::{Contents, Node};
pub use expectation::{
    Accept, AliasExpectation, Code, Config, Expectation, IgnoreRules, Layer, Named, Source,
    SourceKind, State, Target,
};
pub use ignore::{Ignore, LARDERIGNORE};
pub use input::{Disk, FileKind, Files, MAX_INPUT, Stated, StatedWarning};
pub use report::{
    Accepted, Change, ChangeKind, ConfigChange, Deployed, Expected, FunctionResult, LayerResult,
    LayerStatus, Report, ReportWarning, Status, Summary,
};
pub use template::TemplateOptions;
pub use terraform::{TerraformHash, TerraformOptions};
