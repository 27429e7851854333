//! Bags that bagit.py makes are verified; what is done to a bag is found and named; the stock tools agree.

use std::fs;
use std::path::Path;
use std::process::Command;

use larder::digest::Sha256Digest;

use super::{copy, files, findings, found, make_bag, put, seal, verify};
use crate::moto::venv::Venv;

/// Makes a bag of `dir` in place with bagit.py, or checks one.
fn bagit(arguments: &[&str], dir: &Path) -> Option<bool> {
    let mut command = Command::new(Venv::get()?.python());
    command
        .args(["-m", "bagit", "--quiet"])
        .args(arguments)
        .arg(dir);
    Some(command.output().unwrap().status.success())
}

fn payload(dir: &Path) {
    for (name, text) in [
        ("plain", "1"),
        ("sub/dir/file.txt", "22"),
        ("with space", "3"),
        ("umlaut-ü", "4"),
        ("new\nline", "5"),
        ("return\r", "6"),
        ("100%", "7"),
        ("%20", "8"),
        ("100%25", "7a"),
        ("%250A", "7b"),
        ("back\\slash", "9"),
        ("*star", "10"),
        ("empty", ""),
    ] {
        put(dir, name, text);
    }
}

#[test]
fn bags_of_bagit_py_verify() {
    for algorithms in [
        &["--sha256"][..],
        &["--sha512"],
        &["--md5"],
        &["--sha1"],
        &["--sha224"],
        &["--sha384"],
        &["--sha256", "--sha512", "--md5", "--sha1"],
        &["--processes", "2"],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let bag = dir.path().join("bag");
        payload(&bag);
        let long = "long ".repeat(60);
        let options = [
            algorithms,
            &[
                "--source-organization",
                "someone: else",
                "--external-description",
                &long,
            ],
        ]
        .concat();
        let Some(made) = bagit(&options, &bag) else {
            return;
        };
        assert!(made, "{algorithms:?}");
        found(dir.path(), &["bag"], &[]);
        let weak = algorithms.iter().any(|a| matches!(*a, "--md5" | "--sha1"));
        let text = verify(dir.path(), &["bag"]).expect(0).stdout;
        assert_eq!(text.contains("weak"), weak, "{algorithms:?}: {text}");
        // Each file, one after the other.
        for (name, bytes) in files(&bag) {
            fs::write(bag.join(&name), [&bytes[..], b"x"].concat()).unwrap();
            let kinds = findings(dir.path(), &["bag"]);
            let named = kinds.iter().any(|(_, path)| *path == name)
                // A line more in a tag manifest is wrong by itself.
                || name.starts_with("tagmanifest-");
            assert!(
                named && !kinds.is_empty(),
                "{algorithms:?} {name}: {kinds:?}"
            );
            fs::write(bag.join(&name), bytes).unwrap();
        }
        found(dir.path(), &["bag"], &[]);
    }
}

/// What bagit.py writes as it is means something else by the RFC; only its own bags are read its way.
#[test]
fn a_percent_sign_is_read_as_its_writer_wrote_it() {
    let dir = tempfile::tempdir().unwrap();
    let bag = dir.path().join("bag");
    make_bag(&bag, &[("100%25", b"1")]);
    let missing = [("missing", "data/100%"), ("unexpected", "data/100%25")];
    found(dir.path(), &["bag"], &missing);
    put(
        &bag,
        "bag-info.txt",
        "Bag-Software-Agent: bagit.py v1.9.0 <https://github.com/LibraryOfCongress/bagit-python>\n",
    );
    seal(&bag);
    found(dir.path(), &["bag"], &[]);
}

#[test]
fn an_empty_directory_in_a_bag_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let bag = dir.path().join("bag");
    make_bag(&bag, &[("a", b"1")]);
    fs::create_dir_all(bag.join("data/x/y")).unwrap();
    found(dir.path(), &["bag"], &[]);
    let text = verify(dir.path(), &["bag"]).expect(0).stdout;
    assert!(text.contains("empty directory: data/x/y"), "{text}");
}

#[test]
fn what_larder_takes_for_whole_the_stock_tools_do_too() {
    let dir = tempfile::tempdir().unwrap();
    let bag = dir.path().join("bag");
    make_bag(&bag, &[("a", b"1"), ("b/c", b"2")]);
    found(dir.path(), &["bag"], &[]);
    for manifest in ["manifest-sha256.txt", "tagmanifest-sha256.txt"] {
        let done = Command::new("sha256sum")
            .args(["--quiet", "-c", manifest])
            .current_dir(&bag)
            .status()
            .unwrap();
        assert!(done.success());
    }
    if let Some(valid) = bagit(&["--validate"], &bag) {
        assert!(valid);
    }
}

/// Each file flipped, removed, added, renamed, swapped; and manifests edited with and without what is above them.
#[test]
fn each_change_of_a_bag_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    make_bag(&whole, &[("a", b"aaa"), ("b/c", b"bbb"), ("b/d", b"ccc")]);
    let bag = dir.path().join("bag");
    let names: Vec<String> = files(&whole).into_keys().collect();
    let case = |change: &dyn Fn(&Path)| {
        copy(&whole, &bag);
        change(&bag);
        let kinds = findings(dir.path(), &["bag"]);
        fs::remove_dir_all(&bag).unwrap();
        kinds
    };
    let has = |kinds: &[(String, String)], kind: &str, path: &str| {
        kinds.iter().any(|(k, p)| k == kind && p == path)
    };
    for name in names.iter().filter(|name| !name.starts_with("tagmanifest")) {
        let flipped = case(&|bag| {
            let mut bytes = fs::read(bag.join(name)).unwrap();
            bytes[0] ^= 1;
            fs::write(bag.join(name), bytes).unwrap();
        });
        assert!(has(&flipped, "modified", name), "{name}: {flipped:?}");
        let removed = case(&|bag| fs::remove_file(bag.join(name)).unwrap());
        assert!(has(&removed, "missing", name), "{name}: {removed:?}");
        let renamed =
            case(&|bag| fs::rename(bag.join(name), bag.join(format!("{name}.x"))).unwrap());
        assert!(has(&renamed, "missing", name), "{name}: {renamed:?}");
        assert!(
            has(&renamed, "unexpected", &format!("{name}.x")),
            "{name}: {renamed:?}"
        );
        let linked = case(&|bag| {
            fs::rename(bag.join(name), dir.path().join("aside")).unwrap();
            std::os::unix::fs::symlink(dir.path().join("aside"), bag.join(name)).unwrap();
        });
        assert!(has(&linked, "special", name), "{name}: {linked:?}");
        for other in names
            .iter()
            .filter(|other| *other > name && !other.starts_with("tagmanifest"))
        {
            let swapped = case(&|bag| {
                fs::rename(bag.join(name), bag.join("t")).unwrap();
                fs::rename(bag.join(other), bag.join(name)).unwrap();
                fs::rename(bag.join("t"), bag.join(other)).unwrap();
            });
            for name in [name, other] {
                // With a manifest that is no manifest, payload is only known to be listed by nothing.
                let told = swapped.iter().any(|(kind, path)| {
                    path == name && matches!(kind.as_str(), "modified" | "unexpected")
                });
                assert!(told, "{name} {other}: {swapped:?}");
            }
        }
    }
    for added in [
        "data/x",
        "data/b/x",
        "x",
        "meta/x",
        ".x",
        "manifest-md5.txt",
    ] {
        let kinds = case(&|bag| drop(put(bag, added, "x")));
        assert!(has(&kinds, "unexpected", added), "{added}: {kinds:?}");
    }
    // The manifest follows the file: the tag manifest says so.
    let edited = case(&|bag| {
        fs::write(bag.join("data/a"), "xxx").unwrap();
        let manifest = fs::read_to_string(bag.join("manifest-sha256.txt")).unwrap();
        let changed = manifest.replace(
            &Sha256Digest::of(b"aaa").hex(),
            &Sha256Digest::of(b"xxx").hex(),
        );
        fs::write(bag.join("manifest-sha256.txt"), changed).unwrap();
    });
    assert_eq!(edited.len(), 1, "{edited:?}");
    assert!(
        has(&edited, "modified", "manifest-sha256.txt"),
        "{edited:?}"
    );
    // All of it follows: only a signature could show that, and the report says that there is none.
    let followed = case(&|bag| {
        fs::write(bag.join("data/a"), "xxx").unwrap();
        let manifest = fs::read_to_string(bag.join("manifest-sha256.txt")).unwrap();
        let changed = manifest.replace(
            &Sha256Digest::of(b"aaa").hex(),
            &Sha256Digest::of(b"xxx").hex(),
        );
        fs::write(bag.join("manifest-sha256.txt"), changed).unwrap();
        seal(bag);
    });
    assert_eq!(followed, []);
    let text = verify(dir.path(), &["whole"]).expect(0).stdout;
    assert!(text.contains("the bag is not signed"), "{text}");
}
