//! Trees that are hard to remove.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use tempfile::tempdir;

use super::*;

fn open(path: &Path) -> OwnedFd {
    openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
}

#[test]
fn a_tree_deeper_than_any_path_is_removed() {
    let dir = tempdir().unwrap();
    let dest = dir.path().join("fn");
    let staging = Staging::create(&dest, PLAIN).unwrap();
    let mut at = open(staging.path());
    for depth in 0..3000 {
        // A name that the removal uses itself for what it moves up.
        for name in ["directory", "1", "7f"] {
            mkdirat(&at, name, Mode::RWXU).unwrap();
        }
        if depth % 100 == 0 {
            openat(&at, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).unwrap();
        }
        at = openat(
            &at,
            "directory",
            OFlags::RDONLY | OFlags::DIRECTORY,
            Mode::empty(),
        )
        .unwrap();
    }
    drop(at);
    drop(staging);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn links_are_removed_and_never_followed() {
    let dir = tempdir().unwrap();
    let outside = dir.path().join("outside");
    fs::create_dir_all(outside.join("sub")).unwrap();
    fs::write(outside.join("precious"), "").unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    symlink(&outside, tree.join("link")).unwrap();
    symlink("../../../outside", tree.join("a/b/link")).unwrap();
    symlink("..", tree.join("a/up")).unwrap();
    let parent = open(dir.path());
    remove_tree(&parent, "tree").unwrap();
    remove_tree(&parent, "tree").unwrap();
    symlink(&outside, dir.path().join("root-link")).unwrap();
    remove_tree(&parent, "root-link").unwrap();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 2);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_wide_tree_is_removed() {
    let dir = tempdir().unwrap();
    for i in 0..3000 {
        fs::create_dir_all(dir.path().join(format!("tree/{i}/x"))).unwrap();
        fs::write(dir.path().join(format!("tree/f{i}")), "").unwrap();
    }
    remove_tree(open(dir.path()), "tree").unwrap();
    assert!(!dir.path().join("tree").exists());
}

/// Root may do anything; so this runs as nobody where the tests run as root.
#[test]
fn permissions_are_no_obstacle_where_they_are_ours_and_an_error_where_not() {
    let dir = tempdir().unwrap();
    let mut command = child(
        &[],
        "files::tests::removal::child_without_privileges",
        &[("HOST", dir.path().to_str().unwrap())],
    );
    if rustix::process::geteuid().is_root() {
        fs::create_dir(dir.path().join("roots")).unwrap();
        fs::create_dir(dir.path().join("roots/fn")).unwrap();
        for path in ["", "roots/fn"] {
            std::os::unix::fs::chown(dir.path().join(path), Some(65534), None).unwrap();
        }
        command.uid(65534).gid(65534).current_dir("/");
        let can_start = child(&[], "--list", &[]).uid(65534).gid(65534).output();
        if !can_start.is_ok_and(|output| output.status.success()) {
            return skipped("permissions (the test binary cannot be run as nobody)");
        }
    }
    pass(command);
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_without_privileges() {
    if !is_child() {
        return;
    }
    let host = PathBuf::from(told("HOST"));
    let chmod = |path: &str, mode| {
        fs::set_permissions(host.join(path), fs::Permissions::from_mode(mode)).unwrap();
    };

    // A staging with directories that cannot be written, read or entered, also below the depth that is open.
    let staging = Staging::create(&host.join("fn"), PLAIN).unwrap();
    let deep = format!("{}x", "d/".repeat(40));
    for name in ["a", "b", "c", "a/sub", deep.as_str()] {
        staging.create_dir(name).unwrap();
        staging.create_file(&format!("{name}/file"), 0o644).unwrap();
    }
    for (name, mode) in [
        ("a/sub", 0o500),
        ("a", 0o500),
        ("b", 0o000),
        ("c", 0o300),
        (deep.as_str(), 0o100),
    ] {
        fs::set_permissions(staging.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut at = staging.path().join("d");
    for _ in 0..30 {
        at.push("d");
    }
    fs::set_permissions(&at, fs::Permissions::from_mode(0o500)).unwrap();
    drop(staging);
    assert!(wrappers(&host).is_empty());

    // A parent that cannot be read, only written to.
    fs::create_dir(host.join("drop")).unwrap();
    chmod("drop", 0o300);
    publish(&host.join("drop/fn"), PLAIN, 1).unwrap();
    chmod("drop", 0o700);
    assert_eq!(state(&host.join("drop/fn")), State::Whole(1));

    // Nothing may be made in the parent: absent is refused, an empty directory is filled from inside.
    fs::create_dir_all(host.join("closed/fn")).unwrap();
    chmod("closed", 0o500);
    let error = Staging::create(&host.join("closed/other"), PLAIN).unwrap_err();
    let (kind, hint) = kind_and_hint(error);
    assert!(
        kind == ErrorKind::Io && hint.contains("who may write"),
        "{hint}"
    );
    for (options, n) in [(PLAIN, 1), (FORCE, 2)] {
        publish(&host.join("closed/fn"), options, n).unwrap();
        assert_eq!(state(&host.join("closed/fn")), State::Whole(n));
    }
    if host.join("roots").exists() {
        publish(&host.join("roots/fn"), PLAIN, 1).unwrap();
        publish(&host.join("roots/fn"), FORCE, 2).unwrap();
        assert_eq!(state(&host.join("roots/fn")), State::Whole(2));
    }
    // A child of the old one that cannot be moved aside: everything goes back.
    chmod("closed/fn/code", 0o500);
    publish(&host.join("closed/fn"), FORCE, 3).unwrap_err();
    chmod("closed/fn/code", 0o700);
    assert_eq!(state(&host.join("closed/fn")), State::Whole(2));
    assert!(wrappers(&host.join("closed/fn")).is_empty());
    chmod("closed", 0o700);

    // An old destination that its owner made unwritable is not replaced against that.
    publish(&host.join("kept"), PLAIN, 1).unwrap();
    chmod("kept", 0o500);
    let outcome = publish(&host.join("kept"), FORCE, 2);
    assert!(outcome.is_err());
    assert_eq!(state(&host.join("kept")), State::Whole(1));
    assert!(wrappers(&host).is_empty());

    // A wrapper name that is no text.
    let odd = host.join(<OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff"));
    publish(&odd, PLAIN, 1).unwrap();
}
