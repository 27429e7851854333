//! The spool: a file that bytes are written to where they belong, hashed in order by a thread of its own.
//!
//! Hashing and writing take place beside the network's work, behind a short queue: so memory stays flat, and the digest
//! is there when the last byte is. Bytes that come ahead of a gap are hashed, read back from the file, when it closes.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::parts::Have;
use crate::digest::Hasher;
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::package::Received;

/// Pieces that may wait for the disk. A piece is one read of the HTTP client, some 400 KiB at the most.
const QUEUE: usize = 8;
/// How much is read back at a time.
const BLOCK: usize = 256 * 1024;

/// An open spool.
pub(super) struct Spool {
    queue: mpsc::Sender<Work>,
    at_once: usize,
    writer: JoinHandle<Result<File>>,
}

/// A spool whose bytes were handed out; it can only begin anew.
pub(super) struct Spent(File, usize);

/// The writer ended before it was told to; [`Spool::failure`] says why.
#[derive(Debug)]
pub(super) struct WriterEnded;

enum Work {
    Write(u64, Bytes),
    Reset(oneshot::Sender<()>),
    Finish(oneshot::Sender<Received>),
}

impl Spool {
    /// Begins with an empty file, one of `at_once` spools that are filled at the same time: they share what may wait.
    pub(super) fn start(file: File, at_once: usize) -> Self {
        let (queue, work) = mpsc::channel((QUEUE / at_once.max(1)).max(2));
        Self {
            queue,
            at_once,
            writer: tokio::task::spawn_blocking(move || write_all(file, work)),
        }
    }

    /// Writes `bytes` at `offset`.
    pub(super) async fn write(&self, offset: u64, bytes: Bytes) -> Result<(), WriterEnded> {
        let work = Work::Write(offset, bytes);
        self.queue.send(work).await.map_err(|_| WriterEnded)
    }

    /// Forgets everything that was written.
    pub(super) async fn reset(&self) -> Result<(), WriterEnded> {
        let (done, when_done) = oneshot::channel();
        let sent = self.queue.send(Work::Reset(done)).await;
        sent.map_err(|_| WriterEnded)?;
        when_done.await.map_err(|_| WriterEnded)
    }

    /// The bytes with their digest.
    pub(super) async fn finish(mut self) -> Result<(Received, Spent)> {
        let (done, received) = oneshot::channel();
        if self.queue.send(Work::Finish(done)).await.is_ok()
            && let Ok(received) = received.await
        {
            let file = (&mut self.writer).await.map_err(joined)??;
            return Ok((received, Spent(file, self.at_once)));
        }
        Err(self.failure().await)
    }

    /// Why the writer ended before it was told to.
    pub(super) async fn failure(&mut self) -> Error {
        match (&mut self.writer).await {
            Ok(Err(error)) => error,
            Ok(Ok(_)) => Error::new(ErrorKind::Bug, "the spool ended early"),
            Err(e) => joined(e),
        }
    }
}

impl Spent {
    /// Empties the file and begins anew.
    pub(super) fn restart(self) -> Result<Spool> {
        empty(&self.0)?;
        Ok(Spool::start(self.0, self.1))
    }
}

fn joined(e: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Bug, "the spool's writer failed").because(e)
}

fn empty(file: &File) -> Result<()> {
    file.set_len(0)
        .map_err(|e| files::io_error("the spool cannot be emptied", e))
}

fn write_all(file: File, mut work: mpsc::Receiver<Work>) -> Result<File> {
    let mut hasher = Hasher::new();
    let mut ahead = Have::default();
    while let Some(next) = work.blocking_recv() {
        match next {
            Work::Write(offset, bytes) => {
                // What was hashed must stay what it was: "verified" rests on it.
                if offset < hasher.bytes() {
                    let message = "bytes that were hashed already would be overwritten";
                    return Err(Error::new(ErrorKind::Bug, message));
                }
                file.write_all_at(&bytes, offset)
                    .map_err(|e| files::io_error("the spool cannot be written", e))?;
                ahead.add(offset..offset + bytes.len() as u64);
                if offset == hasher.bytes() {
                    hasher.update(&bytes);
                    catch_up(&file, &mut hasher, ahead.prefix())?;
                }
            }
            Work::Reset(done) => {
                empty(&file)?;
                hasher = Hasher::new();
                ahead = Have::default();
                // Nobody waits any more when the transfer was given up meanwhile.
                let _ = done.send(());
            }
            Work::Finish(done) => {
                let same = file
                    .try_clone()
                    .map_err(|e| files::io_error("the spool cannot be opened again", e))?;
                let size = hasher.bytes();
                let _ = done.send(Received::hashed(same, size, hasher.finish()));
                return Ok(file);
            }
        }
    }
    Ok(file)
}

/// Hashes what lies in the file up to `end` and was written ahead of a gap that has closed.
fn catch_up(file: &File, hasher: &mut Hasher, end: u64) -> Result<()> {
    let mut block = Vec::new();
    while hasher.bytes() < end {
        let left = usize::try_from(end - hasher.bytes()).unwrap_or(usize::MAX);
        block.resize(left.min(BLOCK), 0);
        file.read_exact_at(&mut block, hasher.bytes())
            .map_err(|e| files::io_error("the spool cannot be read back", e))?;
        hasher.update(&block);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256Digest;

    async fn write(spool: &Spool, offset: u64, bytes: &'static [u8]) {
        spool
            .write(offset, Bytes::from_static(bytes))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn what_was_written_since_the_last_reset_is_hashed() {
        let spool = Spool::start(tempfile::tempfile().unwrap(), 1);
        write(&spool, 0, b"lost").await;
        spool.reset().await.unwrap();
        write(&spool, 0, b"ab").await;
        write(&spool, 2, b"c").await;
        let (received, spent) = spool.finish().await.unwrap();
        assert_eq!(
            (received.size(), received.sha256()),
            (3, Sha256Digest::of(b"abc"))
        );
        let read_back = Received::read(spent.0.try_clone().unwrap(), &|| false).unwrap();
        assert_eq!(read_back.sha256(), Sha256Digest::of(b"abc"));
        let (received, _) = spent.restart().unwrap().finish().await.unwrap();
        assert_eq!(received.size(), 0);
    }

    #[tokio::test]
    async fn bytes_in_any_order_have_the_digest_of_the_whole() {
        let data: Vec<u8> = (0..2_000_000u32).map(|n| (n % 251) as u8).collect();
        let data = Bytes::from(data);
        let spool = Spool::start(tempfile::tempfile().unwrap(), 1);
        let mut parts: Vec<usize> = (0..data.len()).step_by(70_000).collect();
        fastrand::Rng::with_seed(5).shuffle(&mut parts);
        for at in parts {
            let piece = data.slice(at..data.len().min(at + 70_000));
            spool.write(at as u64, piece).await.unwrap();
        }
        let (received, _) = spool.finish().await.unwrap();
        assert_eq!(received.size(), data.len() as u64);
        assert_eq!(received.sha256(), Sha256Digest::of(&data));
    }

    #[tokio::test]
    async fn what_was_hashed_is_never_overwritten() {
        let spool = Spool::start(tempfile::tempfile().unwrap(), 1);
        write(&spool, 0, b"abc").await;
        write(&spool, 1, b"x").await;
        let error = spool.finish().await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Bug);
    }

    #[tokio::test]
    async fn a_disk_that_is_full_is_an_error_with_its_name() {
        let Ok(full) = File::options().write(true).open("/dev/full") else {
            return; // not a Linux machine
        };
        let spool = Spool::start(full, 1);
        for _ in 0..QUEUE + 2 {
            if spool.write(0, Bytes::from_static(b"x")).await.is_err() {
                break;
            }
        }
        let error = spool.finish().await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::DiskFull);
    }
}
