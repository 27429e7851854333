//! The plan: what would be written, decided from headers and link targets alone. Nothing is written.

use super::central::{self, Place, Record};
use super::end::{self, Directory};
use super::error::{Kind, UnpackError};
use super::extra::{self, Time};
use super::links::Links;
use super::local;
use super::names;
use super::source::{Source, Window, u32_at};
use super::stop::Stop;
use super::{Limits, kind};
use crate::digest::Sha256Digest;
use crate::package::Verified;

/// The largest central directory that is read, in bytes: room for a million entries.
pub const MAX_DIRECTORY: u64 = 128 << 20;

/// What to do with one package: entries that agree with their local headers, have names below the root,
/// do not overlap, and together make one tree.
///
/// In memory it is the central directory and some 20 bytes an entry: names and sizes stay where they are.
#[derive(Debug)]
pub struct Plan {
    package: Sha256Digest,
    /// The central directory's bytes. The paths of some entries were made normal in place.
    directory: Vec<u8>,
    base: u64,
    entries: Vec<Entry>,
    /// The nodes of the tree in its order: a directory, then all that is below it.
    pub(super) by_path: Vec<u32>,
    /// Those with data to be read, in the order of their data, symbolic links left out.
    pub(super) by_offset: Vec<u32>,
    pub(super) links: Links,
    pub(super) limit: u64,
    files: u64,
    bytes: u64,
    dropped: u64,
}

/// One entry, in 12 bytes.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Where its record is in the directory.
    record: u32,
    /// The size of its local header in 18 bits; above them its kind and three flags.
    local: u32,
    /// Where its path is within its name.
    path: u16,
    path_len: u16,
}

const LOCAL_BITS: u32 = 18;
const KIND_SHIFT: u32 = LOCAL_BITS;
const TIME_IS_LOCAL: u32 = 1 << 20;
/// Another entry of the same path was taken.
const DROPPED: u32 = 1 << 21;
/// The name has components that the path has not.
const SQUEEZE: u32 = 1 << 22;

/// Where an entry's data are, and what they must be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Data {
    /// Where the local header is.
    pub(super) header: u64,
    /// Where the data begin.
    pub(super) start: u64,
    pub(super) compressed: u64,
    pub(super) size: u64,
    pub(super) crc: u32,
    pub(super) method: u16,
}

impl Plan {
    /// How many regular files there would be.
    pub fn files(&self) -> u64 {
        self.files
    }

    /// How many symbolic links there would be.
    pub fn symlinks(&self) -> u64 {
        self.links.len() as u64
    }

    /// The size of all files in bytes, as the archive states it. It is what will be written, or `run` fails.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many entries were left out because another one of the same name was taken
    /// ([`Duplicates::First`](super::Duplicates::First), [`Duplicates::Last`](super::Duplicates::Last)).
    pub fn dropped_duplicates(&self) -> u64 {
        self.dropped
    }

    /// The digest of the package it was made from.
    pub fn package(&self) -> Sha256Digest {
        self.package
    }

    /// How many entries there are in the central directory.
    pub(super) fn entries(&self) -> u32 {
        // At most MAX_DIRECTORY bytes, of 46 or more a record.
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    /// Leaves an entry out, because another one of its path was taken.
    pub(super) fn leave_out(&mut self, index: u32) {
        self.entries[index as usize].local |= DROPPED;
        self.dropped += u64::from(self.kind(index) != Kind::Directory);
    }

    fn entry(&self, index: u32) -> Entry {
        self.entries[index as usize]
    }

    /// The central directory's record of an entry.
    pub(super) fn record(&self, index: u32) -> Result<Record<'_>, UnpackError> {
        Record::at(
            &self.directory,
            self.entry(index).record as usize,
            self.base,
        )
    }

    /// The path below the root; empty for the root itself.
    pub(super) fn path(&self, index: u32) -> &[u8] {
        path_of(&self.directory, self.entry(index))
    }

    pub(super) fn kind(&self, index: u32) -> Kind {
        self.entry(index).kind()
    }

    /// The permission bits before the umask.
    pub(super) fn permissions(&self, index: u32) -> Result<u16, UnpackError> {
        Ok(kind::permissions(self.record(index)?, self.kind(index)))
    }

    /// The UTC time of the last modification: the central directory's, else the local header's.
    pub(super) fn modified(
        &self,
        index: u32,
        source: Source<'_>,
    ) -> Result<Option<Time>, UnpackError> {
        let record = self.record(index)?;
        if self.entry(index).local & TIME_IS_LOCAL == 0 {
            return Ok(extra::modified(record.extra()));
        }
        let skip = (local::FIXED + record.name().len()) as u64;
        let len = self.entry(index).local_len().saturating_sub(skip);
        let extra = source.bytes(
            record.place()?.offset + skip,
            usize::try_from(len).unwrap_or(0),
        )?;
        Ok(extra::modified(&extra))
    }

    pub(super) fn data(&self, index: u32) -> Result<Data, UnpackError> {
        let record = self.record(index)?;
        let place = record.place()?;
        Ok(Data {
            header: place.offset,
            start: place.offset + self.entry(index).local_len(),
            compressed: place.compressed,
            size: place.size,
            crc: record.crc(),
            method: record.method(),
        })
    }

    pub(super) fn place(&self, index: u32) -> Result<Place, UnpackError> {
        self.record(index)?.place()
    }
}

impl Entry {
    fn kind(self) -> Kind {
        match self.local >> KIND_SHIFT & 3 {
            0 => Kind::File,
            1 => Kind::Directory,
            _ => Kind::Symlink,
        }
    }

    fn local_len(self) -> u64 {
        u64::from(self.local & ((1 << LOCAL_BITS) - 1))
    }
}

fn path_of(directory: &[u8], entry: Entry) -> &[u8] {
    let start = entry.record as usize + central::NAME + usize::from(entry.path);
    &directory[start..start + usize::from(entry.path_len)]
}

/// Makes the plan of a package, or says why it is refused.
///
/// Reads the end records, the central directory, every local header and the targets of symbolic links; in memory twice the
/// central directory at the most. Takes time in proportion to the headers' size, times the logarithm of
/// the number of entries.
///
/// # Errors
/// Any variant of [`UnpackError`] except those about contents, writing and interruption.
pub fn plan(package: &Verified, limits: &Limits) -> Result<Plan, UnpackError> {
    plan_or_stop(package, limits, &|| false)
}

/// The same, given up soon after `stop` says true: it is asked every thousand records or so.
///
/// # Errors
/// Those of [`plan`], and [`UnpackError::Interrupted`].
pub fn plan_or_stop(
    package: &Verified,
    limits: &Limits,
    stop: &dyn Fn() -> bool,
) -> Result<Plan, UnpackError> {
    let stop = Stop::new(stop);
    let source = Source::new(package);
    let directory = end::find(source)?;
    if directory.size > MAX_DIRECTORY {
        return Err(UnpackError::DirectoryTooLarge {
            size: directory.size,
            limit: MAX_DIRECTORY,
        });
    }
    let mut plan = Plan {
        package: package.sha256(),
        directory: source.bytes(
            directory.offset,
            usize::try_from(directory.size).unwrap_or(0),
        )?,
        base: directory.offset,
        entries: Vec::new(),
        by_path: Vec::new(),
        by_offset: Vec::new(),
        links: Links::default(),
        limit: limits.max_unpacked_size,
        files: 0,
        bytes: 0,
        dropped: 0,
    };
    plan.read_records(&directory, &stop)?;
    plan.read_locals(source, directory.offset, &stop)?;
    plan.squeeze_names(&stop)?;
    plan.order_paths(limits.duplicates, &stop)?;
    plan.count(&stop)?;
    plan.links = Links::read(&plan, source, &stop)?;
    plan.links.check(&plan, &stop)?;
    Ok(plan)
}

impl Plan {
    /// Every record of the directory, and nothing else in it.
    fn read_records(&mut self, directory: &Directory, stop: &Stop<'_>) -> Result<(), UnpackError> {
        let mut at = 0;
        // Counted first: the list then has its final size, and never twice that.
        let mut count = 0;
        while at < self.directory.len() {
            stop.step()?;
            at += Record::at(&self.directory, at, self.base)?.len();
            count += 1;
        }
        directory.check_count(count as u64)?;
        self.entries.reserve_exact(count);
        at = 0;
        while at < self.directory.len() {
            stop.step()?;
            let record = Record::at(&self.directory, at, self.base)?;
            let name = names::check(record.name()).map_err(|defect| UnpackError::Name {
                entry: record.shown(),
                offset: self.base + at as u64,
                defect,
            })?;
            let place = record.place()?;
            let kind = kind::kind(record, place.offset)?;
            local::check_record(record, place, kind)?;
            self.entries.push(Entry {
                // The directory has at most MAX_DIRECTORY bytes.
                record: u32::try_from(at).unwrap_or(u32::MAX),
                local: match kind {
                    Kind::File => 0,
                    Kind::Directory => 1,
                    Kind::Symlink => 2,
                } << KIND_SHIFT
                    | if name.squeeze { SQUEEZE } else { 0 },
                // Both lie within a name.
                path: u16::try_from(name.start).unwrap_or(u16::MAX),
                path_len: u16::try_from(name.len).unwrap_or(u16::MAX),
            });
            at += record.len();
        }
        Ok(())
    }

    /// Every local header, in the order of the file, and what lies between entries.
    fn read_locals(
        &mut self,
        source: Source<'_>,
        end: u64,
        stop: &Stop<'_>,
    ) -> Result<(), UnpackError> {
        let mut order: Vec<u32> = (0..self.entries()).collect();
        // Most archives are in order already, which a stable sort sees in one pass.
        let offset = |index| self.place(index).map_or(0, |place| place.offset);
        stop.sort(&mut order, |a, b| offset(a).cmp(&offset(b)))?;
        let mut window = Window::new(source);
        let mut free = 0;
        for &index in &order {
            stop.step()?;
            let record = self.record(index)?;
            let place = record.place()?;
            if place.offset < free {
                return Err(UnpackError::Overlap {
                    entry: record.shown(),
                    offset: place.offset,
                    end: free,
                });
            }
            check_gap(&mut window, free, place.offset)?;
            let local = local::check(&mut window, record, place, end)?;
            free = place.offset + local.len as u64 + place.compressed;
            if local.descriptor {
                let limit = end.min(free + 24);
                free += local::descriptor_len(&mut window, free, limit, record.crc(), place)?;
            }
            let entry = &mut self.entries[index as usize];
            // At most 30 + 2 × 65,535.
            entry.local |= u32::try_from(local.len).unwrap_or_default();
            if local.time {
                entry.local |= TIME_IS_LOCAL;
            }
        }
        check_gap(&mut window, free, end)?;
        self.by_offset = order;
        Ok(())
    }

    /// Makes the paths normal of the few names that need it: after their local headers were compared.
    fn squeeze_names(&mut self, stop: &Stop<'_>) -> Result<(), UnpackError> {
        for entry in &self.entries {
            stop.step()?;
            if entry.local & SQUEEZE != 0 {
                let at = entry.record as usize;
                let end = Record::at(&self.directory, at, self.base)?.name().len();
                let name = &mut self.directory[at + central::NAME..][..end];
                names::squeeze(&mut name[usize::from(entry.path)..]);
            }
        }
        Ok(())
    }

    /// Counts what will be written, and leaves in `by_offset` what has data to be read.
    fn count(&mut self, stop: &Stop<'_>) -> Result<(), UnpackError> {
        let mut order = std::mem::take(&mut self.by_offset);
        let mut kept = 0;
        for at in 0..order.len() {
            stop.step()?;
            let index = order[at];
            if self.entry(index).local & DROPPED != 0 {
                continue;
            }
            let place = self.place(index)?;
            let has_data = match self.kind(index) {
                Kind::File => {
                    self.files += 1;
                    self.bytes = self.bytes.saturating_add(place.size);
                    true
                }
                // A compressed nothing, to be checked like any other content.
                Kind::Directory => place.compressed > 0,
                Kind::Symlink => false,
            };
            if self.bytes > self.limit {
                return Err(UnpackError::TooLarge {
                    reached: self.bytes,
                    limit: self.limit,
                });
            }
            if has_data {
                order[kept] = index;
                kept += 1;
            }
        }
        order.truncate(kept);
        self.by_offset = order;
        Ok(())
    }
}

/// Refuses bytes that no entry owns where they begin with a local header. Others may lie between entries:
/// a shebang before the first, padding, a signing block.
fn check_gap(window: &mut Window<'_>, from: u64, to: u64) -> Result<(), UnpackError> {
    if to.saturating_sub(from) < 4 {
        return Ok(());
    }
    match window.get(from, 4)? {
        Some(bytes) if u32_at(bytes, 0) == local::SIGNATURE => {
            Err(UnpackError::HiddenEntry { offset: from })
        }
        _ => Ok(()),
    }
}
