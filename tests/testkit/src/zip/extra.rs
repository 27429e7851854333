//! Extra fields (APPNOTE 4.5): a two-byte id, a two-byte length, the data.

use super::headers::{put16, put32, put64, short};
use flate2::Crc;

/// Any field.
#[must_use]
pub fn field(id: u16, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 4);
    put16(&mut out, id);
    put16(&mut out, short(data.len()));
    out.extend_from_slice(data);
    out
}

/// 0x0001, zip64 (APPNOTE 4.5.3): the given values in order; the format's order is size, compressed size, offset.
#[must_use]
pub fn zip64(values: &[u64]) -> Vec<u8> {
    let mut data = Vec::new();
    for value in values {
        put64(&mut data, *value);
    }
    field(0x0001, &data)
}

/// 0x5455, Info-ZIP's extended timestamp with the modification time alone: Unix seconds, UTC.
#[must_use]
pub fn extended_timestamp(seconds: i32) -> Vec<u8> {
    let mut data = vec![1];
    data.extend_from_slice(&seconds.to_le_bytes());
    field(0x5455, &data)
}

/// 0x7075, Info-ZIP's Unicode path (APPNOTE 4.6.9): `header_name` is the name that the CRC is taken of, the header's
/// own for a fresh field, another for a stale one.
#[must_use]
pub fn unicode_path(header_name: &[u8], path: &str) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(header_name);
    let mut data = vec![1];
    put32(&mut data, crc.sum());
    data.extend_from_slice(path.as_bytes());
    field(0x7075, &data)
}

/// 0x000a, NTFS (APPNOTE 4.5.5): modification, access and creation time, in 100 ns since 1601-01-01 UTC.
#[must_use]
pub fn ntfs(modified: u64, accessed: u64, created: u64) -> Vec<u8> {
    let mut data = Vec::new();
    put32(&mut data, 0);
    put16(&mut data, 1);
    put16(&mut data, 24);
    for time in [modified, accessed, created] {
        put64(&mut data, time);
    }
    field(0x000a, &data)
}

/// 0x9901, `WinZip`'s AES encryption, AES-256, over the given real method.
#[must_use]
pub fn aes(method: u16) -> Vec<u8> {
    let mut data = vec![2, 0, b'A', b'E', 3];
    put16(&mut data, method);
    field(0x9901, &data)
}
