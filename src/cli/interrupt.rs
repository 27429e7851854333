//! The run of a command's work, until it is done or the user has had enough.
//!
//! The first Ctrl-C (or `SIGTERM`, or `SIGHUP`, unless the run was started with `nohup`) cancels: the work stops at the next place where it can, removes what it staged,
//! and the run ends as interrupted. A second one ends the run without waiting for that.

use std::io;
use std::pin::pin;

use tokio_util::sync::CancellationToken;

use super::output::io_error;
use super::progress::Progress;
use crate::error::{Error, ErrorKind, Result};

/// Runs `work` to its end on a runtime of its own.
pub(super) fn run<T, F>(progress: &Progress, work: impl FnOnce(CancellationToken) -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    // One thread: measured against one and two workers, a fetch took as long and the least memory, and what blocks
    // (hashing a file again, unpacking) has threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| io_error("the async runtime cannot be started", e))?;
    let result = runtime.block_on(async {
        let mut signals = Signals::listen().map_err(|e| io_error("signals cannot be had", e))?;
        let cancel = CancellationToken::new();
        let mut work = pin!(work(cancel.clone()));
        tokio::select! {
            result = &mut work => return result,
            () = signals.next() => {}
        }
        progress.interrupted();
        cancel.cancel();
        tokio::select! {
            // What breaks off because of the cancelling is no failure of its own.
            result = &mut work => result.map_err(|e| match e.kind() {
                ErrorKind::Bug | ErrorKind::Interrupted => e,
                _ => Error::interrupted(),
            }),
            () = signals.next() => Err(Error::interrupted().hint("the clean-up was cut short; a rerun needs nothing of what is left")),
        }
    });
    // Threads that are still busy must not hold up the end.
    runtime.shutdown_background();
    result
}

#[cfg(unix)]
struct Signals {
    int: tokio::signal::unix::Signal,
    term: tokio::signal::unix::Signal,
    hup: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            int: signal(SignalKind::interrupt())?,
            term: signal(SignalKind::terminate())?,
            hup: if hangups_matter() {
                Some(signal(SignalKind::hangup())?)
            } else {
                None
            },
        })
    }

    async fn next(&mut self) {
        let hangup = async {
            match &mut self.hup {
                Some(hup) => hup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.int.recv() => {}
            _ = self.term.recv() => {}
            _ = hangup => {}
        }
    }
}

/// Whether `SIGHUP` was not ignored at the start: `nohup` ignores it, and a handler would undo that. Where this cannot
/// be seen, no handler is set, and the signal does what it did before.
#[cfg(unix)]
fn hangups_matter() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // The lowest bit is signal 1, SIGHUP.
    ignored.is_some_and(|mask| mask & 1 == 0)
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::progress::Mode;
    use super::*;
    use crate::task::blocking;

    #[test]
    fn work_gives_its_result() {
        let progress = Progress::new(Mode::Nothing);
        let sum = run(&progress, async |_| blocking(|| Ok(1 + 1)).await);
        assert_eq!(sum.unwrap(), 2);
    }

    #[test]
    fn a_panic_of_the_work_is_a_bug() {
        let progress = Progress::new(Mode::Nothing);
        let result: Result<()> = run(&progress, async |_| blocking(|| panic!("as meant")).await);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Bug);
    }
}

/// Signals reach a whole process, so each case runs in one of its own.
#[cfg(test)]
#[cfg(unix)]
mod signal_tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use rustix::process::{Pid, Signal, kill_process};

    use super::super::progress::Mode;
    use super::*;
    use crate::task::blocking;

    fn say(line: &str) {
        // Not through the test harness, which would keep it.
        let mut stdout = io::stdout();
        writeln!(stdout, "\nchild: {line}").unwrap();
    }

    /// What the work does when it is cancelled.
    #[test]
    #[ignore = "started by the other tests"]
    fn child() {
        let case = std::env::var("LARDER_TEST_CASE").unwrap_or_default();
        let progress = Progress::new(Mode::Nothing);
        let result: Result<()> = run(&progress, async |cancel| {
            say("ready");
            match case.as_str() {
                "cleans up" => {
                    cancel.cancelled().await;
                    say("cleaned up");
                    Err(Error::new(ErrorKind::Transfer, "broke off"))
                }
                "was done" => {
                    cancel.cancelled().await;
                    Ok(())
                }
                "hangs in a thread" => {
                    cancel.cancelled().await;
                    say("hangs");
                    blocking(|| {
                        loop {
                            std::thread::park();
                        }
                    })
                    .await
                }
                "goes on" => tokio::select! {
                    () = cancel.cancelled() => Err(crate::error::Error::interrupted()),
                    () = tokio::time::sleep(Duration::from_millis(300)) => Ok(()),
                },
                _ => Ok(()),
            }
        });
        match result {
            Ok(()) => say("ended well"),
            Err(e) => say(&format!("ended with {}", e.kind().name())),
        }
    }

    fn outcome(case: &str, signals: &[(&str, Signal)]) -> Vec<String> {
        let command = Command::new(std::env::current_exe().unwrap());
        outcome_of(command, case, signals)
    }

    fn outcome_of(mut command: Command, case: &str, signals: &[(&str, Signal)]) -> Vec<String> {
        let mut child = command
            .args(["--exact", "cli::interrupt::signal_tests::child"])
            .args(["--include-ignored", "--nocapture"])
            .env("LARDER_TEST_CASE", case)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        let mut said = Vec::new();
        let mut signals = signals.iter().peekable();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let Some(line) = line.strip_prefix("child: ") else {
                continue;
            };
            said.push(line.to_owned());
            if let Some((_, signal)) = signals.next_if(|(after, _)| *after == line) {
                std::thread::sleep(Duration::from_millis(20));
                kill_process(pid, *signal).unwrap();
            }
        }
        assert!(child.wait().unwrap().success(), "{said:?}");
        said
    }

    #[test]
    fn the_first_signal_lets_the_work_clean_up() {
        for signal in [Signal::INT, Signal::TERM] {
            assert_eq!(
                outcome("cleans up", &[("ready", signal)]),
                ["ready", "cleaned up", "ended with interrupted"]
            );
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_hangup_interrupts_unless_it_was_ignored_at_the_start() {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command.arg(std::env::current_exe().unwrap());
            command
        };
        let hangup = [("ready", Signal::HUP)];
        // `trap ''` is what nohup does.
        assert_eq!(
            outcome_of(shell(r#"trap '' HUP; exec "$0" "$@""#), "goes on", &hangup),
            ["ready", "ended well"]
        );
        if hangups_matter() {
            assert_eq!(
                outcome_of(shell(r#"exec "$0" "$@""#), "goes on", &hangup),
                ["ready", "ended with interrupted"]
            );
        }
    }

    #[test]
    fn work_that_was_done_is_done() {
        assert_eq!(
            outcome("was done", &[("ready", Signal::INT)]),
            ["ready", "ended well"]
        );
    }

    #[test]
    fn the_second_signal_ends_at_once() {
        assert_eq!(
            outcome(
                "hangs in a thread",
                &[("ready", Signal::INT), ("hangs", Signal::INT)]
            ),
            ["ready", "hangs", "ended with interrupted"]
        );
    }
}
