//! Archives made by hand, and what becomes of them.

use std::io::Write as _;

use crate::package::{Claim, Received, Verified};

/// A package of these bytes.
pub(crate) fn package(bytes: &[u8]) -> Verified {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let received = Received::read(file, &|| false).unwrap();
    received.verify(&Claim::local()).unwrap()
}

/// A central directory record of an empty file.
pub(crate) fn record(name: &[u8], maker: u8, attributes: u32) -> Vec<u8> {
    let mut record = vec![0; 46];
    record[..4].copy_from_slice(b"PK\x01\x02");
    record[5] = maker;
    record[28..30].copy_from_slice(&u16::try_from(name.len()).unwrap().to_le_bytes());
    record[38..42].copy_from_slice(&attributes.to_le_bytes());
    record.extend_from_slice(name);
    record
}
