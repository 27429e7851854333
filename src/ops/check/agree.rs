//! Two sources, or two resources of one, that expect something of the same function: the same is compared once, what cannot both
//! be so is refused, and anything else is compared with each.

use std::collections::HashMap;
use std::fmt;

use super::Checker;
use super::jobs::{Job, NOTHING};
use crate::digest::Sha256Digest;
use crate::drift::{Code, State};
use crate::error::{Error, ErrorKind, Result};

impl Checker {
    /// Makes one job of those that are the same, and refuses those that contradict each other.
    pub(super) async fn agree(&mut self, region: &str, jobs: &mut Vec<Job>) -> Result<()> {
        let mut kept: Vec<Job> = Vec::with_capacity(jobs.len());
        let mut at: HashMap<String, Vec<usize>> = HashMap::new();
        // Whole functions first: a version or alias that was named beside joins them.
        jobs.sort_by_key(|job| job.only.is_some());
        for job in std::mem::take(jobs) {
            let name = job.function.name().to_owned();
            let mut same = false;
            for &other in at.get(&name).into_iter().flatten() {
                let other = &mut kept[other];
                if !other.may_be(&job) {
                    continue;
                }
                let (a, b) = (&other.expectation, &job.expectation);
                let alike = a.state == b.state && a.aliases == b.aliases && a.accept == b.accept;
                if other.only != job.only {
                    let nothing = Code::CannotTell(NOTHING.to_owned());
                    if let (None, Some(only)) = (&other.only, &job.only)
                        && alike
                        && a.state.code != nothing
                    {
                        other.also.push(only.clone());
                        same = true;
                    }
                    continue;
                }
                if let Some((one, two)) = self
                    .contradiction(&other.expectation.state, &job.expectation.state)
                    .await?
                {
                    return Err(contradict(region, (other, &one), (&job, &two)));
                }
                same |= alike;
            }
            if !same {
                at.entry(name).or_default().push(kept.len());
                kept.push(job);
            }
        }
        *jobs = kept;
        Ok(())
    }

    /// What two states of one version say that cannot both be so.
    async fn contradiction(
        &mut self,
        one: &State,
        two: &State,
    ) -> Result<Option<(String, String)>> {
        let (a, b) = (self.stated(&one.code).await?, self.stated(&two.code).await?);
        let differ = match (&a, &b) {
            (Some(Stated::Zip(a, left)), Some(Stated::Zip(b, right))) => {
                a != b && !(left.is_some() && left == right)
            }
            (Some(Stated::Image(a)), Some(Stated::Image(b))) => a != b,
            (Some(a), Some(b)) => a.is_image() != b.is_image(),
            _ => false,
        };
        if let (true, Some(a), Some(b)) = (differ, &a, &b) {
            return Ok(Some((a.to_string(), b.to_string())));
        }
        let arns = |state: &State| -> Option<Vec<String>> {
            let layers = state.layers.as_ref()?.iter();
            layers.map(|layer| layer.arn.clone()).collect()
        };
        Ok(match (arns(one), arns(two)) {
            (Some(a), Some(b)) if !same_layers(&a, &b) => {
                let shown = |arns: &[String]| match arns {
                    [] => "no layers".to_owned(),
                    arns => format!("the layers {}", arns.join(", ")),
                };
                Some((shown(&a), shown(&b)))
            }
            _ => None,
        })
    }

    /// What a source says of code, as far as it can be told without asking anybody. Local zips are hashed.
    async fn stated(&mut self, code: &Code) -> Result<Option<Stated>> {
        Ok(match code {
            Code::Digest { sha256, tree, .. } => Some(Stated::Zip(*sha256, tree.clone())),
            Code::Zip(path) => match self.open_local(path.clone()).await {
                Ok(package) => {
                    let sha256 = package.sha256();
                    let (_, contents) = self.read(package).await?;
                    Some(Stated::Zip(
                        sha256,
                        contents.ok().map(|contents| contents.hashes().tree),
                    ))
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => return Err(e),
                // It is said where it is compared.
                Err(_) => Some(Stated::AnyZip),
            },
            Code::Directory { .. } => Some(Stated::AnyZip),
            // The digest in a reference may be that of an index, over the image that another source names.
            Code::Image { digest, uri, .. } => match digest {
                Some(digest) if uri.is_none() => Some(Stated::Image(*digest)),
                _ => Some(Stated::AnyImage),
            },
            Code::Unstated
            | Code::CannotTell(_)
            | Code::Fetched(_)
            | Code::Bag(_)
            | Code::Function { .. } => None,
        })
    }
}

/// What a source says of code.
enum Stated {
    /// This zip, with the content hash of its tree where it is known.
    Zip(Sha256Digest, Option<String>),
    AnyZip,
    /// This image.
    Image(Sha256Digest),
    AnyImage,
}

impl Stated {
    fn is_image(&self) -> bool {
        matches!(self, Self::Image(_) | Self::AnyImage)
    }
}

impl fmt::Display for Stated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zip(sha256, _) => write!(f, "a zip with the CodeSha256 {}", sha256.base64()),
            Self::AnyZip => f.write_str("a zip"),
            Self::Image(digest) => write!(f, "the image sha256:{}", digest.hex()),
            Self::AnyImage => f.write_str("an image"),
        }
    }
}

/// Whether two lists of layer versions are the same; an ARN without an account is of any.
fn same_layers(a: &[String], b: &[String]) -> bool {
    let bare = |arn: &String| -> Vec<String> {
        let mut parts: Vec<String> = arn.splitn(6, ':').map(ToOwned::to_owned).collect();
        if let Some(account) = parts.get_mut(4) {
            account.clear();
        }
        parts
    };
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| {
            a == b || ((a.contains("::layer") || b.contains("::layer")) && bare(a) == bare(b))
        })
}

fn contradict(region: &str, one: (&Job, &str), two: (&Job, &str)) -> Error {
    let says = |(job, what): (&Job, &str)| {
        let source = &job.expectation.source;
        let label = source.label.as_deref();
        let label = label.map(|label| format!(" ({label})")).unwrap_or_default();
        format!("{}{label} expects {what}", source.path)
    };
    Error::new(
        ErrorKind::Usage,
        "two sources expect different code of this function",
    )
    .about(format!("{} in {region}", one.0.function.name()))
    .because(format!("{}, and {}", says(one), says(two)))
    .hint("correct one of them, or compare with one of them at a time")
}
