//! Which runs may go: rules that are applied to each function over the runs that hold it, as restic applies them to each
//! host and path. A run stays as long as any function needs it, so that what is gone from AWS is not lost by counting.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::Store;
use super::entry::Subject;
use super::error::concerns_one_run;
use super::run::{Part, RunName, Scope};
use crate::error::{Error, ErrorKind, Result};

/// Functions that are named where a reason is shown.
const EXAMPLES: usize = 3;
/// How long shares of a backup wait for the others, beside the last run.
const UNSEALED_HOURS: i64 = 7 * 24;

/// What is to be kept of each function. A run that any of them keeps stays.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The last so many runs.
    pub last: Option<u32>,
    /// The last run of each of the last so many days (UTC) that have one.
    pub daily: Option<u32>,
    /// The same for weeks (ISO 8601).
    pub weekly: Option<u32>,
    /// The same for months.
    pub monthly: Option<u32>,
    /// The same for years.
    pub yearly: Option<u32>,
    /// All runs within this time before the function's last one.
    pub within: Option<Span>,
}

/// What tells one day, week, month or year from another.
type Period = fn(Timestamp) -> (i16, i16);

/// What [`Store::forget`] is to do.
#[derive(Debug, Clone)]
pub enum Forget {
    /// Runs that the rules leave.
    ByRules(Rules),
    /// Runs of these names or ids; the beginning of one is enough.
    Named(Vec<String>),
}

/// Why a run stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// `last`, `daily`, …; `newest` of an account and region; `unsealed`; `unreadable`.
    pub rule: &'static str,
    /// How many functions need it.
    pub functions: u64,
    /// Some of their ARNs, or the account and region.
    pub examples: Vec<String>,
}

/// What becomes of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Which.
    pub run: RunName,
    /// Why it stays; nothing when it is forgotten.
    pub reasons: Vec<Reason>,
    /// Whether it is forgotten.
    pub forget: bool,
}

/// What a forget came to.
#[derive(Debug, Default)]
pub struct Forgotten {
    /// Each run, oldest first.
    pub verdicts: Vec<Verdict>,
    /// Functions (ARNs) that no run holds any more: only by runs that were named.
    pub lost: Vec<String>,
    /// Runs that cannot be read, and why. Rules leave them alone.
    pub unreadable: Vec<(RunName, Error)>,
    /// Runs that the store refused to remove, and why.
    pub denied: Vec<(RunName, Error)>,
}

/// What a run holds.
struct View {
    name: RunName,
    part: Option<Part>,
    /// The digests of its regions' indexes.
    indexes: BTreeSet<String>,
    regions: Vec<(String, Scope)>,
    /// Numbers of functions.
    functions: Vec<Arc<Vec<u32>>>,
}

impl Rules {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.within.is_none()
            && [
                self.last,
                self.daily,
                self.weekly,
                self.monthly,
                self.yearly,
            ]
            .iter()
            .all(Option::is_none)
    }

    /// Which of a function's runs stay, by which rule. `times` are when they began, the newest first; the answer has their
    /// places.
    fn keeps(&self, times: &[Timestamp]) -> Vec<(usize, &'static str)> {
        let mut out = Vec::new();
        let last = self.last.unwrap_or(0) as usize;
        out.extend((0..times.len().min(last)).map(|n| (n, "last")));
        let periods: [(&'static str, Option<u32>, Period); 4] = [
            ("daily", self.daily, |time| {
                let date = time.to_zoned(TimeZone::UTC).date();
                (date.year(), date.day_of_year())
            }),
            ("weekly", self.weekly, |time| {
                let week = time.to_zoned(TimeZone::UTC).date().iso_week_date();
                (week.year(), i16::from(week.week()))
            }),
            ("monthly", self.monthly, |time| {
                let date = time.to_zoned(TimeZone::UTC).date();
                (date.year(), i16::from(date.month()))
            }),
            ("yearly", self.yearly, |time| {
                (time.to_zoned(TimeZone::UTC).date().year(), 0)
            }),
        ];
        for (rule, count, period) in periods {
            let (mut left, mut before) = (count.unwrap_or(0), None);
            for (n, time) in times.iter().enumerate() {
                let of = Some(period(*time));
                if left == 0 {
                    break;
                }
                if of != before {
                    out.push((n, rule));
                    before = of;
                    left -= 1;
                }
            }
        }
        if let (Some(span), Some(newest)) = (self.within, times.first()) {
            let since = newest.to_zoned(TimeZone::UTC).checked_sub(span);
            // What reaches back further than there is time reaches everything.
            let since = since.map_or(Timestamp::MIN, |zoned| zoned.timestamp());
            let within = times.iter().enumerate().filter(|(_, time)| **time >= since);
            out.extend(within.map(|(n, _)| (n, "within")));
        }
        out
    }
}

impl Store {
    /// Forgets runs. Their files are moved to `forgotten/`, where they keep a prune from taking what they refer to until its
    /// grace is over. With `dry_run` nothing is done.
    ///
    /// # Errors
    /// The store cannot be read or written; a name is no run's, or several runs'.
    pub async fn forget(&self, what: &Forget, dry_run: bool) -> Result<Forgotten> {
        let mut out = Forgotten::default();
        let names = self.runs().await?.names;
        let (views, functions) = self.views(&names, &mut out).await?;
        let keep = match what {
            Forget::ByRules(rules) => by_rules(rules, &views, &functions),
            Forget::Named(wanted) => {
                let mut go = Vec::new();
                for wanted in wanted {
                    go.push(pick(&names, wanted)?);
                }
                // That is why they go.
                out.unreadable.retain(|(run, _)| !go.contains(run));
                let held = held_by_others(&views, &go);
                let lost = functions.iter().enumerate();
                let lost = lost.filter(|(n, _)| !held.contains(&(u32::try_from(*n).unwrap_or(0))));
                out.lost = lost.map(|(_, arn)| arn.clone()).collect();
                let stay = names.iter().filter(|name| !go.contains(name));
                stay.map(|name| (name.clone(), Vec::new())).collect()
            }
        };
        for name in names {
            let unreadable = out.unreadable.iter().any(|(run, _)| *run == name);
            let reasons = keep.get(&name).cloned();
            let reasons = match what {
                Forget::ByRules(_) if unreadable => Some(vec![Reason {
                    rule: "unreadable",
                    functions: 0,
                    examples: Vec::new(),
                }]),
                _ => reasons,
            };
            out.verdicts.push(Verdict {
                run: name,
                forget: reasons.is_none(),
                reasons: reasons.unwrap_or_default(),
            });
        }
        if !dry_run {
            self.carry_out(&mut out).await?;
        }
        Ok(out)
    }

    async fn carry_out(&self, out: &mut Forgotten) -> Result<()> {
        let mut any = false;
        for verdict in out.verdicts.iter_mut().filter(|verdict| verdict.forget) {
            let file = verdict.run.file();
            let Some(bytes) = self.read(&file).await? else {
                continue;
            };
            // Written anew even if it is there: from now on counts the grace.
            let forgotten = verdict.run.forgotten_file();
            self.put_over_in(&self.durable, &forgotten, bytes).await?;
            match self.remove(&file).await {
                Ok(_) => any = true,
                Err(e) if e.kind() == ErrorKind::AccessDenied => {
                    verdict.forget = false;
                    out.denied.push((verdict.run.clone(), e));
                }
                Err(e) => return Err(e),
            }
        }
        if any {
            self.refresh_index(false).await?;
        }
        Ok(())
    }

    /// What each run holds, and the ARNs of the functions by their numbers.
    async fn views(
        &self,
        names: &[RunName],
        out: &mut Forgotten,
    ) -> Result<(Vec<View>, Vec<String>)> {
        let mut views = Vec::new();
        let (mut numbers, mut functions) = (HashMap::new(), Vec::new());
        // A region that did not change has the same index in many runs.
        let mut known: HashMap<String, Arc<Vec<u32>>> = HashMap::new();
        'runs: for name in names {
            let run = match self.run(name).await {
                Ok(run) => run,
                Err(e) if concerns_one_run(&e) => {
                    out.unreadable.push((name.clone(), e));
                    continue;
                }
                Err(e) => return Err(e),
            };
            let mut view = View {
                name: name.clone(),
                part: run.part.clone(),
                indexes: run.regions.iter().map(|r| r.index.digest.clone()).collect(),
                regions: Vec::new(),
                functions: Vec::new(),
            };
            for region in &run.regions {
                let place = format!("{} {}", region.account, region.region);
                view.regions.push((place, region.scope));
                if let Some(known) = known.get(&region.index.digest) {
                    view.functions.push(Arc::clone(known));
                    continue;
                }
                let entries = match self.entries(region).await {
                    Ok(entries) => entries,
                    Err(e) if concerns_one_run(&e) => {
                        out.unreadable.push((name.clone(), e));
                        continue 'runs;
                    }
                    Err(e) => return Err(e),
                };
                let entries = entries.iter().filter(|e| e.subject == Subject::Function);
                let mut own: Vec<u32> = entries
                    .map(|entry| {
                        let arn = entry.unversioned();
                        if let Some(number) = numbers.get(arn) {
                            return *number;
                        }
                        let number = u32::try_from(functions.len()).unwrap_or(u32::MAX);
                        functions.push(arn.to_owned());
                        numbers.insert(arn.to_owned(), number);
                        number
                    })
                    .collect();
                own.sort_unstable();
                own.dedup();
                let own = Arc::new(own);
                known.insert(region.index.digest.clone(), Arc::clone(&own));
                view.functions.push(own);
            }
            views.push(view);
        }
        Ok((views, functions))
    }
}

/// Each run that stays, and why.
fn by_rules(rules: &Rules, views: &[View], functions: &[String]) -> BTreeMap<RunName, Vec<Reason>> {
    let mut holders: Vec<Vec<usize>> = vec![Vec::new(); functions.len()];
    let superseded: Vec<bool> = views.iter().map(|v| is_superseded(v, views)).collect();
    for (n, view) in views.iter().enumerate().rev() {
        if superseded[n] {
            continue;
        }
        for function in view.functions.iter().flat_map(|all| all.iter()) {
            if let Some(runs) = holders.get_mut(*function as usize)
                && runs.last() != Some(&n)
            {
                runs.push(n);
            }
        }
    }
    let mut keep: BTreeMap<RunName, Vec<Reason>> = BTreeMap::new();
    let mut note = |view: &View, rule: &'static str, example: &str| {
        let reasons = keep.entry(view.name.clone()).or_default();
        let at = reasons.iter().position(|reason| reason.rule == rule);
        let at = at.unwrap_or_else(|| {
            reasons.push(Reason {
                rule,
                functions: 0,
                examples: Vec::new(),
            });
            reasons.len() - 1
        });
        let reason = &mut reasons[at];
        reason.functions += 1;
        if reason.examples.len() < EXAMPLES {
            reason.examples.push(example.to_owned());
        }
    };
    for (runs, arn) in holders.iter().zip(functions) {
        let times: Vec<Timestamp> = runs.iter().map(|n| views[*n].name.time()).collect();
        for (place, rule) in rules.keeps(&times) {
            note(&views[runs[place]], rule, arn);
        }
    }
    // The next backup builds on these.
    let mut newest: BTreeMap<(&str, bool), &View> = BTreeMap::new();
    let counted = views.iter().zip(&superseded).filter(|(_, gone)| !**gone);
    for (view, _) in counted {
        for (place, scope) in &view.regions {
            newest.insert((place, false), view);
            if *scope == Scope::All {
                newest.insert((place, true), view);
            }
        }
    }
    let mut noted: Vec<(&RunName, &str)> = Vec::new();
    for ((place, _), view) in newest {
        if !noted.contains(&(&view.name, place)) {
            note(view, "newest", place);
            noted.push((&view.name, place));
        }
    }
    for view in unsealed(views) {
        note(view, "unsealed", "");
    }
    for reasons in keep.values_mut() {
        for reason in reasons
            .iter_mut()
            .filter(|reason| matches!(reason.rule, "newest" | "unsealed"))
        {
            reason.functions = 0;
        }
    }
    keep
}

/// The shares of backups that may still be joined: without a complete joint run, and no older than that beside the last run. One may
/// have had nothing to do, and is missed all the same.
fn unsealed(views: &[View]) -> impl Iterator<Item = &View> {
    let last = views.iter().map(|view| view.name.time()).max();
    views.iter().filter(move |view| {
        let Some(Part::Shard { joint: id, .. }) = &view.part else {
            return false;
        };
        let joined = views.iter().any(|other| {
            matches!(&other.part, Some(Part::Joint { joint, shards, of }) if joint == id && shards.len() as u64 == u64::from(*of))
        });
        let young = last.is_some_and(|last| {
            last.duration_since(view.name.time()) <= jiff::SignedDuration::from_hours(UNSEALED_HOURS)
        });
        !joined && young
    })
}

/// Whether a run is one of several machines', and the joint run has all that it has. It is then no point in time of its own.
fn is_superseded(view: &View, views: &[View]) -> bool {
    let Some(Part::Shard { joint: id, .. } | Part::Joint { joint: id, .. }) = &view.part else {
        return false;
    };
    views.iter().any(|other| {
        let size = |view: &View| (view.indexes.len(), view.name.clone());
        matches!(&other.part, Some(Part::Joint { joint, .. }) if joint == id)
            && other.name != view.name
            && view.indexes.is_subset(&other.indexes)
            // Of two joint runs with the same regions one has to stay.
            && (matches!(view.part, Some(Part::Shard { .. })) || size(other) > size(view))
    })
}

fn held_by_others(views: &[View], go: &[RunName]) -> std::collections::HashSet<u32> {
    let others = views.iter().filter(|view| !go.contains(&view.name));
    others
        .flat_map(|view| view.functions.iter().flat_map(|all| all.iter().copied()))
        .collect()
}

/// The one run that is meant.
fn pick(names: &[RunName], wanted: &str) -> Result<RunName> {
    // One whose name or id it is goes before those that begin so: a joint run's id begins its shards'.
    let exact = names
        .iter()
        .find(|name| name.as_str() == wanted || name.id() == wanted);
    if let Some(name) = exact {
        return Ok(name.clone());
    }
    let mut meant = names
        .iter()
        .filter(|name| name.as_str().starts_with(wanted) || name.id().starts_with(wanted));
    let error = |kind, message: &str| {
        Err(Error::new(kind, message.to_owned())
            .about(wanted)
            .hint("larder store list shows the runs"))
    };
    match (meant.next(), meant.next()) {
        (Some(name), None) if !wanted.is_empty() => Ok(name.clone()),
        (None, _) => error(ErrorKind::NotFound, "there is no such run"),
        _ => error(ErrorKind::Usage, "names several runs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_name_goes_before_one_that_begins_so() {
        let names: Vec<RunName> = [
            "20260131T020304.005Z-00112233445566778899aabb",
            "20260131T020304.005Z-001122334455",
        ]
        .iter()
        .map(|text| RunName::parse(text).unwrap())
        .collect();
        for wanted in ["20260131T020304.005Z-001122334455", "001122334455"] {
            assert_eq!(pick(&names, wanted).unwrap(), names[1], "{wanted}");
        }
        assert!(pick(&names, "0011").is_err());
        assert_eq!(pick(&names, "00112233445566").unwrap(), names[0]);
    }
}
