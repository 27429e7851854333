//! The modelled floor of the whole job: what its parts cost when nothing else is done, measured here and now.
//!
//! Net: curl to nowhere. Hash: SHA-256 of the package. Inflate: every entry at once, with libdeflate. Write: a file made and
//! filled with one call, an entry. No checks, no modes, no content hashes, no second read of the package.

use std::fs::File;
use std::hint::black_box;
use std::io::{Cursor, Read as _, Write as _};
use std::path::Path;

use larder::digest::Sha256Digest;
use libdeflater::Decompressor;
use zip::{CompressionMethod, ZipArchive};

use crate::items::Item;
use crate::measure::own;

/// CPU seconds of each part.
pub(crate) struct Floor {
    /// None where curl is missing.
    pub(crate) net: Option<f64>,
    pub(crate) hash: f64,
    pub(crate) inflate: f64,
    pub(crate) write: f64,
}

impl Floor {
    /// All parts together.
    pub(crate) fn sum(&self) -> f64 {
        self.net.unwrap_or_default() + self.hash + self.inflate + self.write
    }

    /// Measures all parts but the network's, below `dir`.
    pub(crate) fn of(item: &Item, dir: &Path, net: Option<f64>) -> std::io::Result<Self> {
        let bytes = std::fs::read(&item.zip)?;
        let began = own()?;
        black_box(Sha256Digest::of(&bytes));
        let mut floor = Self {
            net,
            hash: own()? - began,
            inflate: 0.0,
            write: 0.0,
        };
        let mut archive = ZipArchive::new(Cursor::new(&bytes))?;
        let mut decompressor = Decompressor::new();
        let (mut packed, mut content) = (Vec::new(), Vec::new());
        let below = dir.join("floor");
        std::fs::create_dir(&below)?;
        for index in 0..archive.len() {
            let mut entry = archive.by_index_raw(index)?;
            if !entry.is_file() {
                continue;
            }
            let size = usize::try_from(entry.size()).unwrap_or(usize::MAX);
            let stored = entry.compression() == CompressionMethod::Stored;
            packed.clear();
            entry.read_to_end(&mut packed)?;
            if content.len() < size {
                content.resize(size, 0);
            }
            let began = own()?;
            if stored {
                content[..size].copy_from_slice(&packed);
            } else {
                decompressor
                    .deflate_decompress(&packed, &mut content[..size])
                    .map_err(std::io::Error::other)?;
            }
            let inflated = own()?;
            File::create(below.join(index.to_string()))?.write_all(&content[..size])?;
            floor.inflate += inflated - began;
            floor.write += own()? - inflated;
        }
        std::fs::remove_dir_all(&below)?;
        Ok(floor)
    }
}
