//! From the options of all commands to what a run goes by. What needs more than one option to be judged is judged here.

use std::ffi::OsString;
use std::io::IsTerminal as _;

use anstream::ColorChoice;

use super::args::{Format, Globals, When};
use super::progress::Mode;
use crate::aws::SessionOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::lambda::Pacers;

/// What a run goes by.
#[derive(Debug)]
pub struct Settings {
    /// The form of the result.
    pub format: Format,
    /// Neither progress nor summary.
    pub quiet: bool,
    /// How much is logged, from 0.
    pub verbosity: u8,
    /// Whether progress is shown.
    pub progress: When,
    /// How AWS is spoken to, in the first of the regions.
    pub session: SessionOptions,
    /// Every `--region`.
    pub regions: Vec<String>,
    /// Every `--role-arn`.
    pub roles: Vec<String>,
}

impl Globals {
    /// The second step after parsing.
    ///
    /// # Errors
    /// Options that contradict each other.
    pub fn settings(&self) -> Result<Settings> {
        if self.external_id.is_some() && self.role_arn.is_empty() {
            return Err(
                Error::new(ErrorKind::Usage, "is of use only with --role-arn")
                    .about("--external-id")
                    .hint("name the role that asks for it: --role-arn ARN"),
            );
        }
        Ok(Settings {
            format: self.output,
            quiet: self.quiet,
            verbosity: self.verbose,
            progress: self.progress,
            session: SessionOptions {
                keys: None,
                profile: self.profile.clone(),
                region: self.region.first().cloned(),
                endpoint_url: self.endpoint_url.clone(),
                role_arn: self.role_arn.first().cloned(),
                external_id: self.external_id.clone(),
                max_attempts: self.max_attempts,
                connect_timeout: self.connect_timeout,
                read_timeout: self.read_timeout,
                max_rate: self.max_rate,
                pacers: Pacers::default(),
            },
            regions: self.region.clone(),
            roles: self.role_arn.clone(),
        })
    }
}

impl Settings {
    /// Refuses several regions for a command that asks one.
    ///
    /// # Errors
    /// There are several.
    pub fn one_region(&self) -> Result<()> {
        once(&self.regions, "--region", "run it once for each region")
    }

    /// Refuses several roles for a command that takes one.
    ///
    /// # Errors
    /// There are several.
    pub fn one_role(&self) -> Result<()> {
        once(&self.roles, "--role-arn", "run it once for each role")
    }

    /// How progress is shown on this stderr.
    pub fn progress_mode(&self) -> Mode {
        let terminal = std::io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        match self.progress {
            When::Auto | When::Always if terminal && !self.quiet => Mode::Bar,
            When::Always if !self.quiet => Mode::Lines,
            When::Auto | When::Always | When::Never => Mode::Nothing,
        }
    }
}

fn once(given: &[String], option: &str, hint: &str) -> Result<()> {
    if given.len() < 2 {
        return Ok(());
    }
    Err(
        Error::new(ErrorKind::Usage, "may be given once with this command")
            .about(option)
            .hint(hint.to_owned()),
    )
}

/// What must be known even when the arguments do not parse: how to say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Early {
    /// The form of errors.
    pub format: Format,
    /// Whether they are coloured.
    pub color: When,
}

impl Early {
    /// Looks for `--output` and `--color` anywhere before a `--`. As with clap, the last one counts.
    pub fn of(args: &[OsString]) -> Self {
        let mut early = Self {
            format: Format::Text,
            color: When::Auto,
        };
        let mut args = args
            .iter()
            .skip(1)
            .map(|arg| arg.to_str().unwrap_or_default())
            .take_while(|arg| *arg != "--")
            .peekable();
        while let Some(arg) = args.next() {
            let (name, value) = match arg.split_once('=') {
                Some((name, value)) => (name, value),
                None => (arg, args.peek().copied().unwrap_or_default()),
            };
            match (name, value) {
                ("--output", "json") => early.format = Format::Json,
                ("--output", "text") => early.format = Format::Text,
                ("--color", "always") => early.color = When::Always,
                ("--color", "never") => early.color = When::Never,
                ("--color", "auto") => early.color = When::Auto,
                _ => {}
            }
        }
        early
    }

    /// Tells `anstream`, which reads `NO_COLOR`, `CLICOLOR` and `CLICOLOR_FORCE` by itself unless told otherwise.
    pub fn apply(self) {
        match self.color {
            When::Auto => ColorChoice::Auto,
            When::Always => ColorChoice::Always,
            When::Never => ColorChoice::Never,
        }
        .write_global();
    }
}

#[cfg(test)]
mod tests {
    use super::super::args;
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_form_of_errors_is_known_before_parsing() {
        for (line, format, color) in [
            ("larder", Format::Text, When::Auto),
            ("larder --output json", Format::Json, When::Auto),
            (
                "larder fetch --output=json --nonsense",
                Format::Json,
                When::Auto,
            ),
            (
                "larder --output json --output text",
                Format::Text,
                When::Auto,
            ),
            ("larder fetch -- --output json", Format::Text, When::Auto),
            ("larder --color never --output", Format::Text, When::Never),
            (
                "larder --output yaml --color=always",
                Format::Text,
                When::Always,
            ),
        ] {
            assert_eq!(Early::of(&words(line)), Early { format, color }, "{line}");
        }
    }

    #[test]
    fn an_external_id_needs_a_role() {
        let role = "--role-arn arn:aws:iam::123456789012:role/reader";
        for (line, good) in [
            ("larder fetch f --external-id x".to_owned(), false),
            (format!("larder {role} fetch f --external-id x"), true),
            (format!("larder --external-id x fetch f {role}"), true),
        ] {
            let cli = args::parse(&words(&line)).unwrap();
            let settings = cli.globals.settings();
            assert_eq!(settings.is_ok(), good, "{line}");
            if let Err(e) = settings {
                assert_eq!(e.kind(), ErrorKind::Usage);
            }
        }
    }

    #[test]
    fn the_defaults_are_the_librarys() {
        let cli = args::parse(&words("larder fetch f")).unwrap();
        let settings = cli.globals.settings().unwrap();
        assert_eq!(
            format!("{:?}", settings.session),
            format!("{:?}", SessionOptions::default())
        );
        let args::Command::Fetch(fetch) = cli.command else {
            panic!("another command")
        };
        assert_eq!(
            format!("{:?}", fetch.limits.limits()),
            format!("{:?}", crate::unpack::Limits::default())
        );
    }
}
