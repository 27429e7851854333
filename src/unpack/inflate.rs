//! Contents: from compressed bytes in the package to bytes that are what the central directory says.
//!
//! Two ways that must agree. Most entries fit into a buffer and are inflated at once, which is twice as fast;
//! the others go through in pieces. Both count real bytes and compute the real CRC-32, and both want the compressed data to
//! end exactly where they should.

use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::{DecompressionError, Decompressor};

use super::error::UnpackError;
use super::local::STORED;
use super::names::Shown;
use super::plan::Data;
use super::source::Source;

/// The largest content, in bytes, that is inflated at once.
pub(super) const WHOLE: u64 = 4 << 20;

/// How many bytes go through at once otherwise. Callers look at their cancel flag as often.
pub(super) const PIECE: usize = 256 * 1024;

/// What a caller leaves free before and behind the compressed data for [`Inflater::whole`].
pub(super) const BEFORE: usize = 10;
pub(super) const BEHIND: usize = 8;

/// Buffers and state that are used for one content after another.
pub(super) struct Inflater {
    whole: Decompressor,
    stream: Option<Decompress>,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// How the name of an entry is had when an error needs it.
pub(super) type Name<'a> = &'a dyn Fn() -> Shown;

impl Inflater {
    pub(super) fn new() -> Self {
        Self {
            whole: Decompressor::new(),
            stream: None,
            input: Vec::new(),
            output: Vec::new(),
        }
    }

    /// Whether a content is to be inflated at once.
    pub(super) fn fits(data: &Data) -> bool {
        // Deflate grows by five bytes a block at the worst; what has grown more is odd, and goes in pieces.
        data.size <= WHOLE && data.compressed <= data.size + data.size / 1024 + 64
    }

    /// The content of an entry whose compressed data stand in `buffer`, with [`BEFORE`] bytes before them and
    /// [`BEHIND`] bytes behind them that may be overwritten (and are put back).
    ///
    /// Gives `None` when something is wrong: then [`Inflater::stream`] says what.
    pub(super) fn whole<'b>(&'b mut self, data: &Data, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let end = buffer.len() - BEHIND;
        let size = usize::try_from(data.size).ok()?;
        if data.method == STORED {
            let content = &buffer[BEFORE..end];
            return (content.len() == size && libdeflater::crc32(content) == data.crc)
                .then_some(content);
        }
        if size == 0 && data.compressed == 0 {
            return (data.crc == 0).then_some(&[]);
        }
        // libdeflate does not tell how much it has read. But a gzip member (RFC 1952) has CRC and size right behind
        // the compressed data: put there, they are found only if the data end where they should.
        let mut trailer = [0; BEHIND];
        trailer[..4].copy_from_slice(&data.crc.to_le_bytes());
        trailer[4..].copy_from_slice(&u32::try_from(size).ok()?.to_le_bytes());
        // Unless somebody put the same eight bytes there before: a chance of one in 2^64, or malice.
        if memchr::memmem::find(&buffer[BEFORE..end], &trailer).is_some() {
            return None;
        }
        let kept: [u8; BEHIND] = buffer[end..].try_into().ok()?;
        buffer[..BEFORE].copy_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
        buffer[end..].copy_from_slice(&trailer);
        if self.output.len() < size {
            self.output.resize(size, 0);
        }
        let result = self.whole.gzip_decompress(buffer, &mut self.output[..size]);
        buffer[end..].copy_from_slice(&kept);
        match result {
            Ok(n) if n == size => Some(&self.output[..size]),
            Ok(_) | Err(DecompressionError::BadData | DecompressionError::InsufficientSpace) => {
                None
            }
        }
    }

    /// Passes the content of an entry to `sink` in pieces of at most [`PIECE`] bytes, reading the package as it goes.
    /// `sink` never gets more than the stated size.
    pub(super) fn stream(
        &mut self,
        source: Source<'_>,
        data: &Data,
        name: Name<'_>,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), UnpackError>,
    ) -> Result<(), UnpackError> {
        let mut crc = libdeflater::Crc::new();
        let mut sink = |piece: &[u8]| {
            crc.update(piece);
            sink(piece)
        };
        if data.method == STORED {
            self.stored(source, data, &mut sink)?;
        } else if data.size > 0 || data.compressed > 0 {
            self.deflated(source, data, name, &mut sink)?;
        }
        if crc.sum() == data.crc {
            return Ok(());
        }
        Err(UnpackError::Crc {
            entry: name(),
            offset: data.header,
            stated: data.crc,
            actual: crc.sum(),
        })
    }

    fn stored(
        &mut self,
        source: Source<'_>,
        data: &Data,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), UnpackError>,
    ) -> Result<(), UnpackError> {
        let mut done = 0;
        while done < data.size {
            let piece = piece(data.size - done);
            grow(&mut self.input, piece);
            source.read(data.start + done, &mut self.input[..piece])?;
            sink(&self.input[..piece])?;
            done += piece as u64;
        }
        Ok(())
    }

    fn deflated(
        &mut self,
        source: Source<'_>,
        data: &Data,
        name: Name<'_>,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), UnpackError>,
    ) -> Result<(), UnpackError> {
        let stream = self.stream.get_or_insert_with(|| Decompress::new(false));
        stream.reset(false);
        // One byte more than stated, so that more is seen.
        let room = piece(data.size.saturating_add(1));
        grow(&mut self.output, room);
        let (mut read, mut start, mut end) = (0, 0, 0);
        let broken = |used| UnpackError::BrokenData {
            entry: name(),
            offset: data.header,
            used,
            stated: data.compressed,
        };
        loop {
            if start == end && read < data.compressed {
                end = piece(data.compressed - read);
                start = 0;
                grow(&mut self.input, end);
                source.read(data.start + read, &mut self.input[..end])?;
                read += end as u64;
            }
            let (used, made) = (stream.total_in(), stream.total_out());
            let status = stream
                .decompress(
                    &self.input[start..end],
                    &mut self.output[..room],
                    FlushDecompress::None,
                )
                .map_err(|_| broken(stream.total_in()))?;
            // What went in or came out in one call fits into its buffer.
            start += usize::try_from(stream.total_in() - used).unwrap_or(usize::MAX);
            let out = usize::try_from(stream.total_out() - made).unwrap_or(usize::MAX);
            if stream.total_out() > data.size {
                return Err(UnpackError::MoreData {
                    entry: name(),
                    offset: data.header,
                    stated: data.size,
                });
            }
            sink(&self.output[..out])?;
            match status {
                Status::StreamEnd => break,
                Status::Ok | Status::BufError => {
                    let stuck = stream.total_in() == used && out == 0;
                    if stuck && (start < end || read == data.compressed) {
                        return Err(broken(stream.total_in()));
                    }
                }
            }
        }
        if stream.total_in() != data.compressed {
            return Err(UnpackError::LeftOver {
                entry: name(),
                offset: data.header,
                used: stream.total_in(),
                stated: data.compressed,
            });
        }
        if stream.total_out() != data.size {
            return Err(UnpackError::LessData {
                entry: name(),
                offset: data.header,
                stated: data.size,
                actual: stream.total_out(),
            });
        }
        Ok(())
    }
}

fn piece(bytes: u64) -> usize {
    usize::try_from(bytes).map_or(PIECE, |bytes| bytes.min(PIECE))
}

fn grow(buffer: &mut Vec<u8>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
}
