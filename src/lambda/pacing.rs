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
/// By how much of the full speed it is raised again in a second with calls that go through: from the half in 20 s.
const RECOVERY: f64 = 1.0 / 40.0;
/// A pause without calls counts for this much of recovery at the most.
const LONGEST_REST: Duration = Duration::from_secs(5);
/// The longest `Retry-After` that is honoured.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

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
    /// By the order of [`Budget`].
    lanes: [Lane; 3],
}

/// The calls that are counted against one budget.
#[derive(Debug, Default)]
struct Lane {
    /// Held by whoever is next, so that calls start in the order they came, and whoever gives up leaves no gap.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// 1 at full speed; halved when a call is throttled.
    speed: f64,
    /// When `speed` was last what it is.
    since: Option<Instant>,
    /// When the last call was to start.
    last: Option<Instant>,
    /// When the speed was last halved.
    halved: Option<Instant>,
    /// AWS asked that no call come before.
    not_before: Option<Instant>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            speed: 1.0,
            since: None,
            last: None,
            halved: None,
            not_before: None,
        }
    }
}

/// That a call may start now.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    budget: Budget,
    at: Instant,
}

impl Pacer {
    /// A pacer for `max_rate` calls a second of the shared budget; GetFunction's is scaled alike.
    pub fn new(max_rate: f64) -> Self {
        Self {
            max_rate: max_rate.max(0.01),
            lanes: Default::default(),
        }
    }

    /// Waits for this call's turn.
    pub async fn wait(&self, budget: Budget) -> Turn {
        let _turn = self.lanes[budget as usize].turn.lock().await;
        loop {
            // Whoever is throttled meanwhile makes this longer.
            match self.start(budget, Instant::now()) {
                Ok(turn) => return turn,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// Lets a call start at `now`, or says how long it must wait at least.
    fn start(&self, budget: Budget, now: Instant) -> Result<Turn, Duration> {
        let mut state = self.lock(budget);
        let interval = self.interval(budget, state.speed);
        let due = state.last.map(|last| last + interval);
        if let Some(due) = due.max(state.not_before)
            && due > now
        {
            return Err(due - now);
        }
        // A timer that rang late does not make the next call later too.
        state.last = match due {
            Some(due) if now - due < interval / 2 => Some(due),
            _ => Some(now),
        };
        Ok(Turn { budget, at: now })
    }

    fn interval(&self, budget: Budget, speed: f64) -> Duration {
        let quota = match budget {
            Budget::GetFunction => GET_FUNCTION_QUOTA / SHARED_QUOTA,
            Budget::GetPolicy | Budget::Shared => 1.0,
        };
        Duration::from_secs_f64(1.0 / (self.max_rate * quota * speed))
    }

    /// The call of this turn was throttled: its budget goes on at half the speed, and not before `retry_after`.
    ///
    /// Calls that were under way together are throttled together; that halves the speed once.
    pub fn throttled(&self, turn: Turn, retry_after: Option<Duration>) {
        self.throttled_at(turn, retry_after, Instant::now());
    }

    fn throttled_at(&self, turn: Turn, retry_after: Option<Duration>, now: Instant) {
        let mut state = self.lock(turn.budget);
        if state.halved.is_none_or(|halved| turn.at > halved) {
            state.speed = (state.speed / 2.0).max(SLOWEST);
            state.halved = Some(now);
        }
        state.since = Some(now);
        if let Some(asked) = retry_after {
            let until = now + asked.min(LONGEST_WAIT);
            state.not_before = state.not_before.max(Some(until));
        }
    }

    /// The call of this turn went through: its budget goes a little faster, up to the full speed.
    pub fn succeeded(&self, turn: Turn) {
        self.succeeded_at(turn, Instant::now());
    }

    fn succeeded_at(&self, turn: Turn, now: Instant) {
        let mut state = self.lock(turn.budget);
        if let Some(since) = state.since.filter(|_| state.speed < 1.0) {
            let time = now.saturating_duration_since(since).min(LONGEST_REST);
            state.speed = (state.speed + RECOVERY * time.as_secs_f64()).min(1.0);
            state.since = Some(now);
        }
    }

    fn lock(&self, budget: Budget) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held; and its state is sound at each moment anyway.
        let state = &self.lanes[budget as usize].state;
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When each of `count` calls starts, all asked for at `now`.
    fn starts(pacer: &Pacer, budget: Budget, now: Instant, count: usize) -> Vec<Duration> {
        let mut at = now;
        let mut next = || loop {
            match pacer.start(budget, at) {
                Ok(turn) => return turn.at - now,
                Err(wait) => at += wait,
            }
        };
        (0..count).map(|_| next()).collect()
    }

    /// How many calls start within the first `seconds`.
    fn started(pacer: &Pacer, budget: Budget, now: Instant, seconds: u64) -> usize {
        let starts = starts(pacer, budget, now, 500);
        let within = |at: &&Duration| **at < Duration::from_secs(seconds);
        starts.iter().take_while(within).count()
    }

    fn turn(pacer: &Pacer, budget: Budget, now: Instant) -> Turn {
        pacer.start(budget, now).unwrap()
    }

    #[test]
    fn calls_are_spaced_by_their_budget() {
        let now = Instant::now();
        assert_eq!(started(&Pacer::new(5.0), Budget::Shared, now, 4), 20);
        let get_function = started(&Pacer::new(5.0), Budget::GetFunction, now, 3);
        assert!((99..=101).contains(&get_function), "{get_function}");
    }

    #[test]
    fn throttling_halves_the_speed_and_success_restores_it_slowly() {
        let pacer = Pacer::new(10.0);
        let mut now = Instant::now();
        let first = turn(&pacer, Budget::Shared, now);
        pacer.throttled_at(first, None, now);
        now += Duration::from_secs(1);
        assert_eq!(started(&pacer, Budget::Shared, now, 4), 20);
        now += Duration::from_secs(10_000);
        // What was sent at the old speed and is throttled late says nothing new.
        pacer.throttled_at(first, None, now);
        let last = turn(&pacer, Budget::Shared, now);
        now += Duration::from_secs(5);
        pacer.succeeded_at(last, now);
        let faster = started(&pacer, Budget::Shared, now, 4);
        assert!((21..30).contains(&faster), "{faster}");
        for _ in 0..20 {
            now += Duration::from_secs(10_000);
            let turn = turn(&pacer, Budget::Shared, now);
            pacer.throttled_at(turn, None, now + Duration::from_millis(1));
        }
        now += Duration::from_secs(10_000);
        assert_eq!(started(&pacer, Budget::Shared, now, 15), 5, "a 32nd");
        for _ in 0..100 {
            now += Duration::from_secs(10_000);
            let turn = turn(&pacer, Budget::Shared, now);
            pacer.succeeded_at(turn, now + Duration::from_secs(1));
        }
        now += Duration::from_secs(10_000);
        assert_eq!(started(&pacer, Budget::Shared, now, 2), 20);
    }

    #[test]
    fn retry_after_holds_all_calls_of_the_budget() {
        let pacer = Pacer::new(10.0);
        let now = Instant::now();
        let first = turn(&pacer, Budget::Shared, now);
        pacer.throttled_at(first, Some(Duration::from_secs(3)), now);
        let starts = starts(&pacer, Budget::Shared, now, 3);
        let ms = Duration::from_millis;
        assert_eq!(starts, [ms(3000), ms(3200), ms(3400)]);
        assert!(pacer.start(Budget::GetFunction, now).is_ok());
        pacer.throttled_at(first, Some(Duration::from_secs(86_400)), now);
        assert!(pacer.start(Budget::Shared, now + LONGEST_WAIT).is_ok());
    }

    #[test]
    fn a_timer_that_rings_late_costs_no_rate_and_makes_no_burst() {
        let pacer = Pacer::new(10.0);
        let (now, ms) = (Instant::now(), Duration::from_millis);
        for n in 0..50 {
            assert!(
                pacer.start(Budget::Shared, now + ms(100 * n + 9)).is_ok(),
                "{n}"
            );
        }
        // After a pause there is one call, and the next an interval later.
        let later = now + Duration::from_secs(60);
        assert!(pacer.start(Budget::Shared, later).is_ok());
        assert_eq!(pacer.start(Budget::Shared, later).unwrap_err(), ms(100));
    }

    #[tokio::test]
    async fn who_gives_up_leaves_no_gap() {
        let pacer = Pacer::new(5.0);
        pacer.wait(Budget::Shared).await;
        for _ in 0..50 {
            let given_up = tokio::time::timeout(Duration::ZERO, pacer.wait(Budget::Shared));
            assert!(given_up.await.is_err());
        }
        let next = tokio::time::timeout(Duration::from_secs(5), pacer.wait(Budget::Shared));
        assert!(next.await.is_ok(), "50 places of 0.2 s would be 10 s");
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
            assert!(pacer.start(budget, now).is_ok());
        }
        assert!(pacer.start(Budget::Shared, now).is_err());
    }
}
