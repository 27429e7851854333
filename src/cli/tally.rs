//! How far a backup is, in words: what matters most first, because a narrow terminal shows only the beginning.

use std::time::Duration;

use super::quantity;

/// What is counted beside the versions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Whether there may be any number more.
    pub(super) growing: bool,
    /// Bytes of packages received.
    pub(super) bytes: u64,
    /// What failed so far.
    pub(super) failed: u64,
}

impl Tally {
    /// `120 of 500, 2 failed, 38 s left, 10/s, 1.20 MiB`.
    pub(super) fn state(self, done: u64, total: u64, time: Duration) -> String {
        let more = if self.growing { "+" } else { "" };
        let mut parts = vec![format!("{done} of {total}{more}")];
        if self.failed > 0 {
            parts.push(format!("{} failed", self.failed));
        }
        let seconds = time.as_secs_f64();
        if done > 0 && seconds >= 1.0 {
            let rate = quantity::to_f64(done) / seconds;
            let left = quantity::to_f64(total.saturating_sub(done)) / rate;
            if let (false, Ok(left)) = (self.growing, Duration::try_from_secs_f64(left.ceil())) {
                parts.push(format!("{} left", quantity::whole_time(left)));
            }
            parts.push(if rate < 10.0 {
                format!("{rate:.1}/s")
            } else {
                format!("{rate:.0}/s")
            });
        }
        if self.bytes > 0 {
            parts.push(quantity::size(self.bytes));
        }
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_most_comes_first() {
        let tally = |growing, failed, bytes| Tally {
            growing,
            bytes,
            failed,
        };
        for (tally, done, total, seconds, want) in [
            (tally(false, 0, 0), 0, 500, 0.0, "0 of 500"),
            (tally(true, 0, 0), 50, 100, 10.0, "50 of 100+, 5.0/s"),
            (
                tally(false, 2, 1 << 20),
                120,
                500,
                12.0,
                "120 of 500, 2 failed, 38 s left, 10/s, 1.00 MiB",
            ),
        ] {
            let time = Duration::from_secs_f64(seconds);
            assert_eq!(tally.state(done, total, time), want);
        }
    }
}
