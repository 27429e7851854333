//! Which bytes of a package are there, and what is still to come: ranges, without any I/O.

use std::ops::Range;

/// Which bytes are there: disjoint ranges that do not touch, in ascending order.
#[derive(Debug, Default, Clone)]
pub(super) struct Have(Vec<Range<u64>>);

impl Have {
    /// Takes in that the bytes of `range` are there.
    pub(super) fn add(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        // Those that it overlaps or touches become one with it.
        let first = self.0.partition_point(|r| r.end < range.start);
        let last = self.0.partition_point(|r| r.start <= range.end);
        let merged = self.0[first..last]
            .iter()
            .fold(range, |all, r| all.start.min(r.start)..all.end.max(r.end));
        self.0.splice(first..last, [merged]);
    }

    /// How many bytes are there.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|r| r.end - r.start).sum()
    }

    /// How many bytes are there from the first one on, without a gap.
    pub(super) fn prefix(&self) -> u64 {
        self.0.first().filter(|r| r.start == 0).map_or(0, |r| r.end)
    }

    /// What is missing of a package of `size` bytes.
    pub(super) fn missing(&self, size: u64) -> Vec<Range<u64>> {
        let mut out = Vec::new();
        let mut at = 0;
        for have in &self.0 {
            if at < have.start.min(size) {
                out.push(at..have.start.min(size));
            }
            at = have.end;
        }
        if at < size {
            out.push(at..size);
        }
        out
    }
}

/// Cuts ranges into parts of at most `part` bytes.
pub(super) fn split(ranges: &[Range<u64>], part: u64) -> Vec<Range<u64>> {
    let mut out = Vec::new();
    for range in ranges {
        let mut at = range.start;
        while at < range.end {
            let end = range.end.min(at + part.max(1));
            out.push(at..end);
            at = end;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(ranges: &[Range<u64>]) -> Have {
        let mut have = Have::default();
        for range in ranges {
            have.add(range.clone());
        }
        have
    }

    #[test]
    fn ranges_that_touch_become_one() {
        let have = of(&[5..7, 0..2, 2..5, 9..10, 10..10]);
        assert_eq!((have.prefix(), have.count()), (7, 8));
        assert_eq!(have.missing(12), [7..9, 10..12]);
        assert_eq!(have.missing(8), vec![7..8; 1]);
        assert!(of(&vec![0..12; 1]).missing(12).is_empty());
        assert!(Have::default().missing(0).is_empty());
    }

    #[test]
    fn parts_cover_what_is_missing_once() {
        assert_eq!(split(&[0..5, 8..9], 2), [0..2, 2..4, 4..5, 8..9]);
    }

    proptest! {
        #[test]
        fn it_counts_as_a_set_of_bytes_does(ranges in prop::collection::vec((0u64..60, 0u64..12), 0..20), size in 0u64..64, part in 1u64..9) {
            let mut set = [false; 80];
            let mut have = Have::default();
            for (start, length) in ranges {
                have.add(start..start + length);
                for at in start..start + length {
                    set[usize::try_from(at).unwrap()] = true;
                }
            }
            prop_assert_eq!(have.count(), set.iter().filter(|b| **b).count() as u64);
            prop_assert_eq!(have.prefix(), set.iter().take_while(|b| **b).count() as u64);
            let missing: Vec<u64> = have.missing(size).into_iter().flatten().collect();
            let want: Vec<u64> = (0..size).filter(|at| !set[usize::try_from(*at).unwrap()]).collect();
            prop_assert_eq!(&missing, &want);
            let parts = split(&have.missing(size), part);
            prop_assert!(parts.iter().all(|p| p.end - p.start <= part && !p.is_empty()));
            let flat: Vec<u64> = parts.into_iter().flatten().collect();
            prop_assert_eq!(flat, want);
        }
    }
}
