//! The options of a backup of several accounts by several machines.

#![expect(
    clippy::doc_markdown,
    reason = "doc comments of options are their help, shown as they are"
)]

use std::path::PathBuf;

use clap::Args;

use super::settings::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::ops::backup::Account;
use crate::store::{JointId, Sealed, Shard};

/// The largest file of accounts that is read, in bytes.
const MAX_ACCOUNTS: u64 = 4 << 20;
/// Where AWS Batch and Kubernetes say which task of an array this is, from 0.
const INDEXES: [&str; 2] = ["AWS_BATCH_JOB_ARRAY_INDEX", "JOB_COMPLETION_INDEX"];
/// Where AWS Batch says how many tasks there are.
const BATCH_SIZE: &str = "AWS_BATCH_JOB_ARRAY_SIZE";

/// Whose functions, and which of several machines this one is.
#[derive(Debug, Args)]
pub struct ScaleArgs {
    /// Back up the accounts that this file names, a role a line
    ///
    /// A line is a role's ARN, then external-id=ID if the role asks for one, then regions=REGION,REGION if they are not
    /// those of the other options; or the word caller for the caller's own account. Lines that begin with # mean nothing.
    #[arg(long, value_name = "FILE")]
    pub accounts_file: Option<PathBuf>,

    /// How many accounts and regions to work on at once
    ///
    /// Each account and region has a budget of calls of its own (--max-rate), so that more at once take less time.
    #[arg(long, value_name = "N", default_value = "4", value_parser = parallel)]
    pub parallel: usize,

    /// Back up only this share of the accounts and regions: K/N with K from 1, or auto/N
    ///
    /// With auto, K is the array index of AWS Batch (AWS_BATCH_JOB_ARRAY_INDEX) or of a Kubernetes Indexed Job
    /// (JOB_COMPLETION_INDEX), plus 1.
    #[arg(long, value_name = "K/N")]
    pub shard: Option<String>,

    /// What the runs of all shards of one backup have in common; new for each backup
    ///
    /// By default the id of the AWS Batch job, or the name of the Kubernetes Job. When all shards are done, the last one
    /// writes the joint run.
    #[arg(long, value_name = "ID", value_parser = run_id)]
    pub run_id: Option<String>,
}

impl ScaleArgs {
    /// The accounts that are named; none is the caller's own.
    pub fn accounts(&self, settings: &Settings) -> Result<Vec<Account>> {
        let Some(path) = &self.accounts_file else {
            let role = |role: &String| Account {
                role_arn: Some(role.clone()),
                external_id: settings.session.external_id.clone(),
                regions: Vec::new(),
            };
            return Ok(settings.roles.iter().map(role).collect());
        };
        if !settings.roles.is_empty() {
            return Err(
                Error::new(ErrorKind::Usage, "cannot be given beside --accounts-file")
                    .about("--role-arn")
                    .hint("write the role into the file"),
            );
        }
        let shown = path.display().to_string();
        let bytes = files::read_small(path, MAX_ACCOUNTS).map_err(|e| {
            Error::new(ErrorKind::Usage, "cannot be read")
                .about(&*shown)
                .because(e)
        })?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::new(ErrorKind::Usage, "is no text").about(&*shown))?;
        Account::parse_file(&shown, &text)
    }

    /// This machine's share, and the id of the joint run. `env` reads a variable.
    pub fn shard(
        &self,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Option<Shard>, Option<JointId>)> {
        let Some(text) = &self.shard else {
            if self.run_id.is_some() {
                return Err(usage("--run-id", "is of use only with --shard"));
            }
            return match index(env)? {
                None => Ok((None, None)),
                Some((name, index)) => Err(usage(
                    name,
                    &format!("this is task {index} of an array, and each task would back up everything"),
                )
                .hint("say how many tasks there are: --shard auto/N; or --shard 1/1 if this one is to do it all")),
            };
        };
        let shard = match text.strip_prefix("auto/") {
            Some(of) => automatic(of, env)?,
            None => text.parse().map_err(|e: String| usage("--shard", &e))?,
        };
        if shard.of() == 1 {
            return Ok((None, None));
        }
        let id = match &self.run_id {
            Some(id) => id.clone(),
            None => job(env).ok_or_else(|| {
                usage("--shard", "the shards' runs need an id in common")
                    .hint("give all of them the same --run-id, new for each backup, such as nightly-2026-01-31")
            })?,
        };
        let id = JointId::new(&id).map_err(|e| usage("--run-id", &e))?;
        Ok((Some(shard), Some(id)))
    }
}

fn usage(subject: &str, message: &str) -> Error {
    Error::new(ErrorKind::Usage, message.to_owned()).about(subject)
}

/// `auto/N`.
fn automatic(of: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Shard> {
    let Some((name, index)) = index(env)? else {
        return Err(usage(
            "--shard",
            &format!(
                "auto is the array index in {} or {}, and neither is set",
                INDEXES[0], INDEXES[1]
            ),
        )
        .hint("name the share: --shard K/N with K from 1"));
    };
    let text = format!("{}/{of}", u64::from(index) + 1);
    let shard: Shard = text.parse().map_err(|_| {
        usage(
            "--shard",
            &format!("auto/{of}: {name} is {index}, and counts from 0 to N - 1"),
        )
    })?;
    if let Some(size) = env(BATCH_SIZE).filter(|_| name == INDEXES[0])
        && size != of
    {
        return Err(usage(
            "--shard",
            &format!("auto/{of}: {BATCH_SIZE} says that there are {size} tasks"),
        ));
    }
    Ok(shard)
}

/// The array index and the variable that says it.
fn index(env: &dyn Fn(&str) -> Option<String>) -> Result<Option<(&'static str, u32)>> {
    let mut found = None;
    for name in INDEXES {
        let Some(text) = env(name).filter(|text| !text.is_empty()) else {
            continue;
        };
        let number = text
            .parse()
            .map_err(|_| usage(name, &format!("{text:?} is no array index")))?;
        match found {
            None => found = Some((name, number)),
            Some((_, other)) if other == number => {}
            Some((first, other)) => {
                return Err(usage(
                    name,
                    &format!("is {number}, and {first} is {other}: which one counts?"),
                )
                .hint("name the share: --shard K/N with K from 1"));
            }
        }
    }
    Ok(found)
}

/// What all tasks of this array job have in common.
fn job(env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let (name, index) = index(env).ok()??;
    if name == INDEXES[0] {
        // A child's id is its parent's, a colon, and the index.
        let id = env("AWS_BATCH_JOB_ID")?;
        return Some(id.split(':').next().unwrap_or_default().to_owned());
    }
    // A pod of an Indexed Job has the host name JOB-INDEX.
    env("HOSTNAME")?
        .strip_suffix(&format!("-{index}"))
        .map(ToOwned::to_owned)
}

fn run_id(text: &str) -> Result<String, String> {
    JointId::new(text).map(|id| id.to_string())
}

fn parallel(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=256) => Ok(n),
        _ => Err("expected a number from 1 to 256".to_owned()),
    }
}

/// Which shards a joint run still waits for.
pub(super) fn lacking(sealed: &Sealed) -> String {
    let list = |numbers: &[u32]| {
        let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        numbers.join(", ")
    };
    let mut parts = Vec::new();
    if !sealed.missing.is_empty() {
        parts.push(format!("no run of shard {}", list(&sealed.missing)));
    }
    if !sealed.early.is_empty() {
        parts.push(format!("shard {} ended early", list(&sealed.early)));
    }
    format!("of {} shards: {}", sealed.of, parts.join("; "))
}

/// The same for a program.
pub(super) fn joint_json(sealed: &Sealed) -> serde_json::Value {
    serde_json::json!({
        "id": sealed.id.as_str(),
        "run": sealed.run.as_ref().map(crate::store::RunName::as_str),
        "new": sealed.new,
        "shards": sealed.of,
        "missing": sealed.missing,
        "ended_early": sealed.early,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(shard: Option<&str>, run_id: Option<&str>) -> ScaleArgs {
        ScaleArgs {
            accounts_file: None,
            parallel: 4,
            shard: shard.map(ToOwned::to_owned),
            run_id: run_id.map(ToOwned::to_owned),
        }
    }

    /// `SHARD ID`, or the error's subject.
    fn shard(shard: Option<&str>, run_id: Option<&str>, env: &[(&str, &str)]) -> String {
        let of = |name: &str| {
            let found = env.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        match args(shard, run_id).shard(&of) {
            Ok((None, None)) => "everything".to_owned(),
            Ok((Some(shard), Some(id))) => format!("{shard} {id}"),
            Ok(other) => format!("{other:?}"),
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Usage);
                format!("! {}", e.subject().unwrap_or_default())
            }
        }
    }

    #[test]
    fn a_share_comes_from_the_option_or_the_array_index() {
        let batch = [
            ("AWS_BATCH_JOB_ARRAY_INDEX", "0"),
            ("AWS_BATCH_JOB_ARRAY_SIZE", "8"),
            ("AWS_BATCH_JOB_ID", "b1-c2:0"),
        ];
        let pod = [
            ("JOB_COMPLETION_INDEX", "7"),
            ("HOSTNAME", "larder-29401560-7"),
        ];
        for (option, id, env, want) in [
            (None, None, &[][..], "everything"),
            (Some("2/8"), Some("n1"), &[][..], "2/8 n1"),
            (Some("2/8"), None, &[][..], "! --shard"),
            (Some("1/1"), None, &[][..], "everything"),
            (None, Some("n1"), &[][..], "! --run-id"),
            (Some("auto/8"), None, &batch[..], "1/8 b1-c2"),
            (Some("auto/8"), Some("n1"), &batch[..], "1/8 n1"),
            (Some("auto/9"), None, &batch[..], "! --shard"),
            (Some("3/8"), None, &batch[..], "3/8 b1-c2"),
            (Some("auto/8"), None, &pod[..], "8/8 larder-29401560"),
            (Some("auto/7"), None, &pod[..], "! --shard"),
            (Some("auto/8"), None, &pod[..1], "! --shard"),
            (Some("auto/8"), Some("n1"), &[][..], "! --shard"),
            (Some("auto/"), Some("n1"), &pod[..], "! --shard"),
            (Some("auto"), Some("n1"), &pod[..], "! --shard"),
            (Some("0/8"), Some("n1"), &[][..], "! --shard"),
            (Some("9/8"), Some("n1"), &[][..], "! --shard"),
            // Each task would do all of it.
            (None, None, &batch[..], "! AWS_BATCH_JOB_ARRAY_INDEX"),
            (None, None, &pod[..], "! JOB_COMPLETION_INDEX"),
            (Some("1/1"), None, &pod[..], "everything"),
            (
                Some("auto/8"),
                Some("n1"),
                &[("JOB_COMPLETION_INDEX", "x")][..],
                "! JOB_COMPLETION_INDEX",
            ),
            (
                Some("auto/8"),
                Some("n1"),
                &[
                    ("JOB_COMPLETION_INDEX", "1"),
                    ("AWS_BATCH_JOB_ARRAY_INDEX", "2"),
                ][..],
                "! JOB_COMPLETION_INDEX",
            ),
        ] {
            assert_eq!(shard(option, id, env), want, "{option:?} {id:?} {env:?}");
        }
    }
}
