//! The server's clock, which a test can set wrong, and the server's randomness.

use jiff::{SignedDuration, Timestamp};
use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The time that the server believes in: the machine's, plus an offset.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    offset_seconds: AtomicI64,
}

impl Clock {
    pub fn set_offset(&self, seconds: i64) {
        self.offset_seconds.store(seconds, Ordering::SeqCst);
    }

    pub fn now(&self) -> Timestamp {
        let offset = SignedDuration::from_secs(self.offset_seconds.load(Ordering::SeqCst));
        let now = Timestamp::now();
        now.checked_add(offset).unwrap_or(now)
    }

    /// Now as S3's XML and STS have it: `2026-01-01T00:00:00Z`.
    pub fn iso(&self) -> String {
        iso(self.now())
    }

    /// Now as the header `Date` has it (RFC 9110 section 5.6.7).
    pub fn http_date(&self) -> String {
        http_date(self.now())
    }
}

pub(crate) fn iso(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub(crate) fn http_date(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// `X-Amz-Date`: `20260101T000000Z`.
pub(crate) fn amz_date(time: Timestamp) -> String {
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// `LastModified` as Lambda writes it: `2026-01-01T00:00:00.000+0000`.
pub(crate) fn lambda_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%3f+0000").to_string()
}

/// That many random bytes in lower-case hex. Good enough for a test server: `SipHash` under the standard library's
/// random keys.
pub(crate) fn random_hex(bytes: usize) -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut hex = String::with_capacity(bytes * 2 + 16);
    while hex.len() < bytes * 2 {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u64(COUNTER.fetch_add(1, Ordering::Relaxed));
        // Writing to a string does not fail.
        let _ = write!(hex, "{:016x}", hasher.finish());
    }
    hex.truncate(bytes * 2);
    hex
}

/// Locks, also after another thread panicked while it held the lock: a failed test must not hide behind a second
/// panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
