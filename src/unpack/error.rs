//! Why an archive was refused, or could not be unpacked.

use std::io;

use super::names::{NameDefect, Shown};
use crate::error::{Error, ErrorKind, bytes};

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File => "a file",
            Self::Directory => "a directory",
            Self::Symlink => "a symbolic link",
        })
    }
}

/// Why a link cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkDefect {
    /// The target has no bytes.
    #[error("its target is empty")]
    Empty,
    /// The target has a NUL.
    #[error("its target contains a NUL byte")]
    Nul,
    /// The target is longer than any kernel takes.
    #[error("its target has {0} bytes, more than 4095")]
    Long(u64),
    /// The target is an absolute path.
    #[error("its target is an absolute path")]
    Absolute,
    /// Following it, and the links it leads over, ends or passes outside the root.
    #[error("it leads outside")]
    Outside,
}

/// Why an archive was refused, or could not be unpacked.
///
/// Offsets are bytes from the package's start; sizes are bytes. Section numbers are APPNOTE.TXT's
/// (PKWARE's ZIP File Format Specification 6.3.10).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    // What the file is.
    /// No end-of-central-directory record (4.3.16) in the last 65,557 bytes.
    #[error("this is no zip: no end record in {size} bytes that begin with {start}")]
    NotAZip {
        /// The file's size.
        size: u64,
        /// Its first bytes.
        start: Shown,
    },
    /// It begins as a zip does, and has no end record.
    #[error("the zip is cut: it begins with an entry, and its {size} bytes have no end record")]
    Truncated {
        /// The file's size.
        size: u64,
    },
    /// Bytes follow the end record and its comment.
    #[error("the zip ends at byte {end}, and {} more bytes follow", size - end)]
    TrailingBytes {
        /// Where the end record's comment ends.
        end: u64,
        /// The file's size.
        size: u64,
    },
    /// The end record's comment goes beyond the file's end.
    #[error("the zip's comment should end at byte {end}, and the file has {size} bytes")]
    CommentCut {
        /// Where the end record says that its comment ends.
        end: u64,
        /// The file's size.
        size: u64,
    },
    /// Two end records, either of which a reader may take.
    #[error("the zip has two end records, at bytes {first} and {second}")]
    SecondEndRecord {
        /// Offset of the one.
        first: u64,
        /// Offset of the other.
        second: u64,
    },
    /// A part of a split archive (section 8).
    #[error("this is a part of a split zip: {what} is {disk}")]
    Split {
        /// Which field.
        what: &'static str,
        /// Its value.
        disk: u32,
    },
    /// The end record and the zip64 end record (4.3.14) state different values.
    #[error("{field} is {end} in the end record and {zip64} in the zip64 end record")]
    EndRecordsDiffer {
        /// Which field.
        field: &'static str,
        /// The end record's value.
        end: u64,
        /// The zip64 end record's value.
        zip64: u64,
    },
    /// A structure is not where it should be.
    #[error("no {what} at byte {offset}: found the bytes {found:08x}")]
    Signature {
        /// Which structure.
        what: &'static str,
        /// Where it should be.
        offset: u64,
        /// The four bytes there, as a little-endian number.
        found: u32,
    },
    /// The central directory does not end where the end records begin.
    #[error(
        "the central directory is {size} bytes at byte {offset}, and the end record is at byte {end}"
    )]
    DirectoryMisplaced {
        /// Its offset, as stated.
        offset: u64,
        /// Its size, as stated.
        size: u64,
        /// Where it must end.
        end: u64,
    },
    /// The number of entries is not the one stated.
    #[error("the central directory has {found} entries, and the end record states {stated}")]
    Count {
        /// As stated.
        stated: u64,
        /// As counted.
        found: u64,
    },
    /// The central directory is larger than larder reads.
    #[error("the central directory has {}, more than {}", bytes(*size), bytes(*limit))]
    DirectoryTooLarge {
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// A structure goes beyond the end of what holds it.
    #[error("the {what} at byte {offset} goes beyond byte {end}")]
    Cut {
        /// Which structure.
        what: &'static str,
        /// Where it is.
        offset: u64,
        /// Where it would have to end.
        end: u64,
    },
    /// Bytes that no entry owns begin with a local header: a reader that goes from the start sees an entry
    /// that the central directory does not list.
    #[error("an entry that is not in the central directory is at byte {offset}")]
    HiddenEntry {
        /// Where it is.
        offset: u64,
    },

    // What an entry's headers say.
    /// An extra field's length (4.5.1) goes beyond its header.
    #[error(
        "entry {entry} at byte {offset}: the extra field {id:04x} has {size} bytes where {room} are left"
    )]
    ExtraField {
        /// The entry's name.
        entry: Shown,
        /// Where its local header is.
        offset: u64,
        /// The extra field's identifier.
        id: u16,
        /// Its length as stated.
        size: usize,
        /// How many bytes there are.
        room: usize,
    },
    /// The zip64 extra field (4.5.3) lacks what the header refers to, occurs twice, or contradicts the header.
    #[error(
        "entry {entry} at byte {offset}: its zip64 field of {size} bytes does not fit its header"
    )]
    Zip64Field {
        /// The entry's name.
        entry: Shown,
        /// Where its local header is.
        offset: u64,
        /// The field's length.
        size: usize,
    },
    /// The local header's name is another one.
    #[error("entry {entry} at byte {offset} is called {local} in its local header")]
    NameDiffers {
        /// The central directory's name.
        entry: Shown,
        /// Where the local header is.
        offset: u64,
        /// The local header's name.
        local: Shown,
    },
    /// The Info-ZIP Unicode Path field (4.6.9) is for this name and states another one.
    #[error("entry {entry} at byte {offset} is called {unicode} in its Unicode path field")]
    UnicodePathDiffers {
        /// The header's name.
        entry: Shown,
        /// Where the local header is.
        offset: u64,
        /// The field's name.
        unicode: Shown,
    },
    /// The local header's compression method is another one.
    #[error(
        "entry {entry} at byte {offset}: method {central} in the central directory, {local} in the local header"
    )]
    MethodDiffers {
        /// The entry's name.
        entry: Shown,
        /// Where its local header is.
        offset: u64,
        /// The central directory's method.
        central: u16,
        /// The local header's method.
        local: u16,
    },
    /// The local header's sizes are other ones.
    #[error(
        "entry {entry} at byte {offset}: {which} size {central} in the central directory, {local} in the local header"
    )]
    SizeDiffers {
        /// The entry's name.
        entry: Shown,
        /// Where its local header is.
        offset: u64,
        /// Which size.
        which: &'static str,
        /// The central directory's.
        central: u64,
        /// The local header's.
        local: u64,
    },
    /// A stored entry (method 0) whose two sizes differ.
    #[error("entry {entry} at byte {offset} is stored, with {compressed} bytes for {size}")]
    StoredSizes {
        /// The entry's name.
        entry: Shown,
        /// Where its local header is.
        offset: u64,
        /// Its compressed size.
        compressed: u64,
        /// Its size.
        size: u64,
    },
    /// Two entries share bytes.
    #[error(
        "entry {entry} at byte {offset} overlaps the entry before it, which ends at byte {end}"
    )]
    Overlap {
        /// The later entry's name.
        entry: Shown,
        /// Where its local header is.
        offset: u64,
        /// Where the one before it ends.
        end: u64,
    },
    /// An entry goes beyond the start of the central directory.
    #[error(
        "entry {entry} at byte {offset} goes beyond byte {end}, where the central directory begins"
    )]
    OutOfBounds {
        /// The entry's name.
        entry: Shown,
        /// Where its local header is, or should be.
        offset: u64,
        /// Where the central directory begins.
        end: u64,
    },
    /// An encrypted entry (4.4.4 bits 0, 6 and 13; method 99).
    #[error("entry {entry} at byte {offset} is encrypted")]
    Encrypted {
        /// The entry's name.
        entry: Shown,
        /// Where its local header is.
        offset: u64,
    },
    /// A compression method other than 0 (stored) and 8 (deflate), or patch data (4.4.4 bit 5).
    #[error("entry {entry} at byte {offset} uses {what} {value}, which is not supported")]
    Unsupported {
        /// The entry's name.
        entry: Shown,
        /// Where its local header is.
        offset: u64,
        /// What it uses.
        what: &'static str,
        /// Which one.
        value: u16,
    },

    // What the tree would be.
    /// A name that is no path below the root.
    #[error("entry {entry} at byte {offset}: its name cannot be used: {defect}")]
    Name {
        /// The entry's name.
        entry: Shown,
        /// Where its central directory record is.
        offset: u64,
        /// What is wrong with it.
        defect: NameDefect,
    },
    /// A FIFO, socket, device, or a file type that no Unix knows.
    #[error("entry {entry} at byte {offset} is a {what} (mode {mode:06o})")]
    SpecialFile {
        /// The entry's name.
        entry: Shown,
        /// Where its local header is.
        offset: u64,
        /// What it is.
        what: &'static str,
        /// Its Unix mode.
        mode: u16,
    },
    /// Name and attributes disagree about what the entry is.
    #[error(
        "entry {entry} at byte {offset} is {by_name} by its name and {by_attributes} by its attributes"
    )]
    KindDoubtful {
        /// The entry's name.
        entry: Shown,
        /// Where its local header is.
        offset: u64,
        /// By a `/` at the end of its name, or by none.
        by_name: Kind,
        /// By its external attributes (4.4.15).
        by_attributes: Kind,
    },
    /// A directory with content.
    #[error("entry {entry} at byte {offset} is a directory and holds {size} bytes")]
    DirectoryWithData {
        /// The entry's name.
        entry: Shown,
        /// Where its local header is.
        offset: u64,
        /// How many bytes.
        size: u64,
    },
    /// One name, two entries.
    #[error("entry {entry} occurs twice, at bytes {first} and {second}")]
    Duplicate {
        /// The name.
        entry: Shown,
        /// Where the first one's local header is.
        first: u64,
        /// Where the second one's is.
        second: u64,
    },
    /// One name is two things: a file or link that another entry needs as a directory.
    #[error(
        "entry {entry} at byte {offset} is {kind}, and entry {other} at byte {other_offset} needs it to be {other_kind}"
    )]
    Conflict {
        /// The one entry's name.
        entry: Shown,
        /// Where its local header is.
        offset: u64,
        /// What it is.
        kind: Kind,
        /// The other entry's name.
        other: Shown,
        /// Where its local header is.
        other_offset: u64,
        /// What it needs the first one to be.
        other_kind: Kind,
    },
    /// A link that is not made.
    #[error("symbolic link {entry} to {target} at byte {offset}: {defect}")]
    Link {
        /// The link's name.
        entry: Shown,
        /// Where its local header is.
        offset: u64,
        /// Its target, as far as it was read.
        target: Shown,
        /// What is wrong with it.
        defect: LinkDefect,
    },
    /// All links' targets together are more than larder keeps in memory.
    #[error(
        "symbolic link {entry} at byte {offset}: the targets of all links have more than {}", bytes(*limit as u64)
    )]
    LinkTargets {
        /// The link at which the limit was reached.
        entry: Shown,
        /// Where its local header is.
        offset: u64,
        /// The limit.
        limit: usize,
    },
    /// More bytes than the ceiling allows.
    #[error("unpacked, the package has {} or more, and the limit is {}", bytes(*reached), bytes(*limit))]
    TooLarge {
        /// How many there are at least.
        reached: u64,
        /// The ceiling.
        limit: u64,
    },

    // What the data are.
    /// The content's CRC-32 (4.4.7) is another one.
    #[error(
        "entry {entry} at byte {offset}: its CRC-32 is {actual:08x}, and {stated:08x} is stated"
    )]
    Crc {
        /// The entry's name.
        entry: Shown,
        /// Where its local header is.
        offset: u64,
        /// As stated.
        stated: u32,
        /// As computed.
        actual: u32,
    },
    /// The content is shorter than stated.
    #[error("entry {entry} at byte {offset} holds {actual} bytes, and {stated} are stated")]
    LessData {
        /// The entry's name.
        entry: Shown,
        /// Where its local header is.
        offset: u64,
        /// As stated.
        stated: u64,
        /// As counted.
        actual: u64,
    },
    /// The content is longer than stated.
    #[error("entry {entry} at byte {offset} holds more than the {stated} bytes that are stated")]
    MoreData {
        /// The entry's name.
        entry: Shown,
        /// Where its local header is.
        offset: u64,
        /// As stated.
        stated: u64,
    },
    /// The deflate stream (RFC 1951) ends before the compressed data do.
    #[error("entry {entry} at byte {offset}: its data end before its {stated} compressed bytes do")]
    LeftOver {
        /// The entry's name.
        entry: Shown,
        /// Where its local header is.
        offset: u64,
        /// Compressed bytes as stated.
        stated: u64,
    },
    /// The deflate stream is broken, or cut.
    #[error("entry {entry} at byte {offset}: its data are broken after {made} of {stated} bytes")]
    BrokenData {
        /// The entry's name.
        entry: Shown,
        /// Where its local header is.
        offset: u64,
        /// How many bytes could be had.
        made: u64,
        /// Bytes as stated.
        stated: u64,
    },

    // What went wrong here.
    /// The package cannot be read.
    #[error("the package cannot be read at byte {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// A part of the tree cannot be made.
    #[error("{path} cannot be {action}")]
    Write {
        /// The path below the root.
        path: Shown,
        /// What should have been done.
        action: &'static str,
        /// Why it was not.
        source: io::Error,
    },
    /// The plan was made from another package: a mistake in the calling program.
    #[error("the plan was made from another package")]
    OtherPackage,
    /// The caller cancelled it.
    #[error("unpacking was interrupted")]
    Interrupted,
}

impl UnpackError {
    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Name { .. }
            | Self::SpecialFile { .. }
            | Self::Duplicate { .. }
            | Self::Conflict { .. }
            | Self::Link { .. }
            | Self::LinkTargets { .. }
            | Self::TooLarge { .. }
            | Self::Overlap { .. }
            | Self::HiddenEntry { .. }
            | Self::SecondEndRecord { .. }
            | Self::NameDiffers { .. }
            | Self::UnicodePathDiffers { .. }
            | Self::KindDoubtful { .. }
            | Self::DirectoryTooLarge { .. }
            | Self::MoreData { .. } => ErrorKind::ArchiveUnsafe,
            Self::Read { .. } => ErrorKind::Io,
            Self::Write { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
                _ => ErrorKind::Io,
            },
            Self::OtherPackage => ErrorKind::Bug,
            Self::Interrupted => ErrorKind::Interrupted,
            _ => ErrorKind::ArchiveBroken,
        }
    }

    /// The option that would let this very archive be unpacked, if there is one.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Duplicate { .. } => {
                Some("--duplicates first or --duplicates last takes one of the entries of a name")
            }
            Self::TooLarge { .. } => Some("--max-unpacked-size sets another limit"),
            _ => None,
        }
    }
}

/// Without a subject and, but for a full disk, without a hint: the caller knows what was unpacked and what can be done;
/// [`UnpackError::advice`] is a part of that.
impl From<UnpackError> for Error {
    fn from(error: UnpackError) -> Self {
        let message = error.to_string();
        match error {
            UnpackError::Write { source, .. } => crate::files::io_error(&message, source),
            UnpackError::Read { source, .. } => Self::new(ErrorKind::Io, message).because(source),
            other => Self::new(other.kind(), message),
        }
    }
}
