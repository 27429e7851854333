//! What may be a destination, and what becomes of it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use tempfile::tempdir;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn what_was_staged_is_published_and_nothing_else_is_left() {
    let dir = tempdir().unwrap();
    let dest = dir.path().join("fn");
    let staging = Staging::create(&dest, PLAIN).unwrap();
    staging.create_dir("layers/x-1/code").unwrap();
    let mut spool = staging.create_scratch_file("spool", 0o644).unwrap();
    spool.write_all(b"zip").unwrap();
    staging.keep("spool", "layers/x-1/package.zip").unwrap();
    staging.create_scratch_file("other", 0o644).unwrap();
    fill(&staging, 1);
    assert_eq!(state(&dest), State::Absent);
    let published = staging.publish().unwrap();
    assert!(published.leftover.is_none());
    assert_eq!(published.path, dest.canonicalize().unwrap());
    assert_eq!(
        fs::read(dest.join("layers/x-1/package.zip")).unwrap(),
        b"zip"
    );
    assert!(is_record(&dest));
    assert_eq!(mode(&dest), 0o700);
    assert_eq!(mode(&dest.join("function.json")), 0o600);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_staging_can_be_used_from_any_thread() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Staging>();
    is_shared::<FilesError>();
}

#[test]
fn names_in_the_staging_go_down_only_and_are_new() {
    let dir = tempdir().unwrap();
    let staging = Staging::create(&dir.path().join("fn"), PLAIN).unwrap();
    staging.create_file("a", 0o644).unwrap();
    symlink("/etc", staging.path().join("link")).unwrap();
    for name in [
        "a",
        "../b",
        "/b",
        "",
        ".",
        "a/b",
        "link/b",
        "missing/b",
        "link",
    ] {
        assert!(staging.create_file(name, 0o644).is_err(), "{name:?}");
    }
    staging.create_dir("code").unwrap();
    for name in ["code", "../b", "/b", "", ".", "a/b", "link/b", "link"] {
        assert!(staging.create_dir(name).is_err(), "{name:?}");
    }
}

#[test]
fn a_staging_that_is_dropped_leaves_nothing() {
    let dir = tempdir().unwrap();
    let dest = dir.path().join("a/b/fn");
    let staging = Staging::create(&dest, PLAIN).unwrap();
    fill(&staging, 1);
    fs::set_permissions(
        staging.path().join("code"),
        fs::Permissions::from_mode(0o500),
    )
    .unwrap();
    drop(staging);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "parents too");
}

#[test]
fn parents_are_made_and_stay_when_they_are_used() {
    let dir = tempdir().unwrap();
    publish(&dir.path().join("a/b/fn"), PLAIN, 1).unwrap();
    assert_eq!(state(&dir.path().join("a/b/fn")), State::Whole(1));

    let staging = Staging::create(&dir.path().join("c/d/fn"), PLAIN).unwrap();
    fs::write(dir.path().join("c/other"), "").unwrap();
    drop(staging);
    assert!(dir.path().join("c/other").exists());
    assert!(!dir.path().join("c/d").exists());
}

#[test]
fn an_empty_directory_counts_as_absent() {
    let dir = tempdir().unwrap();
    let dest = dir.path().join("fn");
    fs::create_dir(&dest).unwrap();
    publish(&dest, PLAIN, 1).unwrap();
    assert_eq!(state(&dest), State::Whole(1));
    assert!(wrappers(dir.path()).is_empty());
}

#[test]
fn what_is_there_is_refused_and_named() {
    let dir = tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    publish(&at("record"), PLAIN, 1).unwrap();
    fs::create_dir(at("full")).unwrap();
    fs::write(at("full/x"), "").unwrap();
    // A directory of this name is no record.
    fs::create_dir_all(at("fake/larder.json")).unwrap();
    fs::create_dir(at("linked")).unwrap();
    symlink("/etc/passwd", at("linked/larder.json")).unwrap();
    fs::write(at("file"), "").unwrap();
    symlink("file", at("to-file")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    symlink("nowhere/at/all", at("far")).unwrap();
    symlink("loop", at("loop")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), rustix::fs::Mode::RWXU).unwrap();
    for (name, plain, forced) in [
        ("record", Occupant::Record, None),
        ("record/", Occupant::Record, None),
        ("record/.", Occupant::Record, None),
        ("full", Occupant::Directory, Some(Occupant::Directory)),
        ("fake", Occupant::Directory, Some(Occupant::Directory)),
        ("linked", Occupant::Directory, Some(Occupant::Directory)),
        ("file", Occupant::File, Some(Occupant::File)),
        ("file/", Occupant::File, Some(Occupant::File)),
        ("to-file", Occupant::Symlink, Some(Occupant::Symlink)),
        ("dangling", Occupant::Symlink, Some(Occupant::Symlink)),
        ("far", Occupant::Symlink, Some(Occupant::Symlink)),
        ("fifo", Occupant::Special, Some(Occupant::Special)),
    ] {
        assert_eq!(occupant(Staging::create(&at(name), PLAIN)), plain, "{name}");
        let error = Staging::create(&at(name), PLAIN).unwrap_err();
        assert_eq!(kind_and_hint(error).0, ErrorKind::DestinationExists);
        let error = Staging::create(&at(name), PLAIN).unwrap_err();
        assert!(kind_and_hint(error).1.contains("--force"), "{name}");
        match forced {
            Some(found) => assert_eq!(occupant(Staging::create(&at(name), FORCE)), found, "{name}"),
            None => drop(Staging::create(&at(name), FORCE).unwrap()),
        }
    }
    assert_eq!(
        occupant(Staging::create(Path::new("/"), FORCE)),
        Occupant::Root
    );
    assert!(Staging::create(&at("loop"), PLAIN).is_err());
    assert!(Staging::create(&at("file/fn"), PLAIN).is_err());
    assert!(!at("nowhere").exists());
    assert!(wrappers(dir.path()).is_empty());
    assert_eq!(state(&at("record")), State::Whole(1));
}

#[test]
fn a_path_that_names_no_place_is_a_usage_error() {
    let dir = tempdir().unwrap();
    for path in [PathBuf::new(), dir.path().join("missing/..")] {
        let error = Staging::create(&path, PLAIN).unwrap_err();
        assert_eq!(kind_and_hint(error).0, ErrorKind::Usage, "{path:?}");
    }
}

#[test]
fn a_link_to_a_directory_stands_for_it() {
    let dir = tempdir().unwrap();
    fs::create_dir_all(dir.path().join("real/empty")).unwrap();
    symlink("real/empty", dir.path().join("link")).unwrap();
    publish(&dir.path().join("link/"), PLAIN, 1).unwrap();
    publish(&dir.path().join("link"), FORCE, 2).unwrap();
    assert_eq!(state(&dir.path().join("real/empty")), State::Whole(2));
    assert!(
        fs::symlink_metadata(dir.path().join("link"))
            .unwrap()
            .is_symlink()
    );
    assert!(wrappers(&dir.path().join("real")).is_empty());
}

#[test]
fn odd_names_are_names() {
    let dir = tempdir().unwrap();
    let long = "x".repeat(255);
    let wide = "é".repeat(127);
    for name in [
        OsStr::from_bytes(b"\xff\xfe"),
        OsStr::new(" a\nb"),
        OsStr::new(&long),
        OsStr::new(&wide),
        OsStr::new(".larder-0123456789abcdef"),
    ] {
        let dest = dir.path().join(name);
        publish(&dest, PLAIN, 1).unwrap();
        publish(&dest, FORCE, 2).unwrap();
        assert_eq!(state(&dest), State::Whole(2), "{}", name.display());
    }
    let error = Staging::create(&dir.path().join("x".repeat(256)), PLAIN).unwrap_err();
    assert_eq!(
        kind_and_hint(error),
        (ErrorKind::Io, "choose a shorter destination".to_owned())
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5);
}

#[test]
fn force_replaces_a_record_with_and_without_exchange_inside_and_beside() {
    for (exchange, noreplace, inside, syncfs) in [
        (true, true, false, true),
        (false, false, false, false),
        (true, true, true, true),
        (false, false, true, false),
    ] {
        let rig = || Rig {
            exchange,
            noreplace,
            syncfs,
            inside,
            ..Rig::default()
        };
        let dir = tempdir().unwrap();
        let dest = dir.path().join("fn");
        fs::create_dir(&dest).unwrap();
        for n in 1..4 {
            let staging = Staging::create_with(&dest, FORCE, rig()).unwrap();
            fill(&staging, n);
            assert!(staging.publish().unwrap().leftover.is_none());
            assert_eq!(state(&dest), State::Whole(n));
            assert!(wrappers(dir.path()).is_empty() && wrappers(&dest).is_empty());
        }
    }
}

#[test]
fn what_comes_to_be_there_meanwhile_is_never_replaced() {
    for exchange in [true, false] {
        for force in [true, false] {
            let rig = Rig {
                exchange,
                ..Rig::default()
            };
            let dir = tempdir().unwrap();
            let dest = dir.path().join("fn");
            let staging =
                Staging::create_with(&dest, PublishOptions { force, sync: false }, rig).unwrap();
            fill(&staging, 1);
            fs::create_dir(&dest).unwrap();
            fs::write(dest.join("precious"), "").unwrap();
            assert_eq!(occupant(staging.publish()), Occupant::Directory);
            assert!(dest.join("precious").exists());
            assert!(wrappers(dir.path()).is_empty());
        }
    }
}

#[test]
fn a_directory_swapped_in_at_the_last_moment_goes_back() {
    for exchange in [true, false] {
        let rig = Rig {
            exchange,
            ..Rig::default()
        };
        let dir = tempdir().unwrap();
        let dest = dir.path().join("fn");
        let staging = Staging::create_with(&dest, FORCE, rig).unwrap();
        fill(&staging, 1);
        // As if the look before had seen a record.
        fs::create_dir(&dest).unwrap();
        fs::write(dest.join("precious"), "").unwrap();
        assert_eq!(occupant(staging.replace()), Occupant::Directory);
        drop(staging);
        assert!(dest.join("precious").exists());
        assert!(wrappers(dir.path()).is_empty());
    }
}

#[test]
fn every_step_that_fails_leaves_old_or_new() {
    for (inside, exchange) in [(false, true), (false, false), (true, true)] {
        for fails_at in 0.. {
            let calls = std::sync::atomic::AtomicUsize::new(0);
            let rig = Rig {
                inside,
                exchange,
                at: Box::new(move |checkpoint| {
                    let call = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if call == fails_at && checkpoint != Checkpoint::RollingBack {
                        return Err(std::io::Error::from_raw_os_error(28));
                    }
                    Ok(())
                }),
                ..Rig::default()
            };
            let dir = tempdir().unwrap();
            let dest = dir.path().join("fn");
            publish(&dest, PLAIN, 1).unwrap();
            let outcome = Staging::create_with(&dest, FORCE, rig).and_then(|staging| {
                fill(&staging, 2);
                staging.publish()
            });
            assert!(wrappers(dir.path()).is_empty() && wrappers(&dest).is_empty());
            match outcome {
                Ok(_) => {
                    assert_eq!(state(&dest), State::Whole(2));
                    break;
                }
                Err(e) => {
                    assert_eq!(kind_and_hint(e).0, ErrorKind::DiskFull);
                    let state = state(&dest);
                    assert!(
                        matches!(state, State::Whole(1 | 2)),
                        "failed at {fails_at}: {state:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_file_is_written_whole() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("larder.lock");
    let dead = dir.path().join(".larder.lock.larder-0123456789abcdef");
    fs::create_dir(&dead).unwrap();
    fs::set_permissions(&dead, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(dead.join("lock"), "").unwrap();
    fs::write(dead.join("new"), "half").unwrap();
    write_file_atomic(&path, b"one", 0o644).unwrap();
    write_file_atomic(&path, b"two", 0o644).unwrap();
    symlink("larder.lock", dir.path().join("link")).unwrap();
    write_file_atomic(&dir.path().join("link"), b"three", 0o600).unwrap();
    assert_eq!(read_small(&path, 5).unwrap(), b"three");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    write_file_atomic(Path::new("/dev/null"), b"x", 0o600).unwrap();
    assert!(write_file_atomic(dir.path(), b"x", 0o600).is_err());
    assert!(write_file_atomic(&dir.path().join("no/x"), b"x", 0o600).is_err());
}

#[test]
fn reads_take_regular_files_within_their_limit() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "12345").unwrap();
    assert_eq!(read_small(&path, 5).unwrap(), b"12345");
    assert!(read_small(&path, 4).is_err());
    assert!(open_read(dir.path()).is_err());
    let fifo = dir.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    assert!(open_read(&fifo).is_err());
    assert!(exists(&fifo) && !exists(&dir.path().join("none")));
}

#[test]
fn each_refusal_of_the_system_says_what_to_do() {
    for (errno, kind, word) in [
        (
            rustix::io::Errno::NOSPC,
            ErrorKind::DiskFull,
            "free some space",
        ),
        (rustix::io::Errno::DQUOT, ErrorKind::DiskFull, "quota"),
        (rustix::io::Errno::ACCESS, ErrorKind::Io, "who may write"),
        (rustix::io::Errno::ROFS, ErrorKind::Io, "read-only"),
        (rustix::io::Errno::NAMETOOLONG, ErrorKind::Io, "shorter"),
        (rustix::io::Errno::BUSY, ErrorKind::Io, "mount point"),
    ] {
        let error = Error::from(FilesError::io("write", "/tmp/x", errno));
        assert_eq!(error.kind(), kind);
        assert!(error.hint_text().unwrap().contains(word), "{error:?}");
        assert_eq!(error.to_string(), "/tmp/x: cannot write");
        assert_eq!(error.causes().len(), 1);
    }
}

#[test]
fn what_cannot_be_read_is_no_matter_of_writing() {
    use rustix::io::Errno;
    for (errno, word) in [
        (Errno::ACCESS, "who may read"),
        (Errno::NOENT, "check the path"),
        (Errno::NOTDIR, "check the path"),
        (Errno::MFILE, "ulimit"),
    ] {
        let error = Error::from(FilesError::unread("open", "/tmp/x", errno));
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.hint_text().unwrap().contains(word), "{error:?}");
        assert_eq!(error.to_string(), "/tmp/x: cannot open");
        assert_eq!(error.causes().len(), 1);
    }
    let error = Error::from(open_read(Path::new("/")).unwrap_err());
    assert!(
        error.hint_text().unwrap().contains("directory"),
        "{error:?}"
    );
}

/// Relative names need a working directory of their own.
#[test]
fn the_working_directory_is_filled_and_stays_the_same() {
    let dir = tempdir().unwrap();
    let here = dir.path().join("here");
    fs::create_dir(&here).unwrap();
    let mut command = child(&[], "files::tests::places::child_in_a_directory", &[]);
    command.current_dir(&here);
    pass(command);
    assert_eq!(state(&here), State::Whole(3));
    assert_eq!(state(&dir.path().join("sibling")), State::Whole(1));
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_in_a_directory() {
    if !is_child() {
        return;
    }
    let before = rustix::fs::stat(".").unwrap().st_ino;
    publish(Path::new("../sibling/"), PLAIN, 1).unwrap();
    publish(Path::new("."), PLAIN, 1).unwrap();
    assert_eq!(
        occupant(Staging::create(Path::new("."), PLAIN)),
        Occupant::Record
    );
    publish(Path::new("./"), FORCE, 2).unwrap();
    publish(&std::env::current_dir().unwrap(), FORCE, 3).unwrap();
    assert_eq!(state(Path::new(".")), State::Whole(3));
    assert_eq!(rustix::fs::stat(".").unwrap().st_ino, before);
    assert!(wrappers(Path::new(".")).is_empty());
    publish(Path::new("sub"), PLAIN, 1).unwrap();
    fs::remove_dir_all("sub").unwrap();
}
