//! One entry: its local header, its data, its descriptor and its central header.

use super::extra;

/// The upper byte of "version made by" for Unix (APPNOTE 4.4.2).
pub const UNIX: u8 = 3;
/// The upper byte of "version made by" for FAT, as Windows packers write it.
pub const FAT: u8 = 0;

/// The data descriptor behind the data (APPNOTE 4.3.9); any but `None` sets flag bit 3 and zeroes the local header's
/// CRC and sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Descriptor {
    /// No descriptor.
    #[default]
    None,
    /// With the signature `PK\x07\x08`.
    Signed,
    /// Without the signature.
    Unsigned,
}

/// Field values that are written in the place of the true ones. `None` is the truth.
#[derive(Debug, Clone, Default)]
pub struct Lie {
    /// The four signature bytes.
    pub signature: Option<[u8; 4]>,
    /// File name.
    pub name: Option<Vec<u8>>,
    /// General purpose bit flag.
    pub flags: Option<u16>,
    /// Compression method.
    pub method: Option<u16>,
    /// CRC-32.
    pub crc: Option<u32>,
    /// Compressed size, in bytes. In the zip64 field too when there is one.
    pub compressed: Option<u64>,
    /// Uncompressed size, in bytes. In the zip64 field too when there is one.
    pub size: Option<u64>,
    /// Version needed to extract.
    pub needed: Option<u16>,
    /// Central header only: offset of the local header.
    pub offset: Option<u64>,
    /// The stated length of the name.
    pub name_length: Option<u16>,
    /// The stated length of the extra fields.
    pub extra_length: Option<u16>,
}

/// One entry of an archive. [`Entry::file`] and its like make a well-formed one; every field may then be changed.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The name's bytes.
    pub name: Vec<u8>,
    /// The data, not compressed.
    pub data: Vec<u8>,
    /// Compression method (APPNOTE 4.4.5): 0 stored, 8 deflated. Data of any other method is written as it is, unless
    /// `raw` gives the compressed bytes.
    pub method: u16,
    /// Deflate level, 0 to 9.
    pub level: u32,
    /// What is written between the header and the descriptor in the place of the compressed data. Sizes and CRC
    /// still describe `data`, but the compressed size is that of `raw`.
    pub raw: Option<Vec<u8>>,
    /// The system that made it: [`UNIX`], [`FAT`], …
    pub maker: u8,
    /// The lower byte of "version made by".
    pub made_by: u8,
    /// External attributes (APPNOTE 4.4.15): for Unix makers `st_mode` in the upper 16 bits.
    pub external: u32,
    /// Internal attributes.
    pub internal: u16,
    /// General purpose bits beside those that `descriptor` sets.
    pub flags: u16,
    /// Data descriptor.
    pub descriptor: Descriptor,
    /// Write sizes and offset into a zip64 field (APPNOTE 4.5.3), however small they are.
    pub zip64: bool,
    /// MS-DOS time: bits 11–15 hours, 5–10 minutes, 0–4 seconds / 2.
    pub time: u16,
    /// MS-DOS date: bits 9–15 years since 1980, 5–8 month, 0–4 day.
    pub date: u16,
    /// Extra fields of the local header, behind a zip64 field.
    pub local_extra: Vec<u8>,
    /// Extra fields of the central header, behind a zip64 field.
    pub central_extra: Vec<u8>,
    /// The entry's comment.
    pub comment: Vec<u8>,
    /// Number of the disk that it starts on.
    pub disk: u16,
    /// Bytes that belong to nothing, before the local header.
    pub gap: Vec<u8>,
    /// No local header and no data: the central header points at those of the entry with this index.
    pub shares: Option<usize>,
    /// Left out of the central directory: only a reader of local headers sees it.
    pub hidden: bool,
    /// Lies of the local header.
    pub local: Lie,
    /// Lies of the central header.
    pub central: Lie,
    /// Lies of the data descriptor (`crc`, `compressed`, `size`, `signature`).
    pub descriptor_lie: Lie,
}

impl Entry {
    /// A deflated file with mode 0644 by a Unix maker, of 1980-01-01.
    #[must_use]
    pub fn file(name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            data: data.as_ref().to_vec(),
            method: 8,
            level: 6,
            raw: None,
            maker: UNIX,
            made_by: 30,
            external: 0o100_644 << 16,
            internal: 0,
            flags: 0,
            descriptor: Descriptor::None,
            zip64: false,
            time: 0,
            date: (1 << 5) | 1,
            local_extra: Vec::new(),
            central_extra: Vec::new(),
            comment: Vec::new(),
            disk: 0,
            gap: Vec::new(),
            shares: None,
            hidden: false,
            local: Lie::default(),
            central: Lie::default(),
            descriptor_lie: Lie::default(),
        }
    }

    /// A directory with mode 0755. The name should end in a slash.
    #[must_use]
    pub fn dir(name: impl AsRef<[u8]>) -> Self {
        Self {
            method: 0,
            // The lowest bit of the lower half is MS-DOS's mark for a directory.
            external: (0o040_755 << 16) | 0x10,
            ..Self::file(name, b"")
        }
    }

    /// A symbolic link, stored, as Info-ZIP writes it: the target is the data.
    #[must_use]
    pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self {
            method: 0,
            external: 0o120_777 << 16,
            ..Self::file(name, target)
        }
    }

    /// Stored, not deflated.
    #[must_use]
    pub fn stored(mut self) -> Self {
        self.method = 0;
        self
    }

    /// Permission bits (also setuid and its like); the file type stays.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.external = (self.external & 0xf000_ffff) | ((mode & 0o7777) << 16);
        self
    }

    /// The whole `st_mode`, type and permissions: a FIFO is `0o010644`.
    #[must_use]
    pub fn unix_mode(mut self, mode: u16) -> Self {
        self.external = (self.external & 0xffff) | (u32::from(mode) << 16);
        self
    }

    /// The system that made it.
    #[must_use]
    pub fn maker(mut self, maker: u8) -> Self {
        self.maker = maker;
        self
    }

    /// External attributes, raw.
    #[must_use]
    pub fn external(mut self, external: u32) -> Self {
        self.external = external;
        self
    }

    /// Sets general purpose bits: `0x800` UTF-8, `0x1` encrypted, `0x40` strong encryption.
    #[must_use]
    pub fn flags(mut self, bits: u16) -> Self {
        self.flags |= bits;
        self
    }

    /// Method number; see [`Entry::method`] (the field).
    #[must_use]
    pub fn method(mut self, method: u16) -> Self {
        self.method = method;
        self
    }

    /// Data descriptor.
    #[must_use]
    pub fn descriptor(mut self, descriptor: Descriptor) -> Self {
        self.descriptor = descriptor;
        self
    }

    /// Sizes and offset in zip64 fields.
    #[must_use]
    pub fn zip64(mut self) -> Self {
        self.zip64 = true;
        self
    }

    /// An extra field in both headers (see [`extra`]).
    #[must_use]
    pub fn extra(mut self, field: impl AsRef<[u8]>) -> Self {
        self.local_extra.extend_from_slice(field.as_ref());
        self.central_extra.extend_from_slice(field.as_ref());
        self
    }

    /// Modification time in Unix seconds, UTC, as an extended timestamp in both headers.
    #[must_use]
    pub fn mtime(self, seconds: i32) -> Self {
        self.extra(extra::extended_timestamp(seconds))
    }

    /// MS-DOS date and time, raw.
    #[must_use]
    pub fn dos_time(mut self, date: u16, time: u16) -> Self {
        (self.date, self.time) = (date, time);
        self
    }

    /// The compressed bytes, whatever they are.
    #[must_use]
    pub fn raw(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.raw = Some(bytes.into());
        self
    }

    /// Lies of the local header.
    #[must_use]
    pub fn local(mut self, lie: Lie) -> Self {
        self.local = lie;
        self
    }

    /// Lies of the central header.
    #[must_use]
    pub fn central(mut self, lie: Lie) -> Self {
        self.central = lie;
        self
    }

    /// The same lies in both headers and the descriptor.
    #[must_use]
    pub fn lie(mut self, lie: Lie) -> Self {
        self.local = lie.clone();
        self.descriptor_lie = lie.clone();
        self.central = lie;
        self
    }
}
