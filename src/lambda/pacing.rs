//! How fast an account and region are asked.
//!
//! AWS allows 100 GetFunction calls a second, 15 GetPolicy calls, and 15 of all other control-plane calls
//! together ("Lambda quotas", API requests), shared with everybody who works in that account and region.
//! larder takes a part of it, so that deployments beside it are not throttled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What AWS allows for all other calls together, a second.
const SHARED_QUOTA: f64 = 15.0;
/// What AWS allows for GetFunction, a second.
const GET_FUNCTION_QUOTA: f64 = 100.0;
/// How far throttling slows larder down at the most.
const SLOWEST: f64 = 1.0 / 32.0;
/// By how much each call that is not throttled speeds it up again.
const RECOVERY: f64 = 0.02;

/// Which of AWS's budgets a call is counted against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// GetFunction has its own.
    GetFunction,
    /// GetPolicy has its own, as large as the shared one.
    GetPolicy,
    /// Everything else.
    Shared,
}

/// The pacers of a process: one an account and region, so that all who call there share its budget.
#[derive(Clone, Default)]
pub struct Pacers(Arc<Mutex<ByPlace>>);

/// By account and region.
type ByPlace = HashMap<(String, String), Arc<Pacer>>;

impl Pacers {
    /// The pacer of `account`, a word that stands for one, in `region`. The first who asks sets its rate.
    pub fn of(&self, account: &str, region: &str, max_rate: f64) -> Arc<Pacer> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pacer = all
            .entry((account.to_owned(), region.to_owned()))
            .or_insert_with(|| Arc::new(Pacer::new(max_rate)));
        Arc::clone(pacer)
    }
}

impl std::fmt::Debug for Pacers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pacers").finish_non_exhaustive()
    }
}

/// Spaces out the calls to one account and region. Shared by all tasks.
#[derive(Debug)]
pub struct Pacer {
    /// Calls a second of the shared budget while nobody throttles.
    max_rate: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// 1 at full speed; halved on each throttled call.
    speed: f64,
    /// When the next call of each budget may start, by the order of [`Budget`].
    next: [Option<Instant>; 3],
}

impl Pacer {
    /// A pacer for `max_rate` calls a second of the shared budget; GetFunction's is scaled alike.
    pub fn new(max_rate: f64) -> Self {
        Self {
            max_rate: max_rate.max(0.01),
            state: Mutex::new(State {
                speed: 1.0,
                next: [None; 3],
            }),
        }
    }

    /// Waits for this call's turn.
    pub async fn wait(&self, budget: Budget) {
        let wait = self.reserve(budget, Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// Takes the next place in the queue and says how long until then.
    fn reserve(&self, budget: Budget, now: Instant) -> Duration {
        let mut state = self.lock();
        let quota = match budget {
            Budget::GetFunction => GET_FUNCTION_QUOTA / SHARED_QUOTA,
            Budget::GetPolicy | Budget::Shared => 1.0,
        };
        let interval = Duration::from_secs_f64(1.0 / (self.max_rate * quota * state.speed));
        let place = &mut state.next[budget as usize];
        let start = place.map_or(now, |next| next.max(now));
        *place = Some(start + interval);
        start - now
    }

    /// A call was throttled: go at half the speed.
    pub fn throttled(&self) {
        let mut state = self.lock();
        state.speed = (state.speed / 2.0).max(SLOWEST);
    }

    /// A call went through: go a little faster, up to the full speed.
    pub fn succeeded(&self) {
        let mut state = self.lock();
        state.speed = (state.speed + RECOVERY).min(1.0);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held; and its state is sound at each moment anyway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many calls start within the first `seconds`, all asked for at once.
    fn started(pacer: &Pacer, budget: Budget, seconds: u64) -> usize {
        let now = Instant::now();
        (0..2000)
            .take_while(|_| pacer.reserve(budget, now) < Duration::from_secs(seconds))
            .count()
    }

    #[test]
    fn calls_are_spaced_by_their_budget() {
        assert_eq!(started(&Pacer::new(5.0), Budget::Shared, 4), 20);
        let get_function = started(&Pacer::new(5.0), Budget::GetFunction, 3);
        assert!((99..=101).contains(&get_function), "{get_function}");
    }

    #[test]
    fn throttling_halves_the_speed_and_success_restores_it() {
        let pacer = Pacer::new(10.0);
        pacer.throttled();
        assert_eq!(started(&pacer, Budget::Shared, 4), 20);
        for _ in 0..100 {
            pacer.throttled();
        }
        assert!(pacer.reserve(Budget::GetPolicy, Instant::now()).is_zero());
        for _ in 0..100 {
            pacer.succeeded();
        }
        assert_eq!(started(&pacer, Budget::GetFunction, 1), 67);
    }

    #[test]
    fn an_account_and_region_have_one_pacer() {
        let pacers = Pacers::default();
        let one = pacers.clone().of("1", "eu-west-1", 5.0);
        assert!(Arc::ptr_eq(&one, &pacers.of("1", "eu-west-1", 9.0)));
        assert!(!Arc::ptr_eq(&one, &pacers.of("2", "eu-west-1", 5.0)));
        assert!(!Arc::ptr_eq(&one, &pacers.of("1", "eu-west-2", 5.0)));
    }

    #[test]
    fn budgets_do_not_wait_for_each_other() {
        let pacer = Pacer::new(1.0);
        let now = Instant::now();
        for budget in [Budget::Shared, Budget::GetFunction, Budget::GetPolicy] {
            assert!(pacer.reserve(budget, now).is_zero());
        }
        assert!(!pacer.reserve(Budget::Shared, now).is_zero());
    }
}
