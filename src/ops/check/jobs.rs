//! What is to be compared, and where: expectations by region, those that are not asked for left out, and those that contradict
//! each other refused.

use std::collections::BTreeMap;

use super::Checker;
use super::function::expected_of;
use crate::aws::Session;
use crate::drift::{Code, Expectation, FunctionResult, Named, Source, SourceKind, Status, Target};
use crate::error::{ErrorKind, Result};
use crate::function::FunctionRef;

/// How many functions without a name are listed in a sentence.
const MAX_LABELS: usize = 5;

/// One function of one region, and what is expected of it.
pub(super) struct Job {
    pub(super) function: FunctionRef,
    pub(super) expectation: Expectation,
    /// The user named the qualifier with the function: then nothing else of it is compared.
    pub(super) only: Option<String>,
    /// Without `only`: further versions and aliases that the user named with the function.
    pub(super) also: Vec<String>,
}

impl Job {
    /// Whether both may be about one function: their accounts do not differ.
    pub(super) fn may_be(&self, other: &Self) -> bool {
        let account = |job: &Self| {
            let own = job.function.account().map(ToOwned::to_owned);
            own.or_else(|| job.expectation.target.account.clone())
        };
        match (account(self), account(other)) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        }
    }
}

impl Checker {
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
    ///
    /// # Errors
    /// Two sources expect different code of one function.
    pub(super) async fn jobs(
        &mut self,
        session: &Session,
        expectations: Vec<Expectation>,
    ) -> Result<BTreeMap<String, Vec<Job>>> {
        let own = session.region().to_owned();
        let named = self.options.regions.clone();
        let mut places = self.listed_regions(&own, &expectations);
        let mut asked_for = vec![false; self.options.functions.len()];
        let mut unnamed = Vec::new();
        for expectation in expectations {
            let function = match &expectation.target.function {
                Named::Function(function) => function.clone(),
                Named::Resource { .. } | Named::Unknown { .. } => {
                    unnamed.push(result_of_unnamed(&expectation));
                    continue;
                }
            };
            let asked = self.asked(&expectation, &function);
            if !self.options.selection.matches_name(function.name()) {
                // Something is expected of it, and it is not to be compared.
                for at in asked {
                    asked_for[at] = true;
                }
                continue;
            }
            if !self.options.functions.is_empty() && asked.is_empty() {
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
            for at in &asked {
                asked_for[*at] = true;
            }
            let at = self.places_of(&expectation, &asked);
            for region in regions {
                let jobs = at.iter().map(|(only, also)| Job {
                    function: function.clone(),
                    expectation: expectation.clone(),
                    only: only.clone(),
                    also: also.clone(),
                });
                places.entry(region).or_default().extend(jobs);
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
            if let Some(first) = unnamed.first() {
                let result = may_be_unnamed(&function, first, &unnamed);
                self.results.push(result);
                continue;
            }
            places.entry(region).or_default().push(Job {
                only: function.qualifier().map(ToOwned::to_owned),
                also: Vec::new(),
                expectation: Expectation::of_code(
                    Target::of(function.clone()),
                    Source::new(SourceKind::CommandLine, ""),
                    Code::CannotTell(NOTHING.to_owned()),
                ),
                function,
            });
        }
        if self.options.functions.is_empty() {
            self.results.extend(unnamed);
        }
        for (region, jobs) in &mut places {
            self.agree(region, jobs).await?;
        }
        Ok(places)
    }

    /// At which versions and aliases an expectation is compared: `Job::only` and `Job::also` of each job, each place once however
    /// often and in whatever way it was named.
    fn places_of(
        &self,
        expectation: &Expectation,
        asked: &[usize],
    ) -> Vec<(Option<String>, Vec<String>)> {
        let own = &expectation.target.qualifier;
        if asked.is_empty() || expectation.source.kind == SourceKind::CommandLine {
            // Each function that is named with --expect has an expectation of its own.
            return vec![(own.clone(), Vec::new())];
        }
        let mut whole = false;
        let mut named: Vec<String> = Vec::new();
        for at in asked {
            let qualifier = self.options.functions[*at].qualifier();
            match qualifier.map(ToOwned::to_owned).or_else(|| own.clone()) {
                None => whole = true,
                Some(qualifier) if named.contains(&qualifier) => {}
                Some(qualifier) => named.push(qualifier),
            }
        }
        if whole {
            return vec![(None, named)];
        }
        named.into_iter().map(|q| (Some(q), Vec::new())).collect()
    }

    /// Which of the functions on the command line an expectation is about.
    fn asked(&self, expectation: &Expectation, function: &FunctionRef) -> Vec<usize> {
        let target = &expectation.target;
        let is_about = |asked: &FunctionRef| {
            let agree = |asked: Option<&str>, stated: Option<&str>| match (asked, stated) {
                (Some(asked), Some(stated)) => asked == stated,
                _ => true,
            };
            asked.name() == function.name()
                && agree(asked.region(), target.region.as_deref())
                && agree(asked.account(), target.account.as_deref())
        };
        let all = self.options.functions.iter().enumerate();
        all.filter(|(_, asked)| is_about(asked))
            .map(|(at, _)| at)
            .collect()
    }
}

/// The result of an expectation whose function has no name that could be told.
fn result_of_unnamed(expectation: &Expectation) -> FunctionResult {
    let (label, reason, cause, hint) = match &expectation.target.function {
        Named::Function(function) => (function.name(), NOTHING, None, None),
        Named::Resource { logical_id, .. } => (
            logical_id.as_str(),
            "the function's name is known to its stack alone",
            None,
            Some("--stack NAME asks CloudFormation for it"),
        ),
        Named::Unknown {
            label,
            reason,
            cause,
        } => (label.as_str(), reason.as_str(), *cause, None),
    };
    let qualifier = expectation.target.qualifier.as_deref();
    let mut result = FunctionResult::new(label, qualifier.unwrap_or("$LATEST"), Status::Unknown);
    result.reason = Some(reason.to_owned());
    result.cause = Some(cause.unwrap_or(ErrorKind::Usage));
    result.expected = Some(expected_of(&expectation.source));
    result.notes.clone_from(&expectation.notes);
    result.notes.extend(hint.map(ToOwned::to_owned));
    result
}

/// A function on the command line that no source names, where sources hold functions whose names cannot be told.
fn may_be_unnamed(
    function: &FunctionRef,
    first: &FunctionResult,
    unnamed: &[FunctionResult],
) -> FunctionResult {
    let mut labels: Vec<&str> = unnamed.iter().map(|u| u.function.as_str()).collect();
    let further = labels.len().saturating_sub(MAX_LABELS);
    labels.truncate(MAX_LABELS);
    let further = match further {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let qualifier = function.qualifier().unwrap_or("$LATEST");
    FunctionResult {
        reason: Some(format!(
            "no source names it, and it may be one of those whose name cannot be told: {}{further} ({})",
            labels.join(", "),
            first.reason.as_deref().unwrap_or_default(),
        )),
        cause: first.cause,
        expected: first.expected.clone(),
        notes: first.notes.clone(),
        ..FunctionResult::new(function.unqualified(), qualifier, Status::Unknown)
    }
}

/// Why a function on the command line is not expected.
pub(super) const NOTHING: &str = "no source says anything about this function";
