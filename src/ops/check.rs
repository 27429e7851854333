//! `larder check`: is what Lambda runs what somebody means it to run?
//!
//! ```text
//! Stated -> targets by region -> what is deployed (listing, or one by one)
//!        -> each function at $LATEST, qualifiers, aliases -> code, layers, configuration -> exceptions -> Report
//! ```
//!
//! The cheapest order: the digest in a listing or in GetFunctionConfiguration, then contents that were seen before, and
//! GetFunction with a download only for a difference that contents can explain.

mod aliases;
mod code;
mod diffs;
mod function;
mod image;
mod layers;
pub mod sources;
mod wanted;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use tokio_util::sync::CancellationToken;

use super::select::Selection;
use crate::aws::{Session, SessionOptions};
use crate::digest::Sha256Digest;
use crate::drift::accept::Exceptions;
use crate::drift::{
    Cache, Expectation, FunctionResult, Named, Report, ReportWarning, SourceKind, Stated, Status,
    Target,
};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::function::FunctionRef;
use crate::lambda::Scope;
use crate::task::or_interrupted;
use crate::unpack::Limits;

use super::deployed::{ONE_BY_ONE, Place};
use layers::LayerHash;

/// What is checked, and how.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct CheckOptions {
    /// Only these functions; empty is all that anything is expected of. One that nothing is expected of is `unexpected`.
    pub functions: Vec<FunctionRef>,
    /// Only these regions; empty is those of the expectations, else the session's own.
    pub regions: Vec<String>,
    /// Versions or aliases to compare beside `$LATEST`.
    pub qualifiers: Vec<String>,
    /// Compare every version that an alias routes to.
    pub aliases: bool,
    /// Repackaged is drifted, and version numbers count.
    pub strict: bool,
    /// Compare configuration.
    pub config: bool,
    /// Whether GetFunction may be called and packages downloaded.
    pub download: bool,
    /// Add unified diffs.
    pub diff: bool,
    /// Ask the registry what tags of images name now: a tag that has moved is a note.
    pub resolve_tags: bool,
    /// How long to wait for a function that is being changed.
    pub wait: Duration,
    /// Bounds of reading packages.
    pub limits: Limits,
    /// Report deployed functions of which nothing is expected, as far as they are selected.
    pub unexpected: bool,
    /// Which functions: by name for expectations too, by tag for unexpected ones alone.
    pub selection: Selection,
    /// A layer version that is deleted or denied makes its function unknown.
    pub strict_layers: bool,
    /// Known exceptions.
    pub exceptions: Exceptions,
    /// Contents of packages that were seen before.
    pub cache: Cache,
    /// The day on which exceptions are judged.
    pub today: Date,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self {
            functions: Vec::new(),
            regions: Vec::new(),
            qualifiers: Vec::new(),
            aliases: false,
            strict: false,
            config: false,
            download: true,
            diff: false,
            resolve_tags: false,
            wait: Duration::from_secs(60),
            limits: Limits::default(),
            unexpected: false,
            selection: Selection::default(),
            strict_layers: false,
            exceptions: Exceptions::default(),
            cache: Cache::none(),
            today: jiff::Timestamp::now()
                .to_zoned(jiff::tz::TimeZone::UTC)
                .date(),
        }
    }
}

/// Compares what is deployed with what is stated.
///
/// # Errors
/// There is nothing to compare; a local file that the command line names is bad; no region could be had; or the run was interrupted.
/// What could not be told about a function is in the report.
pub async fn check(
    common: &SessionOptions,
    stated: Stated,
    options: CheckOptions,
    reporter: Arc<dyn Reporter>,
    cancel: CancellationToken,
) -> Result<Report> {
    let work = Box::pin(run(common, stated, options, reporter, cancel.clone()));
    or_interrupted(&cancel, work).await
}

/// One check under way.
struct Checker {
    common: SessionOptions,
    options: CheckOptions,
    reporter: Arc<dyn Reporter>,
    cancel: CancellationToken,
    warnings: Vec<ReportWarning>,
    results: Vec<FunctionResult>,
    /// Digests of local files, by path.
    hashed: HashMap<PathBuf, Sha256Digest>,
    layer_hashes: HashMap<String, LayerHash>,
    /// How many bytes of diffs there may still be.
    diff_budget: usize,
    /// The name of every function of which anything is expected, selected or not, with the region if it is stated.
    expected: BTreeSet<(Option<String>, String)>,
}

/// One function of one region, and what is expected of it.
struct Job {
    function: FunctionRef,
    expectation: Expectation,
    /// The user named the qualifier with the function: then nothing else of it is compared.
    only: Option<String>,
}

async fn run(
    common: &SessionOptions,
    stated: Stated,
    options: CheckOptions,
    reporter: Arc<dyn Reporter>,
    cancel: CancellationToken,
) -> Result<Report> {
    let mut checker = Checker {
        common: common.clone(),
        reporter,
        cancel,
        warnings: Vec::new(),
        results: Vec::new(),
        hashed: HashMap::new(),
        layer_hashes: HashMap::new(),
        diff_budget: crate::drift::diff::MAX_REPORT,
        expected: expected_names(&stated.expectations),
        options,
    };
    let states_something = !stated.expectations.is_empty();
    for warning in stated.warnings {
        checker.warn(&warning.subject, &warning.message, warning.hint.as_deref());
    }
    if stated.expectations.is_empty()
        && checker.options.functions.is_empty()
        && !checker.options.unexpected
    {
        return Err(
            Error::new(ErrorKind::Usage, "nothing is expected of any function")
                .hint("name a source that states something, or report all functions with --all"),
        );
    }
    let hint = stated
        .expectations
        .iter()
        .find_map(|e| e.target.region.clone())
        .or_else(|| {
            let mut functions = checker.options.functions.iter();
            functions.find_map(|f| f.region().map(ToOwned::to_owned))
        });
    let session = Session::connect(common, hint.as_deref()).await?;
    let regions = checker.jobs(&session, stated.expectations);
    for (region, jobs) in regions {
        let session = session.in_region(&region)?;
        let mut place = Place::new(session, Arc::clone(&checker.reporter));
        checker.region(&mut place, jobs).await?;
    }
    if checker.results.is_empty()
        && (states_something || !checker.options.selection.is_everything())
    {
        return Err(Error::new(
            ErrorKind::Usage,
            "nothing was compared: no function is selected",
        )
        .hint("look at --include, --exclude, --tag and --region"));
    }
    let today = checker.options.today;
    for result in &mut checker.results {
        checker.options.exceptions.apply(result, today);
    }
    for warning in checker.options.exceptions.warnings(today) {
        checker.warn(&warning.subject, &warning.message, warning.hint.as_deref());
    }
    Ok(Report::new(checker.results, checker.warnings))
}

fn expected_names(expectations: &[Expectation]) -> BTreeSet<(Option<String>, String)> {
    let named = expectations
        .iter()
        .filter_map(|e| match &e.target.function {
            Named::Function(function) => {
                Some((e.target.region.clone(), function.name().to_owned()))
            }
            _ => None,
        });
    named.collect()
}

impl Checker {
    /// Remembers a warning for the report, and says it.
    fn warn(&mut self, subject: &str, message: &str, hint: Option<&str>) {
        self.reporter.report(&Event::Warning {
            subject,
            message,
            hint,
        });
        self.warnings.push(ReportWarning {
            subject: subject.to_owned(),
            message: message.to_owned(),
            hint: hint.map(ToOwned::to_owned),
        });
    }

    /// The regions that are listed for functions expected nowhere, without any comparison yet.
    fn listed_regions(
        &self,
        own: &str,
        expectations: &[Expectation],
    ) -> BTreeMap<String, Vec<Job>> {
        if !self.options.unexpected {
            return BTreeMap::new();
        }
        let named = &self.options.regions;
        let mut regions: Vec<&str> = named.iter().map(String::as_str).collect();
        if named.is_empty() {
            // Those of all expectations, also of ones that are not selected.
            let stated = expectations.iter().map(|e| &e.target.region);
            regions.extend(stated.map(|region| region.as_deref().unwrap_or(own)));
        }
        if regions.is_empty() {
            regions.push(own);
        }
        let places = regions.into_iter();
        places
            .map(|region| (region.to_owned(), Vec::new()))
            .collect()
    }

    /// What is to be compared in which region. What cannot be placed becomes a result at once.
    fn jobs(
        &mut self,
        session: &Session,
        expectations: Vec<Expectation>,
    ) -> BTreeMap<String, Vec<Job>> {
        let own = session.region().to_owned();
        let named = self.options.regions.clone();
        let mut places = self.listed_regions(&own, &expectations);
        let mut asked_for = vec![false; self.options.functions.len()];
        for expectation in expectations {
            let function = match &expectation.target.function {
                Named::Function(function) => function.clone(),
                Named::Resource { logical_id, .. } => {
                    let reason = "the function's name is known to its stack alone";
                    self.unplaced(
                        &expectation,
                        logical_id.clone(),
                        reason,
                        Some("--stack NAME asks CloudFormation for it"),
                    );
                    continue;
                }
                Named::Unknown {
                    label,
                    reason,
                    cause,
                } => {
                    self.unplaced(&expectation, label.clone(), reason, None);
                    if let (Some(cause), Some(result)) = (cause, self.results.last_mut()) {
                        result.cause = Some(*cause);
                    }
                    continue;
                }
            };
            let at = self.asked(&expectation, &function);
            if !self.options.selection.matches_name(function.name()) {
                // Something is expected of it, and it is not to be compared.
                if let Some(at) = at {
                    asked_for[at] = true;
                }
                continue;
            }
            if !self.options.functions.is_empty() && at.is_none() {
                continue;
            }
            let regions = match &expectation.target.region {
                Some(region) if named.is_empty() || named.contains(region) => vec![region.clone()],
                // The command line names both the function and other regions: as everywhere, the option counts.
                Some(region) if expectation.source.kind == SourceKind::CommandLine => {
                    self.warn(
                        function.as_typed(),
                        &format!(
                            "the ARN names the region {region}, and {} is asked as you say",
                            named.join(", ")
                        ),
                        Some("without --region the ARN's own region is asked"),
                    );
                    named.clone()
                }
                Some(_) => continue,
                None if named.is_empty() => vec![own.clone()],
                None => named.clone(),
            };
            let mut only = expectation.target.qualifier.clone();
            if let Some(at) = at {
                asked_for[at] = true;
                let qualifier = self.options.functions[at].qualifier();
                only = qualifier.map(ToOwned::to_owned).or(only);
            }
            for region in regions {
                places.entry(region).or_default().push(Job {
                    function: function.clone(),
                    expectation: expectation.clone(),
                    only: only.clone(),
                });
            }
        }
        for (at, function) in self.options.functions.clone().into_iter().enumerate() {
            if asked_for[at] {
                continue;
            }
            // Somebody wants it checked, and no source says anything about it.
            let region = match (named.first(), function.region()) {
                (Some(named), _) => named.clone(),
                (None, Some(region)) => region.to_owned(),
                (None, None) => own.clone(),
            };
            places.entry(region).or_default().push(Job {
                only: function.qualifier().map(ToOwned::to_owned),
                expectation: Expectation::of_code(
                    Target::of(function.clone()),
                    crate::drift::Source::new(SourceKind::CommandLine, ""),
                    crate::drift::Code::CannotTell(NOTHING.to_owned()),
                ),
                function,
            });
        }
        places
    }

    /// Which of the functions on the command line an expectation is about.
    fn asked(&self, expectation: &Expectation, function: &FunctionRef) -> Option<usize> {
        let target = &expectation.target;
        self.options.functions.iter().position(|asked| {
            let agree = |asked: Option<&str>, stated: Option<&str>| match (asked, stated) {
                (Some(asked), Some(stated)) => asked == stated,
                _ => true,
            };
            asked.name() == function.name()
                && agree(asked.region(), target.region.as_deref())
                && agree(asked.account(), target.account.as_deref())
        })
    }

    fn unplaced(
        &mut self,
        expectation: &Expectation,
        label: String,
        reason: &str,
        hint: Option<&str>,
    ) {
        let qualifier = expectation.target.qualifier.as_deref().unwrap_or("$LATEST");
        let mut result = FunctionResult::new(label, qualifier, Status::Unknown);
        result.reason = Some(reason.to_owned());
        result.cause = Some(ErrorKind::Usage);
        result.expected = Some(function::expected_of(&expectation.source));
        result.notes.clone_from(&expectation.notes);
        result.notes.extend(hint.map(ToOwned::to_owned));
        self.results.push(result);
    }

    async fn region(&mut self, place: &mut Place, jobs: Vec<Job>) -> Result<()> {
        let names: BTreeSet<&str> = jobs.iter().map(|job| job.function.name()).collect();
        if self.options.unexpected || names.len() > ONE_BY_ONE {
            let aliases =
                self.options.aliases || jobs.iter().any(|job| !job.expectation.aliases.is_empty());
            let scope = if aliases { Scope::All } else { Scope::Latest };
            match place.list(scope).await {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::AccessDenied && !self.options.unexpected => {
                    let region = place.session.region().to_owned();
                    self.warn(
                        &region,
                        "the functions cannot be listed, so each is asked for by itself",
                        e.hint_text(),
                    );
                }
                // Nothing of this region can be told.
                Err(e) => {
                    if jobs.is_empty() {
                        return Err(e);
                    }
                    for job in &jobs {
                        self.failed(place, job, &e);
                    }
                    return Ok(());
                }
            }
        }
        for job in jobs {
            self.function(place, &job).await?;
        }
        if self.options.unexpected {
            self.unexpected(place).await?;
        }
        Ok(())
    }

    /// Functions that are deployed, selected, and expected nowhere.
    async fn unexpected(&mut self, place: &Place) -> Result<()> {
        let region = place.session.region();
        let is_expected = |name: &str| {
            let of = |region: Option<&str>| {
                let key = (region.map(ToOwned::to_owned), name.to_owned());
                self.expected.contains(&key)
            };
            of(None) || of(Some(region))
        };
        let asked = |name: &str| self.options.functions.iter().any(|f| f.name() == name);
        let tags = &self.options.selection.tags;
        let tagged = if tags.is_empty() {
            None
        } else {
            Some(place.session.functions_tagged(tags).await?)
        };
        for listed in place.all() {
            if is_expected(listed.name())
                || asked(listed.name())
                || !self.options.selection.matches(listed, tagged.as_ref())
            {
                continue;
            }
            let mut result =
                FunctionResult::new(listed.function_arn(), "$LATEST", Status::Unexpected);
            result.reason = Some("it is deployed, and expected nowhere".to_owned());
            result.deployed = Some(code::deployed_of(listed));
            self.results.push(result);
        }
        Ok(())
    }

    fn failed(&mut self, place: &Place, job: &Job, error: &Error) {
        let qualifier = job.only.as_deref().unwrap_or("$LATEST");
        let mut result =
            FunctionResult::new(function::arn_of(place, job), qualifier, Status::Unknown);
        result.reason = Some(error.sentence());
        result.cause = Some(error.kind());
        result.expected = Some(function::expected_of(&job.expectation.source));
        result.notes.clone_from(&job.expectation.notes);
        result
            .notes
            .extend(error.hint_text().map(ToOwned::to_owned));
        self.results.push(result);
    }
}

/// Why a function on the command line is not expected.
const NOTHING: &str = "no source says anything about this function";
