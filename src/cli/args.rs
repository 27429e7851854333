//! What the user types: the options of all commands, and the commands. Parsing only validates each value alone;
//! [`super::settings`] and each command's own second step build from them.

#![expect(
    clippy::doc_markdown,
    reason = "doc comments of options are their help, shown as they are"
)]

use std::ffi::OsString;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};

use super::{
    backup, check, completions, custody, fetch, help, list, lock, man, quantity, restore, snapshot,
    store, unpack, verify,
};
use crate::ops::select::Selection;
use crate::unpack::{Duplicates, Limits};

/// Fetches, verifies and keeps what is deployed on AWS Lambda.
#[derive(Debug, Parser)]
#[command(
    name = "larder",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands",
    after_help = "See 'larder help COMMAND' for a command's options with examples, 'larder help' for exit codes.",
    after_long_help = help::sections(help::EXAMPLES, true),
)]
pub struct Cli {
    /// The options of all commands.
    #[command(flatten)]
    pub globals: Globals,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fetch one function: verify its package, unpack it, and record it.
    #[command(long_about = fetch::ABOUT, after_long_help = help::sections(fetch::EXAMPLES, false))]
    Fetch(fetch::FetchArgs),
    /// Unpack a package at hand, as safely as fetch does.
    #[command(long_about = unpack::ABOUT, after_long_help = help::sections(unpack::EXAMPLES, false))]
    Unpack(unpack::UnpackArgs),
    /// List what is deployed: functions and their versions.
    #[command(long_about = list::ABOUT, after_long_help = help::sections(list::EXAMPLES, false))]
    List(list::ListArgs),
    /// Take forensic evidence of functions: a signed BagIt bag.
    #[command(long_about = snapshot::ABOUT, after_long_help = help::sections(snapshot::EXAMPLES, false))]
    Snapshot(Box<snapshot::SnapshotArgs>),
    /// Hand a bag over, or show who had it.
    #[command(long_about = custody::ABOUT, after_long_help = help::sections(custody::EXAMPLES, false))]
    Custody(custody::CustodyArgs),
    /// Hash fetched directories and bags again, offline.
    #[command(long_about = verify::ABOUT, after_long_help = help::sections(verify::EXAMPLES, false))]
    Verify(verify::VerifyArgs),
    /// Compare what Lambda runs with what it is meant to run.
    #[command(long_about = check::ABOUT, after_long_help = help::sections(check::EXAMPLES, false))]
    Check(Box<check::CheckArgs>),
    /// Write larder.lock, the expected state that a team commits.
    #[command(long_about = lock::ABOUT, after_long_help = help::sections(lock::EXAMPLES, false))]
    Lock(lock::LockArgs),
    /// Back up functions to a store: all versions, incremental and deduplicated.
    #[command(long_about = backup::ABOUT, after_long_help = help::sections(backup::EXAMPLES, false))]
    Backup(Box<backup::BackupArgs>),
    /// Restore a function version from a store to a directory, or to Lambda.
    #[command(long_about = restore::ABOUT, after_long_help = help::sections(restore::EXAMPLES, false))]
    Restore(Box<restore::RestoreArgs>),
    /// Look after a store.
    #[command(after_long_help = help::sections(store::EXAMPLES, false))]
    Store(Box<store::StoreCommand>),
    /// Print the completion script of a shell.
    #[command(after_long_help = help::sections(completions::EXAMPLES, false))]
    Completions(completions::CompletionsArgs),
    /// Write the man pages to a directory.
    #[command(after_long_help = help::sections(man::EXAMPLES, false))]
    Man(man::ManArgs),
}

/// The options of all commands.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Profile of the AWS configuration files [default: AWS_PROFILE, or "default"]
    #[arg(long, global = true, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub profile: Option<String>,

    /// Region; some commands take several [default: the function's ARN, AWS_REGION, or the profile's]
    #[arg(long, global = true, value_name = "REGION", value_parser = region)]
    pub region: Vec<String>,

    /// Lambda's endpoint, for an emulator or a VPC endpoint
    ///
    /// Other services take theirs from AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL_STS and so on.
    #[arg(long, global = true, value_name = "URL", value_parser = endpoint)]
    pub endpoint_url: Option<String>,

    /// Assume this role, with the credentials found; backup takes several
    #[arg(long, global = true, value_name = "ARN", value_parser = role)]
    pub role_arn: Vec<String>,

    /// External id that the role asks for, or all of them; needs --role-arn
    // Held to that by the settings: clap judges before a global option has reached every level.
    #[arg(long, global = true, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub external_id: Option<String>,

    /// Form of the result on stdout, and of errors on stderr
    ///
    /// With json, stdout is one JSON object with a "schema_version", and when the command fails, the last line of
    /// stderr is {"error":{"kind","exit_code","message","subject","hint"}}.
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        value_enum
    )]
    pub output: Format,

    /// No progress and no summary; warnings, errors and --output json stay
    #[arg(long, short, global = true, overrides_with = "quiet")]
    pub quiet: bool,

    /// Log to stderr: -v what larder does, -vv in detail, -vvv in all detail
    ///
    /// No log holds a credential, the query of a presigned URL, or the value of an environment variable.
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// Whether to use colours; auto is on a terminal, unless NO_COLOR is set
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        value_enum
    )]
    pub color: When,

    /// Whether to show progress on stderr; auto is a bar on a terminal
    ///
    /// With always, and no terminal, a plain line is written every few seconds.
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        value_enum
    )]
    pub progress: When,

    /// Tries of one request, the first included [default: AWS_MAX_ATTEMPTS, the profile's, or 8]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_attempts: Option<u32>,

    /// How long a connection may take to be made: 10s, 500ms, 1m
    #[arg(long, global = true, value_name = "TIME", default_value = "10s", value_parser = quantity::parse_duration)]
    pub connect_timeout: Duration,

    /// How long no byte may come before a request is given up
    #[arg(long, global = true, value_name = "TIME", default_value = "60s", value_parser = quantity::parse_duration)]
    pub read_timeout: Duration,

    /// Calls to AWS's control plane a second, for an account and region
    ///
    /// The default is a third of what AWS allows all users of an account together, so that deployments beside larder
    /// are not throttled. Above 15 it is of use with emulators only.
    #[arg(long, global = true, value_name = "N", default_value = "5", value_parser = rate)]
    pub max_rate: f64,
}

/// The form of results and errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Whether to do something that a terminal makes sensible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal.
    Auto,
    /// Wherever.
    Always,
    /// Not at all.
    Never,
}

/// Which functions, of all that a listing has.
#[derive(Debug, Args)]
pub struct SelectionArgs {
    /// Only functions whose name matches: api-*, {api,web}-?; may be given several times
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,

    /// No function whose name matches; may be given several times
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,

    /// Only functions with this tag; of several, with all of them
    ///
    /// Tags are asked for with the Resource Groups Tagging API, for the whole region at once.
    #[arg(long, value_name = "KEY=VALUE", value_parser = tag)]
    pub tag: Vec<(String, String)>,
}

impl SelectionArgs {
    /// What the library takes.
    pub fn selection(&self) -> crate::error::Result<Selection> {
        let mut selection = Selection::new(&self.include, &self.exclude)?;
        selection.tags.clone_from(&self.tag);
        Ok(selection)
    }
}

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected a tag such as team=payments".to_owned()),
    }
}

/// Bounds of an unpacking.
#[derive(Debug, Args)]
pub struct LimitArgs {
    /// What a name means that stands twice in the archive with different contents
    ///
    /// Such an archive is refused, because tools disagree about it. Some packers of fat archives write names twice
    /// all the same: then say which entry counts; the record keeps that it was said.
    #[arg(long, value_name = "WHICH", default_value = "refuse", value_enum)]
    pub duplicates: DuplicatesArg,

    /// Most bytes to unpack: 250MiB, 1GiB; Lambda's own limit is the default
    #[arg(long, value_name = "SIZE", default_value = "250MiB", value_parser = quantity::parse_size)]
    pub max_unpacked_size: u64,
}

/// `--duplicates`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DuplicatesArg {
    /// Refuse the archive.
    Refuse,
    /// The first entry counts.
    First,
    /// The last entry counts.
    Last,
}

impl Command {
    /// Whether `--role-arn` may be given several times.
    pub fn takes_roles(&self) -> bool {
        matches!(self, Self::Backup(_))
    }

    /// Whether `--region` may be given several times.
    pub fn takes_regions(&self) -> bool {
        matches!(
            self,
            Self::List(_) | Self::Backup(_) | Self::Check(_) | Self::Lock(_) | Self::Snapshot(_)
        )
    }
}

impl LimitArgs {
    /// What the unpacker takes.
    pub fn limits(&self) -> Limits {
        Limits {
            max_unpacked_size: self.max_unpacked_size,
            duplicates: match self.duplicates {
                DuplicatesArg::Refuse => Duplicates::Refuse,
                DuplicatesArg::First => Duplicates::First,
                DuplicatesArg::Last => Duplicates::Last,
            },
        }
    }
}

/// Reads the arguments, the first of which is the program's name.
pub fn parse(args: &[OsString]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(args)
}

/// The whole tree of commands.
pub fn tree() -> clap::Command {
    Cli::command()
}

/// A SHA-256 in either spelling, for `value_parser`.
pub fn digest(text: &str) -> Result<crate::digest::Sha256Digest, String> {
    text.parse().map_err(|_| {
        "expected the SHA-256 as 64 hex digits or as 44 characters of base64".to_owned()
    })
}

/// The region becomes a part of host names, so it is held to what a label of one may be.
pub(super) fn region(text: &str) -> Result<String, String> {
    let label = !text.is_empty()
        && text.len() <= 63
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if label {
        Ok(text.to_owned())
    } else {
        Err("expected a region such as eu-west-1".to_owned())
    }
}

pub(super) fn endpoint(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).map_err(|e| format!("expected a URL: {e}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("expected a URL that begins with http:// or https://".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn role(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", _, "iam", _, _, resource]
            if resource
                .strip_prefix("role/")
                .is_some_and(|r| !r.is_empty()) =>
        {
            Ok(text.to_owned())
        }
        _ => Err("expected a role such as arn:aws:iam::123456789012:role/reader".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("expected a number above 0, such as 5 or 0.5".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn commands() -> Vec<clap::Command> {
        let mut root = tree();
        root.build();
        let mut out = vec![root.clone()];
        // clap's own `help` repeats what the others say.
        out.extend(
            root.get_subcommands()
                .filter(|c| c.get_name() != "help")
                .cloned(),
        );
        out
    }

    #[test]
    fn clap_finds_no_contradiction() {
        tree().debug_assert();
    }

    #[test]
    fn each_command_says_what_it_does_and_shows_examples() {
        for command in commands() {
            let name = command.get_name();
            let about = command
                .get_about()
                .unwrap_or_else(|| panic!("{name}: no help"))
                .to_string();
            assert!(
                !about.ends_with('\n') && !about.is_empty(),
                "{name}: {about}"
            );
            assert!(!about.contains('\n'), "{name}: the short help is one line");
            let after = command
                .get_after_long_help()
                .unwrap_or_else(|| panic!("{name}: no examples"))
                .to_string();
            assert!(after.contains("Examples:\n"), "{name}: {after}");
            assert!(after.contains("  larder"), "{name}: {after}");
        }
    }

    #[test]
    fn each_example_parses() {
        let mut seen = 0;
        for command in commands() {
            let text = command
                .get_after_long_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            for line in text
                .lines()
                .map(str::trim)
                .filter(|l| l.starts_with("larder "))
            {
                // What a shell would make of the rest of the line is not for clap.
                let words = line
                    .split_whitespace()
                    .take_while(|w| !matches!(*w, ">" | "|" | "&&"));
                let words: Vec<String> = words.map(|w| w.trim_matches('\'').to_owned()).collect();
                if let Err(e) = Cli::try_parse_from(&words) {
                    assert!(!e.use_stderr(), "{line}: {e}");
                }
                seen += 1;
            }
        }
        assert!(seen >= commands().len(), "only {seen} examples");
    }

    #[test]
    fn every_flag_keeps_the_rules() {
        for command in commands() {
            let name = command.get_name().to_owned();
            let mut shorts = HashMap::new();
            for arg in command.get_arguments() {
                let id = arg.get_id().as_str();
                let at = format!("{name} {id}");
                let help = arg
                    .get_help()
                    .unwrap_or_else(|| panic!("{at}: no help"))
                    .to_string();
                assert!(
                    !help.ends_with('.'),
                    "{at}: short help is no sentence: {help}"
                );
                assert!(!help.is_empty() && help.len() <= 100, "{at}: {help}");
                assert!(help.starts_with(|c: char| c.is_uppercase()), "{at}: {help}");
                if let Some(long) = arg.get_long_help() {
                    let long = long.to_string();
                    assert!(
                        long.trim_end().ends_with(['.', ']']) || !long.contains('\n'),
                        "{at}: {long}"
                    );
                }
                if let Some(short) = arg.get_short() {
                    assert_eq!(
                        shorts.insert(short, id.to_owned()),
                        None,
                        "{at}: -{short} twice"
                    );
                }
                let Some(long) = arg.get_long() else {
                    assert!(arg.is_positional(), "{at}: no long name");
                    continue;
                };
                assert!(
                    long.bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                    "{at}: --{long} is not in kebab case"
                );
                assert_eq!(
                    long,
                    id.replace('_', "-"),
                    "{at}: the field is named otherwise"
                );
                if arg.get_action().takes_values() {
                    for value in arg.get_value_names().unwrap_or_default() {
                        assert_eq!(value.to_uppercase(), value.as_str(), "{at}: value name");
                    }
                }
            }
        }
    }

    #[test]
    fn global_options_are_on_every_command() {
        let all = commands();
        for arg in all[0].get_arguments().filter(|a| a.is_global_set()) {
            for command in &all[1..] {
                assert!(
                    command.get_arguments().any(|a| a.get_id() == arg.get_id()),
                    "{} lacks {}",
                    command.get_name(),
                    arg.get_id()
                );
            }
        }
        assert_eq!(
            all[0].get_arguments().filter(|a| a.is_global_set()).count(),
            14
        );
    }

    #[test]
    fn values_are_judged_one_by_one() {
        for (args, good) in [
            ("--region eu-west-1", true),
            ("--region us-gov-west-1", true),
            ("--region x.evil.example", false),
            ("--region EU", false),
            ("--region=", false),
            ("--profile=", false),
            ("--endpoint-url http://127.0.0.1:4566", true),
            (
                "--endpoint-url https://vpce-1.lambda.eu-west-1.vpce.amazonaws.com",
                true,
            ),
            ("--endpoint-url ftp://a", false),
            ("--endpoint-url 127.0.0.1:4566", false),
            ("--endpoint-url http://", false),
            (
                "--role-arn arn:aws-cn:iam::123456789012:role/path/reader",
                true,
            ),
            ("--role-arn arn:aws:iam::123456789012:user/me", false),
            ("--role-arn reader", false),
            ("--max-attempts 1", true),
            ("--max-attempts 0", false),
            ("--max-rate 0.5", true),
            ("--max-rate 0", false),
            ("--max-rate -1", false),
            ("--max-rate inf", false),
            ("--read-timeout 500ms", true),
            ("--read-timeout 0", false),
            ("--output yaml", false),
            ("--color sometimes", false),
            ("--max-unpacked-size 1GiB", true),
            ("--max-unpacked-size much", false),
            ("--duplicates last", true),
            ("--duplicates both", false),
            (
                "--expect-sha256 ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
                true,
            ),
            (
                "--expect-sha256 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                true,
            ),
            ("--expect-sha256 ba7816", false),
            ("--force --update", false),
        ] {
            let words = ["larder", "fetch", "f"].into_iter().chain(args.split(' '));
            let parsed = Cli::try_parse_from(words);
            assert_eq!(parsed.is_ok(), good, "{args}: {:?}", parsed.err());
        }
    }
}
