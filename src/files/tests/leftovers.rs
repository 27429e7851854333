//! What dead runs left is put right; what live runs have is let alone.

use std::os::unix::fs::PermissionsExt as _;

use tempfile::{TempDir, tempdir};

use super::*;

const DEAD: &str = ".fn.larder-0123456789abcdef";

/// A wrapper whose run is dead: nobody holds its lock.
fn dead(host: &Path, name: &str) -> PathBuf {
    let wrapper = host.join(name);
    fs::create_dir(&wrapper).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(wrapper.join("lock"), "").unwrap();
    wrapper
}

/// A parent whose `fn` was moved aside into a dead wrapper, as version 1.
fn moved_aside() -> (TempDir, PathBuf, PathBuf) {
    let dir = tempdir().unwrap();
    let dest = dir.path().join("fn");
    publish(&dest, PLAIN, 1).unwrap();
    let wrapper = dead(dir.path(), DEAD);
    fs::create_dir(wrapper.join("new")).unwrap();
    fs::rename(&dest, wrapper.join("old")).unwrap();
    (dir, dest, wrapper)
}

#[test]
fn a_dead_staging_is_removed_by_the_next_run_for_the_same_destination() {
    let dir = tempdir().unwrap();
    let wrapper = dead(dir.path(), DEAD);
    fs::create_dir_all(wrapper.join("new/code")).unwrap();
    fs::write(wrapper.join("new/code/x"), "").unwrap();
    publish(&dir.path().join("other"), PLAIN, 1).unwrap();
    assert!(wrapper.exists(), "another destination's");
    publish(&dir.path().join("fn"), PLAIN, 1).unwrap();
    assert!(!wrapper.exists());
}

#[test]
fn what_only_looks_like_a_leftover_stays() {
    let dir = tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in [
        ".fn.larder-0123456789abcde",
        ".fn.larder-0123456789ABCDEF",
        ".fn.larder-0123456789abcdef0",
        "fn.larder-0123456789abcdef",
        ".fn2.larder-0123456789abcdef",
    ] {
        dead(dir.path(), name);
    }
    fs::write(at(".fn.larder-aaaaaaaaaaaaaaaa"), "a file").unwrap();
    std::os::unix::fs::symlink(
        "fn.larder-0123456789abcdef",
        at(".fn.larder-bbbbbbbbbbbbbbbb"),
    )
    .unwrap();
    // Writable by others, so perhaps not our own: never taken over.
    let open = dead(dir.path(), ".fn.larder-cccccccccccccccc");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    // No lock file, and not empty.
    fs::create_dir_all(at(".fn.larder-dddddddddddddddd/x")).unwrap();
    // No lock file and empty: a run that died at once.
    fs::create_dir(at(".fn.larder-eeeeeeeeeeeeeeee")).unwrap();
    fs::set_permissions(
        at(".fn.larder-eeeeeeeeeeeeeeee"),
        fs::Permissions::from_mode(0o700),
    )
    .unwrap();
    publish(&at("fn"), PLAIN, 1).unwrap();
    let left = wrappers(dir.path());
    assert_eq!(left.len(), 9, "{left:?}");
    assert!(!at(".fn.larder-eeeeeeeeeeeeeeee").exists());
}

#[test]
fn somebody_elses_wrapper_is_never_taken_over() {
    if !rustix::process::geteuid().is_root() {
        return skipped("a wrapper of another user (needs root)");
    }
    let (dir, dest, wrapper) = moved_aside();
    std::os::unix::fs::chown(&wrapper, Some(65534), None).unwrap();
    let staging = Staging::create(&dest, PLAIN).unwrap();
    assert_eq!(state(&dest), State::Absent);
    drop(staging);
    assert!(wrapper.join("old").exists());
    drop(dir);
}

#[test]
fn two_live_runs_do_not_touch_each_other() {
    for force in [false, true] {
        let options = PublishOptions { force, sync: true };
        let dir = tempdir().unwrap();
        let dest = dir.path().join("fn");
        let one = Staging::create(&dest, options).unwrap();
        let two = Staging::create(&dest, options).unwrap();
        fill(&one, 1);
        fill(&two, 2);
        assert_eq!(wrappers(dir.path()).len(), 2);
        one.publish().unwrap();
        assert_eq!(wrappers(dir.path()).len(), 1);
        if force {
            two.publish().unwrap();
            assert_eq!(state(&dest), State::Whole(2));
        } else {
            assert_eq!(occupant(two.publish()), Occupant::Record);
            assert_eq!(state(&dest), State::Whole(1));
        }
        assert!(wrappers(dir.path()).is_empty());
    }
}

#[test]
fn many_runs_at_once_leave_one_of_them() {
    for inside in [false, true] {
        let dir = tempdir().unwrap();
        let dest = dir.path().join("fn");
        fs::create_dir(&dest).unwrap();
        let done: Vec<bool> = std::thread::scope(|scope| {
            let runs: Vec<_> = (1..=8)
                .map(|n| {
                    let dest = &dest;
                    scope.spawn(move || {
                        let options = PublishOptions {
                            force: true,
                            sync: false,
                        };
                        (0..20).any(|_| {
                            Staging::create_with(
                                dest,
                                options,
                                Rig {
                                    inside,
                                    ..Rig::default()
                                },
                            )
                            .and_then(|staging| {
                                fill(&staging, n);
                                staging.publish()
                            })
                            .is_ok()
                        })
                    })
                })
                .collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        assert!(done.iter().any(|done| *done));
        assert!(
            matches!(state(&dest), State::Whole(_)),
            "{:?}",
            state(&dest)
        );
        assert!(wrappers(dir.path()).is_empty() && wrappers(&dest).is_empty());
    }
}

#[test]
fn what_was_moved_aside_is_put_back_before_anything_else() {
    let (dir, dest, _) = moved_aside();
    assert_eq!(occupant(Staging::create(&dest, PLAIN)), Occupant::Record);
    assert_eq!(state(&dest), State::Whole(1));
    assert!(wrappers(dir.path()).is_empty());

    // An empty directory in its place counts as absent.
    let (_dir, dest, _) = moved_aside();
    fs::create_dir(&dest).unwrap();
    drop(Staging::create(&dest, FORCE).unwrap());
    assert_eq!(state(&dest), State::Whole(1));

    // The link that leads there leads nowhere until then.
    let (dir, dest, _) = moved_aside();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink("fn", &link).unwrap();
    assert_eq!(occupant(Staging::create(&link, PLAIN)), Occupant::Record);
    assert_eq!(state(&dest), State::Whole(1));
}

#[test]
fn what_was_moved_aside_is_kept_when_its_place_is_taken() {
    let (dir, dest, wrapper) = moved_aside();
    fs::write(&dest, "a file").unwrap();
    let error = Staging::create(&dest, FORCE).unwrap_err();
    assert!(matches!(error, FilesError::Aside { .. }), "{error:?}");
    assert_eq!(state(&wrapper.join("old")), State::Whole(1));
    fs::remove_file(&dest).unwrap();
    publish(&dest, FORCE, 2).unwrap();
    assert_eq!(state(&dest), State::Whole(2));
    assert!(wrappers(dir.path()).is_empty());
}

#[test]
fn what_was_moved_aside_goes_when_the_new_one_is_in_place() {
    let (dir, dest, wrapper) = moved_aside();
    fs::remove_dir(wrapper.join("new")).unwrap();
    fs::create_dir(&dest).unwrap();
    fs::write(dest.join("unpacked-without-a-record"), "").unwrap();
    assert_eq!(occupant(Staging::create(&dest, PLAIN)), Occupant::Directory);
    assert!(wrappers(dir.path()).is_empty());
}

#[test]
fn what_was_half_removed_is_never_put_back() {
    let (dir, dest, wrapper) = moved_aside();
    fs::rename(wrapper.join("old"), wrapper.join("gone")).unwrap();
    drop(Staging::create(&dest, PLAIN).unwrap());
    assert_eq!(state(&dest), State::Absent);
    assert!(wrappers(dir.path()).is_empty());
}

#[test]
fn without_locks_leftovers_stay_and_nothing_moved_aside_is_passed_over() {
    let rig = || Rig {
        flock: false,
        ..Rig::default()
    };
    let (dir, dest, wrapper) = moved_aside();
    let error = Staging::create_with(&dest, FORCE, rig()).unwrap_err();
    assert!(matches!(error, FilesError::Aside { .. }), "{error:?}");
    fs::rename(wrapper.join("old"), &dest).unwrap();
    let staging = Staging::create_with(&dest, FORCE, rig()).unwrap();
    fill(&staging, 2);
    staging.publish().unwrap();
    assert_eq!(state(&dest), State::Whole(2));
    assert_eq!(wrappers(dir.path()), [DEAD], "it may be a live one's");
}

#[test]
fn inside_a_destination_only_one_run_is_at_work() {
    let rig = || Rig {
        inside: true,
        ..Rig::default()
    };
    let dir = tempdir().unwrap();
    let dest = dir.path().join("fn");
    fs::create_dir(&dest).unwrap();
    let one = Staging::create_with(&dest, PLAIN, rig()).unwrap();
    assert_eq!(
        occupant(Staging::create_with(&dest, PLAIN, rig())),
        Occupant::InUse
    );
    assert_eq!(occupant(Staging::create(&dest, FORCE)), Occupant::InUse);
    fill(&one, 1);
    one.publish().unwrap();
    assert_eq!(state(&dest), State::Whole(1));

    // One that came beside gives way to one at work inside.
    let two = Staging::create(&dest, FORCE).unwrap();
    let three = Staging::create_with(&dest, FORCE, rig()).unwrap();
    fill(&two, 2);
    fill(&three, 3);
    assert_eq!(occupant(two.publish()), Occupant::InUse);
    three.publish().unwrap();
    assert_eq!(state(&dest), State::Whole(3));
}

#[test]
fn a_journal_that_is_not_whole_moves_nothing() {
    let dir = tempdir().unwrap();
    let dest = dir.path().join("fn");
    publish(&dest, PLAIN, 1).unwrap();
    let wrapper = dead(&dest, ".larder-0123456789abcdef");
    for journal in ["", "larder-journal 1", "larder-journal 1\0-../../x\0."] {
        fs::write(wrapper.join("journal"), journal).unwrap();
        let error = Staging::create(&dest, FORCE).unwrap_err();
        assert!(matches!(error, FilesError::Aside { .. }), "{error:?}");
        assert!(wrapper.exists());
    }
    fs::remove_file(wrapper.join("journal")).unwrap();
    publish(&dest, FORCE, 2).unwrap();
    assert_eq!(state(&dest), State::Whole(2));
}
