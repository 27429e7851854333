//! What happens during a run, for whoever wants to show it.
//!
//! The library prints nothing. It reports [`Event`]s to a [`Reporter`]; the command line draws them, a test
//! collects them, and `()` ignores them.

use std::time::Duration;

use crate::digest::Sha256Digest;

/// Something that happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event<'a> {
    /// AWS is asked about something: a function or a layer version.
    Asking {
        /// What is asked about, as the user named it or as an ARN.
        subject: &'a str,
    },
    /// A call to AWS's control plane was answered, be it with an error.
    Answered {
        /// `GetFunction`, `ListAliases` and so on.
        operation: &'a str,
        /// What was asked about.
        subject: &'a str,
        /// The region that was asked.
        region: &'a str,
        /// The HTTP status.
        status: u16,
        /// AWS's id of the request.
        request_id: Option<&'a str>,
        /// The server's `Date`, as it was written.
        date: Option<&'a str>,
    },
    /// The server of a package answered a GET, be it with an error.
    ObjectAnswered {
        /// The function or layer version.
        subject: &'a str,
        /// What was asked for, with only `versionId` left of the query.
        location: &'a str,
        /// The HTTP status.
        status: u16,
        /// The object's `ETag`, with its quotes.
        etag: Option<&'a str>,
        /// `x-amz-version-id`.
        version_id: Option<&'a str>,
        /// `x-amz-request-id`.
        request_id: Option<&'a str>,
        /// The server's `Date`, as it was written.
        date: Option<&'a str>,
    },
    /// A package's transfer begins.
    DownloadStarted {
        /// The function or layer version.
        subject: &'a str,
        /// `CodeSize`, in bytes.
        size: u64,
    },
    /// So much of the package is on disk.
    Downloaded {
        /// Bytes received so far, counted from the start of the package.
        bytes: u64,
    },
    /// The pull of a container image begins; [`Downloaded`](Self::Downloaded) then counts all its blobs together.
    PullStarted {
        /// The image, by digest.
        subject: &'a str,
        /// How many blobs are fetched.
        blobs: u64,
        /// Their size in bytes, as the manifest states it.
        size: u64,
    },
    /// The transfer of one blob of an image begins. Several may be under way.
    BlobStarted {
        /// Which.
        digest: Sha256Digest,
        /// In bytes.
        size: u64,
    },
    /// A blob of an image is there, and is what the manifest states.
    BlobDone {
        /// Which.
        digest: Sha256Digest,
        /// In bytes.
        size: u64,
    },
    /// A request is made again.
    Retrying {
        /// What is tried again, in words: `GetFunction`, `the download`.
        what: &'a str,
        /// The number of the attempt that failed, from 1.
        attempt: u32,
        /// How many attempts there are at the most.
        max_attempts: u32,
        /// How long until the next one.
        wait: Duration,
        /// Why the last one failed.
        reason: &'a str,
    },
    /// The bytes are being compared with what was stated; on `--update` this reads them again.
    Verifying {
        /// How many bytes.
        size: u64,
    },
    /// The bytes are what Lambda states.
    Verified {
        /// Their digest.
        sha256: Sha256Digest,
    },
    /// The files of a directory are about to be hashed again.
    HashingStarted {
        /// The directory.
        subject: &'a str,
        /// Regular files.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// More was hashed. May come from several threads at once.
    Hashed {
        /// Bytes read since the last such event.
        bytes: u64,
    },
    /// Unpacking begins.
    UnpackStarted {
        /// Regular files in the archive.
        files: u64,
        /// Their size in bytes, as the archive states it.
        bytes: u64,
    },
    /// More was unpacked. May come from several threads at once.
    Unpacked {
        /// Bytes written since the last such event.
        bytes: u64,
    },
    /// How much there will be to ask, said before it begins.
    Estimated {
        /// The account and region.
        subject: &'a str,
        /// Functions.
        functions: u64,
        /// Versions of them.
        versions: u64,
        /// Calls that will be made, at least.
        calls: u64,
        /// How long they take at this rate.
        time: Duration,
        /// Calls a second of the shared budget.
        rate: f64,
    },
    /// How far a backup is.
    BackedUp {
        /// Function versions that have ended.
        done: u64,
        /// Of how many, as far as it is known.
        total: u64,
        /// Whether there may be any number more.
        growing: bool,
        /// Bytes of packages received.
        bytes: u64,
        /// What failed so far.
        failed: u64,
    },
    /// Of several functions, so many are done.
    Taken {
        /// How many.
        done: u64,
        /// Of how many.
        total: u64,
        /// Which one is begun or done.
        subject: &'a str,
    },
    /// The tree is being synced and moved to its place.
    Publishing,
    /// Something the user should know that does not stop the run.
    Warning {
        /// What it is about.
        subject: &'a str,
        /// What is wrong.
        message: &'a str,
        /// What to do about it.
        hint: Option<&'a str>,
    },
}

/// Takes events. Calls may come from any thread.
pub trait Reporter: Send + Sync {
    /// Something happened.
    fn report(&self, event: &Event<'_>);
}

/// Ignores all events.
impl Reporter for () {
    fn report(&self, _event: &Event<'_>) {}
}

impl<R: Reporter + ?Sized> Reporter for &R {
    fn report(&self, event: &Event<'_>) {
        (**self).report(event);
    }
}

impl<R: Reporter + ?Sized> Reporter for std::sync::Arc<R> {
    fn report(&self, event: &Event<'_>) {
        (**self).report(event);
    }
}
