//! The end records: where the central directory is, and how many entries it has.
//!
//! A zip is read from its end, and what stands there decides what everything else means. Two readers that
//! find different end records see two packages. So there must be one that every reader finds: it ends, with
//! its comment, where the file ends, the central directory ends where it begins, and no other record that a
//! reader could take for the end record lies in its comment.

use super::error::UnpackError;
use super::names::Shown;
use super::source::{Source, u16_at, u32_at, u64_at};

const END: u32 = 0x0605_4b50;
const END_SIZE: usize = 22;
const ZIP64_LOCATOR: u32 = 0x0706_4b50;
const ZIP64_LOCATOR_SIZE: u64 = 20;
const ZIP64_END: u32 = 0x0606_4b50;
const ZIP64_END_SIZE: usize = 56;
const CENTRAL: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;

/// Where the central directory lies, and how many records it should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Directory {
    /// Its offset.
    pub(super) offset: u64,
    /// Its size in bytes.
    pub(super) size: u64,
    count: u64,
    /// `count` is a field of 16 bits, which packers without zip64 let overflow (Apple's Archive Utility).
    modulo: bool,
}

impl Directory {
    /// Compares the number of records found with the one stated.
    pub(super) fn check_count(&self, found: u64) -> Result<(), UnpackError> {
        let same = if self.modulo {
            found & 0xffff == self.count
        } else {
            found == self.count
        };
        if same {
            return Ok(());
        }
        Err(UnpackError::Count {
            stated: self.count,
            found,
        })
    }
}

/// Finds the one end record (4.3.16), the zip64 end record (4.3.14) where there is one, and what they say.
pub(super) fn find(source: Source<'_>) -> Result<Directory, UnpackError> {
    let size = source.size();
    let tail_len = size.min((END_SIZE + 0xffff) as u64);
    let tail_start = size - tail_len;
    let tail = source.bytes(tail_start, usize::try_from(tail_len).unwrap_or(0))?;
    let end = choose(source, &tail, tail_start)?;
    let locator = end
        .offset
        .checked_sub(ZIP64_LOCATOR_SIZE)
        .map(|offset| source.bytes(offset, 20).map(|bytes| (offset, bytes)))
        .transpose()?
        .filter(|(_, bytes)| u32_at(bytes, 0) == ZIP64_LOCATOR);
    let (directory, directory_end) = match locator {
        None => (end.directory()?, end.offset),
        Some((offset, locator)) => end.zip64_directory(source, offset, &locator)?,
    };
    if directory.offset.checked_add(directory.size) != Some(directory_end)
        // An end record that lists nothing must be all there is: no entry could show what the rest is.
        || (directory.size == 0 && directory_end != 0)
    {
        return Err(UnpackError::DirectoryMisplaced {
            offset: directory.offset,
            size: directory.size,
            end: directory_end,
        });
    }
    Ok(directory)
}

/// The end record: the one whose comment ends where the file ends.
fn choose<'a>(
    source: Source<'_>,
    tail: &'a [u8],
    tail_start: u64,
) -> Result<EndRecord<'a>, UnpackError> {
    let size = source.size();
    let candidates: Vec<EndRecord<'_>> = (0..tail.len().saturating_sub(END_SIZE - 1))
        .filter(|&at| u32_at(tail, at) == END)
        .map(|at| EndRecord {
            offset: tail_start + at as u64,
            bytes: &tail[at..],
        })
        .collect();
    let Some(last) = candidates.last().copied() else {
        let start = source.bytes(0, usize::try_from(size.min(16)).unwrap_or(0))?;
        return Err(if u32_at(&start, 0) == LOCAL {
            UnpackError::Truncated { size }
        } else {
            UnpackError::NotAZip {
                size,
                start: Shown::from(&start[..]),
            }
        });
    };
    let Some(first) = candidates.iter().position(|c| c.end() == size) else {
        let end = last.end();
        return Err(if end < size {
            UnpackError::TrailingBytes { end, size }
        } else {
            UnpackError::CommentCut { end, size }
        });
    };
    // What lies before the first that fits is no rival: it is that of a zip stored as the last entry. What
    // lies behind it is in its comment; readers that do not compare lengths take the last of all.
    let mut chosen = candidates[first];
    for rival in &candidates[first + 1..] {
        if !rival.plausible(source)? {
            continue;
        }
        if chosen.plausible(source)? {
            return Err(UnpackError::SecondEndRecord {
                first: chosen.offset,
                second: rival.offset,
            });
        }
        if rival.end() == size {
            chosen = *rival;
        }
    }
    Ok(chosen)
}

#[derive(Clone, Copy)]
struct EndRecord<'a> {
    offset: u64,
    bytes: &'a [u8],
}

impl EndRecord<'_> {
    /// Where its comment ends.
    fn end(&self) -> u64 {
        self.offset + END_SIZE as u64 + u64::from(u16_at(self.bytes, END_SIZE - 2))
    }

    fn disk(&self) -> u16 {
        u16_at(self.bytes, 4)
    }

    fn directory_disk(&self) -> u16 {
        u16_at(self.bytes, 6)
    }

    fn entries_here(&self) -> u16 {
        u16_at(self.bytes, 8)
    }

    fn entries(&self) -> u16 {
        u16_at(self.bytes, 10)
    }

    fn directory_size(&self) -> u32 {
        u32_at(self.bytes, 12)
    }

    fn directory_offset(&self) -> u32 {
        u32_at(self.bytes, 16)
    }

    /// Whether some reader could find a central directory through it.
    fn plausible(&self, source: Source<'_>) -> Result<bool, UnpackError> {
        if self.entries() == 0 || self.entries() == 0xffff || self.directory_offset() == u32::MAX {
            return Ok(true);
        }
        let behind = self.offset.checked_sub(self.directory_size().into());
        for at in [Some(u64::from(self.directory_offset())), behind] {
            if let Some(at) = at
                && at + 4 <= source.size()
                && u32_at(&source.bytes(at, 4)?, 0) == CENTRAL
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What it says where there is no zip64 end record.
    fn directory(&self) -> Result<Directory, UnpackError> {
        for (what, disk) in [
            ("this part's number", self.disk()),
            ("the central directory's part", self.directory_disk()),
        ] {
            if disk != 0 {
                return Err(UnpackError::Split {
                    what,
                    disk: disk.into(),
                });
            }
        }
        if self.entries_here() != self.entries() {
            return Err(UnpackError::Count {
                stated: self.entries().into(),
                found: self.entries_here().into(),
            });
        }
        Ok(Directory {
            offset: self.directory_offset().into(),
            size: self.directory_size().into(),
            count: self.entries().into(),
            modulo: true,
        })
    }

    /// What the zip64 end record says, and where that begins: the end of the central directory.
    fn zip64_directory(
        &self,
        source: Source<'_>,
        locator_offset: u64,
        locator: &[u8],
    ) -> Result<(Directory, u64), UnpackError> {
        for (what, disk, most) in [
            ("the zip64 end record's part", u32_at(locator, 4), 0),
            ("the number of parts", u32_at(locator, 16), 1),
        ] {
            if disk > most {
                return Err(UnpackError::Split { what, disk });
            }
        }
        let offset = u64_at(locator, 8);
        if offset.saturating_add(ZIP64_END_SIZE as u64) > locator_offset {
            return Err(UnpackError::Cut {
                what: "zip64 end record",
                offset,
                end: locator_offset,
            });
        }
        let record = source.bytes(offset, ZIP64_END_SIZE)?;
        if u32_at(&record, 0) != ZIP64_END {
            return Err(UnpackError::Signature {
                what: "zip64 end record",
                offset,
                found: u32_at(&record, 0),
            });
        }
        let end = u64_at(&record, 4).saturating_add(12).saturating_add(offset);
        if end != locator_offset {
            return Err(UnpackError::Cut {
                what: "zip64 end record",
                offset,
                end,
            });
        }
        for (what, disk) in [
            ("this part's number", u32_at(&record, 16)),
            ("the central directory's part", u32_at(&record, 20)),
        ] {
            if disk != 0 {
                return Err(UnpackError::Split { what, disk });
            }
        }
        // Some readers take the zip64 record whenever there is one, others only for fields that are full. Both
        // must see the same.
        for (field, end, full, zip64) in [
            ("this part's number", self.disk().into(), 0xffff, 0),
            (
                "the central directory's part",
                self.directory_disk().into(),
                0xffff,
                0,
            ),
            (
                "the number of entries here",
                self.entries_here().into(),
                0xffff,
                u64_at(&record, 24),
            ),
            (
                "the number of entries",
                self.entries().into(),
                0xffff,
                u64_at(&record, 32),
            ),
            (
                "the central directory's size",
                self.directory_size().into(),
                0xffff_ffff,
                u64_at(&record, 40),
            ),
            (
                "the central directory's offset",
                self.directory_offset().into(),
                0xffff_ffff,
                u64_at(&record, 48),
            ),
        ] {
            if end != full && end != zip64 {
                return Err(UnpackError::EndRecordsDiffer { field, end, zip64 });
            }
        }
        let (here, count) = (u64_at(&record, 24), u64_at(&record, 32));
        if here != count {
            return Err(UnpackError::Count {
                stated: count,
                found: here,
            });
        }
        let directory = Directory {
            offset: u64_at(&record, 48),
            size: u64_at(&record, 40),
            count,
            modulo: false,
        };
        Ok((directory, offset))
    }
}
