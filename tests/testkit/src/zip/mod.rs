//! Archives written byte by byte: well-formed unless told otherwise.
//!
//! Section numbers are those of PKWARE's APPNOTE.TXT 6.3.10. Every field of every structure can be set to a lie, for
//! the local and the central header apart, so that a reader's checks can be tried one at a time:
//!
//! ```
//! use larder_testkit::zip::{Entry, Lie, ZipBuilder};
//!
//! let good = ZipBuilder::new().file("index.py", b"print(1)").mode(0o755).build();
//! let bad = ZipBuilder::new()
//!     .entry(Entry::file("index.py", b"print(1)").central(Lie { size: Some(7), ..Lie::default() }))
//!     .build();
//! assert_eq!(good.len(), bad.len());
//! ```

mod builder;
mod entry;
pub mod extra;
mod headers;
#[cfg(test)]
mod tests;

pub use builder::{EndLie, Zip64End, Zip64Lie, ZipBuilder};
pub use entry::{Descriptor, Entry, FAT, Lie, UNIX};
