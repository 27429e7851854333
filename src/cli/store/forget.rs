//! `larder store forget`.

use clap::Args;
use jiff::Span;
use serde_json::json;

use super::super::args::Format;
use super::super::exit::Exit;
use super::super::output::{Summary, Tone, print};
use super::super::store_args::StoreArgs;
use super::super::{Context, escape};
use super::with_store;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter as _};
use crate::record::SCHEMA_VERSION;
use crate::store::forget::{Forget, Forgotten, Reason, Rules, Verdict};

pub(super) const ABOUT: &str = "\
Forget runs that no function needs by the rules, or those that are named; store prune then frees the room.

The rules are applied to each function by itself, over the runs that hold it: --keep-last 7 keeps the last seven runs of each \
function, wherever in time they are. A run stays as long as one function needs it, and the output says which. So what was \
deleted from AWS long ago keeps its last runs. The newest run of each account and region stays whatever the rules are, and rules \
leave runs alone that cannot be read. Days, weeks (ISO 8601), months and years are those of UTC.

A forgotten run's file goes to forgotten/ in the store until a prune finds its grace over; until then moving it back undoes it. \
In a bucket this needs s3:DeleteObject.";

/// Arguments of `larder store forget`.
#[derive(Debug, Args)]
pub struct ForgetArgs {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArgs,

    /// Keep the last N runs of each function
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep_last: Option<u32>,

    /// Keep the last run of each of the last N days that have one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep_daily: Option<u32>,

    /// Keep the last run of each of the last N weeks that have one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep_weekly: Option<u32>,

    /// Keep the last run of each of the last N months that have one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep_monthly: Option<u32>,

    /// Keep the last run of each of the last N years that have one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep_yearly: Option<u32>,

    /// Keep all runs within this time before the function's last one: 12h, 30d, 2w, 6mo, 1y
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub keep_within: Option<Span>,

    /// Forget just this run: its name or id, or the beginning of one (repeatable)
    #[arg(
        long = "run",
        value_name = "RUN",
        conflicts_with_all = ["keep_last", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly", "keep_within"]
    )]
    pub runs: Vec<String>,

    /// Say what would be forgotten and why the rest stays, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Reads a time that may have months and years.
fn span(text: &str) -> std::result::Result<Span, String> {
    let span: Span = text
        .parse()
        .map_err(|_| "expected a time such as 12h, 30d, 2w, 6mo or 1y".to_owned())?;
    if span.is_positive() {
        Ok(span)
    } else {
        Err("the time is zero or negative".to_owned())
    }
}

impl ForgetArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let what = self.what()?;
        let done = with_store(context, &self.store, async |store| {
            store.forget(&what, self.dry_run).await
        })?;
        for (run, why) in &done.unreadable {
            context.progress.report(&Event::Warning {
                subject: run.as_str(),
                message: &format!("this run cannot be read: {why}"),
                hint: why.hint_text(),
            });
        }
        for (run, why) in &done.denied {
            context.progress.report(&Event::Warning {
                subject: run.as_str(),
                message: &format!("the store refused to remove it: {why}"),
                hint: why.hint_text(),
            });
        }
        if !done.lost.is_empty() {
            let names: Vec<&str> = done.lost.iter().take(3).map(String::as_str).collect();
            let more = done.lost.len() - names.len();
            let more = match more {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            context.progress.report(&Event::Warning {
                subject: self.store.store.as_str(),
                message: &format!("no other run holds {}{more}", names.join(", ")),
                hint: None,
            });
        }
        self.show(context, &done)?;
        Ok(match (done.denied.is_empty(), done.unreadable.is_empty()) {
            (false, _) => Exit::SomeFailed,
            (true, false) => Exit::Difference,
            (true, true) => Exit::Done,
        })
    }

    fn what(&self) -> Result<Forget> {
        if !self.runs.is_empty() {
            return Ok(Forget::Named(self.runs.clone()));
        }
        let rules = Rules {
            last: self.keep_last,
            daily: self.keep_daily,
            weekly: self.keep_weekly,
            monthly: self.keep_monthly,
            yearly: self.keep_yearly,
            within: self.keep_within,
        };
        if rules.is_empty() {
            return Err(Error::new(ErrorKind::Usage, "no rule says what to keep").hint(
                "name one, such as --keep-last 7 or --keep-within 30d, or the runs to forget with --run",
            ));
        }
        Ok(Forget::ByRules(rules))
    }

    fn show(&self, context: &Context, done: &Forgotten) -> Result<()> {
        let forgotten = done.verdicts.iter().filter(|v| v.forget).count();
        let kept = done.verdicts.len() - forgotten;
        let runs: Vec<_> = done
            .verdicts
            .iter()
            .map(|verdict| {
                let reasons: Vec<_> = verdict
                    .reasons
                    .iter()
                    .map(|r| json!({"rule": r.rule, "functions": r.functions, "examples": r.examples}))
                    .collect();
                let action = if verdict.forget { "forget" } else { "keep" };
                json!({"run": verdict.run.as_str(), "action": action, "reasons": reasons})
            })
            .collect();
        let denied: Vec<_> = done.denied.iter().map(|(run, _)| run.as_str()).collect();
        let unreadable: Vec<_> = done
            .unreadable
            .iter()
            .map(|(run, _)| run.as_str())
            .collect();
        let json = json!({
            "schema_version": SCHEMA_VERSION,
            "dry_run": self.dry_run,
            "forgotten": forgotten,
            "kept": kept,
            "runs": runs,
            "denied": denied,
            "unreadable": unreadable,
            "lost_functions": done.lost,
        });
        if context.settings.format == Format::Text && !context.settings.quiet {
            for verdict in &done.verdicts {
                print(&format!("{}\n", escape::line(&text(verdict))))?;
            }
        }
        let tone = if done.denied.is_empty() && done.unreadable.is_empty() {
            Tone::Good
        } else {
            Tone::Mixed
        };
        let what = if self.dry_run {
            "would forget in"
        } else {
            "forgot in"
        };
        let summary = Summary::new(tone, what, &self.store.store)
            .line("forgotten", &forgotten.to_string())
            .line("kept", &kept.to_string())
            .line_if(
                "next",
                (forgotten > 0 && !self.dry_run)
                    .then_some("larder store prune frees the room when its grace is over"),
            );
        context.output.result(&summary, &json)
    }
}

fn text(verdict: &Verdict) -> String {
    if verdict.forget {
        return format!("forget  {}", verdict.run);
    }
    let reasons: Vec<String> = verdict.reasons.iter().map(reason).collect();
    format!("keep    {}  {}", verdict.run, reasons.join("; "))
        .trim_end()
        .to_owned()
}

/// `daily: orders, billing and 7 more`.
fn reason(reason: &Reason) -> String {
    let name = |arn: &String| match arn.split(':').nth(6) {
        Some(name) => name.to_owned(),
        None => arn.clone(),
    };
    let names: Vec<String> = reason.examples.iter().map(name).collect();
    let more = reason.functions.saturating_sub(names.len() as u64);
    match (names.is_empty(), more) {
        (true, _) => reason.rule.to_owned(),
        (false, 0) => format!("{}: {}", reason.rule, names.join(", ")),
        (false, more) => format!("{}: {} and {more} more", reason.rule, names.join(", ")),
    }
}
