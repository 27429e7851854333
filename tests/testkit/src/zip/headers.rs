//! An entry's bytes: local header, data, descriptor, central header.

use super::entry::{Descriptor, Entry};
use super::extra;
use flate2::{Compression, Crc, write::DeflateEncoder};
use std::io::Write as _;

impl Entry {
    /// The data as it is written, and its CRC-32.
    pub(super) fn packed(&self) -> Packed {
        let mut crc = Crc::new();
        crc.update(&self.data);
        let bytes = match (&self.raw, self.method) {
            (Some(raw), _) => raw.clone(),
            (None, 8) => deflate(&self.data, self.level),
            (None, _) => self.data.clone(),
        };
        Packed {
            bytes,
            crc: crc.sum(),
            size: self.data.len() as u64,
        }
    }

    fn all_flags(&self) -> u16 {
        let bit = u16::from(self.descriptor != Descriptor::None) << 3;
        self.flags | bit
    }

    fn needed(&self) -> u16 {
        if self.zip64 { 45 } else { 20 }
    }

    /// The local header (APPNOTE 4.3.7).
    pub(super) fn local_header(&self, packed: &Packed) -> Vec<u8> {
        let lie = &self.local;
        let streamed = self.descriptor != Descriptor::None;
        let compressed = lie.compressed.unwrap_or(packed.bytes.len() as u64);
        let size = lie.size.unwrap_or(packed.size);
        let crc = lie.crc.unwrap_or(if streamed { 0 } else { packed.crc });
        let plain = |value: u64, told: bool| match (self.zip64, streamed && !told) {
            (true, _) => u32::MAX,
            (false, true) => 0,
            (false, false) => u32::try_from(value).unwrap_or(u32::MAX),
        };
        let mut extras = Vec::new();
        if self.zip64 {
            let (size, compressed) = if streamed { (0, 0) } else { (size, compressed) };
            extras = extra::zip64(&[size, compressed]);
        }
        extras.extend_from_slice(&self.local_extra);
        let name = lie.name.as_ref().unwrap_or(&self.name);

        let mut out = lie.signature.unwrap_or(*b"PK\x03\x04").to_vec();
        put16(&mut out, lie.needed.unwrap_or(self.needed()));
        put16(&mut out, lie.flags.unwrap_or(self.all_flags()));
        put16(&mut out, lie.method.unwrap_or(self.method));
        put16(&mut out, self.time);
        put16(&mut out, self.date);
        put32(&mut out, crc);
        put32(&mut out, plain(compressed, lie.compressed.is_some()));
        put32(&mut out, plain(size, lie.size.is_some()));
        put16(&mut out, lie.name_length.unwrap_or(short(name.len())));
        put16(&mut out, lie.extra_length.unwrap_or(short(extras.len())));
        out.extend_from_slice(name);
        out.extend_from_slice(&extras);
        out
    }

    /// The data descriptor (APPNOTE 4.3.9), empty when there is none.
    pub(super) fn descriptor_bytes(&self, packed: &Packed) -> Vec<u8> {
        let lie = &self.descriptor_lie;
        let mut out = match self.descriptor {
            Descriptor::None => return Vec::new(),
            Descriptor::Signed => lie.signature.unwrap_or(*b"PK\x07\x08").to_vec(),
            Descriptor::Unsigned => Vec::new(),
        };
        put32(&mut out, lie.crc.unwrap_or(packed.crc));
        for value in [
            lie.compressed.unwrap_or(packed.bytes.len() as u64),
            lie.size.unwrap_or(packed.size),
        ] {
            if self.zip64 {
                put64(&mut out, value);
            } else {
                put32(&mut out, u32::try_from(value).unwrap_or(u32::MAX));
            }
        }
        out
    }

    /// The central header (APPNOTE 4.3.12).
    pub(super) fn central_header(&self, packed: &Packed, offset: u64) -> Vec<u8> {
        let lie = &self.central;
        let compressed = lie.compressed.unwrap_or(packed.bytes.len() as u64);
        let size = lie.size.unwrap_or(packed.size);
        let offset = lie.offset.unwrap_or(offset);
        // An offset beyond 4 GiB needs the field too; sizes beyond it are for `zip64` to ask for.
        let mut large = Vec::new();
        if self.zip64 {
            large.extend([size, compressed]);
        }
        if self.zip64 || offset >= u64::from(u32::MAX) {
            large.push(offset);
        }
        let mut extras = if large.is_empty() {
            Vec::new()
        } else {
            extra::zip64(&large)
        };
        extras.extend_from_slice(&self.central_extra);
        let plain = |value: u64| {
            if self.zip64 {
                u32::MAX
            } else {
                u32::try_from(value).unwrap_or(u32::MAX)
            }
        };
        let name = lie.name.as_ref().unwrap_or(&self.name);

        let mut out = lie.signature.unwrap_or(*b"PK\x01\x02").to_vec();
        out.extend([self.made_by, self.maker]);
        put16(&mut out, lie.needed.unwrap_or(self.needed()));
        put16(&mut out, lie.flags.unwrap_or(self.all_flags()));
        put16(&mut out, lie.method.unwrap_or(self.method));
        put16(&mut out, self.time);
        put16(&mut out, self.date);
        put32(&mut out, lie.crc.unwrap_or(packed.crc));
        put32(&mut out, plain(compressed));
        put32(&mut out, plain(size));
        put16(&mut out, lie.name_length.unwrap_or(short(name.len())));
        put16(&mut out, lie.extra_length.unwrap_or(short(extras.len())));
        put16(&mut out, short(self.comment.len()));
        put16(&mut out, self.disk);
        put16(&mut out, self.internal);
        put32(&mut out, self.external);
        put32(&mut out, plain(offset));
        out.extend_from_slice(name);
        out.extend_from_slice(&extras);
        out.extend_from_slice(&self.comment);
        out
    }
}

/// The data of an entry as it is written.
pub(super) struct Packed {
    pub bytes: Vec<u8>,
    pub crc: u32,
    pub size: u64,
}

/// Raw deflate (RFC 1951).
fn deflate(data: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level.min(9)));
    encoder
        .write_all(data)
        .and_then(|()| encoder.finish())
        .expect("writing to memory does not fail")
}

/// A length as the format can state it; a longer one wraps, as a careless writer's would.
pub(super) fn short(length: usize) -> u16 {
    u16::try_from(length & 0xffff).unwrap_or(u16::MAX)
}

pub(super) fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn put64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}
