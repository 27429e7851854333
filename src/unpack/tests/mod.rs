//! Archives built in code, and what becomes of them. The builder is the testkit's, which knows nothing of this reader.

mod accepted;
mod differential;
mod links;
mod properties;
mod refusals;

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::path::Path;

use larder_testkit::Tree;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::root::Root;
use super::{Limits, Options, UnpackError, Unpacked, plan, run, run_below};
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

/// A directory to unpack into, with a neighbour that must stay as it is.
struct Site {
    outer: TempDir,
}

impl Site {
    fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        std::fs::create_dir(outer.path().join("out")).unwrap();
        std::fs::write(outer.path().join("canary"), "canary").unwrap();
        Self { outer }
    }

    fn out(&self) -> std::path::PathBuf {
        self.outer.path().join("out")
    }

    /// Nothing but `out` and the canary is there, and the canary is what it was.
    fn assert_untouched(&self) {
        let mut names: Vec<_> = std::fs::read_dir(self.outer.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["canary", "out"]);
        let canary = std::fs::read(self.outer.path().join("canary")).unwrap();
        assert_eq!(canary, b"canary");
    }
}

impl Drop for Site {
    /// Read-only directories would stay behind.
    fn drop(&mut self) {
        open_up(&self.out());
    }
}

fn open_up(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(meta) = std::fs::symlink_metadata(path) else {
        return;
    };
    if meta.is_dir() {
        let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700));
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            open_up(&entry.path());
        }
    }
}

/// Unpacks, hashing contents. A refusal by `plan` must have written nothing, whatever happens nothing outside.
fn unpack_with(bytes: &[u8], limits: &Limits) -> (Site, Result<Unpacked, UnpackError>) {
    let site = Site::new();
    let package = package(bytes);
    let result = plan(&package, limits).and_then(|plan| {
        let root = File::open(site.out()).unwrap();
        let options = Options {
            hash_contents: true,
            workers: None,
            cancel: &CancellationToken::new(),
            reporter: &(),
        };
        run(&package, &plan, root.as_fd(), &options)
    });
    site.assert_untouched();
    (site, result)
}

fn unpack(bytes: &[u8]) -> (Site, Result<Unpacked, UnpackError>) {
    unpack_with(bytes, &Limits::default())
}

/// The same without `openat2`.
fn unpack_portably(bytes: &[u8]) -> (Site, Result<Unpacked, UnpackError>) {
    let site = Site::new();
    let package = package(bytes);
    let root = File::open(site.out()).unwrap();
    let options = Options {
        hash_contents: true,
        workers: None,
        cancel: &CancellationToken::new(),
        reporter: &(),
    };
    let result = plan(&package, &Limits::default())
        .and_then(|plan| run_below(&package, &plan, Root::portable(root.as_fd()), &options));
    site.assert_untouched();
    (site, result)
}

/// The archive gives exactly this tree.
#[track_caller]
fn assert_tree(bytes: &[u8], want: &Tree) -> Unpacked {
    let (site, result) = unpack(bytes);
    let unpacked = match result {
        Ok(unpacked) => unpacked,
        Err(error) => panic!("refused: {error}"),
    };
    let differences = want.differences(&site.out()).unwrap();
    assert!(differences.is_empty(), "{differences:#?}");
    unpacked
}

/// The archive is refused before anything is written, for a reason with these words.
#[track_caller]
fn assert_refused(bytes: &[u8], words: &str) -> UnpackError {
    let Err(error) = plan(&package(bytes), &Limits::default()) else {
        panic!("accepted, where {words:?} was wanted");
    };
    let text = error.to_string();
    assert!(text.contains(words), "{words:?} wanted: {text}");
    error
}

/// The archive is refused while it is written, for a reason with these words.
#[track_caller]
fn assert_fails(bytes: &[u8], words: &str) -> UnpackError {
    let (_site, result) = unpack(bytes);
    let error = result.expect_err("it should fail");
    let text = error.to_string();
    assert!(text.contains(words), "{words:?} wanted: {text}");
    error
}
