//! Whether and when a request is made again: decisions, without any I/O.

use std::time::Duration;

/// The wait before the second attempt; each later one doubles it.
const BASE: Duration = Duration::from_millis(200);
/// The longest wait between two attempts, and the longest `Retry-After` that is honoured.
const CEILING: Duration = Duration::from_secs(60);
/// The longest wait that larder chooses by itself.
const BACKOFF_CEILING: Duration = Duration::from_secs(20);

/// How often one request is tried, the first time included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    max_attempts: u32,
}

/// What an attempt ended with, as far as another one is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Another attempt would end the same.
    Permanent,
    /// It may pass: a server's fault, a broken connection, a time-out.
    Transient,
    /// The server asks to slow down, and may say how long.
    Throttled {
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
}

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Wait so long, then try again.
    Again(Duration),
    /// Give up.
    Stop,
}

impl RetryPolicy {
    /// At most so many attempts, and at least one.
    pub fn new(max_attempts: u32) -> Self {
        Self {
            max_attempts: max_attempts.max(1),
        }
    }

    /// Attempts of one request, the first included.
    pub fn max_attempts(self) -> u32 {
        self.max_attempts
    }

    /// Decides after attempt number `attempt` (from 1) failed. `jitter` is a random number in 0..1: waits are
    /// spread over their upper half, so that many clients do not come back at once.
    pub fn decide(self, failure: Failure, attempt: u32, jitter: f64) -> Decision {
        if failure == Failure::Permanent || attempt >= self.max_attempts {
            return Decision::Stop;
        }
        let doublings = attempt.saturating_sub(1).min(16);
        let full = BASE.saturating_mul(1 << doublings).min(BACKOFF_CEILING);
        let backoff = full.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0));
        Decision::Again(match failure {
            Failure::Throttled {
                retry_after: Some(asked),
            } => asked.min(CEILING).max(backoff),
            _ => backoff,
        })
    }
}

/// Reads a `Retry-After` header (RFC 9110 section 10.2.3) that gives seconds; the form with a date is not used by AWS.
pub fn parse_retry_after(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waits_double_and_end() {
        let policy = RetryPolicy::new(4);
        let waits: Vec<_> = (1..=4)
            .map(|n| policy.decide(Failure::Transient, n, 1.0))
            .collect();
        let ms = |n| Decision::Again(Duration::from_millis(n));
        assert_eq!(waits, [ms(200), ms(400), ms(800), Decision::Stop]);
    }

    #[test]
    fn a_server_that_says_how_long_is_believed_within_reason() {
        let policy = RetryPolicy::new(8);
        let wait = |seconds| {
            policy.decide(
                Failure::Throttled {
                    retry_after: Some(Duration::from_secs(seconds)),
                },
                1,
                0.0,
            )
        };
        assert_eq!(wait(7), Decision::Again(Duration::from_secs(7)));
        assert_eq!(wait(86_400), Decision::Again(CEILING));
        assert_eq!(wait(0), Decision::Again(BASE / 2));
    }

    #[test]
    fn retry_after_is_read_in_seconds() {
        assert_eq!(parse_retry_after(" 3 "), Some(Duration::from_secs(3)));
        for text in ["", "-1", "soon", "Wed, 21 Oct 2026 07:28:00 GMT"] {
            assert_eq!(parse_retry_after(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_decision_is_bounded(max in 0u32..40, attempt in 1u32..100, jitter in -1.0f64..2.0, secs in any::<u64>(), kind in 0..3) {
            let failure = match kind {
                0 => Failure::Permanent,
                1 => Failure::Transient,
                _ => Failure::Throttled { retry_after: Some(Duration::from_secs(secs)) },
            };
            match RetryPolicy::new(max).decide(failure, attempt, jitter) {
                Decision::Again(wait) => {
                    prop_assert!(failure != Failure::Permanent);
                    prop_assert!(attempt < max.max(1));
                    prop_assert!(wait >= BASE / 2 && wait <= CEILING);
                }
                Decision::Stop => prop_assert!(failure == Failure::Permanent || attempt >= max.max(1)),
            }
        }
    }
}
