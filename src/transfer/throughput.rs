//! Whether a transfer has stalled: bytes still trickle, but so slowly that a new connection is worth a try.

use std::time::{Duration, Instant};

/// Fewer bytes a second than this, over the whole patience, is a stall.
const MINIMUM: u64 = 1024;

/// Counts bytes in windows of the caller's patience.
#[derive(Debug)]
pub(super) struct Throughput {
    window: Duration,
    since: Instant,
    bytes: u64,
}

impl Throughput {
    pub(super) fn new(window: Duration, now: Instant) -> Self {
        Self {
            window,
            since: now,
            bytes: 0,
        }
    }

    /// Takes in that `count` bytes came; true when a whole window brought too little.
    pub(super) fn stalled(&mut self, count: u64, now: Instant) -> bool {
        self.bytes += count;
        let elapsed = now.duration_since(self.since);
        if elapsed < self.window {
            return false;
        }
        let least = u128::from(MINIMUM) * elapsed.as_millis() / 1000;
        let too_slow = u128::from(self.bytes) < least;
        self.since = now;
        self.bytes = 0;
        too_slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_is_a_stall_and_a_slow_link_is_none() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let window = Duration::from_secs(10);
        let mut trickle = Throughput::new(window, start);
        assert!(!(1..10).any(|s| trickle.stalled(100, at(s))));
        assert!(trickle.stalled(100, at(10)));
        let mut slow = Throughput::new(window, start);
        assert!(!(1..100).any(|s| slow.stalled(2 * MINIMUM, at(s))));
    }

    #[test]
    fn one_good_second_does_not_excuse_the_next_window() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut t = Throughput::new(Duration::from_secs(5), start);
        assert!(!t.stalled(10 << 20, at(5)));
        assert!(t.stalled(1, at(10)));
    }
}
