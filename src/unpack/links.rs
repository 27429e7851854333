//! Symbolic links: their targets, and where following them ends in the tree that would be made.

use super::error::{Kind, LinkDefect, UnpackError};
use super::inflate::Inflater;
use super::names::{self, Shown};
use super::order::compare;
use super::plan::Plan;
use super::source::Source;
use super::stop::Stop;

/// The longest target, in bytes (Linux's `PATH_MAX` without the NUL).
const MAX_TARGET: u64 = 4095;

/// The most bytes that all targets together may have. They are kept in memory.
const MAX_TARGETS: usize = 4 << 20;

/// All links of a plan, in the tree's order.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: Vec<Link>,
    targets: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    entry: u32,
    start: u32,
    len: u16,
}

impl Links {
    /// Reads the targets; each is checked like a file's content, and for what no link can be.
    pub(super) fn read(
        plan: &Plan,
        source: Source<'_>,
        stop: &Stop<'_>,
    ) -> Result<Self, UnpackError> {
        let mut links = Self::default();
        let mut inflater = None;
        for &entry in &plan.by_path {
            stop.step()?;
            if plan.kind(entry) != Kind::Symlink {
                continue;
            }
            let data = plan.data(entry)?;
            let shown = || Shown::from(plan.path(entry));
            let start = links.targets.len();
            let refuse = |target: &[u8], defect| UnpackError::Link {
                entry: shown(),
                offset: data.header,
                target: Shown::from(target),
                defect,
            };
            if data.size > MAX_TARGET {
                return Err(refuse(b"", LinkDefect::Long(data.size)));
            }
            if start as u64 + data.size > MAX_TARGETS as u64 {
                return Err(UnpackError::LinkTargets {
                    entry: shown(),
                    offset: data.header,
                    limit: MAX_TARGETS,
                });
            }
            let targets = &mut links.targets;
            inflater.get_or_insert_with(Inflater::new).stream(
                source,
                &data,
                &shown,
                &mut |piece| {
                    targets.extend_from_slice(piece);
                    Ok(())
                },
            )?;
            let target = &links.targets[start..];
            let defect = match target {
                b"" => Some(LinkDefect::Empty),
                _ if target.contains(&0) => Some(LinkDefect::Nul),
                [b'/', ..] => Some(LinkDefect::Absolute),
                _ => None,
            };
            if let Some(defect) = defect {
                return Err(refuse(target, defect));
            }
            links.links.push(Link {
                entry,
                // Bounded by MAX_TARGETS and MAX_TARGET.
                start: u32::try_from(start).unwrap_or(u32::MAX),
                len: u16::try_from(target.len()).unwrap_or(u16::MAX),
            });
        }
        Ok(links)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    /// Entry and target of each, in the tree's order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.links
            .iter()
            .map(|link| (link.entry, self.target(link)))
    }

    fn target(&self, link: &Link) -> &[u8] {
        let start = link.start as usize;
        &self.targets[start..start + usize::from(link.len)]
    }

    /// Refuses the first link that leads outside when it is followed as the kernel does: over other links, and with
    /// `..` taken from where those lead. Components that do not exist count as directories, since somebody
    /// may make them later.
    pub(super) fn check(&self, plan: &Plan, stop: &Stop<'_>) -> Result<(), UnpackError> {
        let mut walk = Walk {
            plan,
            links: self,
            stop,
            ends: vec![End::Unknown; self.links.len()],
        };
        for start in 0..self.links.len() {
            if !walk.follow(start)? {
                let link = &self.links[start];
                return Err(UnpackError::Link {
                    entry: Shown::from(plan.path(link.entry)),
                    offset: plan.data(link.entry)?.header,
                    target: Shown::from(self.target(link)),
                    defect: LinkDefect::Outside,
                });
            }
        }
        Ok(())
    }
}

/// A place below the root, as far as links are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// The links below this directory are `low..high`; its path is the first `len` bytes of theirs.
    low: usize,
    high: usize,
    len: usize,
    /// How many levels below that directory it is, where there are no links.
    beyond: usize,
}

/// Where a link ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Unknown,
    /// It is being followed: to come upon it again is a loop.
    Open,
    /// At no place: the kernel gives up with `ELOOP`.
    Nowhere,
    At(Place),
}

enum Step {
    To(Place),
    Link(usize),
    Outside,
}

struct Walk<'a> {
    plan: &'a Plan,
    links: &'a Links,
    stop: &'a Stop<'a>,
    ends: Vec<End>,
}

impl<'a> Walk<'a> {
    fn path(&self, link: usize) -> &'a [u8] {
        self.plan.path(self.links.links[link].entry)
    }

    /// Follows a link; false when that leads outside. Every link's end is found once, without recursion, so the time is in
    /// proportion to the targets' bytes.
    fn follow(&mut self, start: usize) -> Result<bool, UnpackError> {
        if !matches!(self.ends[start], End::Unknown) {
            return Ok(true);
        }
        let mut stack = vec![(start, 0)];
        let mut at = self.beside(start);
        self.ends[start] = End::Open;
        while let Some((link, position)) = stack.last_mut() {
            self.stop.step()?;
            let links = self.links;
            let target = links.target(&links.links[*link]);
            if *position >= target.len() {
                self.ends[*link] = End::At(at);
                stack.pop();
                continue;
            }
            let rest = &target[*position..];
            let len = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
            *position += len + 1;
            match self.step(at, &rest[..len]) {
                Step::Outside => return Ok(false),
                Step::To(place) => at = place,
                Step::Link(next) => match self.ends[next] {
                    End::At(place) => at = place,
                    End::Unknown => {
                        self.ends[next] = End::Open;
                        at = self.beside(next);
                        stack.push((next, 0));
                    }
                    End::Open | End::Nowhere => {
                        for (link, _) in stack.drain(..) {
                            self.ends[link] = End::Nowhere;
                        }
                    }
                },
            }
        }
        Ok(true)
    }

    fn step(&self, at: Place, component: &[u8]) -> Step {
        match component {
            b"" | b"." => Step::To(at),
            b".." if at.beyond > 0 => Step::To(Place {
                beyond: at.beyond - 1,
                ..at
            }),
            b".." if at.len == 0 => Step::Outside,
            b".." => Step::To(self.up(at)),
            _ if at.beyond > 0 => Step::To(Place {
                beyond: at.beyond + 1,
                ..at
            }),
            _ => self.child(at, component),
        }
    }

    /// The child of a directory that has links below it.
    fn child(&self, at: Place, name: &[u8]) -> Step {
        let skip = if at.len == 0 { 0 } else { at.len + 1 };
        let below = &self.links.links[at.low..at.high];
        let first = |link: &Link| {
            let rest = self.plan.path(link.entry).get(skip..).unwrap_or_default();
            rest.split(|&b| b == b'/').next().unwrap_or_default()
        };
        let low = at.low + below.partition_point(|link| first(link) < name);
        let high = at.low + below.partition_point(|link| first(link) <= name);
        if low == high {
            return Step::To(Place { beyond: 1, ..at });
        }
        let len = skip + name.len();
        if self.path(low).len() == len {
            return Step::Link(low);
        }
        Step::To(Place {
            low,
            high,
            len,
            beyond: 0,
        })
    }

    /// The directory that holds a directory.
    fn up(&self, at: Place) -> Place {
        let path = names::parent(&self.path(at.low)[..at.len]);
        let links = &self.links.links;
        let within = |link: &Link| {
            let link = self.plan.path(link.entry);
            link.starts_with(path) && link.get(path.len()) == Some(&b'/')
        };
        if path.is_empty() {
            return self.directory(path);
        }
        // The links below it lie around those below the child; mostly there are no others.
        let mut place = Place {
            len: path.len(),
            ..at
        };
        if at.low > 0 && within(&links[at.low - 1]) {
            place.low = links[..at.low].partition_point(|link| !within(link));
        }
        if at.high < links.len() && within(&links[at.high]) {
            place.high = at.high + links[at.high..].partition_point(within);
        }
        place
    }

    /// The directory in which a link lies.
    fn beside(&self, link: usize) -> Place {
        self.directory(names::parent(self.path(link)))
    }

    /// A directory that has links below it, by its path.
    fn directory(&self, path: &[u8]) -> Place {
        let links = &self.links.links;
        if path.is_empty() {
            return Place {
                low: 0,
                high: links.len(),
                len: 0,
                beyond: 0,
            };
        }
        let before = |link: &Link| compare(self.plan.path(link.entry), path).is_lt();
        let within = |link: &Link| self.plan.path(link.entry).starts_with(path);
        Place {
            low: links.partition_point(before),
            // What begins with the path and has no `/` behind it comes after all that has one.
            high: links.partition_point(|link| {
                before(link)
                    || (within(link) && self.plan.path(link.entry).get(path.len()) == Some(&b'/'))
            }),
            len: path.len(),
            beyond: 0,
        }
    }
}
