//! Ordinary archives give the tree that other unpackers give. Those that are not installed are left out.

use std::process::{Command, Stdio};

use larder_testkit::packages;
use larder_testkit::zip::{Descriptor, Zip64End, ZipBuilder};

use super::*;

/// Runs `command` in `directory`; false where there is no such program.
fn ran(directory: &Path, command: &[&str]) -> bool {
    let status = Command::new(command[0])
        .args(&command[1..])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) => {
            assert!(status.success(), "{command:?}: {status}");
            true
        }
        Err(_) => false,
    }
}

#[test]
fn other_unpackers_give_the_same_tree() {
    for tree in [
        packages::python_package(),
        packages::node_package(),
        packages::layer_package(),
    ] {
        let plain = tree.builder();
        let zip64 = ZipBuilder {
            zip64_end: Zip64End::Always,
            ..plain.clone()
        };
        let mut streamed = plain.clone();
        for entry in &mut streamed.entries {
            if entry.method == 8 {
                entry.descriptor = Descriptor::Signed;
            }
        }
        for zip in [plain, zip64, streamed] {
            let bytes = zip.build();
            let (site, result) = unpack(&bytes);
            result.unwrap();
            let ours = Tree::read(&site.out()).unwrap();
            for unpacker in [
                &["unzip", "-q", "../in.zip"][..],
                &["bsdtar", "-xf", "../in.zip"],
            ] {
                let other = Site::new();
                std::fs::write(other.outer.path().join("in.zip"), &bytes).unwrap();
                if ran(&other.out(), unpacker) {
                    assert_eq!(Tree::read(&other.out()).unwrap(), ours, "{unpacker:?}");
                }
            }
        }
    }
}

#[test]
fn other_packers_are_understood() {
    let tree = packages::node_package();
    let (site, result) = unpack(&tree.zip());
    result.unwrap();
    for packer in [
        &["zip", "-qry", "../../in.zip", "."][..],
        &["zip", "-qryX0", "../../in.zip", "."],
        &["bsdtar", "--format", "zip", "-cf", "../../in.zip", "."],
    ] {
        let other = Site::new();
        let copy = other.out().join("copy");
        std::fs::rename(site.out(), &copy).unwrap();
        let packed = ran(&copy, packer);
        std::fs::rename(&copy, site.out()).unwrap();
        if packed {
            let bytes = std::fs::read(other.outer.path().join("in.zip")).unwrap();
            assert_tree(&bytes, &tree);
        }
    }
}
