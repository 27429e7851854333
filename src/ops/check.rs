//! `larder check`: is what Lambda runs what somebody means it to run?
//!
//! ```text
//! Stated -> targets by region -> what is deployed (listing, or one by one)
//!        -> each function at $LATEST, qualifiers, aliases -> code, layers, configuration -> exceptions -> Report
//! ```
//!
//! The cheapest order: the digest in a listing or in GetFunctionConfiguration, then contents that were seen before, and
//! GetFunction with a download only for a difference that contents can explain.

mod agree;
mod aliases;
mod code;
mod diffs;
mod function;
mod image;
mod jobs;
mod layers;
pub mod sources;
mod stored;
mod wanted;

use std::collections::{BTreeSet, HashMap};
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
    Cache, Expectation, FunctionResult, Named, Report, ReportWarning, Stated, Status,
};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::function::FunctionRef;
use crate::lambda::Scope;
use crate::store::Store;
use crate::task::or_interrupted;
use crate::unpack::Limits;

use super::deployed::{ONE_BY_ONE, Place};
use jobs::Job;
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
    /// Which functions, of the expected and of the unexpected ones.
    pub selection: Selection,
    /// A layer version that is deleted or denied makes its function unknown.
    pub strict_layers: bool,
    /// Known exceptions.
    pub exceptions: Exceptions,
    /// Contents of packages that were seen before.
    pub cache: Cache,
    /// A store that may have the package of an expected digest.
    pub store: Option<Store>,
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
            store: None,
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
    /// Of how many expected functions the name cannot be told.
    unnamed: usize,
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
        unnamed: stated
            .expectations
            .iter()
            .filter(|e| !matches!(e.target.function, Named::Function(_)))
            .count(),
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
    let regions = checker.jobs(&session, stated.expectations).await?;
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

    async fn region(&mut self, place: &mut Place, jobs: Vec<Job>) -> Result<()> {
        let names: BTreeSet<&str> = jobs.iter().map(|job| job.function.name()).collect();
        let mut unlisted = None;
        if self.options.unexpected || names.len() > ONE_BY_ONE {
            let aliases =
                self.options.aliases || jobs.iter().any(|job| !job.expectation.aliases.is_empty());
            let scope = if aliases { Scope::All } else { Scope::Latest };
            match place.list(scope).await {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::AccessDenied => {
                    if !jobs.is_empty() {
                        let region = place.session.region().to_owned();
                        self.warn(
                            &region,
                            "the functions cannot be listed, so each is asked for by itself",
                            e.hint_text(),
                        );
                    }
                    unlisted = Some(e);
                }
                Err(e) if is_fatal(&e) => return Err(e),
                // Nothing of this region can be told.
                Err(e) => {
                    for job in &jobs {
                        self.failed(place, job, &e);
                    }
                    if self.options.unexpected {
                        self.untold(place, &e);
                    }
                    return Ok(());
                }
            }
        }
        let tags = &self.options.selection.tags;
        let tagged = if tags.is_empty() {
            None
        } else {
            Some(place.session.functions_tagged(tags).await?)
        };
        for job in jobs {
            if self.is_meant(place, &job, tagged.as_ref()).await? {
                self.function(place, &job).await?;
            }
        }
        match unlisted {
            Some(e) if self.options.unexpected => self.untold(place, &e),
            _ if self.options.unexpected => self.unexpected(place, tagged.as_ref()),
            _ => {}
        }
        Ok(())
    }

    /// Whether a function has the tags that were asked for. One that is not there has none that could be asked for: it is meant,
    /// and missing.
    async fn is_meant(
        &mut self,
        place: &mut Place,
        job: &Job,
        tagged: Option<&BTreeSet<String>>,
    ) -> Result<bool> {
        let Some(tagged) = tagged else {
            return Ok(true);
        };
        let (name, account) = (job.function.name(), job.function.account());
        let is = |arn: &String| {
            arn.parse::<FunctionRef>().is_ok_and(|tagged| {
                tagged.name() == name && account.is_none_or(|own| tagged.account() == Some(own))
            })
        };
        if tagged.iter().any(is) {
            return Ok(true);
        }
        match place.find(&job.function, "$LATEST").await {
            Ok(found) => Ok(found.is_none()),
            Err(e) if e.kind() == ErrorKind::Interrupted => Err(e),
            Err(e) => {
                self.failed(place, job, &e);
                Ok(false)
            }
        }
    }

    /// Which functions are expected nowhere cannot be told: without a list they are not known.
    fn untold(&mut self, place: &Place, error: &Error) {
        let region = place.session.region();
        let all = format!("arn:aws:lambda:{region}:*:function:*");
        let mut result = FunctionResult::new(all, "$LATEST", Status::Unknown);
        result.reason = Some(format!(
            "whether functions are deployed in {region} that are expected nowhere cannot be told: {}",
            error.sentence()
        ));
        result.cause = Some(error.kind());
        result
            .notes
            .extend(error.hint_text().map(ToOwned::to_owned));
        self.results.push(result);
    }

    /// Functions that are deployed, selected, and expected nowhere.
    fn unexpected(&mut self, place: &Place, tagged: Option<&BTreeSet<String>>) {
        let region = place.session.region();
        let is_expected = |name: &str| {
            let of = |region: Option<&str>| {
                let key = (region.map(ToOwned::to_owned), name.to_owned());
                self.expected.contains(&key)
            };
            of(None) || of(Some(region))
        };
        let asked = |name: &str| self.options.functions.iter().any(|f| f.name() == name);
        for listed in place.all() {
            if is_expected(listed.name())
                || asked(listed.name())
                || !self.options.selection.matches(listed, tagged)
            {
                continue;
            }
            let mut result =
                FunctionResult::new(listed.function_arn(), "$LATEST", Status::Unexpected);
            result.reason = Some("it is deployed, and expected nowhere".to_owned());
            result.deployed = Some(code::deployed_of(listed));
            if self.unnamed > 0 {
                result.notes.push(format!(
                    "of {} expected functions the name cannot be told, and this may be one of them",
                    self.unnamed
                ));
            }
            self.results.push(result);
        }
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

/// A failure that no other function of the run could do better with.
fn is_fatal(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Interrupted
            | ErrorKind::Bug
            | ErrorKind::NoCredentials
            | ErrorKind::CredentialsRefused
    )
}
