//! Publishing on real directories.

use std::fs;
use std::io::Write as _;

use tempfile::tempdir;

use super::*;

#[test]
fn what_was_staged_is_published_and_nothing_else_is_left() {
    let dir = tempdir().unwrap();
    let dest = dir.path().join("fn");
    let staging = Staging::create(&dest, PublishOptions::default()).unwrap();
    staging.create_dir("layers/x-1/code").unwrap();
    let mut spool = staging.create_scratch_file("spool", 0o644).unwrap();
    spool.write_all(b"zip").unwrap();
    staging.keep("spool", "layers/x-1/package.zip").unwrap();
    staging.create_file("larder.json", 0o644).unwrap();
    staging.publish().unwrap();
    assert_eq!(
        fs::read(dest.join("layers/x-1/package.zip")).unwrap(),
        b"zip"
    );
    assert!(is_record(&dest));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
