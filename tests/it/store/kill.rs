//! SIGKILL at random moments of backup, forget and prune, and several of them at once: afterwards the store is sound, and
//! the next backup completes.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::{DAY, age_all, backup, is_sound, run_of, store, zip};
use crate::harness::{Bench, Ran, finish};

const FUNCTIONS: u64 = 8;
const ACTIONS: [&[&str]; 3] = [
    &["backup", "--store", "store", "--all", "--max-rate", "1000"],
    &["store", "forget", "--store", "store", "--keep-last", "1"],
    &["store", "prune", "--store", "store", "--grace", "0"],
];

fn start(bench: &Bench, arguments: &[&str]) -> Child {
    let mut command = bench.command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Kills each of the three in turn, after a random part of the time that it takes.
fn killed(rounds: u64) {
    let bench = Bench::new();
    let functions: Vec<_> = (0..FUNCTIONS)
        .map(|n| bench.aws.function(&format!("f{n}")).zip(zip(n)).create())
        .collect();
    // Each does what it is for: the second run has something else, so that there is something to forget and to delete.
    let mut took = [Duration::ZERO; 3];
    backup(&bench, &["--all"]).expect(0);
    functions[0].update_code(zip(500));
    functions[1].update_code(zip(501));
    for (arguments, took) in ACTIONS.iter().zip(&mut took) {
        let since = Instant::now();
        bench.run(arguments).expect(0);
        *took = since.elapsed();
    }
    let mut random = fastrand::Rng::with_seed(0x5709_0f03);
    let mut codes: Vec<u64> = (0..FUNCTIONS).collect();
    (codes[0], codes[1]) = (500, 501);
    let mut in_time = [0; 3];
    for round in 0..rounds {
        let action = usize::try_from(round % 3).unwrap();
        if action == 0 {
            for n in [round % FUNCTIONS, (round / 3) % FUNCTIONS] {
                let code = 1000 + 10 * round + n;
                codes[usize::try_from(n).unwrap()] = code;
                functions[usize::try_from(n).unwrap()].update_code(zip(code));
            }
        }
        let mut child = start(&bench, ACTIONS[action]);
        std::thread::sleep(took[action].mul_f64(random.f64() * 1.1));
        let _ = child.kill();
        if finish(child).code == -1 {
            in_time[action] += 1;
        }
        // It is dead for certain: backups need not wait for its deletions to end, as they would for ten seconds or more.
        age_all(&bench, "prunes", Duration::from_secs(60));
        let checked = store(&bench, "check", &["--read-data"]);
        assert_eq!(checked.code, 0, "round {round}: {checked:?}");
        if action == 0 {
            // There is something to forget and to prune.
            backup(&bench, &["--all"]).expect(0);
        }
    }
    eprintln!("of {rounds} rounds, killed in time (backup, forget, prune): {in_time:?}");
    assert!(in_time.iter().all(|n| *n > 0), "{in_time:?}");
    backup(&bench, &["--all"]).expect(0);
    store(&bench, "forget", &["--keep-last", "1"]).expect(0);
    store(&bench, "prune", &["--grace", "0"]).expect(0);
    assert_eq!(is_sound(&bench)["unreferenced"], 0);
    for (n, code) in codes.iter().enumerate() {
        let name = format!("f{n}");
        bench.run(&["restore", "--store", "store", &name]).expect(0);
        assert!(fs::read(bench.path(&name).join("package.zip")).unwrap() == zip(*code));
    }
}

#[test]
fn killed_at_any_moment_the_store_is_sound() {
    killed(24);
}

#[test]
#[ignore = "100 rounds take a minute or more; 24 of them run by default"]
fn killed_a_hundred_times_the_store_is_sound() {
    killed(100);
}

/// Several backups and prunes at once, while what they find in the store was marked long ago.
fn at_once(backups: usize) {
    let bench = Bench::new();
    let functions: Vec<_> = (0..FUNCTIONS)
        .map(|n| bench.aws.function(&format!("f{n}")).zip(zip(n)).create())
        .collect();
    let first = run_of(&backup(&bench, &["--all"]).expect(0));
    for (n, function) in functions.iter().enumerate() {
        function.update_code(zip(100 + n as u64));
    }
    backup(&bench, &["--all"]).expect(0);
    store(&bench, "forget", &["--run", &first]).expect(0);
    store(&bench, "prune", &[]).expect(0);
    for folder in ["marks", "forgotten", "blobs/sha256"] {
        age_all(&bench, folder, 30 * DAY);
    }
    // The code of the forgotten run comes back.
    for (n, function) in functions.iter().enumerate() {
        function.update_code(zip(n as u64));
    }
    let all: Vec<Child> = (0..backups).map(|_| start(&bench, ACTIONS[0])).collect();
    let prunes = [(); 2].map(|()| start(&bench, &["store", "prune", "--store", "store"]));
    let ended: Vec<Ran> = all.into_iter().map(finish).collect();
    for prune in prunes {
        finish(prune).expect(0);
    }
    for ran in ended {
        // One whose package was being deleted when it found it must say so.
        assert!(
            ran.code == 0 || (ran.code == 6 && ran.stderr.contains("a prune took")),
            "{ran:?}"
        );
    }
    is_sound(&bench);
    backup(&bench, &["--all"]).expect(0);
    is_sound(&bench);
    for n in 0..FUNCTIONS {
        let name = format!("f{n}");
        bench.run(&["restore", "--store", "store", &name]).expect(0);
        assert!(fs::read(bench.path(&name).join("package.zip")).unwrap() == zip(n));
    }
}

#[test]
fn two_backups_at_once_and_prunes_beside_them() {
    at_once(2);
}

#[test]
fn four_backups_at_once_and_prunes_beside_them() {
    at_once(4);
}
