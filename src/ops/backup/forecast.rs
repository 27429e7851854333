//! How many versions there will be, before the listing has said so: as many as last time, until it knows better.

use std::sync::Mutex;

use super::ledger::Tally;
use super::region::lock;

/// What is expected of one account and region.
pub(super) struct Forecast<'a> {
    tally: &'a Tally,
    state: Mutex<State>,
}

struct State {
    expected: u64,
    listed: u64,
    /// Whether the expectation is worth something.
    known: bool,
}

impl<'a> Forecast<'a> {
    /// The last run had `before` versions; 0 says nothing.
    pub(super) fn new(tally: &'a Tally, before: u64) -> Self {
        tally.expect(0, before);
        if before > 0 {
            tally.is_known();
        }
        Self {
            tally,
            state: Mutex::new(State {
                expected: before,
                listed: 0,
                known: before > 0,
            }),
        }
    }

    /// More versions are listed.
    pub(super) fn listed(&self, count: u64) {
        let mut state = lock(&self.state);
        state.listed += count;
        if state.listed > state.expected {
            self.tally.expect(state.expected, state.listed);
            state.expected = state.listed;
        }
    }

    /// There will be no more.
    pub(super) fn ended(&self) {
        let mut state = lock(&self.state);
        self.tally.expect(state.expected, state.listed);
        state.expected = state.listed;
        if !state.known {
            state.known = true;
            self.tally.is_known();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_listing_corrects_what_was_expected() {
        let tally = Tally::new(Arc::new(()));
        tally.units(2);
        let (old, new) = (Forecast::new(&tally, 100), Forecast::new(&tally, 0));
        assert_eq!(tally.expected(), (100, true));
        old.listed(50);
        new.listed(50);
        assert_eq!(tally.expected(), (150, true));
        new.listed(20);
        new.ended();
        assert_eq!(tally.expected(), (170, false));
        // Fewer than last time.
        old.listed(10);
        old.ended();
        old.ended();
        assert_eq!(tally.expected(), (130, false));
    }
}
