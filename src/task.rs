//! Work that may block, and work that may be broken off.

use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};

/// Runs work that blocks on a thread for such, so that signals are heard meanwhile.
///
/// # Errors
/// What `work` answers, or a bug where it panicked.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(Error::new(ErrorKind::Bug, "a blocking task failed").because(e)),
    }
}

/// Runs `work` until it is done or `cancel` is cancelled.
///
/// # Errors
/// What `work` answers, or [`ErrorKind::Interrupted`].
pub(crate) async fn or_interrupted<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Error::interrupted()),
        result = work => result,
    }
}
