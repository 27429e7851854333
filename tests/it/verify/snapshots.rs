//! What `larder snapshot` makes verifies, and what is done to it afterwards is found.

use std::fs;

use larder_testkit::packages;

use super::{copy, files, findings, found, unlock};
use crate::harness::Bench;
use crate::signature::{allow, keygen, tools};

#[test]
fn a_signed_snapshot_verifies_and_each_file_of_it_counts() {
    if !tools() {
        return;
    }
    let bench = Bench::new();
    let dir = bench.dir.path();
    let key = keygen(dir, "key", "ed25519", &[], "");
    let allowed = allow(dir, &key);
    let allowed = allowed.to_str().unwrap();
    bench
        .aws
        .function("web")
        .zip(packages::node_package().zip())
        .create();
    bench
        .run(&[
            "snapshot",
            "web",
            "--bag",
            "whole",
            "--sign-key",
            key.to_str().unwrap(),
        ])
        .expect(0);
    found(dir, &["--allowed-signers", allowed, "whole"], &[]);
    for (name, bytes) in files(&dir.join("whole")) {
        let bag = dir.join("bag");
        copy(&dir.join("whole"), &bag);
        unlock(&bag);
        let mut changed = bytes.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        fs::write(bag.join(&name), changed).unwrap();
        let kinds = findings(dir, &["--allowed-signers", allowed, "bag"]);
        let signed = name.starts_with("tagmanifest-");
        assert!(
            kinds
                .iter()
                .any(|(kind, path)| *path == name || signed && kind == "signature"),
            "{name}: {kinds:?}"
        );
        fs::remove_file(bag.join(&name)).unwrap();
        let kinds = findings(dir, &["--allowed-signers", allowed, "bag"]);
        assert!(!kinds.is_empty(), "{name}");
        fs::remove_dir_all(&bag).unwrap();
    }
}
