//! Stores of backups: every blob that a run refers to is hashed, and a store without its marker is one all the same.

use std::fs;
use std::path::Path;

use larder_testkit::packages;

use super::{copy, files, findings, found, put, unlock, verify};
use crate::harness::Bench;

/// A store with one run over two functions.
fn stored() -> Bench {
    let bench = Bench::new();
    for (seed, name) in [(1, "web"), (2, "api")] {
        let zip = packages::zip_of_size(20_000, seed);
        bench.aws.function(name).zip(zip).create();
    }
    bench
        .run(&["backup", "--store", "store", "--all", "--max-rate", "1000"])
        .expect(0);
    bench
}

/// A file of the store's `blobs` or `runs`: the largest, which is a package.
fn largest(dir: &Path, below: &str) -> String {
    let all = files(dir);
    let of = all.iter().filter(|(name, _)| name.starts_with(below));
    of.max_by_key(|(_, bytes)| bytes.len()).unwrap().0.clone()
}

#[test]
fn a_store_verifies_and_every_change_is_named() {
    let bench = stored();
    let dir = bench.dir.path();
    found(dir, &["store"], &[]);
    let json = verify(dir, &["--output", "json", "store"]).expect(0).json();
    assert_eq!(json["paths"][0]["kind"], "store");
    assert!(
        json["paths"][0]["bytes"].as_u64().unwrap() > 40_000,
        "{json}"
    );
    let text = verify(dir, &["store"]).expect(0).stdout;
    assert!(text.contains("store of backups"), "{text}");
    let whole = dir.join("store");
    let (blob, run) = (largest(&whole, "blobs/"), largest(&whole, "runs/"));
    type Change<'a> = &'a dyn Fn(&Path);
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let cases: &[(&str, Change<'_>, &str, &str)] = &[
        ("flipped", &|d| flip(&d.join(&blob)), "modified", &blob),
        (
            "cut",
            &|d| {
                let bytes = fs::read(d.join(&blob)).unwrap();
                fs::write(d.join(&blob), &bytes[..bytes.len() / 2]).unwrap();
            },
            "modified",
            &blob,
        ),
        (
            "lost",
            &|d| fs::remove_file(d.join(&blob)).unwrap(),
            "missing",
            &blob,
        ),
        (
            "a link",
            &|d| {
                fs::rename(d.join(&blob), d.join("../elsewhere")).unwrap();
                std::os::unix::fs::symlink("../../../elsewhere", d.join(&blob)).unwrap();
            },
            "special",
            &blob,
        ),
        (
            "a run that is none",
            &|d| fs::write(d.join(&run), "{").unwrap(),
            "unreadable",
            &run,
        ),
        (
            "a strange run",
            &|d| drop(put(d, "runs/notes.txt", "x")),
            "unexpected",
            "runs/notes.txt",
        ),
        (
            "a strange blob",
            &|d| drop(put(d, "blobs/sha256/notes.txt", "x")),
            "unexpected",
            "blobs/sha256/notes.txt",
        ),
        (
            "no marker",
            &|d| fs::remove_file(d.join("larder-store.json")).unwrap(),
            "missing",
            "larder-store.json",
        ),
        (
            "no marks but runs and blobs",
            &|d| {
                for name in ["larder-store.json", "oci-layout", "index.json"] {
                    let _ = fs::remove_file(d.join(name));
                }
            },
            "missing",
            "oci-layout",
        ),
        (
            "a broken marker",
            &|d| fs::write(d.join("larder-store.json"), "{").unwrap(),
            "malformed",
            "",
        ),
        (
            "a newer one",
            &|d| fs::write(d.join("larder-store.json"), "{\"schema_version\":99}").unwrap(),
            "unsupported",
            "",
        ),
    ];
    for (name, change, kind, path) in cases {
        let copied = dir.join("case");
        copy(&whole, &copied);
        unlock(&copied);
        change(&copied);
        let kinds = findings(dir, &["case"]);
        assert!(
            kinds.iter().any(|(k, p)| k == kind && p == path),
            "{name}: {kinds:?}"
        );
        fs::remove_dir_all(&copied).unwrap();
        let _ = fs::remove_file(dir.join("elsewhere"));
    }
    // What a backup leaves that died.
    unlock(&whole);
    let stray = larder::digest::Sha256Digest::of(b"stray");
    put(&whole, &format!("blobs/sha256/{stray}"), "stray");
    found(dir, &["store"], &[]);
    let text = verify(dir, &["store"]).expect(0).stdout;
    assert!(text.contains("1 blobs belong to no run"), "{text}");
}
