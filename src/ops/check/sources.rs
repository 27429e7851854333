//! The sources of expectations, read: local files first, so that what is wrong with them is said before any call.

use std::path::{Path, PathBuf};

use super::stored;
use crate::aws::{Session, SessionOptions};
use crate::drift::template::TemplateOptions;
use crate::drift::terraform::{self, TerraformOptions};
use crate::drift::{
    Code, Disk, Expectation, FileKind, Files as _, IgnoreRules, Source, SourceKind, Stated, Target,
    cdk, lock, sam,
};
use crate::error::{Error, ErrorKind, Result};
use crate::events::Reporter;
use crate::function::FunctionRef;
use crate::ops::stacks;
use crate::record::RECORD;
use crate::store::Store;

/// A file that every bag has (RFC 8493 section 2.1.1).
const BAGIT: &str = "bagit.txt";

/// What the user named as the source of what is expected.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--expect`, of each function on the command line.
    pub expect: Option<Given>,
    /// `--lock`.
    pub locks: Vec<PathBuf>,
    /// `--terraform`: states and plans.
    pub terraform: Vec<PathBuf>,
    /// How they are read.
    pub terraform_options: TerraformOptions,
    /// `--cdk`: assemblies.
    pub cdk: Vec<PathBuf>,
    /// `--sam`: built templates.
    pub sam: Vec<PathBuf>,
    /// `--stack`.
    pub stacks: Vec<String>,
    /// `--store`: the last backup in it.
    pub store: Option<Store>,
}

/// `--expect`, as it was given.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// A path, a digest, or `lambda:OTHER[:Q]`.
    pub value: String,
    /// `--expect-profile`, for another function.
    pub profile: Option<String>,
    /// `--expect-region`, likewise.
    pub region: Option<String>,
    /// What is left out of a directory.
    pub ignore: IgnoreRules,
}

impl Given {
    /// What the code should be.
    ///
    /// # Errors
    /// It is neither a path that is there, nor a digest, nor a function.
    pub fn code(&self) -> Result<Code> {
        if let Some(other) = self.value.strip_prefix("lambda:") {
            let function: FunctionRef = other
                .parse()
                .map_err(|e| Error::from(e).about(self.value.clone()))?;
            return Ok(Code::Function {
                function,
                profile: self.profile.clone(),
                region: self.region.clone(),
            });
        }
        if self.profile.is_some() || self.region.is_some() {
            return Err(Error::new(
                ErrorKind::Usage,
                "--expect-profile and --expect-region are for --expect lambda:OTHER",
            ));
        }
        let path = Path::new(&self.value);
        match Disk.kind(path) {
            Some(FileKind::File) => return Ok(Code::Zip(path.to_owned())),
            Some(FileKind::Directory) if crate::files::is_record(path) => {
                return Ok(Code::Fetched(path.to_owned()));
            }
            Some(FileKind::Directory) if Disk.kind(&path.join(BAGIT)).is_some() => {
                return Ok(Code::Bag(path.to_owned()));
            }
            Some(FileKind::Directory) => {
                return Ok(Code::Directory {
                    path: path.to_owned(),
                    ignore: self.ignore.clone(),
                });
            }
            None => {}
        }
        let sha256 = self.value.parse().map_err(|_| {
            Error::new(
                ErrorKind::Usage,
                "this is neither a file or directory, nor a digest, nor lambda:FUNCTION",
            )
            .about(self.value.clone())
            .hint(format!(
                "a digest is the SHA-256 in 44 characters of base64 or 64 hex digits; a directory with {RECORD} or {BAGIT} is a fetch or a bag"
            ))
        })?;
        Ok(Code::Digest {
            sha256,
            size: None,
            tree: None,
            h1: None,
            basis: String::new(),
            instead: Vec::new(),
        })
    }
}

impl Sources {
    /// Reads all of them. Templates need a session: for the region, and where names are their stack's to say.
    ///
    /// # Errors
    /// A source cannot be read, or is none; or AWS refuses the caller.
    pub async fn read(
        &self,
        common: &SessionOptions,
        functions: &[FunctionRef],
        reporter: &dyn Reporter,
    ) -> Result<Stated> {
        let mut stated = Stated::default();
        let mut add = |one: Stated| {
            stated.expectations.extend(one.expectations);
            stated.warnings.extend(one.warnings);
        };
        if let Some(given) = &self.expect {
            if functions.is_empty() {
                return Err(Error::new(
                    ErrorKind::Usage,
                    "--expect needs the function that is expected to be so",
                )
                .hint("larder check FUNCTION --expect PATH"));
            }
            let code = given.code()?;
            add(Stated {
                expectations: functions
                    .iter()
                    .map(|function| {
                        Expectation::of_code(
                            Target::of(function.clone()),
                            Source::new(SourceKind::CommandLine, given.value.clone()),
                            code.clone(),
                        )
                    })
                    .collect(),
                warnings: Vec::new(),
            });
        }
        for path in self.locks.iter().chain(&self.terraform) {
            there(path)?;
            if Disk.kind(path) == Some(FileKind::Directory) {
                return Err(Error::new(
                    ErrorKind::Usage,
                    "it is a directory, and a file is expected",
                )
                .about(path.display().to_string()));
            }
        }
        for path in &self.locks {
            let one = lock::read(path, &Disk)?;
            if one.expectations.is_empty() {
                return Err(Error::new(ErrorKind::Usage, "the lockfile has no function")
                    .about(path.display().to_string())
                    .hint("larder lock FUNCTION adds one"));
            }
            add(one);
        }
        for path in &self.terraform {
            add(terraform::read(path, &Disk, &self.terraform_options)?);
        }
        for path in self.cdk.iter().chain(&self.sam) {
            there(path)?;
        }
        if let Some(store) = &self.store {
            // Other accounts' functions are not the caller's to compare; who may not ask who they are is told so function by function.
            let session = Session::connect(common, None).await?;
            let account = session.caller().await.ok().map(|caller| caller.account);
            add(stored::read(store, functions, account.as_deref(), reporter).await?);
        }
        if self.cdk.is_empty() && self.sam.is_empty() {
            return Ok(stated);
        }
        // What is wrong with them is said before there need be a region or credentials.
        let bare = TemplateOptions {
            stacks: self.stacks.clone(),
            ..TemplateOptions::default()
        };
        for path in &self.cdk {
            cdk::read(path, &Disk, &bare)?;
        }
        for path in &self.sam {
            sam::read(path, &Disk, &bare)?;
        }
        let session = Session::connect(common, None).await?;
        let options = TemplateOptions {
            stacks: self.stacks.clone(),
            region: Some(session.region().to_owned()),
            // Who may not ask who they are has no account in image references either; that is said there.
            account: session.caller().await.ok().map(|caller| caller.account),
        };
        for path in &self.cdk {
            add(cdk::read(path, &Disk, &options)?);
        }
        for path in &self.sam {
            add(sam::read(path, &Disk, &options)?);
        }
        stacks::resolve(&session, &mut stated.expectations).await?;
        Ok(stated)
    }
}

/// A file that was named and is not there is a mistake in the arguments.
fn there(path: &Path) -> Result<()> {
    if Disk.kind(path).is_some() {
        return Ok(());
    }
    if path.exists() {
        return Err(
            Error::new(ErrorKind::Usage, "is no regular file: pipes are not read")
                .about(path.display().to_string())
                .hint("write it to a file first"),
        );
    }
    Err(
        Error::new(ErrorKind::Usage, "there is no such file or directory")
            .about(path.display().to_string()),
    )
}
