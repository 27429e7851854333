//! The entries as one tree: which of several with one path is taken, and what cannot be both.

use std::cmp::Ordering;

use super::Duplicates;
use super::error::{Kind, UnpackError};
use super::names::Shown;
use super::plan::Plan;
use super::stop::Stop;

impl Plan {
    /// Brings the nodes into the tree's order, where every conflict is one between neighbours.
    pub(super) fn order_paths(
        &mut self,
        duplicates: Duplicates,
        stop: &Stop<'_>,
    ) -> Result<(), UnpackError> {
        // An entry for the root itself says nothing that is used.
        let mut order: Vec<u32> = (0..self.entries())
            .filter(|&index| !self.path(index).is_empty())
            .collect();
        stop.sort(&mut order, |a, b| compare(self.path(a), self.path(b)))?;
        // What is taken moves to the front of the list.
        let (mut taken, mut next) = (0, 0);
        while next < order.len() {
            stop.step()?;
            let path = self.path(order[next]);
            let twins = order[next..]
                .iter()
                .take_while(|&&index| self.path(index) == path)
                .count();
            let group = next..next + twins;
            let one = self.one_of(&order[group.clone()], duplicates)?;
            if taken > 0 {
                self.check_parent(order[taken - 1], one)?;
            }
            for &index in &order[group] {
                if index != one {
                    self.leave_out(index);
                }
            }
            order[taken] = one;
            taken += 1;
            next += twins;
        }
        order.truncate(taken);
        self.by_path = order;
        Ok(())
    }

    /// Which of several entries with one path is taken.
    fn one_of(&self, twins: &[u32], duplicates: Duplicates) -> Result<u32, UnpackError> {
        let (first, last) = (twins[0], twins[twins.len() - 1]);
        let kind = self.kind(first);
        if let Some(&other) = twins.iter().find(|&&index| self.kind(index) != kind) {
            return Err(self.conflict(first, other, self.kind(other))?);
        }
        match duplicates {
            _ if twins.len() == 1 => Ok(first),
            // A directory may be named again; readers apply what the last one says.
            _ if kind == Kind::Directory => Ok(last),
            Duplicates::First => Ok(first),
            Duplicates::Last => Ok(last),
            Duplicates::Refuse => Err(UnpackError::Duplicate {
                entry: Shown::from(self.path(first)),
                first: self.place(first)?.offset,
                second: self.place(twins[1])?.offset,
            }),
        }
    }

    /// Refuses `below` where it lies below `above` and that is no directory.
    fn check_parent(&self, above: u32, below: u32) -> Result<(), UnpackError> {
        let (prefix, path) = (self.path(above), self.path(below));
        if self.kind(above) == Kind::Directory
            || !path.starts_with(prefix)
            || path.get(prefix.len()) != Some(&b'/')
        {
            return Ok(());
        }
        Err(self.conflict(above, below, Kind::Directory)?)
    }

    fn conflict(&self, one: u32, other: u32, needed: Kind) -> Result<UnpackError, UnpackError> {
        Ok(UnpackError::Conflict {
            entry: Shown::from(self.path(one)),
            offset: self.place(one)?.offset,
            kind: self.kind(one),
            other: Shown::from(self.path(other)),
            other_offset: self.place(other)?.offset,
            other_kind: needed,
        })
    }
}

/// The order of a walk through the tree: by bytes, with `/` before all others, so that a directory is followed
/// by what is below it and by nothing else.
pub(super) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let both = a.len().min(b.len());
    let mut at = 0;
    while at + 8 <= both && a[at..at + 8] == b[at..at + 8] {
        at += 8;
    }
    while at < both && a[at] == b[at] {
        at += 1;
    }
    let key = |path: &[u8]| {
        path.get(at).map_or(
            0,
            |&byte| if byte == b'/' { 1 } else { u16::from(byte) + 2 },
        )
    };
    key(a).cmp(&key(b))
}
