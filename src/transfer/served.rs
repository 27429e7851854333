//! What a server has in the place of a package, taken as it comes: for evidence, never for use.

use std::fs::File;

use super::pull::failed;
use super::spool::{Spool, WriterEnded};
use super::{Broken, Context, PACKAGE_BUDGET};
use crate::error::{Error, ErrorKind, Result};
use crate::events::Event;
use crate::http::Get;
use crate::package::Received;
use crate::presigned::PresignedUrl;

/// Bytes that nobody vouches for, and how they came.
#[derive(Debug)]
pub struct AsServed {
    /// The bytes.
    pub received: Received,
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type`, as it was sent.
    pub content_type: Option<String>,
    /// There was more than the limit; what came after it was left.
    pub truncated: bool,
}

/// Takes the answer to one plain GET into `spool`, an empty file, at most `limit` bytes of it, whatever it is.
///
/// # Errors
/// No whole answer came: the server cannot be reached, or the connection broke.
pub async fn as_served(
    context: Context<'_>,
    subject: &str,
    url: &PresignedUrl,
    limit: u64,
    spool: File,
) -> Result<AsServed> {
    let taken = tokio::time::timeout(PACKAGE_BUDGET, take(context, subject, url, limit, spool));
    taken
        .await
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "the answer did not end")))
        .map_err(|e| e.about(subject))
}

async fn take(
    context: Context<'_>,
    subject: &str,
    url: &PresignedUrl,
    limit: u64,
    spool: File,
) -> Result<AsServed> {
    let get = Get::of(url.secret_url());
    let mut response = context.http.get(get).await.map_err(broken)?;
    context.reporter.report(&Event::ObjectAnswered {
        subject,
        location: &url.redacted(),
        status: response.status(),
        etag: response.header("etag"),
        version_id: response.header("x-amz-version-id"),
        request_id: response.header("x-amz-request-id"),
        date: response.header("date"),
    });
    let status = response.status();
    let content_type = response.header("content-type").map(ToOwned::to_owned);
    let mut spool = Spool::start(spool, 1);
    let (mut at, mut truncated) = (0, false);
    while let Some(mut chunk) = response.chunk().await.map_err(broken)? {
        let left = usize::try_from(limit - at).unwrap_or(usize::MAX);
        if chunk.len() > left {
            chunk.truncate(left);
            truncated = true;
        }
        let count = chunk.len() as u64;
        if let Err(WriterEnded) = spool.write(at, chunk).await {
            return Err(spool.failure().await);
        }
        at += count;
        if truncated {
            break;
        }
    }
    let (received, _) = spool.finish().await?;
    Ok(AsServed {
        received,
        status,
        content_type,
        truncated,
    })
}

fn broken(e: crate::http::HttpError) -> Error {
    match failed(e, "package") {
        Broken::Final(error) => error,
        Broken::Transient { error, .. } | Broken::Throttled { error, .. } => *error,
        _ => Error::new(ErrorKind::Transfer, "the download broke off"),
    }
}
