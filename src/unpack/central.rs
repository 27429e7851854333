//! Records of the central directory (APPNOTE.TXT 4.3.12), read in place.

use super::error::UnpackError;
use super::extra::{Fields, Wide, ZIP64};
use super::names::Shown;
use super::source::{u16_at, u32_at};

const SIGNATURE: u32 = 0x0201_4b50;
/// A record's size without its three variable parts.
pub(super) const FIXED: usize = 46;
/// Where a record's name begins.
pub(super) const NAME: usize = FIXED;

/// One record. Cheap to make again: the directory's bytes are kept, not what they say.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    bytes: &'a [u8],
}

/// A record's sizes and its local header's offset, with zip64 applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) size: u64,
    pub(super) compressed: u64,
    pub(super) offset: u64,
}

impl<'a> Record<'a> {
    /// The record at `at` of the directory, which lies at `base` in the file.
    pub(super) fn at(directory: &'a [u8], at: usize, base: u64) -> Result<Self, UnpackError> {
        let offset = base + at as u64;
        let bytes = directory.get(at..).unwrap_or_default();
        let cut = |len: usize| UnpackError::Cut {
            what: "central directory record",
            offset,
            end: offset + len as u64,
        };
        if bytes.len() < FIXED {
            return Err(cut(FIXED));
        }
        if u32_at(bytes, 0) != SIGNATURE {
            return Err(UnpackError::Signature {
                what: "central directory record",
                offset,
                found: u32_at(bytes, 0),
            });
        }
        let len = FIXED
            + usize::from(u16_at(bytes, 28))
            + usize::from(u16_at(bytes, 30))
            + usize::from(u16_at(bytes, 32));
        match bytes.get(..len) {
            Some(bytes) => Ok(Self { bytes }),
            None => Err(cut(len)),
        }
    }

    /// The record's size.
    pub(super) fn len(self) -> usize {
        self.bytes.len()
    }

    /// The high byte of "version made by" (4.4.2): whose attributes these are.
    pub(super) fn maker(self) -> u8 {
        self.bytes[5]
    }

    pub(super) fn flags(self) -> u16 {
        u16_at(self.bytes, 8)
    }

    pub(super) fn method(self) -> u16 {
        u16_at(self.bytes, 10)
    }

    pub(super) fn crc(self) -> u32 {
        u32_at(self.bytes, 16)
    }

    pub(super) fn attributes(self) -> u32 {
        u32_at(self.bytes, 38)
    }

    fn name_len(self) -> usize {
        usize::from(u16_at(self.bytes, 28))
    }

    pub(super) fn name(self) -> &'a [u8] {
        &self.bytes[NAME..NAME + self.name_len()]
    }

    pub(super) fn shown(self) -> Shown {
        Shown::from(self.name())
    }

    pub(super) fn extra(self) -> &'a [u8] {
        let start = NAME + self.name_len();
        &self.bytes[start..start + usize::from(u16_at(self.bytes, 30))]
    }

    /// Sizes and offset; the zip64 field is looked at whether it is needed or not.
    pub(super) fn place(self) -> Result<Place, UnpackError> {
        let narrow = Wide {
            size: u32_at(self.bytes, 24).into(),
            compressed: u32_at(self.bytes, 20).into(),
            offset: Some(u32_at(self.bytes, 42).into()),
            disk: Some(u16_at(self.bytes, 34).into()),
        };
        let offset = u32_at(self.bytes, 42).into();
        let wide = widen(narrow, self.extra(), self.name(), offset)?;
        match wide.disk {
            None | Some(0) => {}
            Some(disk) => {
                return Err(UnpackError::Split {
                    what: "an entry's part",
                    disk,
                });
            }
        }
        Ok(Place {
            size: wide.size,
            compressed: wide.compressed,
            offset: wide.offset.unwrap_or_default(),
        })
    }
}

/// Applies the zip64 field of a header to its values. `name` and `offset` are for the error.
pub(super) fn widen(
    narrow: Wide,
    extra: &[u8],
    name: &[u8],
    offset: u64,
) -> Result<Wide, UnpackError> {
    let mut zip64: Option<&[u8]> = None;
    let refuse = |field: &[u8]| UnpackError::Zip64Field {
        entry: Shown::from(name),
        offset,
        size: field.len(),
    };
    for field in Fields::new(extra) {
        match field {
            Ok((ZIP64, data)) if zip64.is_some() => return Err(refuse(data)),
            Ok((ZIP64, data)) => zip64 = Some(data),
            Ok(_) => {}
            Err(overrun) => {
                return Err(UnpackError::ExtraField {
                    entry: Shown::from(name),
                    offset,
                    id: overrun.id,
                    size: overrun.size,
                    room: overrun.room,
                });
            }
        }
    }
    match zip64 {
        None => Ok(narrow),
        Some(field) => narrow.widen(field).ok_or_else(|| refuse(field)),
    }
}
