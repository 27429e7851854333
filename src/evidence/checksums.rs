//! Several checksums of one content in one pass.

use std::io::{self, Read};

use sha2::digest::DynDigest;

use super::manifest::Algorithm;

/// Running checksums of one content.
pub struct Checksums {
    running: Vec<(Algorithm, Box<dyn DynDigest>)>,
    bytes: u64,
}

impl Checksums {
    /// Checksums by each of `algorithms`, of nothing as yet.
    pub fn new(algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        let running = algorithms.into_iter().map(|algorithm| {
            let hasher: Box<dyn DynDigest> = match algorithm {
                Algorithm::Md5 => Box::new(md5::Md5::default()),
                Algorithm::Sha1 => Box::new(sha1::Sha1::default()),
                Algorithm::Sha224 => Box::new(sha2::Sha224::default()),
                Algorithm::Sha256 => Box::new(sha2::Sha256::default()),
                Algorithm::Sha384 => Box::new(sha2::Sha384::default()),
                Algorithm::Sha512 => Box::new(sha2::Sha512::default()),
            };
            (algorithm, hasher)
        });
        Self {
            running: running.collect(),
            bytes: 0,
        }
    }

    /// Takes in all that `reader` gives, through `buffer`; calls `each` with the count of bytes of each read, and stops
    /// when it says so.
    ///
    /// # Errors
    /// The reader fails, or `each` said false ([`io::ErrorKind::Interrupted`]).
    pub fn read_all(
        &mut self,
        mut reader: impl Read,
        buffer: &mut [u8],
        each: &mut dyn FnMut(u64) -> bool,
    ) -> io::Result<()> {
        loop {
            let read = match reader.read(buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            for (_, hasher) in &mut self.running {
                hasher.update(&buffer[..read]);
            }
            self.bytes += read as u64;
            if !each(read as u64) {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
    }

    /// How many bytes were taken in.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The checksums, in the order of the algorithms.
    pub fn finish(self) -> Vec<(Algorithm, Box<[u8]>)> {
        self.running
            .into_iter()
            .map(|(algorithm, hasher)| (algorithm, hasher.finalize()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::manifest::hex;

    #[test]
    fn each_is_what_its_tool_says() {
        // printf abc | md5sum, sha1sum, ...
        let mut sums = Checksums::new(Algorithm::ALL);
        let mut seen = 0;
        sums.read_all(&b"abc"[..], &mut [0; 2], &mut |n| {
            seen += n;
            true
        })
        .unwrap();
        assert_eq!((seen, sums.bytes()), (3, 3));
        for (algorithm, digest) in sums.finish() {
            let want = match algorithm {
                Algorithm::Md5 => "900150983cd24fb0d6963f7d28e17f72",
                Algorithm::Sha1 => "a9993e364706816aba3e25717850c26c9cd0d89d",
                Algorithm::Sha224 => "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
                Algorithm::Sha256 => {
                    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
                }
                Algorithm::Sha384 => {
                    "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"
                }
                Algorithm::Sha512 => {
                    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
                }
            };
            assert_eq!(hex(want).unwrap(), *digest, "{algorithm}");
            assert_eq!(digest.len(), algorithm.digest_len());
        }
        let mut sums = Checksums::new([]);
        assert!(
            sums.read_all(&b"abc"[..], &mut [0; 2], &mut |_| false)
                .is_err()
        );
    }
}
