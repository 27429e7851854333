//! Runs that are killed, for real, at every named moment and at random ones; then a rerun.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::{TempDir, tempdir};

use super::*;

/// How a destination is made or replaced, in words: `stands` (an empty directory is there), `force` (a version
/// 1 is there), `inside`, `exchange`. As words, so that another process can be told.
#[derive(Debug, Clone, Copy)]
struct Case<'a>(&'a str);

const CASES: [Case<'static>; 6] = [
    Case("exchange"),
    Case("stands exchange"),
    Case("stands force exchange"),
    Case("stands force"),
    Case("stands inside"),
    Case("stands force inside"),
];

impl Case<'_> {
    fn has(self, word: &str) -> bool {
        self.0.split(' ').any(|w| w == word)
    }

    fn options(self) -> PublishOptions {
        PublishOptions {
            force: self.has("force"),
            sync: true,
        }
    }

    fn rig(self, at: impl Fn(Checkpoint) -> std::io::Result<()> + Send + Sync + 'static) -> Rig {
        Rig {
            inside: self.has("inside"),
            exchange: self.has("exchange"),
            at: Box::new(at),
            ..Rig::default()
        }
    }

    fn prepare(self, dest: &Path) {
        if self.has("stands") && !dest.exists() {
            fs::create_dir(dest).unwrap();
        }
        if self.has("force") {
            publish(dest, PLAIN, 1).unwrap();
        }
    }

    /// The checkpoints of a run that is let through.
    fn checkpoints(self) -> Vec<Checkpoint> {
        let (_dir, dest) = place();
        self.prepare(&dest);
        let seen = std::sync::Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let rig = self.rig(move |checkpoint| {
            log.lock().unwrap().push(checkpoint);
            Ok(())
        });
        let staging = Staging::create_with(&dest, self.options(), rig).unwrap();
        fill(&staging, 2);
        staging.publish().unwrap();
        let seen = seen.lock().unwrap();
        seen.clone()
    }

    /// What may be there before the run and after one that came to nothing.
    fn is_before(self, state: &State) -> bool {
        match state {
            State::Whole(1) => self.has("force"),
            State::Empty => self.has("stands") && !self.has("force"),
            State::Absent => !self.has("force"),
            _ => false,
        }
    }
}

fn place() -> (TempDir, PathBuf) {
    let dir = tempdir().unwrap();
    let dest = dir.path().join("fn");
    (dir, dest)
}

/// Publishes version 2 in another process, which kills itself at the `kill_at`th checkpoint.
fn killed(dest: &Path, case: Case<'_>, kill_at: usize) -> Command {
    child(
        &[],
        "files::tests::crash::child_that_is_killed",
        &[
            ("DEST", dest.to_str().unwrap()),
            ("CASE", case.0),
            ("KILL_AT", &kill_at.to_string()),
        ],
    )
}

fn run_killed(dest: &Path, case: Case<'_>, kill_at: usize) {
    use std::os::unix::process::ExitStatusExt as _;
    let output = killed(dest, case, kill_at).output().unwrap();
    assert_eq!(output.status.signal(), Some(9), "{output:?}");
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_that_is_killed() {
    if !is_child() {
        return;
    }
    let words = told("CASE");
    let kill_at: usize = told("KILL_AT").parse().unwrap();
    let dest = PathBuf::from(told("DEST"));
    publish_and_die(&dest, Case(&words), kill_at);
}

fn publish_and_die(dest: &Path, case: Case<'_>, kill_at: usize) {
    let calls = AtomicUsize::new(0);
    let rig = case.rig(move |_| {
        if calls.fetch_add(1, Ordering::Relaxed) == kill_at {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
                .unwrap();
        }
        Ok(())
    });
    let staging = Staging::create_with(dest, case.options(), rig).unwrap();
    fill(&staging, 2);
    staging.publish().unwrap();
}

/// After a kill: a rerun that is given up leaves what was there before, or the new one, and nothing else; a
/// rerun that is let through leaves the new one.
fn recovers(dest: &Path, case: Case<'_>, context: &str) {
    // Without --force: whole, or refused as whole; never anything in between.
    match Staging::create_with(dest, PLAIN, case.rig(|_| Ok(()))) {
        Ok(staging) => {
            let state = state(dest);
            assert!(
                case.is_before(&state) && !case.has("force"),
                "{context}: {state:?}"
            );
            drop(staging);
        }
        Err(FilesError::Exists {
            found: Occupant::Record,
            ..
        }) => {}
        Err(e) => panic!("{context}: {e:?}"),
    }
    let after = state(dest);
    assert!(
        case.is_before(&after) || after == State::Whole(2),
        "{context}: {after:?}"
    );
    let parent = dest.parent().unwrap();
    assert!(
        wrappers(parent).is_empty() && wrappers(dest).is_empty(),
        "{context}"
    );

    let staging = Staging::create_with(dest, FORCE, case.rig(|_| Ok(()))).unwrap();
    fill(&staging, 3);
    staging.publish().unwrap();
    assert_eq!(state(dest), State::Whole(3), "{context}");
    assert!(
        wrappers(parent).is_empty() && wrappers(dest).is_empty(),
        "{context}"
    );
}

#[test]
fn killed_at_every_checkpoint_the_destination_is_whole_or_absent_and_a_rerun_works() {
    for case in CASES {
        for (i, checkpoint) in case.checkpoints().into_iter().enumerate() {
            let context = format!("{case:?} killed at {i}, {checkpoint:?}");
            let (_dir, dest) = place();
            case.prepare(&dest);
            run_killed(&dest, case, i);
            match state(&dest) {
                State::Whole(2) => {}
                State::Absent => assert!(
                    !case.has("force") || checkpoint == Checkpoint::BetweenRenames,
                    "{context}"
                ),
                State::Unfinished => assert!(case.has("inside"), "{context}"),
                // All of the old one is aside, and nothing is up.
                State::Empty if case.has("inside") => {}
                state => assert!(case.is_before(&state), "{context}: {state:?}"),
            }
            recovers(&dest, case, &context);
        }
    }
}

#[test]
fn every_checkpoint_is_passed() {
    let seen: Vec<Checkpoint> = CASES.iter().flat_map(|case| case.checkpoints()).collect();
    for checkpoint in [
        Checkpoint::AfterStaging,
        Checkpoint::BeforeSync,
        Checkpoint::BeforeExchange,
        Checkpoint::BetweenRenames,
        Checkpoint::AfterRename,
        Checkpoint::BeforeOldRemoved,
        Checkpoint::JournalWritten,
        Checkpoint::MovingOld,
        Checkpoint::MovingNew,
    ] {
        assert!(seen.contains(&checkpoint), "{checkpoint:?}");
    }
}

#[test]
fn a_roll_back_that_is_killed_is_rolled_back_by_the_next_run() {
    let case = Case("stands force inside exchange");
    let checkpoints = case.checkpoints();
    // Half of the new ones are up.
    let moving: Vec<usize> = (0..checkpoints.len())
        .filter(|i| checkpoints[*i] == Checkpoint::MovingNew)
        .collect();
    let half = moving[moving.len() / 2];
    for second in 0..40 {
        let (_dir, dest) = place();
        case.prepare(&dest);
        run_killed(&dest, case, half);
        let output = killed(&dest, case, second).output().unwrap();
        recovers(&dest, case, &format!("roll-back killed at {second}"));
        if output.status.success() {
            assert!(second > 8, "the roll-back itself was never killed");
            return;
        }
    }
    panic!("40 checkpoints were not enough");
}

#[test]
fn killed_at_random_moments_the_destination_is_whole_or_absent_and_a_rerun_works() {
    for (round, case) in CASES.iter().cycle().take(60).enumerate() {
        let (_dir, dest) = place();
        case.prepare(&dest);
        let mut run = killed(&dest, *case, usize::MAX);
        let mut run = run.stdout(std::process::Stdio::null()).spawn().unwrap();
        let delay = Duration::from_micros((round as u64 * 7919) % 12_000);
        std::thread::sleep(delay);
        run.kill().unwrap();
        run.wait().unwrap();
        recovers(&dest, *case, &format!("{case:?} killed after {delay:?}"));
    }
}

/// The same on real mounts, in a mount namespace of its own that goes with the process.
#[test]
fn on_a_mount_point_all_of_it_holds() {
    let dir = tempdir().unwrap();
    let user: &[&str] = if rustix::process::geteuid().is_root() {
        &["unshare", "--mount"]
    } else {
        &["unshare", "--user", "--map-root-user", "--mount"]
    };
    let mut probe = user.to_vec();
    probe.extend(["mount", "-t", "tmpfs", "none", dir.path().to_str().unwrap()]);
    let can = Command::new(probe[0]).args(&probe[1..]).output();
    if !can.is_ok_and(|output| output.status.success()) {
        return skipped("mount points (no mount namespace to be had)");
    }
    pass(child(
        user,
        "files::tests::crash::child_with_mounts",
        &[("HOST", dir.path().to_str().unwrap())],
    ));
}

fn mount(words: &[&str], at: &Path) {
    let output = Command::new("mount").args(words).arg(at).output().unwrap();
    assert!(output.status.success(), "mount {words:?}: {output:?}");
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn child_with_mounts() {
    if !is_child() {
        return;
    }
    let host = PathBuf::from(told("HOST"));
    let tmpfs = host.join("tmpfs");
    let bind = host.join("bind");
    let source = host.join("source");
    for dir in [&tmpfs, &bind, &source] {
        fs::create_dir(dir).unwrap();
    }
    mount(&["-t", "tmpfs", "none"], &tmpfs);
    // The same device as its parent: only the kernel can tell that it is a mount point.
    mount(&["--bind", source.to_str().unwrap()], &bind);
    fs::create_dir(tmpfs.join("lost+found")).unwrap();
    fs::write(tmpfs.join("lost+found/x"), "").unwrap();

    for (name, dest) in [("tmpfs", &tmpfs), ("bind", &bind)] {
        let ino = rustix::fs::stat(dest).unwrap().st_ino;
        publish(dest, PLAIN, 1).unwrap();
        assert_eq!(occupant(Staging::create(dest, PLAIN)), Occupant::Record);
        publish(dest, FORCE, 2).unwrap();
        assert_eq!(state(dest), State::Whole(2), "{name}");
        assert_eq!(rustix::fs::stat(dest).unwrap().st_ino, ino, "{name}");

        let force = Case("stands force exchange");
        for kill_at in 0.. {
            publish(dest, FORCE, 1).unwrap();
            let output = killed(dest, force, kill_at).output().unwrap();
            recovers(dest, force, &format!("{name} killed at {kill_at}"));
            if output.status.success() {
                assert!(kill_at > 12, "not every checkpoint was passed: {kill_at}");
                break;
            }
        }
    }
    assert!(tmpfs.join("lost+found/x").exists());

    full_and_read_only(&host);
}

fn full_and_read_only(host: &Path) {
    let small = host.join("small");
    fs::create_dir(&small).unwrap();
    mount(
        &["-t", "tmpfs", "-o", "size=1m,nr_inodes=64", "none"],
        &small,
    );
    let dest = small.join("fn");
    publish(&dest, PLAIN, 1).unwrap();

    let staging = Staging::create(&dest, FORCE).unwrap();
    let mut file = staging.create_file("package.zip", 0o644).unwrap();
    let full = (0..512)
        .find_map(|_| file.write_all(&[1; 8192]).err())
        .unwrap();
    let error = FilesError::io("write", staging.path().join("package.zip"), full);
    let (kind, hint) = kind_and_hint(error);
    assert!(
        kind == ErrorKind::DiskFull && hint.contains("free some space"),
        "{hint}"
    );
    drop((file, staging));
    assert!(wrappers(&small).is_empty());

    let staging = Staging::create(&dest, FORCE).unwrap();
    let full = (0..99)
        .find_map(|i| staging.create_file(&i.to_string(), 0o644).err())
        .unwrap();
    let (kind, hint) = kind_and_hint(full);
    assert!(
        kind == ErrorKind::DiskFull && hint.contains("inodes"),
        "{hint}"
    );
    // No room for even the wrapper of another.
    let (kind, hint) = kind_and_hint(Staging::create(&small.join("other"), PLAIN).unwrap_err());
    assert!(
        kind == ErrorKind::DiskFull && hint.contains("inodes"),
        "{hint}"
    );
    drop(staging);
    publish(&dest, FORCE, 2).unwrap();
    assert_eq!(state(&dest), State::Whole(2));

    mount(&["-o", "remount,bind,ro"], &small);
    for dest in [dest, small.join("new"), small] {
        let (kind, hint) = match Staging::create(&dest, FORCE) {
            Err(FilesError::Exists { .. }) => continue,
            Err(e) => kind_and_hint(e),
            Ok(staging) => panic!("{staging:?}"),
        };
        assert!(
            kind == ErrorKind::Io && hint.contains("read-only"),
            "{hint}"
        );
    }
}

#[test]
fn a_repair_brings_the_record_back_before_anything_else_is_done() {
    for words in ["stands force", "stands force inside"] {
        let case = Case(words);
        for kill_at in 0..case.checkpoints().len() {
            let (_dir, dest) = place();
            case.prepare(&dest);
            run_killed(&dest, case, kill_at);
            repair(&dest, true).unwrap();
            assert!(is_record(&dest), "{words}, killed at {kill_at}");
            let state = state(&dest);
            assert!(matches!(state, State::Whole(1 | 2)), "{words}: {state:?}");
        }
    }
}
