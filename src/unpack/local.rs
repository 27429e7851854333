//! Local headers (APPNOTE.TXT 4.3.7) and data descriptors (4.3.9), compared with the central directory.
//!
//! A reader that goes through the file from its start knows only these. It must see the same names, methods
//! and sizes; where it may differ (flags, CRC, descriptor, times) the central directory wins, and the content is
//! checked against what that says.

use super::central::{Place, Record, widen};
use super::error::{Kind, UnpackError};
use super::extra::{self, Wide};
use super::names::Shown;
use super::source::{Window, u16_at, u32_at, u64_at};

pub(super) const SIGNATURE: u32 = 0x0403_4b50;
/// A local header's size without name and extra fields.
pub(super) const FIXED: usize = 30;
const DESCRIPTOR: u32 = 0x0807_4b50;

/// Bits of the general purpose flags (4.4.4).
const ENCRYPTED: u16 = 1;
const DESCRIPTOR_FOLLOWS: u16 = 1 << 3;
const PATCH_DATA: u16 = 1 << 5;
const STRONG_ENCRYPTION: u16 = 1 << 6;
const MASKED_HEADERS: u16 = 1 << 13;

/// Methods (4.4.5).
pub(super) const STORED: u16 = 0;
pub(super) const DEFLATED: u16 = 8;
const AES: u16 = 99;

/// What is known about a local header that agrees.
#[derive(Debug, Clone, Copy)]
pub(super) struct Local {
    /// Its size with name and extra fields: at most 30 + 2 × 65,535 bytes.
    pub(super) len: usize,
    /// A data descriptor should follow the data.
    pub(super) descriptor: bool,
    /// A UTC time is in this header and not in the central directory.
    pub(super) time: bool,
}

/// Refuses what can be told from the central directory's record alone: encryption, methods, impossible sizes.
pub(super) fn check_record(
    record: Record<'_>,
    place: Place,
    kind: Kind,
) -> Result<(), UnpackError> {
    let offset = place.offset;
    check_flags(record, record.flags(), offset)?;
    match record.method() {
        STORED if place.compressed != place.size => {
            return Err(UnpackError::StoredSizes {
                entry: record.shown(),
                offset,
                compressed: place.compressed,
                size: place.size,
            });
        }
        STORED | DEFLATED => {}
        AES => {
            return Err(UnpackError::Encrypted {
                entry: record.shown(),
                offset,
            });
        }
        value => {
            return Err(UnpackError::Unsupported {
                entry: record.shown(),
                offset,
                what: "compression method",
                value,
            });
        }
    }
    if kind == Kind::Directory && place.size > 0 {
        return Err(UnpackError::DirectoryWithData {
            entry: record.shown(),
            offset,
            size: place.size,
        });
    }
    Ok(())
}

fn check_flags(record: Record<'_>, flags: u16, offset: u64) -> Result<(), UnpackError> {
    if flags & (ENCRYPTED | STRONG_ENCRYPTION | MASKED_HEADERS) != 0 {
        return Err(UnpackError::Encrypted {
            entry: record.shown(),
            offset,
        });
    }
    if flags & PATCH_DATA != 0 {
        return Err(UnpackError::Unsupported {
            entry: record.shown(),
            offset,
            what: "patch data, flags",
            value: flags,
        });
    }
    Ok(())
}

/// Reads the local header and compares it. `end` is where the central directory begins.
pub(super) fn check(
    window: &mut Window<'_>,
    record: Record<'_>,
    place: Place,
    end: u64,
) -> Result<Local, UnpackError> {
    let offset = place.offset;
    let out_of_bounds = || UnpackError::OutOfBounds {
        entry: record.shown(),
        offset,
        end,
    };
    let room = end.saturating_sub(offset);
    if room < FIXED as u64 {
        return Err(out_of_bounds());
    }
    let fixed = window.get(offset, FIXED)?.ok_or_else(out_of_bounds)?;
    if u32_at(fixed, 0) != SIGNATURE {
        return Err(UnpackError::Signature {
            what: "local header",
            offset,
            found: u32_at(fixed, 0),
        });
    }
    let name_len = usize::from(u16_at(fixed, 26));
    let len = FIXED + name_len + usize::from(u16_at(fixed, 28));
    if place.compressed.saturating_add(len as u64) > room {
        return Err(out_of_bounds());
    }
    let header = window.get(offset, len)?.ok_or_else(out_of_bounds)?;
    let (name, extra) = header[FIXED..].split_at(name_len);
    if name != record.name() {
        return Err(UnpackError::NameDiffers {
            entry: record.shown(),
            offset,
            local: Shown::from(name),
        });
    }
    for extra in [record.extra(), extra] {
        if let Some(unicode) = extra::unicode_path(extra, name)
            && unicode != name
        {
            return Err(UnpackError::UnicodePathDiffers {
                entry: record.shown(),
                offset,
                unicode: Shown::from(unicode),
            });
        }
    }
    let flags = u16_at(header, 6);
    check_flags(record, flags, offset)?;
    if u16_at(header, 8) != record.method() {
        return Err(UnpackError::MethodDiffers {
            entry: record.shown(),
            offset,
            central: record.method(),
            local: u16_at(header, 8),
        });
    }
    let narrow = Wide {
        size: u32_at(header, 22).into(),
        compressed: u32_at(header, 18).into(),
        offset: None,
        disk: None,
    };
    let wide = widen(narrow, extra, name, offset)?;
    let descriptor = flags & DESCRIPTOR_FOLLOWS != 0;
    for (which, central, local) in [
        ("uncompressed", place.size, wide.size),
        ("compressed", place.compressed, wide.compressed),
    ] {
        // A packer that writes a stream does not know them yet, and leaves them to the descriptor.
        if local != central && !(descriptor && local == 0) {
            return Err(UnpackError::SizeDiffers {
                entry: record.shown(),
                offset,
                which,
                central,
                local,
            });
        }
    }
    Ok(Local {
        len,
        descriptor,
        time: extra::modified(record.extra()).is_none() && extra::modified(extra).is_some(),
    })
}

/// How many of the bytes from `at` to `limit` are the entry's data descriptor: with or without a signature,
/// with sizes of 32 or 64 bits; 0 where none of these agrees with the central directory.
pub(super) fn descriptor_len(
    window: &mut Window<'_>,
    at: u64,
    limit: u64,
    crc: u32,
    place: Place,
) -> Result<u64, UnpackError> {
    let room = usize::try_from(limit.saturating_sub(at)).map_or(24, |room| room.min(24));
    let Some(bytes) = window.get(at, room)? else {
        return Ok(0);
    };
    for signature in [4, 0] {
        if signature == 4 && u32_at(bytes, 0) != DESCRIPTOR {
            continue;
        }
        let Some(values) = bytes.get(signature..) else {
            continue;
        };
        if values.len() >= 4 && u32_at(values, 0) != crc {
            continue;
        }
        if values.len() >= 20
            && u64_at(values, 4) == place.compressed
            && u64_at(values, 12) == place.size
        {
            return Ok(signature as u64 + 20);
        }
        if values.len() >= 12
            && u64::from(u32_at(values, 4)) == place.compressed
            && u64::from(u32_at(values, 8)) == place.size
        {
            return Ok(signature as u64 + 12);
        }
    }
    Ok(0)
}
