//! Bags that want to lead astray: out of the bag, into an endless read, into too much memory.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use larder::digest::Sha256Digest;

use super::{findings, found, make_bag, put, seal, verify};

const A: &str = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";

fn with_manifest(dir: &Path, more: &str) -> Vec<(String, String)> {
    let bag = dir.join("bag");
    let _ = fs::remove_dir_all(&bag);
    make_bag(&bag, &[("a", b"a")]);
    let manifest = fs::read_to_string(bag.join("manifest-sha256.txt")).unwrap();
    fs::write(bag.join("manifest-sha256.txt"), format!("{manifest}{more}")).unwrap();
    seal(&bag);
    findings(dir, &["bag"])
}

#[test]
fn lines_of_a_manifest_that_lead_astray_are_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("secret"), "a").unwrap();
    for (line, kind, path) in [
        (format!("{A}  ../secret"), "path", "../secret"),
        (
            format!("{A}  data/../../secret"),
            "path",
            "data/../../secret",
        ),
        (
            format!("{A}  {}", dir.path().join("secret").display()),
            "path",
            "",
        ),
        (format!("{A}  ~/secret"), "path", "~/secret"),
        (format!("{A}  data\\..\\secret"), "path", "data\\..\\secret"),
        (format!("{A}  bagit.txt"), "path", "bagit.txt"),
        (format!("{A}  data/a"), "duplicate", "data/a"),
        (format!("{A}  ./data/a"), "duplicate", "data/a"),
        (format!("{}  data/a", "0".repeat(64)), "duplicate", "data/a"),
        ("no line".to_owned(), "path", "line"),
        ("nonsense".to_owned(), "malformed", "manifest-sha256.txt"),
        (format!("{A}  data/gone"), "missing", "data/gone"),
        (
            format!("{}  data/{}", A, "x".repeat(20_000)),
            "malformed",
            "manifest-sha256.txt",
        ),
    ] {
        let kinds = with_manifest(dir.path(), &format!("{line}\n"));
        assert_eq!(kinds.len(), 1, "{line}: {kinds:?}");
        assert_eq!(kinds[0].0, kind, "{line}");
        assert!(path.is_empty() || kinds[0].1 == path, "{line}: {kinds:?}");
    }
}

#[test]
fn links_pipes_and_odd_names_are_told_and_never_followed() {
    let dir = tempfile::tempdir().unwrap();
    let bag = dir.path().join("bag");
    make_bag(&bag, &[("a", b"a")]);
    put(dir.path(), "outside/x", "a");
    symlink("../../outside", bag.join("data/link")).unwrap();
    symlink("/", bag.join("root")).unwrap();
    symlink("loop", bag.join("data/loop")).unwrap();
    let done = Command::new("mkfifo")
        .arg(bag.join("data/pipe"))
        .status()
        .unwrap();
    assert!(done.success());
    let odd = std::ffi::OsStr::from_bytes(b"data/\xff\x1b[31m");
    fs::write(bag.join(odd), "x").unwrap();
    found(
        dir.path(),
        &["bag"],
        &[
            ("contradiction", "bag-info.txt"),
            ("special", "data/link"),
            ("special", "data/loop"),
            ("special", "data/pipe"),
            ("unexpected", "data/\u{fffd}\u{1b}[31m"),
            ("special", "root"),
        ],
    );
    let text = verify(dir.path(), &["--color", "never", "bag"])
        .expect(1)
        .stdout;
    assert!(!text.contains('\u{1b}'), "{text:?}");
    // What the bag is made of may be no link either.
    for name in [
        "bagit.txt",
        "manifest-sha256.txt",
        "tagmanifest-sha256.txt",
        "data",
    ] {
        let bag = dir.path().join("case");
        make_bag(&bag, &[("a", b"a")]);
        let aside = dir.path().join("aside");
        fs::rename(bag.join(name), &aside).unwrap();
        symlink("../aside", bag.join(name)).unwrap();
        let kinds = findings(dir.path(), &["case"]);
        assert!(
            kinds
                .iter()
                .any(|(kind, path)| kind == "special" && path == name),
            "{name}: {kinds:?}"
        );
        fs::remove_dir_all(&bag).unwrap();
        let _ = fs::remove_dir_all(&aside);
        let _ = fs::remove_file(&aside);
    }
}

#[test]
fn unknown_algorithms_and_versions_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let bag = dir.path().join("bag");
    make_bag(&bag, &[("a", b"a")]);
    put(&bag, "manifest-crc32.txt", "e8b7be43  data/a\n");
    seal(&bag);
    found(
        dir.path(),
        &["bag"],
        &[("unsupported", "manifest-crc32.txt")],
    );
    fs::remove_file(bag.join("manifest-crc32.txt")).unwrap();
    put(
        &bag,
        "bagit.txt",
        "BagIt-Version: 3.0\nTag-File-Character-Encoding: UTF-8\n",
    );
    seal(&bag);
    found(dir.path(), &["bag"], &[("unsupported", "bagit.txt")]);
}

#[test]
fn files_that_are_elsewhere_are_missing_and_never_fetched() {
    let dir = tempfile::tempdir().unwrap();
    let bag = dir.path().join("bag");
    make_bag(&bag, &[("a", b"a"), ("b", b"b")]);
    put(
        &bag,
        "fetch.txt",
        "http://127.0.0.1:9/b?token=s3cret 1 data/b\n",
    );
    seal(&bag);
    // Both here: the bag is whole.
    found(dir.path(), &["bag"], &[]);
    fs::remove_file(bag.join("data/b")).unwrap();
    found(
        dir.path(),
        &["bag"],
        &[("contradiction", "bag-info.txt"), ("missing", "data/b")],
    );
    let text = verify(dir.path(), &["bag"]).expect(1).stdout;
    assert!(
        text.contains("larder fetches nothing") && !text.contains("s3cret"),
        "{text}"
    );
    for (line, kind, path) in [
        ("http://h/x 1 ../x", "path", "../x"),
        ("http://h/x 1 data/c", "contradiction", "data/c"),
        ("http://h/x one data/a", "malformed", "fetch.txt"),
        ("nonsense", "malformed", "fetch.txt"),
    ] {
        put(&bag, "data/b", "b");
        put(&bag, "fetch.txt", format!("{line}\n"));
        seal(&bag);
        found(dir.path(), &["bag"], &[(kind, path)]);
    }
}

#[test]
fn a_huge_manifest_does_not_fill_the_memory() {
    let dir = tempfile::tempdir().unwrap();
    let bag = dir.path().join("bag");
    make_bag(&bag, &[("a", b"a")]);
    let mut text = format!("{}  data/a\n", Sha256Digest::of(b"a"));
    for number in 0..600_000 {
        let _ = writeln!(text, "{A}  data/{number:060}");
    }
    put(&bag, "manifest-sha256.txt", text);
    seal(&bag);
    let started = std::time::Instant::now();
    let ran = super::bare_time(dir.path(), &["verify", "-q", "--output", "json", "bag"]);
    assert_eq!(ran.0.code, 1);
    assert!(started.elapsed().as_secs() < 60);
    let json = ran.0.json();
    let list = json["paths"][0]["findings"].as_array().unwrap();
    assert!(
        list.iter()
            .any(|finding| finding["message"].as_str().unwrap().contains("more than")),
        "{}",
        list.len()
    );
    assert!(list.len() <= 10_001, "{}", list.len());
    // 32 MiB, and the 64 MiB that manifests may have.
    assert!(ran.1 < 96 << 10, "{} KiB", ran.1);
}

#[test]
fn a_sparse_payload_is_hashed_with_little_memory_and_can_be_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let bag = dir.path().join("bag");
    make_bag(&bag, &[("a", b"a")]);
    let file = fs::File::create(bag.join("data/large")).unwrap();
    file.set_len(96 << 20).unwrap();
    let (ran, peak) = super::bare_time(dir.path(), &["verify", "--output", "json", "bag"]);
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.json()["paths"][0]["findings"][0]["path"],
        "bag-info.txt"
    );
    assert!(peak < 32 << 10, "{peak} KiB");
    file.set_len(1 << 40).unwrap();
    let mut child = crate::harness::bare(dir.path())
        .args(["verify", "bag"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let started = std::time::Instant::now();
    assert!(child.try_wait().unwrap().is_none());
    let done = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(done.success());
    let ran = crate::harness::finish(child);
    assert_eq!(ran.code, 130, "{ran:?}");
    assert!(started.elapsed().as_secs() < 5);
}
