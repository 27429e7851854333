//! One function: its aliases, its versions, and what it is beside its code.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::outcome::{FunctionOutcome, Trouble, VersionOutcome};
use super::sides::Sides;
use super::units::Unit;
use super::{Place, Run, is_fatal, plain};
use crate::error::{ErrorKind, Result};
use crate::function::FunctionRef;
use crate::lambda::{Alias, SideRead};
use crate::record::Tool;

const LATEST: &str = "$LATEST";

/// What a function's work goes by.
pub(super) struct Subject<'a> {
    pub(super) place: &'a Place,
    pub(super) function: &'a FunctionRef,
    /// Its directory, from the bag's root.
    pub(super) directory: String,
}

/// What the two lists brought.
struct Known {
    aliases: Vec<Alias>,
    published: BTreeSet<u64>,
    /// ListVersionsByFunction was answered.
    listed: bool,
}

impl Run<'_> {
    /// Takes one function.
    ///
    /// # Errors
    /// A fatal one. What AWS does not give is told by the outcome.
    pub(super) async fn function(&self, unit: Unit<'_>) -> Result<FunctionOutcome> {
        let (function, place) = (&unit.function, unit.place);
        let region = place.session.region().to_owned();
        let own = self.account();
        let account = plain(function.account().unwrap_or(&own))?;
        let subject = Subject {
            place,
            function,
            directory: format!(
                "data/functions/{account}/{region}/{}",
                plain(function.name())?
            ),
        };
        let mut sides = Sides::default();
        let known = self.lists(&subject, &mut sides).await?;
        let mut versions = Vec::new();
        let mut package_types = BTreeSet::new();
        let mut scaled = BTreeSet::new();
        let mut arn = None;
        for version in self.wanted(&unit.qualifiers, &known) {
            let Some((outcome, described)) = self.version(&subject, &version).await? else {
                continue;
            };
            if let Some(described) = described {
                package_types.insert(described.package_type().to_owned());
                if described
                    .answer()
                    .get("/Configuration/CapacityProviderConfig")
                    .is_some()
                {
                    scaled.insert(outcome.version.clone());
                }
                arn.get_or_insert_with(|| unqualified(&described.function().arn));
            }
            versions.push(outcome);
        }
        let name = function.unqualified();
        let gone = !known.listed
            && versions
                .iter()
                .all(|v| v.cause == Some(ErrorKind::NotFound));
        if !gone {
            self.beside(&subject, &package_types, &mut sides).await?;
            self.beside_versions(&subject, &known, &versions, &scaled, &mut sides)
                .await?;
            self.aliases(&subject, &known.aliases, &mut sides).await?;
        }
        let trouble = sides.trouble.take();
        let shown = arn.unwrap_or_else(|| name.to_owned());
        let outcome = FunctionOutcome::of(shown, region, versions, sides.incomplete, trouble);
        if outcome.versions.iter().any(|v| v.path.is_some())
            || sides.outcomes.iter().any(|side| side.path.is_some())
        {
            let record = json!({
                "schema_version": 1,
                "tool": Tool::this(),
                "outcome": outcome,
                "side_reads": sides.outcomes,
                "triggers": "partial",
            });
            // JSON values always serialize.
            let mut json = serde_json::to_vec_pretty(&record).unwrap_or_default();
            json.push(b'\n');
            self.document(&format!("{}/record.json", subject.directory), &json)?;
        }
        Ok(outcome)
    }

    /// Which aliases and versions there are. A list that is not given is a gap, and no more.
    async fn lists(&self, subject: &Subject<'_>, sides: &mut Sides) -> Result<Known> {
        let lambda = &subject.place.lambda;
        let name = subject.function.unqualified();
        let mut known = Known {
            aliases: Vec::new(),
            published: BTreeSet::new(),
            listed: false,
        };
        match lambda.aliases(name).await {
            Ok(aliases) => known.aliases = aliases,
            Err(e) if is_fatal(e.kind()) => return Err(e),
            Err(e) => {
                let gone = e.kind() == ErrorKind::NotFound;
                sides.lacks("ListAliases", e.kind().name(), Trouble::of(&e));
                if gone {
                    return Ok(known);
                }
            }
        }
        // Kept as it comes, page by page: a function may have thousands of versions.
        let mut pages = lambda.versions(name);
        let mut stream = None;
        loop {
            match pages.next().await {
                Ok(Some(page)) => {
                    known.listed = true;
                    let path = format!("{}/versions.jsonl", subject.directory);
                    let stream = match &mut stream {
                        Some(stream) => stream,
                        none => none.insert(self.bag.stream(&path)?),
                    };
                    for listed in page {
                        known.published.extend(listed.version().parse::<u64>());
                        let line = listed.answer().to_recorded_line(self.options.redact_env);
                        stream.write(&line).map_err(|e| {
                            crate::files::io_error("the list of versions cannot be written", e)
                        })?;
                    }
                }
                Ok(None) => break,
                Err(e) if is_fatal(e.kind()) => return Err(e),
                Err(e) => {
                    sides.lacks("ListVersionsByFunction", e.kind().name(), Trouble::of(&e));
                    break;
                }
            }
        }
        if let Some(stream) = stream {
            self.bag.end_stream(stream)?;
        }
        Ok(known)
    }

    /// The versions to take: those that were named or chosen, and those that an alias routes to.
    fn wanted(&self, qualifiers: &BTreeSet<Option<String>>, known: &Known) -> Vec<String> {
        let aliases: BTreeMap<&str, &Alias> =
            known.aliases.iter().map(|a| (a.name.as_str(), a)).collect();
        let mut wanted: Vec<String> = Vec::new();
        for qualifier in qualifiers {
            if let Some(name) = qualifier.as_deref() {
                match aliases.get(name) {
                    Some(alias) => wanted.extend(routed(alias)),
                    None => wanted.push(name.to_owned()),
                }
                continue;
            }
            let chosen = self.options.versions;
            if chosen.holds(LATEST) {
                wanted.push(LATEST.to_owned());
            }
            let published = known.published.iter().map(u64::to_string);
            wanted.extend(published.filter(|number| chosen.holds(number)));
            wanted.extend(known.aliases.iter().flat_map(routed));
            if wanted.is_empty() && !known.listed {
                // The lists were not given: what there surely is says why.
                wanted.push(LATEST.to_owned());
            }
        }
        let mut seen = BTreeSet::new();
        wanted.retain(|version| seen.insert(version.clone()));
        wanted
    }

    /// The reads about the function as a whole.
    async fn beside(
        &self,
        subject: &Subject<'_>,
        package_types: &BTreeSet<String>,
        sides: &mut Sides,
    ) -> Result<()> {
        let name = subject.function.unqualified();
        for read in [
            SideRead::Policy,
            SideRead::UrlConfigs,
            SideRead::EventInvokeConfigs,
            SideRead::CodeSigningConfig,
            SideRead::ProvisionedConcurrencyConfigs,
            SideRead::RecursionConfig,
        ] {
            if read == SideRead::CodeSigningConfig
                && package_types.contains("Image")
                && !package_types.contains("Zip")
            {
                self.not_applicable(read, name, None, "an image has none", sides);
                continue;
            }
            self.side(subject.place, read, (name, None), &subject.directory, sides)
                .await?;
        }
        Ok(())
    }

    /// The reads about each version: the policy of every published one, taken or not, because a grant may hide there; the
    /// rest of those that were taken.
    async fn beside_versions(
        &self,
        subject: &Subject<'_>,
        known: &Known,
        versions: &[VersionOutcome],
        scaled: &BTreeSet<String>,
        sides: &mut Sides,
    ) -> Result<()> {
        let name = subject.function.unqualified();
        let taken: Vec<&str> = versions
            .iter()
            .filter(|v| v.path.is_some())
            .map(|v| v.version.as_str())
            .collect();
        let mut with_policy: BTreeSet<String> =
            known.published.iter().map(u64::to_string).collect();
        with_policy.extend(
            taken
                .iter()
                .filter(|v| **v != LATEST)
                .map(ToString::to_string),
        );
        for version in with_policy {
            let directory = format!("{}/versions/{}", subject.directory, segment(&version)?);
            let of = (name, Some(version.as_str()));
            self.side(subject.place, SideRead::Policy, of, &directory, sides)
                .await?;
        }
        for version in taken {
            let directory = format!("{}/versions/{}", subject.directory, segment(version)?);
            let of = (name, Some(version));
            let read = SideRead::RuntimeManagementConfig;
            self.side(subject.place, read, of, &directory, sides)
                .await?;
            let read = SideRead::ScalingConfig;
            if scaled.contains(version) {
                self.side(subject.place, read, of, &directory, sides)
                    .await?;
            } else {
                let why = "it has no CapacityProviderConfig";
                self.not_applicable(read, name, Some(version), why, sides);
            }
        }
        Ok(())
    }

    /// Each alias, with its weights as they came, and its own policy.
    async fn aliases(
        &self,
        subject: &Subject<'_>,
        aliases: &[Alias],
        sides: &mut Sides,
    ) -> Result<()> {
        let name = subject.function.unqualified();
        for alias in aliases {
            let directory = format!("{}/aliases/{}", subject.directory, plain(&alias.name)?);
            let json = alias.answer.to_recorded_json(self.options.redact_env);
            self.document(&format!("{directory}/alias.json"), &json)?;
            let of = (name, Some(alias.name.as_str()));
            self.side(subject.place, SideRead::Policy, of, &directory, sides)
                .await?;
        }
        Ok(())
    }
}

/// The versions that an alias routes to.
fn routed(alias: &Alias) -> impl Iterator<Item = String> {
    std::iter::once(alias.version.clone()).chain(alias.weights.keys().cloned())
}

/// The directory of a version: `$` would be a shell's.
pub(super) fn segment(version: &str) -> Result<&str> {
    match version {
        LATEST => Ok("LATEST"),
        other => plain(other),
    }
}

/// An ARN without the qualifier at its end.
fn unqualified(arn: &str) -> String {
    match arn.match_indices(':').nth(6) {
        Some((end, _)) => arn[..end].to_owned(),
        None => arn.to_owned(),
    }
}
