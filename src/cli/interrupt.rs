//! The run of a command's work, until it is done or the user has had enough.
//!
//! The first Ctrl-C (or `SIGTERM`) cancels: the work stops at the next place where it can, removes what it staged,
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
                _ => interrupted(),
            }),
            () = signals.next() => Err(interrupted().hint("the clean-up was cut short; a rerun needs nothing of what is left")),
        }
    });
    // Threads that are still busy must not hold up the end.
    runtime.shutdown_background();
    result
}

/// Runs work that blocks, on a thread that may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(Error::new(ErrorKind::Bug, "the work ended with a panic").because(e)),
    }
}

/// How an interrupted run ends.
pub(super) fn interrupted() -> Error {
    Error::new(ErrorKind::Interrupted, "interrupted")
}

#[cfg(unix)]
struct Signals {
    int: tokio::signal::unix::Signal,
    term: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            int: signal(SignalKind::interrupt())?,
            term: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.int.recv() => {}
            _ = self.term.recv() => {}
        }
    }
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
