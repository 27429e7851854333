//! From what the user named to units of work: one function in one region, with the qualifiers that are meant.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::outcome::{FunctionOutcome, Trouble};
use super::{Place, Run, SnapshotOptions, is_fatal};
use crate::aws::{Session, SessionOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::events::Reporter;
use crate::evidence::log::Log;
use crate::function::FunctionRef;
use crate::lambda::{Lambda, Scope};
use crate::ops::select::Selection;

/// One function in one region.
pub(super) struct Unit<'a> {
    pub(super) place: &'a Place,
    /// As it is to be asked for; its qualifier, if it has one, means nothing.
    pub(super) function: FunctionRef,
    /// The versions or aliases that were named; None is what `--versions` says.
    pub(super) qualifiers: BTreeSet<Option<String>>,
}

/// A session in the first region that is meant.
pub(super) async fn connect(common: &SessionOptions, options: &SnapshotOptions) -> Result<Session> {
    let mut common = common.clone();
    let of_arns = options.functions.iter().find_map(FunctionRef::region);
    common.region = options.regions.first().cloned();
    Session::connect(&common, of_arns).await
}

/// Every region that is meant, once.
pub(super) fn places(
    session: &Session,
    options: &SnapshotOptions,
    log: &Arc<Log>,
) -> Result<Vec<Place>> {
    let mut names: Vec<&str> = options.regions.iter().map(String::as_str).collect();
    let bare = options.functions.iter().any(|f| f.region().is_none());
    if names.is_empty() && (bare || options.all.is_some()) {
        names.push(session.region());
    }
    for region in options.functions.iter().filter_map(FunctionRef::region) {
        if !options.regions.is_empty() && !names.contains(&region) {
            return Err(Error::new(
                ErrorKind::Usage,
                format!(
                    "{region} is the region of an ARN, and not one of those that --region names"
                ),
            )
            .hint("leave --region out, and an ARN's own region is asked"));
        }
        names.push(region);
    }
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(*name));
    names
        .into_iter()
        .map(|name| {
            let session = session.in_region(name)?;
            let reporter: Arc<dyn Reporter> = Arc::clone(log) as Arc<dyn Reporter>;
            let lambda = Lambda::new(&session, reporter);
            Ok(Place { session, lambda })
        })
        .collect()
}

impl Run<'_> {
    /// All units, in the order in which they were named or listed; and what stands for the regions that could not be
    /// listed.
    pub(super) async fn units<'p>(
        &self,
        places: &'p [Place],
    ) -> Result<(Vec<Unit<'p>>, Vec<FunctionOutcome>)> {
        let (mut units, mut unlisted) = (Vec::new(), Vec::new());
        for function in &self.options.functions {
            for place in places {
                let region = place.session.region();
                let named = &self.options.regions;
                let asked = match function.region() {
                    Some(own) => own == region,
                    None if named.is_empty() => region == places[0].session.region(),
                    None => named.iter().any(|name| name == region),
                };
                if asked {
                    self.add(&mut units, place, function.clone());
                }
            }
        }
        if let Some(selection) = &self.options.all {
            for place in places {
                match self.listed(place, selection, &mut units).await {
                    Err(e) if is_fatal(e.kind()) => return Err(e),
                    Err(e) => {
                        let region = place.session.region().to_owned();
                        let trouble = Trouble::of(&e);
                        let all = format!("all functions of {region}");
                        unlisted.push(FunctionOutcome::failed(all, region, trouble));
                    }
                    Ok(()) => {}
                }
            }
        }
        Ok((units, unlisted))
    }

    /// The functions of a region that are meant.
    async fn listed<'p>(
        &self,
        place: &'p Place,
        selection: &Selection,
        units: &mut Vec<Unit<'p>>,
    ) -> Result<()> {
        let tagged = match selection.tags.as_slice() {
            [] => None,
            tags => Some(place.session.functions_tagged(tags).await?),
        };
        let mut pages = place.lambda.functions(Scope::Latest);
        while let Some(page) = pages.next().await? {
            for listed in page {
                // A replica of Lambda@Edge is kept as its master.
                if listed.master_arn().is_none() && selection.matches(&listed, tagged.as_ref()) {
                    let parsed = listed.name().parse::<FunctionRef>();
                    let function = parsed.map_err(|e| Error::from(e).about(listed.name()))?;
                    self.add(units, place, function);
                }
            }
        }
        Ok(())
    }

    /// Adds a function, or a qualifier to the one that is there already.
    fn add<'p>(&self, units: &mut Vec<Unit<'p>>, place: &'p Place, function: FunctionRef) {
        let qualifier = function.qualifier().map(ToOwned::to_owned);
        let of = |f: &FunctionRef| {
            let account = f.account().map(ToOwned::to_owned);
            (
                account.unwrap_or_else(|| self.account()),
                f.name().to_owned(),
            )
        };
        let same = units
            .iter_mut()
            .find(|unit| std::ptr::eq(unit.place, place) && of(&unit.function) == of(&function));
        match same {
            Some(unit) => {
                unit.qualifiers.insert(qualifier);
            }
            None => units.push(Unit {
                place,
                function,
                qualifiers: BTreeSet::from([qualifier]),
            }),
        }
    }
}
