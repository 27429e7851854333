//! Many transfers told as one.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::digest::Sha256Digest;
use crate::events::{Event, Reporter};

/// Tells of one blob as a part of the whole image.
pub(super) struct Share<'a> {
    pub(super) reporter: &'a dyn Reporter,
    pub(super) digest: Sha256Digest,
    pub(super) size: u64,
    /// What this blob has brought.
    pub(super) own: AtomicU64,
    /// What all of them have.
    pub(super) all: &'a AtomicU64,
}

impl Reporter for Share<'_> {
    fn report(&self, event: &Event<'_>) {
        match *event {
            Event::DownloadStarted { .. } => self.reporter.report(&Event::BlobStarted {
                digest: self.digest,
                size: self.size,
            }),
            Event::Downloaded { bytes } => {
                // A blob that begins anew stands further back than before; sums wrap to what is right.
                let before = self.own.swap(bytes, Ordering::Relaxed);
                let more = bytes.wrapping_sub(before);
                let all = self.all.fetch_add(more, Ordering::Relaxed);
                let bytes = all.wrapping_add(more);
                self.reporter.report(&Event::Downloaded { bytes });
            }
            Event::Verifying { .. } => {}
            Event::Verified { sha256 } => self.reporter.report(&Event::BlobDone {
                digest: sha256,
                size: self.size,
            }),
            ref other => self.reporter.report(other),
        }
    }
}
