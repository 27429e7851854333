//! From what a source says about code to something that a deployed package can be compared with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Checker;
use crate::aws::{Session, SessionOptions};
use crate::digest::Sha256Digest;
use crate::drift::{Code, Contents, Disk, Ignore, IgnoreRules};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::function::FunctionRef;
use crate::lambda::Lambda;
use crate::ops::obtain;
use crate::package::{Claim, Received, Verified};
use crate::record::{PACKAGE_ZIP, RECORD, Record};
use crate::store::{Descriptor, PACKAGE};
use crate::task::blocking;

/// The largest record that is read, in bytes.
const MAX_RECORD: u64 = 16 << 20;

/// What the code should be, as far as it can be had without reading a package's contents.
pub(super) enum Wanted {
    /// Nothing is compared.
    Unstated,
    /// A zip by its digest.
    Zip(WantedZip),
    /// A directory's contents.
    Directory {
        path: PathBuf,
        contents: Contents,
        ignore: Ignore,
    },
    /// An image.
    Image(WantedImage),
}

pub(super) struct WantedZip {
    pub(super) sha256: Sha256Digest,
    pub(super) size: Option<u64>,
    pub(super) tree: Option<String>,
    pub(super) h1: Option<String>,
    pub(super) basis: Option<String>,
    /// Notes for when one of these is deployed instead.
    pub(super) instead: Vec<(Sha256Digest, String)>,
    /// Where the package itself is to be had.
    pub(super) from: From,
    /// The digest may be one of an image just as well: it was given alone on the command line.
    pub(super) any_type: bool,
}

/// Where an expected package is.
#[derive(Clone)]
pub(super) enum From {
    /// Nowhere: its contents are known only if they were seen before.
    Nowhere,
    /// A local zip.
    File(PathBuf),
    /// Another function.
    Function(Box<Other>),
}

#[derive(Clone)]
pub(super) struct Other {
    pub(super) session: Session,
    pub(super) lambda: Lambda,
    pub(super) function: FunctionRef,
}

pub(super) struct WantedImage {
    pub(super) digest: Option<Sha256Digest>,
    pub(super) uri: Option<String>,
    pub(super) basis: Option<String>,
    /// The digest was not stated by Lambda, and may be that of an index over several architectures.
    pub(super) may_be_index: bool,
}

/// The version of a function that is compared.
pub(super) struct Subject<'a> {
    pub(super) name: &'a str,
    /// A number or `$LATEST`.
    pub(super) version: &'a str,
    pub(super) region: &'a str,
    pub(super) account: &'a str,
}

impl Subject<'_> {
    /// Its own among the packages of a bag, `data/functions/ACCOUNT/REGION/NAME/versions/LATEST|NUMBER/package.zip`. Region and
    /// account decide only where the name is there more than once: a bag may be of another account than the function.
    fn among<'p>(&self, packages: &[(&'p str, &'p str)]) -> Vec<(&'p str, &'p str)> {
        let version = if self.version == "$LATEST" {
            "LATEST"
        } else {
            self.version
        };
        let part = |path: &'p str, at: usize| path.split('/').nth(at).unwrap_or_default();
        let mut own: Vec<_> = packages.to_vec();
        own.retain(|(_, path)| part(path, 4) == self.name && part(path, 6) == version);
        for (at, wanted) in [(3, self.region), (2, self.account)] {
            if own.len() > 1 {
                own.retain(|(_, path)| part(path, at) == wanted);
            }
        }
        own
    }
}

impl WantedZip {
    pub(super) fn plain(sha256: Sha256Digest, from: From) -> Self {
        Self {
            sha256,
            size: None,
            tree: None,
            h1: None,
            basis: None,
            instead: Vec::new(),
            from,
            any_type: false,
        }
    }
}

impl Checker {
    /// Looks at what is expected. Local files are hashed, another function's configuration is asked for.
    /// `subject` is what is compared with it, where that is a function.
    pub(super) async fn wanted(
        &mut self,
        code: &Code,
        command_line: bool,
        subject: Option<&Subject<'_>>,
    ) -> Result<Wanted> {
        Ok(match code {
            Code::Unstated => Wanted::Unstated,
            Code::CannotTell(reason) => {
                return Err(Error::new(ErrorKind::Usage, reason.clone()));
            }
            Code::Digest {
                sha256,
                size,
                tree,
                h1,
                basis,
                instead,
            } => Wanted::Zip(WantedZip {
                size: *size,
                tree: tree.clone(),
                h1: h1.clone(),
                basis: (!basis.is_empty()).then(|| basis.clone()),
                instead: instead.clone(),
                any_type: command_line,
                ..WantedZip::plain(*sha256, From::Nowhere)
            }),
            Code::Zip(path) => Wanted::Zip(self.local_zip(path.clone()).await?),
            Code::Fetched(dest) => self.fetched(dest).await?,
            Code::Bag(dir) => Wanted::Zip(self.in_bag(dir, subject).await?),
            Code::Directory { path, ignore } => {
                self.directory(path.clone(), ignore.clone()).await?
            }
            Code::Image { digest, uri, basis } => {
                let in_uri = uri.as_deref().and_then(|uri| uri.rsplit_once("@sha256:"));
                let in_uri = in_uri.and_then(|(_, hex)| Sha256Digest::from_hex(hex).ok());
                let digest = digest.or(in_uri);
                if digest.is_none() && uri.is_none() {
                    return Err(Error::new(
                        ErrorKind::Usage,
                        "the source names neither a digest nor a reference of the image",
                    ));
                }
                Wanted::Image(WantedImage {
                    may_be_index: digest.is_some() && in_uri == digest,
                    digest,
                    uri: uri.clone(),
                    basis: (!basis.is_empty()).then(|| basis.clone()),
                })
            }
            Code::Function {
                function,
                profile,
                region,
            } => {
                let mut options: SessionOptions = self.common.clone();
                if let Some(profile) = profile {
                    options.profile = Some(profile.clone());
                    // The role is the checked side's; the other account is reached as its profile says.
                    options.role_arn = None;
                    options.external_id = None;
                    options.region = None;
                }
                if let Some(region) = region {
                    options.region = Some(region.clone());
                } else if let Some(region) = function.region() {
                    options.region = Some(region.to_owned());
                }
                let session = Session::connect(&options, function.region()).await?;
                let lambda = Lambda::new(&session, Arc::clone(&self.reporter));
                let listed = lambda
                    .configuration(function)
                    .await
                    .map_err(|e| e.about(format!("lambda:{function}")))?;
                other(&listed, session, lambda, function)?
            }
        })
    }

    async fn local_zip(&mut self, path: PathBuf) -> Result<WantedZip> {
        let sha256 = if let Some(sha256) = self.hashed.get(&path) {
            *sha256
        } else {
            let sha256 = self.open_local(path.clone()).await?.sha256();
            self.hashed.insert(path.clone(), sha256);
            sha256
        };
        Ok(WantedZip::plain(sha256, From::File(path)))
    }

    /// Opens and hashes a local file.
    pub(super) async fn open_local(&self, path: PathBuf) -> Result<Verified> {
        let cancel = self.cancel.clone();
        blocking(move || {
            let file = files::open_read(&path)?;
            let received = Received::read(file, &|| cancel.is_cancelled()).map_err(|e| {
                if cancel.is_cancelled() {
                    Error::interrupted()
                } else {
                    files::FilesError::io("read", &path, e).into()
                }
            })?;
            Ok(received.verify(&Claim::local())?)
        })
        .await
    }

    async fn directory(&self, path: PathBuf, rules: IgnoreRules) -> Result<Wanted> {
        let cancel = self.cancel.clone();
        blocking(move || {
            let ignore = Ignore::load(&path, &rules, &Disk)?;
            let contents = Contents::of_directory(&path, &ignore, &cancel)?;
            Ok(Wanted::Directory {
                path,
                contents,
                ignore,
            })
        })
        .await
    }

    /// A directory that `fetch` wrote: its package must still be what its record says.
    async fn fetched(&mut self, dest: &Path) -> Result<Wanted> {
        let shown = dest.display().to_string();
        let json = files::read_small(&dest.join(RECORD), MAX_RECORD)?;
        let record = Record::from_json(&json).map_err(|e| Error::from(e).about(shown.clone()))?;
        if let Some(package) = &record.package {
            let zip = self.local_zip(dest.join(PACKAGE_ZIP)).await?;
            if zip.sha256.hex() != package.sha256 {
                return Err(Error::new(
                    ErrorKind::Usage,
                    format!(
                        "its package is {} where its record says {}",
                        zip.sha256.hex(),
                        package.sha256
                    ),
                )
                .about(shown)
                .hint("fetch it again: what lies there was changed"));
            }
            return Ok(Wanted::Zip(WantedZip {
                basis: Some(format!("the package of {}", record.function.arn)),
                ..zip
            }));
        }
        let digest = record.image.as_ref().and_then(|i| i.digest.as_deref());
        let digest = digest.and_then(|text| text.parse().ok());
        if digest.is_none() {
            return Err(Error::new(
                ErrorKind::Usage,
                "its record names neither a package nor an image's digest",
            )
            .about(shown));
        }
        Ok(Wanted::Image(WantedImage {
            digest,
            uri: record.image.and_then(|i| i.image_uri),
            basis: Some(format!("the image of {}", record.function.arn)),
            may_be_index: false,
        }))
    }

    /// The zip in a bag, which must be what the bag's manifest says: the only one of a function, or that of the same function and
    /// version.
    async fn in_bag(&mut self, dir: &Path, subject: Option<&Subject<'_>>) -> Result<WantedZip> {
        let shown = dir.display().to_string();
        let wrong = |message: String| {
            Error::new(ErrorKind::Usage, message)
                .about(shown.clone())
                .hint("larder verify looks at the whole bag")
        };
        let manifest = files::read_small(&dir.join("manifest-sha256.txt"), MAX_RECORD)?;
        let manifest = String::from_utf8_lossy(&manifest).into_owned();
        // RFC 8493 section 2.1.3: digest, spaces, and the path.
        let packages: Vec<(&str, &str)> = manifest
            .lines()
            .filter_map(|line| line.split_once(char::is_whitespace))
            .map(|(digest, path)| (digest, path.trim_start()))
            .filter(|(_, path)| path.ends_with(&format!("/{PACKAGE_ZIP}")))
            .filter(|(_, path)| !path.contains("/layers/") && !path.starts_with("data/quarantine/"))
            .collect();
        let meant = match subject {
            Some(subject) if packages.len() > 1 => subject.among(&packages),
            _ => packages.clone(),
        };
        let [(digest, path)] = meant.as_slice() else {
            let count = packages.len();
            return Err(wrong(match subject {
                Some(Subject { name, version, .. }) if count > 1 => format!(
                    "the bag has {count} packages of functions, and {} of {name} at {version}",
                    meant.len()
                ),
                _ => format!("the bag has {count} packages of functions, and one is expected"),
            }));
        };
        let inside = path.starts_with("data/") && !path.split('/').any(|part| part == "..");
        if !inside {
            return Err(wrong(format!("its manifest names {path:?}")));
        }
        let zip = self.local_zip(dir.join(path)).await?;
        if !zip.sha256.hex().eq_ignore_ascii_case(digest) {
            return Err(wrong(format!(
                "its {path} is {} where its manifest says {digest}",
                zip.sha256.hex()
            )));
        }
        Ok(zip)
    }

    /// The expected package itself, where it is to be had.
    pub(super) async fn expected_package(&self, zip: &WantedZip) -> Result<Option<Verified>> {
        match &zip.from {
            From::File(path) => {
                let package = self.open_local(path.clone()).await?;
                if package.sha256() != zip.sha256 {
                    return Err(Error::new(ErrorKind::Unsettled, "it was changed meanwhile")
                        .about(path.display().to_string()));
                }
                Ok(Some(package))
            }
            From::Function(other) if self.options.download => {
                let reporter = Arc::clone(&self.reporter);
                obtain::function_package(
                    &other.session,
                    &other.lambda,
                    &other.function,
                    zip.sha256,
                    reporter,
                )
                .await
                .map(Some)
            }
            From::Nowhere => self.stored_package(zip).await,
            From::Function(_) => Ok(None),
        }
    }

    /// The same from the store, whose packages are named by their digests. One that is not there, or damaged, is as good as none:
    /// that there is a difference is known without it.
    async fn stored_package(&self, zip: &WantedZip) -> Result<Option<Verified>> {
        let (Some(store), Some(size)) = (&self.options.store, zip.size) else {
            return Ok(None);
        };
        let descriptor = Descriptor::new(PACKAGE, &zip.sha256, size);
        let spool = blocking(|| Ok(files::scratch_file()?)).await?;
        let received = match store.get(&descriptor, spool).await {
            Ok(received) => received,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        Ok(received.verify(&Claim::lambda(zip.sha256, size)).ok())
    }
}

/// What another function runs, as an expectation.
fn other(
    listed: &crate::lambda::Listed,
    session: Session,
    lambda: Lambda,
    function: &FunctionRef,
) -> Result<Wanted> {
    let digest = listed
        .code_sha256_text()
        .and_then(|text| text.parse::<Sha256Digest>().ok())
        .ok_or_else(|| {
            Error::new(ErrorKind::Service, "Lambda states no CodeSha256")
                .about(format!("lambda:{function}"))
        })?;
    let basis = Some(format!(
        "CodeSha256 of {} in {}",
        listed.version_arn(),
        session.region()
    ));
    if listed.package_type() == "Image" {
        return Ok(Wanted::Image(WantedImage {
            digest: Some(digest),
            uri: None,
            basis,
            may_be_index: false,
        }));
    }
    let from = From::Function(Box::new(Other {
        session,
        lambda,
        function: function.clone(),
    }));
    Ok(Wanted::Zip(WantedZip {
        basis,
        ..WantedZip::plain(digest, from)
    }))
}
