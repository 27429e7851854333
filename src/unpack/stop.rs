//! Ctrl-C while a plan is made: a central directory may have some millions of records.

use std::cell::Cell;
use std::cmp::Ordering;

use super::error::UnpackError;

/// Between how many small steps the caller is asked whether to go on.
const EVERY: u32 = 1024;
/// How many are sorted at once without asking.
const RUN: usize = 16 * 1024;

/// The caller's word on whether to go on.
pub(super) struct Stop<'a> {
    stop: &'a dyn Fn() -> bool,
    left: Cell<u32>,
}

impl<'a> Stop<'a> {
    /// `stop` says true when the work is to end.
    pub(super) fn new(stop: &'a dyn Fn() -> bool) -> Self {
        Self {
            stop,
            left: Cell::new(0),
        }
    }

    /// To be called at each small step; asks at the first one, and at each thousandth from then on.
    ///
    /// # Errors
    /// [`UnpackError::Interrupted`]
    pub(super) fn step(&self) -> Result<(), UnpackError> {
        match self.left.get() {
            0 => {
                self.left.set(EVERY - 1);
                self.ask()
            }
            left => {
                self.left.set(left - 1);
                Ok(())
            }
        }
    }

    fn ask(&self) -> Result<(), UnpackError> {
        if (self.stop)() {
            return Err(UnpackError::Interrupted);
        }
        Ok(())
    }

    /// Sorts, equal ones in the order they came. What was in order costs one pass.
    ///
    /// A sort of the standard library cannot be left early, so it sorts runs only, which are merged here.
    pub(super) fn sort(
        &self,
        items: &mut Vec<u32>,
        compare: impl Fn(u32, u32) -> Ordering,
    ) -> Result<(), UnpackError> {
        for run in items.chunks_mut(RUN) {
            self.ask()?;
            run.sort_by(|&a, &b| compare(a, b));
        }
        let mut length = RUN;
        while length < items.len() {
            let mut merged = Vec::with_capacity(items.len());
            for pair in items.chunks(2 * length) {
                let (left, right) = pair.split_at(length.min(pair.len()));
                self.merge(left, right, &compare, &mut merged)?;
            }
            *items = merged;
            length *= 2;
        }
        Ok(())
    }

    fn merge(
        &self,
        mut left: &[u32],
        mut right: &[u32],
        compare: &impl Fn(u32, u32) -> Ordering,
        into: &mut Vec<u32>,
    ) -> Result<(), UnpackError> {
        let in_order = match (left.last(), right.first()) {
            (Some(&a), Some(&b)) => compare(a, b).is_le(),
            _ => true,
        };
        if !in_order {
            while let (Some(&a), Some(&b)) = (left.first(), right.first()) {
                self.step()?;
                if compare(a, b).is_le() {
                    into.push(a);
                    left = &left[1..];
                } else {
                    into.push(b);
                    right = &right[1..];
                }
            }
        }
        into.extend_from_slice(left);
        into.extend_from_slice(right);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_sorts_as_the_standard_library_does() {
        let mut random = fastrand::Rng::with_seed(7);
        for count in [0, 1, RUN, RUN + 1, 5 * RUN + 77] {
            // Few keys, so that many are equal.
            let keys: Vec<u32> = (0..count).map(|_| random.u32(0..3000)).collect();
            let mut items: Vec<u32> = (0..u32::try_from(count).unwrap()).collect();
            let mut want = items.clone();
            want.sort_by_key(|&at| keys[at as usize]);
            let stop = Stop::new(&|| false);
            let by_key = |a: u32, b: u32| keys[a as usize].cmp(&keys[b as usize]);
            stop.sort(&mut items, by_key).unwrap();
            assert!(items == want, "{count}");
            stop.sort(&mut items, by_key).unwrap();
            assert!(items == want, "{count}, sorted already");
        }
    }

    #[test]
    fn it_asks_again_and_again() {
        let asked = Cell::new(0_u32);
        let count = || {
            asked.set(asked.get() + 1);
            false
        };
        let stop = Stop::new(&count);
        for _ in 0..10 * EVERY {
            stop.step().unwrap();
        }
        assert_eq!(asked.get(), 10);
        let mut items: Vec<u32> = (0..1 << 18).rev().collect();
        stop.sort(&mut items, |a, b| a.cmp(&b)).unwrap();
        assert!(asked.get() > 10 + 16 + 4 * 64, "{}", asked.get());
    }
}
