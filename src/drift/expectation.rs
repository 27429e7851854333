//! What a source of expectations can say about one function, in one type for all sources.
//!
//! Everything is optional but the function and the source: what is not stated is not compared. What a source
//! means to state and cannot (an intrinsic that cannot be resolved, code that is written inline) is
//! [`Code::CannotTell`] with its reason, so that it ends as `unknown` and never as in sync.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::digest::Sha256Digest;
use crate::error::ErrorKind;
use crate::function::FunctionRef;

/// One function, and what it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// Which function.
    pub target: Target,
    /// Who says so, and where.
    pub source: Source,
    /// What it should run: at [`Target::qualifier`], else at `$LATEST`.
    pub state: State,
    /// Its aliases, as far as the source states them.
    pub aliases: Vec<AliasExpectation>,
    /// Whether `aliases` are all there should be: then any other that is deployed is unexpected. So for the lock; not for
    /// Terraform or a template, beside which others may manage aliases.
    pub aliases_complete: bool,
    /// A difference that the source itself accepts (the lock's `accept`).
    pub accept: Option<Accept>,
    /// What the report should say beside the result, in plain sentences: which of several values was taken, that it is as of the
    /// last refresh.
    pub notes: Vec<String>,
}

impl Expectation {
    /// An expectation of code alone.
    pub fn of_code(target: Target, source: Source, code: Code) -> Self {
        Self {
            target,
            source,
            state: State {
                code,
                ..State::default()
            },
            aliases: Vec::new(),
            aliases_complete: false,
            accept: None,
            notes: Vec::new(),
        }
    }
}

/// Which function an expectation is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The name or ARN, or where it is to be had.
    pub function: Named,
    /// The region, when the source states it (else an ARN's, else the session's).
    pub region: Option<String>,
    /// The account, 12 digits, when the source states it. A function of another account than the caller's is `unknown`,
    /// never compared with a namesake.
    pub account: Option<String>,
    /// The version or alias the expectation is about; None is `$LATEST`.
    pub qualifier: Option<String>,
}

impl Target {
    /// A function by its name or ARN, whose parts are taken.
    pub fn of(function: FunctionRef) -> Self {
        Self {
            region: function.region().map(ToOwned::to_owned),
            account: function.account().map(ToOwned::to_owned),
            qualifier: function.qualifier().map(ToOwned::to_owned),
            function: Named::Function(function),
        }
    }
}

/// A function's name, or what stands for it.
#[derive(Debug, Clone, PartialEq)]
pub enum Named {
    /// A name, partial ARN or ARN as the source states it.
    Function(FunctionRef),
    /// A resource of a CloudFormation stack. Its physical name comes from the stack's resources; where that is not asked
    /// (no `--stack`, and the source names none) it ends as `unknown`.
    Resource {
        /// The stack, if the source names it (CDK does; `--stack` goes before it).
        stack: Option<String>,
        /// The logical id in the template; before it, with a slash after each, those of the nested stacks it lies in.
        logical_id: String,
        /// The condition by which the resource is in the stack, where the template alone does not decide it. Then a stack
        /// without the resource is as it should be.
        condition: Option<String>,
    },
    /// The source has a function whose name it does not say, with the reason: it ends as `unknown`.
    Unknown {
        /// What the source calls it: a Terraform address, a logical id.
        label: String,
        /// Why its name cannot be told.
        reason: String,
        /// The kind of failure behind it, if a call failed.
        cause: Option<ErrorKind>,
    },
}

/// Who states an expectation, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What kind of source it is.
    pub kind: SourceKind,
    /// The file as the user gave it (relative stays relative): what SARIF and the annotations point at. For a value on the
    /// command line, the value.
    pub path: String,
    /// The line in it, from 1, if it is known.
    pub line: Option<u32>,
    /// What the function is called there: a Terraform address, `Stack/LogicalId`, a key of the lock.
    pub label: Option<String>,
}

impl Source {
    /// A source without a line or a label.
    pub fn new(kind: SourceKind, path: impl Into<String>) -> Self {
        Self {
            kind,
            path: path.into(),
            line: None,
            label: None,
        }
    }

    /// With what the function is called there.
    #[must_use]
    pub fn labelled(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// With its line, from 1.
    #[must_use]
    pub fn at_line(mut self, line: Option<u32>) -> Self {
        self.line = line;
        self
    }
}

/// The kinds of sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// `--expect`.
    CommandLine,
    /// `--lock`.
    Lock,
    /// `--terraform`.
    Terraform,
    /// `--cdk`.
    Cdk,
    /// `--sam`.
    Sam,
    /// `--store`.
    Store,
}

/// What one version of a function should be.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// Its code.
    pub code: Code,
    /// Its layers in the order in which Lambda applies them; None when nothing is stated, empty when there should be none.
    pub layers: Option<Vec<Layer>>,
    /// Its configuration, compared with `--config`.
    pub config: Config,
}

/// What the code should be.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Code {
    /// Nothing is stated, and nothing is compared: the function should merely be there.
    #[default]
    Unstated,
    /// A zip whose digest is this one.
    Digest {
        /// SHA-256 of the zip.
        sha256: Sha256Digest,
        /// Its size in bytes, when the source knows it. A zip with this digest and another size there cannot be.
        size: Option<u64>,
        /// The content hash of its tree (`t1:…`), when the source knows it: then another zip with the same contents is told
        /// from other contents without the expected package.
        tree: Option<String>,
        /// `h1:…`, likewise.
        h1: Option<String>,
        /// Which value was taken, for the report: `code_sha256 of the configuration`.
        basis: String,
        /// Digests which, when they are what is deployed instead, explain the difference: the note is then added to the result
        /// (which stays what it is). For a `source_code_hash` that may be a hash of sources.
        instead: Vec<(Sha256Digest, String)>,
    },
    /// A local zip: compared by its digest, then by its contents.
    Zip(PathBuf),
    /// A local directory (a build output): compared by its contents, links followed, modes and empty directories left out.
    Directory {
        /// The directory.
        path: PathBuf,
        /// What in it is left out.
        ignore: IgnoreRules,
    },
    /// A directory that `larder fetch` wrote: its package's digest, then its contents.
    Fetched(PathBuf),
    /// A bag that `larder snapshot` wrote: the package in it.
    Bag(PathBuf),
    /// An image.
    Image {
        /// Its digest, when the source knows it: of the manifest for one architecture, or of an index.
        digest: Option<Sha256Digest>,
        /// Its reference as the source has it; with a tag and no digest only the reference that is deployed can be compared.
        uri: Option<String>,
        /// Which value was taken, for the report.
        basis: String,
    },
    /// What another function runs.
    Function {
        /// The other function, perhaps with a version or alias.
        function: FunctionRef,
        /// The profile to ask with (`--expect-profile`).
        profile: Option<String>,
        /// The region to ask in (`--expect-region`), before the ARN's.
        region: Option<String>,
    },
    /// The source means to state the code and it cannot be told: `unknown`, with this reason.
    CannotTell(String),
}

/// What of a directory is left out of a comparison, beside what its `.larderignore` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IgnoreRules {
    /// Lines in the form of `.gitignore`.
    pub lines: Vec<String>,
}

/// One layer that a function should have.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// What the source calls it: the ARN, else a logical id or an address.
    pub label: String,
    /// The layer version's ARN, when the source knows it.
    pub arn: Option<String>,
    /// Its code, when the source knows that: a digest, zip or directory. [`Code::CannotTell`] with neither ARN nor code.
    pub code: Code,
}

impl Layer {
    /// The label that stands for all of a list that cannot be told, not even how many there are.
    pub const LIST: &'static str = "layers";
}

/// An alias that a function should have.
#[derive(Debug, Clone, PartialEq)]
pub struct AliasExpectation {
    /// The alias.
    pub name: String,
    /// The version that gets what `weights` leave over.
    pub version: String,
    /// Further versions and the share of calls (0 to 1) that each gets.
    pub weights: BTreeMap<String, f64>,
    /// What those versions should be, by version number, as far as the source knows. Where a version is not in it, its number
    /// itself is compared; else numbers count with `--strict` alone.
    pub versions: BTreeMap<String, State>,
    /// Who states it, when that is another place than the function's.
    pub source: Option<Source>,
}

/// Configuration, each part only as far as it is stated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// `Zip` or `Image`.
    pub package_type: Option<String>,
    /// `Runtime`.
    pub runtime: Option<String>,
    /// `Handler`.
    pub handler: Option<String>,
    /// `Architectures`.
    pub architectures: Option<BTreeSet<String>>,
    /// `MemorySize`, in MiB.
    pub memory_size: Option<u64>,
    /// `Timeout`, in seconds.
    pub timeout: Option<u64>,
    /// `Role`: an ARN, or a role's name when the source has only that.
    pub role: Option<String>,
    /// The names of environment variables; values are never kept.
    pub environment: Option<BTreeSet<String>>,
    /// `ConfigSha256`, where AWS gave it.
    pub config_sha256: Option<String>,
    /// The fields that the source states in a way that cannot be read: compared, they make the function unknown.
    pub unreadable: BTreeSet<String>,
}

/// A difference that is known and accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accept {
    /// Accepted only while this digest is deployed, as Lambda states it; None accepts any code.
    pub code_sha256: Option<String>,
    /// The last day it is accepted on, `2026-12-31`; None is without end.
    pub until: Option<String>,
    /// Why.
    pub reason: Option<String>,
}
