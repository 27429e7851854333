//! What a person sees while a command works: a bar on a terminal, plain lines elsewhere, or nothing.
//!
//! Events may come tens of thousands of times a second and from any thread, so taking one is a store to an atomic;
//! a thread of its own looks a few times a second and draws. All that is written to stderr during a run goes
//! through [`Progress::line`], so that it stands above the bar and not in it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::tally::Tally;
use super::{escape, failure, quantity};
use crate::events::{Event, Reporter};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Not at all; warnings are.
    Nothing,
    /// A plain line every few seconds.
    Lines,
    /// A bar on a terminal.
    Bar,
}

impl Mode {
    /// How often progress is drawn. The first drawing waits so long too: what is done sooner needs no bar.
    fn interval(self) -> Duration {
        match self {
            Self::Bar => Duration::from_millis(100),
            Self::Nothing | Self::Lines => Duration::from_secs(5),
        }
    }
}

/// Shows the events of a run.
pub struct Progress {
    shared: Arc<Shared>,
    ticker: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    mode: Mode,
    bar: ProgressBar,
    /// Bytes done in this phase.
    done: AtomicU64,
    phase: Mutex<Phase>,
    finished: Mutex<bool>,
    wake: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Asking,
    Downloading,
    Pulling,
    Verifying,
    Hashing,
    Unpacking,
    Taking,
    BackingUp,
    Publishing,
}

impl Kind {
    fn verb(self) -> &'static str {
        match self {
            Self::Asking => "asking",
            Self::Downloading => "downloading",
            Self::Pulling => "pulling",
            Self::Verifying | Self::Hashing => "verifying",
            Self::Unpacking => "unpacking",
            Self::Taking => "taking",
            Self::BackingUp => "backing up",
            Self::Publishing => "publishing",
        }
    }

    /// Whether the phase says how far it is.
    fn counts(self) -> bool {
        matches!(
            self,
            Self::Downloading | Self::Pulling | Self::Hashing | Self::Unpacking | Self::BackingUp
        )
    }
}

/// What is being done.
struct Phase {
    kind: Kind,
    /// What it is done to, escaped; or empty.
    subject: String,
    /// In bytes; 0 where there is nothing to count.
    total: u64,
    /// Blobs that are done, and of how many; of an image only.
    blobs: (u64, u64),
    /// Of a backup only.
    tally: Tally,
    since: Instant,
    rate: Rate,
    /// Whether the bar's style is this phase's yet.
    drawn: bool,
}

impl Phase {
    fn new(kind: Kind, subject: String, total: u64) -> Self {
        let since = Instant::now();
        Self {
            kind,
            subject,
            total,
            blobs: (0, 0),
            tally: Tally::default(),
            since,
            rate: Rate::new(since),
            drawn: false,
        }
    }

    /// `verb subject`.
    fn title(&self) -> String {
        let verb = self.kind.verb();
        match (self.kind, self.subject.as_str()) {
            (_, "") => verb.to_owned(),
            (Kind::Asking, subject) => format!("{verb} about {subject}"),
            (_, subject) => format!("{verb} {subject}"),
        }
    }

    /// How far it is: `3.2 MiB of 5.5 MiB, 4.1 MiB/s, 2 s left`.
    fn state(&mut self, done: u64, now: Instant) -> String {
        if self.kind == Kind::Taking {
            return format!(
                "{done} of {} done",
                quantity::count(self.total, "function", "functions")
            );
        }
        if self.kind == Kind::BackingUp {
            let time = now.saturating_duration_since(self.since);
            return self.tally.state(done, self.total, time);
        }
        if !self.kind.counts() {
            return match self.total {
                0 => String::new(),
                bytes => quantity::size(bytes),
            };
        }
        self.rate.update(done, now);
        let mut out = format!("{} of {}", quantity::size(done), quantity::size(self.total));
        if let (done, all @ 1..) = self.blobs {
            out = format!("{done} of {}, {out}", quantity::count(all, "blob", "blobs"));
        }
        if let Some(per_second) = self.rate.per_second() {
            out.push_str(", ");
            out.push_str(&quantity::size(quantity::to_u64(per_second)));
            out.push_str("/s");
            let left = quantity::to_f64(self.total.saturating_sub(done)) / per_second;
            if let Ok(left) = Duration::try_from_secs_f64(left.ceil()) {
                out.push_str(", ");
                out.push_str(&quantity::whole_time(left));
                out.push_str(" left");
            }
        }
        out
    }
}

/// A speed that forgets: what was measured some seconds ago counts little.
struct Rate {
    last: (u64, Instant),
    per_second: f64,
}

impl Rate {
    const MEMORY: f64 = 3.0;

    fn new(now: Instant) -> Self {
        Self {
            last: (0, now),
            per_second: 0.0,
        }
    }

    fn update(&mut self, done: u64, now: Instant) {
        let (before, then) = self.last;
        let time = now.saturating_duration_since(then).as_secs_f64();
        if time < 0.02 {
            return;
        }
        self.last = (done, now);
        // A transfer that began anew stands further back than before.
        let measured = quantity::to_f64(done.saturating_sub(before)) / time;
        let weight = if self.per_second > 0.0 {
            1.0 - (-time / Self::MEMORY).exp()
        } else {
            1.0
        };
        self.per_second += (measured - self.per_second) * weight;
    }

    /// None while it stands still.
    fn per_second(&self) -> Option<f64> {
        (self.per_second >= 1.0).then_some(self.per_second)
    }
}

impl Progress {
    /// Shows nothing until the first event.
    pub fn new(mode: Mode) -> Self {
        Self {
            shared: Arc::new(Shared {
                mode,
                bar: ProgressBar::hidden(),
                done: AtomicU64::new(0),
                phase: Mutex::new(Phase::new(Kind::Asking, String::new(), 0)),
                finished: Mutex::new(false),
                wake: Condvar::new(),
            }),
            ticker: Mutex::new(None),
        }
    }

    /// Writes to stderr, above the bar if there is one. The text must be harmless to a terminal.
    pub fn line(&self, text: &str) {
        self.shared.line(text);
    }

    /// The user interrupted: no more progress, and a word about what goes on.
    pub fn interrupted(&self) {
        self.finish();
        if self.shared.mode != Mode::Nothing {
            self.line("interrupted; cleaning up");
        }
    }

    /// Takes the bar away for good.
    pub fn finish(&self) {
        *lock(&self.shared.finished) = true;
        self.shared.wake.notify_all();
        if let Some(ticker) = lock(&self.ticker).take() {
            // The ticker does not panic, and if it did, the hook knows.
            let _ = ticker.join();
        }
        self.shared.bar.finish_and_clear();
    }

    fn enter(&self, kind: Kind, subject: &str, total: u64) {
        if self.shared.mode == Mode::Nothing {
            return;
        }
        {
            let mut phase = lock(&self.shared.phase);
            // Not every phase says what it is about; it is about what the one before was.
            let subject = match subject {
                "" => std::mem::take(&mut phase.subject),
                subject => escape::line(subject).into_owned(),
            };
            *phase = Phase::new(kind, subject, total);
            self.shared.done.store(0, Ordering::Relaxed);
        }
        let mut ticker = lock(&self.ticker);
        if ticker.is_none() && !*lock(&self.shared.finished) {
            let shared = Arc::clone(&self.shared);
            // Without a thread there is no progress to see, and that is all.
            *ticker = std::thread::Builder::new()
                .name("progress".to_owned())
                .spawn(move || shared.keep_drawing())
                .ok();
        }
    }

    /// A line about a phase's beginning or end, where there is no bar to tell it.
    fn plain(&self, text: impl FnOnce() -> String) {
        if self.shared.mode == Mode::Lines && !*lock(&self.shared.finished) {
            self.line(&text());
        }
    }

    /// The line at the end of a phase that counts.
    fn plain_end(&self, done: &str) {
        self.plain(|| {
            let phase = lock(&self.shared.phase);
            let time = phase.since.elapsed();
            let bytes = self.shared.done.load(Ordering::Relaxed);
            let speed =
                quantity::speed(bytes, time).map_or_else(String::new, |s| format!(" ({s})"));
            format!(
                "{done} {} in {}{speed}",
                quantity::size(bytes),
                quantity::time(time)
            )
        });
    }

    fn kind(&self) -> Kind {
        lock(&self.shared.phase).kind
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Reporter for Progress {
    #[expect(clippy::too_many_lines, reason = "one arm an event")]
    fn report(&self, event: &Event<'_>) {
        match *event {
            Event::Asking { subject } => {
                self.enter(Kind::Asking, subject, 0);
                self.plain(|| format!("asking about {}", escape::line(subject)));
            }
            Event::DownloadStarted { subject, size } => {
                self.enter(Kind::Downloading, subject, size);
                self.plain(|| {
                    format!(
                        "downloading {}: {}",
                        escape::line(subject),
                        quantity::size(size)
                    )
                });
            }
            Event::Answered { .. } | Event::ObjectAnswered { .. } => {}
            Event::Downloaded { bytes } => self.shared.done.store(bytes, Ordering::Relaxed),
            Event::PullStarted {
                subject,
                blobs,
                size,
            } => {
                self.enter(Kind::Pulling, subject, size);
                lock(&self.shared.phase).blobs = (0, blobs);
                self.plain(|| {
                    format!(
                        "pulling {}: {}, {}",
                        escape::line(subject),
                        quantity::count(blobs, "blob", "blobs"),
                        quantity::size(size)
                    )
                });
            }
            Event::BlobStarted { digest, size } => {
                self.plain(|| format!("pulling sha256:{digest}: {}", quantity::size(size)));
            }
            Event::BlobDone { digest, size } => {
                lock(&self.shared.phase).blobs.0 += 1;
                self.plain(|| {
                    let (done, all) = lock(&self.shared.phase).blobs;
                    let size = quantity::size(size);
                    format!("verified sha256:{digest}: {size} ({done} of {all})")
                });
            }
            Event::Retrying {
                what,
                attempt,
                max_attempts,
                wait,
                reason,
            } => {
                if self.shared.mode != Mode::Nothing {
                    self.line(&format!(
                        "retrying {} in {} (attempt {attempt} of {max_attempts} failed: {})",
                        escape::line(what),
                        quantity::time(wait),
                        escape::line(reason)
                    ));
                }
            }
            Event::Verifying { size } => {
                if self.kind() == Kind::Downloading {
                    self.plain_end("downloaded");
                }
                self.enter(Kind::Verifying, "", size);
            }
            Event::Verified { sha256 } => self.plain(|| format!("verified sha256:{sha256}")),
            Event::UnpackStarted { files, bytes } => {
                self.enter(Kind::Unpacking, "", bytes);
                self.plain(|| {
                    let files = quantity::count(files, "file", "files");
                    format!("unpacking {files}: {}", quantity::size(bytes))
                });
            }
            Event::HashingStarted {
                subject,
                files,
                bytes,
            } => {
                self.enter(Kind::Hashing, subject, bytes);
                self.plain(|| {
                    let files = quantity::count(files, "file", "files");
                    let subject = escape::line(subject);
                    format!("verifying {subject}: {files}, {}", quantity::size(bytes))
                });
            }
            Event::Unpacked { bytes } | Event::Hashed { bytes } => {
                self.shared.done.fetch_add(bytes, Ordering::Relaxed);
            }
            Event::Estimated {
                subject,
                functions,
                versions,
                calls,
                time,
                rate,
            } => self.line(&format!(
                "{}: {} and {}: {} or more, {} at {rate} a second",
                escape::line(subject),
                quantity::count(functions, "function", "functions"),
                quantity::count(versions, "version", "versions"),
                quantity::count(calls, "call", "calls"),
                quantity::whole_time(time),
            )),
            Event::BackedUp {
                done,
                total,
                growing,
                bytes,
                failed,
            } => {
                if self.kind() != Kind::BackingUp {
                    self.enter(Kind::BackingUp, "", total);
                    lock(&self.shared.phase).subject.clear();
                }
                self.shared.done.store(done, Ordering::Relaxed);
                let mut phase = lock(&self.shared.phase);
                // A bar shows again how long it is.
                phase.drawn &= phase.total == total;
                phase.total = total;
                phase.tally = Tally {
                    growing,
                    bytes,
                    failed,
                };
            }
            Event::Taken {
                done,
                total,
                subject,
            } => {
                self.enter(Kind::Taking, subject, total);
                self.shared.done.store(done, Ordering::Relaxed);
            }
            Event::Publishing => {
                match self.kind() {
                    Kind::Unpacking => self.plain_end("unpacked"),
                    Kind::Pulling => self.plain_end("pulled"),
                    _ => {}
                }
                self.enter(Kind::Publishing, "", 0);
            }
            Event::Warning {
                subject,
                message,
                hint,
            } => self.line(&failure::warning(subject, message, hint)),
        }
    }
}

impl Shared {
    fn line(&self, text: &str) {
        self.bar.suspend(|| failure::write(text));
    }

    fn keep_drawing(&self) {
        let mut finished = lock(&self.finished);
        loop {
            let (guard, _) = self
                .wake
                .wait_timeout_while(finished, self.mode.interval(), |finished| !*finished)
                .unwrap_or_else(PoisonError::into_inner);
            finished = guard;
            if *finished {
                return;
            }
            // Drawing holds no lock that `finish` waits for longer than it takes.
            match self.mode {
                Mode::Bar => self.draw(),
                Mode::Lines => self.tell(),
                Mode::Nothing => return,
            }
        }
    }

    fn draw(&self) {
        let done = self.done.load(Ordering::Relaxed);
        let mut phase = lock(&self.phase);
        let state = phase.state(done, Instant::now());
        let message = match (state.as_str(), phase.subject.as_str()) {
            ("", subject) => subject.to_owned(),
            (state, "") => state.to_owned(),
            (state, subject) => format!("{state}  {subject}"),
        };
        if self.bar.is_hidden() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        if !phase.drawn {
            phase.drawn = true;
            self.bar.set_style(style(phase.kind));
            self.bar.set_prefix(phase.kind.verb());
            self.bar.set_length(phase.total);
        }
        drop(phase);
        self.bar.set_position(done);
        self.bar.set_message(message);
        self.bar.tick();
    }

    fn tell(&self) {
        let done = self.done.load(Ordering::Relaxed);
        let mut phase = lock(&self.phase);
        let state = phase.state(done, Instant::now());
        let waited = quantity::whole_time(phase.since.elapsed());
        let title = phase.title();
        drop(phase);
        if state.is_empty() {
            self.line(&format!("{title}: {waited} so far"));
        } else {
            self.line(&format!("{title}: {state}"));
        }
    }
}

fn style(kind: Kind) -> ProgressStyle {
    // Colours only where anstream would use them too.
    let colour = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let (spinner, bar) = if colour {
        ("{spinner:.cyan}", "{bar:16.cyan/dim}")
    } else {
        ("{spinner}", "{bar:16}")
    };
    // What is said beside the bar of a backup is long.
    let bar = if kind == Kind::BackingUp {
        bar.replace("16", "8")
    } else {
        bar.to_owned()
    };
    let template = if kind.counts() {
        format!("{spinner} {{prefix:11}} [{bar}] {{wide_msg}}")
    } else {
        format!("{spinner} {{prefix:11}} {{wide_msg}}")
    };
    ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
        .tick_chars(r"-\|/ ")
}

/// Nothing here is left half done by a panic, so a poisoned lock is as good as another.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_says_how_far_it_is() {
        let mut phase = Phase::new(Kind::Downloading, "f".to_owned(), 10 << 20);
        let at = |s: f64| phase.since + Duration::from_secs_f64(s);
        let (start, one, two) = (at(0.0), at(1.0), at(2.0));
        assert_eq!(phase.state(0, start), "0 B of 10.0 MiB");
        assert_eq!(
            phase.state(2 << 20, one),
            "2.00 MiB of 10.0 MiB, 2.00 MiB/s, 4 s left"
        );
        assert_eq!(
            phase.state(4 << 20, two),
            "4.00 MiB of 10.0 MiB, 2.00 MiB/s, 3 s left"
        );
        assert_eq!(phase.title(), "downloading f");
        let mut verifying = Phase::new(Kind::Verifying, String::new(), 2048);
        assert_eq!(verifying.state(0, start), "2.00 KiB");
        assert_eq!(verifying.title(), "verifying");
    }

    #[test]
    fn a_speed_forgets_and_survives_a_restart() {
        let now = Instant::now();
        let mut rate = Rate::new(now);
        rate.update(1000, now + Duration::from_secs(1));
        assert_eq!(rate.per_second(), Some(1000.0));
        rate.update(0, now + Duration::from_secs(2)); // began anew
        assert!(rate.per_second().is_some_and(|r| r < 1000.0));
        rate.update(0, now + Duration::from_mins(1));
        assert_eq!(rate.per_second(), None);
    }

    #[test]
    fn events_from_many_threads_add_up_and_cost_little() {
        let progress = Progress::new(Mode::Nothing);
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25_000 {
                        progress.report(&Event::Unpacked { bytes: 3 });
                    }
                });
            }
        });
        assert_eq!(progress.shared.done.load(Ordering::Relaxed), 300_000);
        assert!(start.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn finishing_is_quick_and_may_come_twice() {
        let progress = Progress::new(Mode::Lines);
        let start = Instant::now();
        progress.finish();
        progress.enter(Kind::Asking, "f", 0); // too late: no thread is started
        assert!(lock(&progress.ticker).is_none());
        progress.finish();
        assert!(start.elapsed() < Duration::from_secs(2));
    }
}
