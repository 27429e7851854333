//! The whole archive: entries, central directory, end records.

use super::entry::Entry;
use super::headers::{Packed, put16, put32, put64, short};

/// Values of the end record (APPNOTE 4.3.16) in the place of the true ones.
#[derive(Debug, Clone, Default)]
pub struct EndLie {
    /// Number of this disk.
    pub disk: Option<u16>,
    /// Disk on which the central directory starts.
    pub central_disk: Option<u16>,
    /// Entries on this disk.
    pub entries_here: Option<u16>,
    /// Entries in all.
    pub entries: Option<u16>,
    /// Size of the central directory, in bytes.
    pub central_size: Option<u32>,
    /// Offset of the central directory, in bytes.
    pub central_offset: Option<u32>,
    /// Stated length of the comment.
    pub comment_length: Option<u16>,
}

/// Values of the zip64 end record and its locator in the place of the true ones.
#[derive(Debug, Clone, Default)]
pub struct Zip64Lie {
    /// Entries on this disk.
    pub entries_here: Option<u64>,
    /// Entries in all.
    pub entries: Option<u64>,
    /// Size of the central directory, in bytes.
    pub central_size: Option<u64>,
    /// Offset of the central directory, in bytes.
    pub central_offset: Option<u64>,
    /// The locator's offset of the zip64 end record, in bytes.
    pub record_offset: Option<u64>,
    /// The locator's number of disks.
    pub disks: Option<u32>,
}

/// Whether there is a zip64 end record with its locator (APPNOTE 4.3.14, 4.3.15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Zip64End {
    /// When the counts or offsets need it.
    #[default]
    Auto,
    /// Always; the plain end record then says `0xffff` and `0xffffffff`.
    Always,
    /// Never: counts and offsets wrap, as old packers let them.
    Never,
}

/// Builds an archive. The methods cover the usual; the fields are there for the rest.
#[derive(Debug, Clone, Default)]
pub struct ZipBuilder {
    /// The entries in the order of their data.
    pub entries: Vec<Entry>,
    /// Indexes of entries in the order of the central directory; `None` is the order of the data. May repeat or leave
    /// out entries.
    pub central_order: Option<Vec<usize>>,
    /// Bytes before everything, such as a shebang line.
    pub prefix: Vec<u8>,
    /// Whether the offsets count the prefix.
    pub prefix_uncounted: bool,
    /// Bytes between the data and the central directory.
    pub central_gap: Vec<u8>,
    /// Bytes between the central directory and the end records.
    pub end_gap: Vec<u8>,
    /// The archive comment.
    pub comment: Vec<u8>,
    /// Bytes behind everything.
    pub trailing: Vec<u8>,
    /// Zip64 end record and locator.
    pub zip64_end: Zip64End,
    /// Lies of the zip64 end record and its locator.
    pub zip64_lie: Zip64Lie,
    /// Lies of the end record.
    pub end: EndLie,
    /// The end record once more behind the first, with these lies.
    pub second_end: Option<EndLie>,
    /// No end record at all.
    pub no_end: bool,
}

impl ZipBuilder {
    /// An empty archive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry.
    #[must_use]
    pub fn entry(mut self, entry: Entry) -> Self {
        self.entries.push(entry);
        self
    }

    /// Adds a deflated file with mode 0644.
    #[must_use]
    pub fn file(self, name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        self.entry(Entry::file(name, data))
    }

    /// Adds a stored file with mode 0644.
    #[must_use]
    pub fn stored(self, name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        self.entry(Entry::file(name, data).stored())
    }

    /// Adds a directory with mode 0755; the name should end in a slash.
    #[must_use]
    pub fn dir(self, name: impl AsRef<[u8]>) -> Self {
        self.entry(Entry::dir(name))
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.entry(Entry::symlink(name, target))
    }

    /// Permission bits of the entry added last.
    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        self.last(|entry| entry.mode(mode))
    }

    /// Changes the entry added last.
    #[must_use]
    pub fn last(mut self, change: impl FnOnce(Entry) -> Entry) -> Self {
        if let Some(entry) = self.entries.pop() {
            self.entries.push(change(entry));
        }
        self
    }

    /// Bytes before everything, counted in the offsets or not.
    #[must_use]
    pub fn prefix(mut self, bytes: impl AsRef<[u8]>, counted: bool) -> Self {
        self.prefix = bytes.as_ref().to_vec();
        self.prefix_uncounted = !counted;
        self
    }

    /// The archive comment.
    #[must_use]
    pub fn comment(mut self, comment: impl AsRef<[u8]>) -> Self {
        self.comment = comment.as_ref().to_vec();
        self
    }

    /// Bytes behind everything.
    #[must_use]
    pub fn trailing(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.trailing = bytes.as_ref().to_vec();
        self
    }

    /// A central record under another name that points at the entry with this index: two names, one local header.
    #[must_use]
    pub fn shared(self, name: impl AsRef<[u8]>, index: usize) -> Self {
        let mut entry = self
            .entries
            .get(index)
            .cloned()
            .unwrap_or_else(|| Entry::file("", b""));
        entry.name = name.as_ref().to_vec();
        entry.shares = Some(index);
        self.entry(entry)
    }

    /// Writes the archive.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut out = self.prefix.clone();
        let base = if self.prefix_uncounted {
            self.prefix.len() as u64
        } else {
            0
        };
        let mut written: Vec<(u64, Packed)> = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let packed = entry.packed();
            if let Some(other) = entry.shares {
                let offset = written.get(other).map_or(0, |(offset, _)| *offset);
                written.push((offset, packed));
                continue;
            }
            out.extend_from_slice(&entry.gap);
            let offset = out.len() as u64 - base;
            out.extend_from_slice(&entry.local_header(&packed));
            out.extend_from_slice(&packed.bytes);
            out.extend_from_slice(&entry.descriptor_bytes(&packed));
            written.push((offset, packed));
        }
        out.extend_from_slice(&self.central_gap);
        let central_offset = out.len() as u64 - base;
        let natural: Vec<usize>;
        let order = if let Some(order) = &self.central_order {
            order
        } else {
            natural = (0..self.entries.len()).collect();
            &natural
        };
        let mut count = 0_u64;
        for &index in order {
            let (Some(entry), Some((offset, packed))) =
                (self.entries.get(index), written.get(index))
            else {
                continue;
            };
            if !entry.hidden {
                out.extend_from_slice(&entry.central_header(packed, *offset));
                count += 1;
            }
        }
        let central_size = out.len() as u64 - base - central_offset;
        out.extend_from_slice(&self.end_gap);
        if !self.no_end {
            self.write_ends(&mut out, base, count, central_size, central_offset);
        }
        out.extend_from_slice(&self.trailing);
        out
    }

    fn write_ends(&self, out: &mut Vec<u8>, base: u64, count: u64, size: u64, offset: u64) {
        let needed = count >= 0xffff || size >= 0xffff_ffff || offset >= 0xffff_ffff;
        let zip64 = match self.zip64_end {
            Zip64End::Always => true,
            Zip64End::Never => false,
            Zip64End::Auto => needed,
        };
        if zip64 {
            let record = out.len() as u64 - base;
            out.extend_from_slice(b"PK\x06\x06");
            put64(out, 44);
            put16(out, 45);
            put16(out, 45);
            put32(out, 0);
            put32(out, 0);
            let lie = &self.zip64_lie;
            for value in [
                lie.entries_here.unwrap_or(count),
                lie.entries.unwrap_or(count),
                lie.central_size.unwrap_or(size),
                lie.central_offset.unwrap_or(offset),
            ] {
                put64(out, value);
            }
            out.extend_from_slice(b"PK\x06\x07");
            put32(out, 0);
            put64(out, lie.record_offset.unwrap_or(record));
            put32(out, lie.disks.unwrap_or(1));
        }
        let mask16 = |value: u64| {
            if zip64 {
                0xffff
            } else {
                (value & 0xffff) as u16
            }
        };
        let mask32 = |value: u64| {
            if zip64 {
                0xffff_ffff
            } else {
                (value & 0xffff_ffff) as u32
            }
        };
        for lie in std::iter::once(&self.end).chain(&self.second_end) {
            out.extend_from_slice(b"PK\x05\x06");
            put16(out, lie.disk.unwrap_or(0));
            put16(out, lie.central_disk.unwrap_or(0));
            put16(out, lie.entries_here.unwrap_or(mask16(count)));
            put16(out, lie.entries.unwrap_or(mask16(count)));
            put32(out, lie.central_size.unwrap_or(mask32(size)));
            put32(out, lie.central_offset.unwrap_or(mask32(offset)));
            put16(out, lie.comment_length.unwrap_or(short(self.comment.len())));
            out.extend_from_slice(&self.comment);
        }
    }
}
