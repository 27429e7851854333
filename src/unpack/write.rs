//! Files: workers that take entries, read and check their contents, and write them.

use std::num::NonZero;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rustix::fs::{OFlags, futimens, openat};
use rustix::io::Errno;

use super::Options;
use super::error::{Kind, UnpackError};
use super::inflate::{BEFORE, BEHIND, Inflater};
use super::names::{self, Shown};
use super::plan::{Data, Plan};
use super::root::{Place, Root, retry};
use super::source::Source;
use super::tree::{bits, failed, times};
use crate::digest::{Hasher, Sha256Digest};
use crate::events::Event;

/// More workers do not help: they wait for each other in the file system.
const MOST_WORKERS: usize = 2;

/// Contents from this size on are handed out one by one, the largest first, so that no worker is left with one at the end.
const LARGE: u64 = 512 * 1024;

/// How much of the package a worker reads at once for the others.
const BATCH: u64 = 256 * 1024;

/// Less than this is done before a second worker would have started.
const WORTH_A_WORKER: u64 = 512 * 1024;

/// What the workers share.
struct Job<'a> {
    plan: &'a Plan,
    source: Source<'a>,
    root: Root<'a>,
    options: &'a Options<'a>,
    /// Contents handed out one by one.
    large: Vec<u32>,
    queue: Mutex<Queue>,
    written: AtomicU64,
    /// One of the workers failed.
    failed: AtomicBool,
}

/// How far `large` was handed out, and what of the plan's `by_offset` was not.
struct Queue {
    large: usize,
    small: Range<usize>,
}

/// Where a worker takes small contents from. Neighbours in the package mostly are neighbours on disk, and two workers that
/// make files in one directory wait for each other: so they come from both ends, and meet once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Front,
    Back,
}

/// What was written, in bytes, and the digests of contents by entry, in no order.
pub(super) struct Written {
    pub(super) bytes: u64,
    pub(super) digests: Vec<(u32, Sha256Digest)>,
}

/// Writes all files. On failure some of them may be there; all workers have ended.
pub(super) fn write_files(
    plan: &Plan,
    source: Source<'_>,
    root: Root<'_>,
    options: &Options<'_>,
) -> Result<Written, UnpackError> {
    let mut large = Vec::new();
    for &index in &plan.by_offset {
        let data = plan.data(index)?;
        if is_large(&data) {
            large.push((data.size.max(data.compressed), index));
        }
    }
    large.sort_by_key(|&(size, _)| std::cmp::Reverse(size));
    let job = Job {
        plan,
        source,
        root,
        options,
        large: large.into_iter().map(|(_, index)| index).collect(),
        queue: Mutex::new(Queue {
            large: 0,
            small: 0..plan.by_offset.len(),
        }),
        written: AtomicU64::new(0),
        failed: AtomicBool::new(false),
    };
    let digests = if workers(plan, options) > 1 {
        thread::scope(|scope| {
            // A system that gives no second thread is served by this one.
            let other = thread::Builder::new()
                .name("larder-unpack".to_owned())
                .spawn_scoped(scope, || Worker::new(&job, End::Back).work())
                .ok();
            let own = Worker::new(&job, End::Front).work();
            let other = other.map(|thread| match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            match (own, other) {
                (Ok(mut own), Some(Ok(other))) => {
                    own.extend(other);
                    Ok(own)
                }
                // The one that failed second may only have seen that it should stop.
                (Err(UnpackError::Interrupted) | Ok(_), Some(Err(error))) => Err(error),
                (own, _) => own,
            }
        })?
    } else {
        Worker::new(&job, End::Front).work()?
    };
    Ok(Written {
        bytes: job.written.into_inner(),
        digests,
    })
}

fn workers(plan: &Plan, options: &Options<'_>) -> usize {
    if plan.by_offset.len() < 2 || plan.bytes() <= WORTH_A_WORKER {
        return 1;
    }
    let cores = || thread::available_parallelism().map_or(1, NonZero::get);
    options
        .workers
        .map_or_else(cores, NonZero::get)
        .min(MOST_WORKERS)
}

fn is_large(data: &Data) -> bool {
    data.size >= LARGE || data.compressed >= BATCH || !Inflater::fits(data)
}

impl Job<'_> {
    /// The next entries for a worker, in the package's order: a large one, or neighbours with `BATCH` bytes at the most.
    fn hand_out(&self, from: End, unit: &mut Vec<(u32, Data)>) -> Result<(), UnpackError> {
        unit.clear();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&index) = self.large.get(queue.large) {
            queue.large += 1;
            unit.push((index, self.plan.data(index)?));
            return Ok(());
        }
        let small = &mut queue.small;
        while small.start < small.end {
            let at = match from {
                End::Front => small.start,
                End::Back => small.end - 1,
            };
            let index = self.plan.by_offset[at];
            let data = self.plan.data(index)?;
            if !is_large(&data) {
                let one = unit.first().map_or(&data, |(_, one)| one);
                let (first, last) = match from {
                    End::Front => (one, &data),
                    End::Back => (&data, one),
                };
                if last.start + last.compressed - first.start > BATCH {
                    break;
                }
                unit.push((index, data));
            }
            match from {
                End::Front => small.start += 1,
                End::Back => small.end -= 1,
            }
        }
        if from == End::Back {
            unit.reverse();
        }
        Ok(())
    }

    fn report(&self, bytes: u64) {
        self.options.reporter.report(&Event::Unpacked { bytes });
    }

    fn interrupted(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.options.cancel.is_cancelled()
    }

    /// Counts bytes that are about to be written, over all workers.
    fn count(&self, bytes: usize) -> Result<(), UnpackError> {
        let before = self.written.fetch_add(bytes as u64, Ordering::Relaxed);
        let reached = before + bytes as u64;
        if reached > self.plan.limit {
            return Err(UnpackError::TooLarge {
                reached,
                limit: self.plan.limit,
            });
        }
        Ok(())
    }
}

struct Worker<'a> {
    job: &'a Job<'a>,
    from: End,
    inflater: Inflater,
    place: Place<'a, 'a>,
    digests: Vec<(u32, Sha256Digest)>,
}

impl<'a> Worker<'a> {
    fn new(job: &'a Job<'a>, from: End) -> Self {
        Self {
            job,
            from,
            inflater: Inflater::new(),
            place: Place::new(job.root),
            digests: Vec::new(),
        }
    }

    fn work(mut self) -> Result<Vec<(u32, Sha256Digest)>, UnpackError> {
        let result = self.all();
        if result.is_err() {
            self.job.failed.store(true, Ordering::Relaxed);
        }
        result.map(|()| self.digests)
    }

    fn all(&mut self) -> Result<(), UnpackError> {
        let mut unit = Vec::new();
        let mut buffer = Vec::new();
        loop {
            self.job.hand_out(self.from, &mut unit)?;
            let (Some((_, first)), Some((_, last))) = (unit.first(), unit.last()) else {
                return Ok(());
            };
            if unit.len() == 1 && !Inflater::fits(first) {
                self.stream(unit[0].0, first)?;
            } else {
                let mut bytes = 0;
                // A local header is before, and the central directory behind: these bytes are there.
                let start = first.start - BEFORE as u64;
                let end = last.start + last.compressed + BEHIND as u64;
                // A unit of several has at most BATCH bytes, one that fits hardly more than WHOLE.
                let len = usize::try_from(end - start).unwrap_or(usize::MAX);
                if buffer.len() < len {
                    buffer.resize(len, 0);
                }
                self.job.source.read(start, &mut buffer[..len])?;
                for (index, data) in &unit {
                    if self.job.interrupted() {
                        return Err(UnpackError::Interrupted);
                    }
                    let from =
                        usize::try_from(data.start - BEFORE as u64 - start).unwrap_or(usize::MAX);
                    let to = usize::try_from(data.start + data.compressed + BEHIND as u64 - start)
                        .unwrap_or(usize::MAX);
                    bytes += self.whole(*index, data, &mut buffer[from..to])?;
                }
                self.job.report(bytes);
            }
        }
    }

    /// One entry through a buffer. Gives its size, where that is still to be reported.
    fn whole(&mut self, index: u32, data: &Data, buffer: &mut [u8]) -> Result<u64, UnpackError> {
        let job = self.job;
        let Some(content) = self.inflater.whole(data, buffer) else {
            return self.stream(index, data).map(|()| 0);
        };
        if job.plan.kind(index) == Kind::Directory {
            return Ok(0);
        }
        job.count(content.len())?;
        let path = job.plan.path(index);
        let file = create(job, &mut self.place, index)?;
        write(file.as_fd(), content, path)?;
        finish(job, index, &file)?;
        if job.options.hash_contents {
            self.digests.push((index, Sha256Digest::of(content)));
        }
        Ok(data.size)
    }

    /// One entry in pieces, each reported.
    fn stream(&mut self, index: u32, data: &Data) -> Result<(), UnpackError> {
        let job = self.job;
        let path = job.plan.path(index);
        // A directory has no content, which is to be seen.
        let file = match job.plan.kind(index) {
            Kind::Directory => None,
            Kind::File | Kind::Symlink => Some(create(job, &mut self.place, index)?),
        };
        let mut hasher = job.options.hash_contents.then(Hasher::new);
        let shown = || Shown::from(path);
        self.inflater
            .stream(job.source, data, &shown, &mut |piece| {
                if job.interrupted() {
                    return Err(UnpackError::Interrupted);
                }
                job.count(piece.len())?;
                if let Some(hasher) = &mut hasher {
                    hasher.update(piece);
                }
                if let Some(file) = &file {
                    write(file.as_fd(), piece, path)?;
                }
                job.report(piece.len() as u64);
                Ok(())
            })?;
        if let Some(file) = file {
            finish(job, index, &file)?;
            if let Some(hasher) = hasher {
                self.digests.push((index, hasher.finish()));
            }
        }
        Ok(())
    }
}

/// Makes a new file, with its final mode: nothing that is there is opened, and no link followed.
fn create<'a>(
    job: &'a Job<'a>,
    place: &mut Place<'a, 'a>,
    index: u32,
) -> Result<OwnedFd, UnpackError> {
    let path = job.plan.path(index);
    let (directory, name) = names::split(path);
    let mode = bits(job.plan.permissions(index)?);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = place
        .at(directory)
        .and_then(|from| retry(|| openat(from, name, flags, mode)));
    file.map_err(|errno| failed(path, "created", errno))
}

fn write(file: BorrowedFd<'_>, mut bytes: &[u8], path: &[u8]) -> Result<(), UnpackError> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(0) => return Err(failed(path, "written", Errno::IO)),
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(path, "written", errno)),
        }
    }
    Ok(())
}

fn finish(job: &Job<'_>, index: u32, file: &OwnedFd) -> Result<(), UnpackError> {
    match job.plan.modified(index, job.source)? {
        None => Ok(()),
        Some(time) => futimens(file, &times(time))
            .map_err(|errno| failed(job.plan.path(index), "given its time", errno)),
    }
}
