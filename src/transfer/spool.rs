//! The spool: a file that bytes are appended to, hashed on the way by a thread of its own.
//!
//! Hashing and writing take place beside the network's work, in order, behind a short queue: so memory stays flat, and
//! the digest is there when the last byte is.

use std::fs::File;
use std::io::{Seek as _, Write as _};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::digest::Hasher;
use crate::error::{Error, Result};
use crate::files;
use crate::package::Received;

/// Pieces that may wait for the disk. A piece is one read of the HTTP client, some 400 KiB at the most.
const QUEUE: usize = 8;

/// An open spool.
pub(super) struct Spool {
    len: u64,
    queue: mpsc::Sender<Work>,
    writer: JoinHandle<Result<File>>,
}

/// A spool whose bytes were handed out; it can only begin anew.
pub(super) struct Spent(File);

enum Work {
    Write(Bytes),
    Reset(oneshot::Sender<()>),
    Finish(oneshot::Sender<Received>),
}

impl Spool {
    /// Begins with an empty file.
    pub(super) fn start(file: File) -> Self {
        let (queue, work) = mpsc::channel(QUEUE);
        Self {
            len: 0,
            queue,
            writer: tokio::task::spawn_blocking(move || write_all(file, work)),
        }
    }

    /// How many bytes were appended since the start.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Appends.
    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let count = bytes.len() as u64;
        self.send(Work::Write(bytes)).await?;
        self.len += count;
        Ok(())
    }

    /// Forgets everything that was appended.
    pub(super) async fn reset(&mut self) -> Result<()> {
        let (done, when_done) = oneshot::channel();
        self.send(Work::Reset(done)).await?;
        self.len = 0;
        if when_done.await.is_err() {
            return Err(self.failure().await);
        }
        Ok(())
    }

    /// The bytes with their digest.
    pub(super) async fn finish(mut self) -> Result<(Received, Spent)> {
        let (done, received) = oneshot::channel();
        self.send(Work::Finish(done)).await?;
        match received.await {
            Ok(received) => {
                let file = (&mut self.writer).await.map_err(joined)??;
                Ok((received, Spent(file)))
            }
            Err(_) => Err(self.failure().await),
        }
    }

    async fn send(&mut self, work: Work) -> Result<()> {
        if self.queue.send(work).await.is_err() {
            return Err(self.failure().await);
        }
        Ok(())
    }

    /// Why the writer ended before it was told to.
    async fn failure(&mut self) -> Error {
        match (&mut self.writer).await {
            Ok(Err(error)) => error,
            Ok(Ok(_)) => Error::new(crate::error::ErrorKind::Bug, "the spool ended early"),
            Err(e) => joined(e),
        }
    }
}

impl Spent {
    /// Empties the file and begins anew.
    pub(super) fn restart(self) -> Result<Spool> {
        let mut file = self.0;
        empty(&mut file)?;
        Ok(Spool::start(file))
    }
}

fn joined(e: tokio::task::JoinError) -> Error {
    Error::new(crate::error::ErrorKind::Bug, "the spool's writer failed").because(e)
}

fn empty(file: &mut File) -> Result<()> {
    file.set_len(0)
        .and_then(|()| file.rewind())
        .map_err(|e| files::io_error("the spool cannot be emptied", e))
}

fn write_all(mut file: File, mut work: mpsc::Receiver<Work>) -> Result<File> {
    let mut hasher = Hasher::new();
    while let Some(next) = work.blocking_recv() {
        match next {
            Work::Write(bytes) => {
                file.write_all(&bytes)
                    .map_err(|e| files::io_error("the spool cannot be written", e))?;
                hasher.update(&bytes);
            }
            Work::Reset(done) => {
                empty(&mut file)?;
                hasher = Hasher::new();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256Digest;

    #[tokio::test]
    async fn what_was_written_since_the_last_reset_is_hashed() {
        let mut spool = Spool::start(tempfile::tempfile().unwrap());
        spool.write(Bytes::from_static(b"lost")).await.unwrap();
        spool.reset().await.unwrap();
        spool.write(Bytes::from_static(b"ab")).await.unwrap();
        spool.write(Bytes::from_static(b"c")).await.unwrap();
        assert_eq!(spool.len(), 3);
        let (received, spent) = spool.finish().await.unwrap();
        assert_eq!(
            (received.size(), received.sha256()),
            (3, Sha256Digest::of(b"abc"))
        );
        let read_back = Received::read(received_file(&spent), &|| false).unwrap();
        assert_eq!(read_back.sha256(), Sha256Digest::of(b"abc"));
        let (received, _) = spent.restart().unwrap().finish().await.unwrap();
        assert_eq!(received.size(), 0);
    }

    fn received_file(spent: &Spent) -> File {
        spent.0.try_clone().unwrap()
    }

    #[tokio::test]
    async fn a_disk_that_is_full_is_an_error_with_its_name() {
        let Ok(full) = File::options().write(true).open("/dev/full") else {
            return; // not a Linux machine
        };
        let mut spool = Spool::start(full);
        let mut result = Ok(());
        for _ in 0..QUEUE + 2 {
            result = spool.write(Bytes::from_static(b"x")).await;
            if result.is_err() {
                break;
            }
        }
        let kind = match result {
            Err(e) => e.kind(),
            Ok(()) => spool.finish().await.err().unwrap().kind(),
        };
        assert_eq!(kind, crate::error::ErrorKind::DiskFull);
    }
}
