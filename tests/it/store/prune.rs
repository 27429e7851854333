//! `larder store prune`: what goes, what stays, and who is safe meanwhile.

use std::fs;
use std::time::Duration;

use super::{DAY, age, age_all, backup, blob, is_sound, run_of, runs, store, zip};
use crate::harness::{Bench, names};

/// Two runs with one package each; the first is forgotten.
fn forgotten(bench: &Bench) {
    let function = bench.aws.function("f").zip(zip(1)).create();
    let first = run_of(&backup(bench, &["--all"]).expect(0));
    function.update_code(zip(2));
    backup(bench, &["--all"]).expect(0);
    store(bench, "forget", &["--run", &first]).expect(0);
}

#[test]
fn what_was_marked_for_the_grace_is_deleted_and_nothing_else() {
    let bench = Bench::new();
    forgotten(&bench);
    let (old, new) = (blob(&bench, &zip(1)), blob(&bench, &zip(2)));
    let would = store(&bench, "prune", &["--dry-run"]).expect(0).json();
    assert_eq!(would["marked"]["blobs"], would["waiting"]["blobs"]);
    assert!(would["marked"]["blobs"].as_u64().unwrap() >= 4, "{would}");
    assert!(!bench.path("store/marks").exists());

    // The first marks.
    let first = store(&bench, "prune", &[]).expect(0).json();
    assert_eq!(first["marked"], would["marked"]);
    assert_eq!(first["deleted"]["blobs"], 0);
    assert!(first["next"].is_string());
    let marks = names(&bench.path("store/marks"));
    assert_eq!(
        marks.len() as u64,
        first["marked"]["blobs"].as_u64().unwrap()
    );
    // Nothing that concerns a writer was done, so there is no record.
    assert!(names(&bench.path("store/prunes")).is_empty());

    // Blobs and marks are old, the forgotten run is not: a backup may build on it.
    age_all(&bench, "marks", 8 * DAY);
    age_all(&bench, "blobs/sha256", 30 * DAY);
    let second = store(&bench, "prune", &[]).expect(0).json();
    assert_eq!(second["deleted"]["blobs"], 0, "{second}");
    assert!(old.exists());

    age_all(&bench, "forgotten", 8 * DAY);
    let third = store(&bench, "prune", &[]).expect(0).json();
    assert_eq!(third["deleted"], first["marked"], "{third}");
    assert!(!old.exists() && new.exists());
    assert!(names(&bench.path("store/marks")).is_empty());
    assert!(names(&bench.path("store/forgotten")).is_empty());
    assert_eq!(names(&bench.path("store/prunes")).len(), 1);
    assert_eq!(is_sound(&bench)["unreferenced"], 0);
    bench.run(&["restore", "--store", "store", "f"]).expect(0);
    assert!(fs::read(bench.path("f/package.zip")).unwrap() == zip(2));
    let last = store(&bench, "prune", &[]).expect(0).json();
    assert_eq!(
        (&last["deleted"]["blobs"], &last["marked"]["blobs"]),
        (&0.into(), &0.into())
    );
}

#[test]
fn without_a_grace_it_goes_at_once() {
    let bench = Bench::new();
    forgotten(&bench);
    let before = names(&bench.path("store/blobs/sha256")).len();
    let would = store(&bench, "prune", &["--grace", "0", "--dry-run"])
        .expect(0)
        .json();
    let ran = store(&bench, "prune", &["--grace", "0"]).expect(0);
    assert!(ran.stderr.contains("so short a grace"), "{}", ran.stderr);
    let pruned = ran.json();
    assert_eq!(pruned["deleted"], would["deleted"]);
    let deleted = usize::try_from(pruned["deleted"]["blobs"].as_u64().unwrap()).unwrap();
    assert_eq!(
        names(&bench.path("store/blobs/sha256")).len(),
        before - deleted
    );
    assert_eq!(is_sound(&bench)["unreferenced"], 0);
}

#[test]
fn a_backup_that_finds_a_marked_blob_renews_its_mark() {
    let bench = Bench::new();
    forgotten(&bench);
    store(&bench, "prune", &[]).expect(0);
    for folder in ["marks", "blobs/sha256", "forgotten"] {
        age_all(&bench, folder, 30 * DAY);
    }
    // The code of the forgotten run is deployed again, and the backup is killed before its run appears: as good as one
    // that is still under way.
    bench.aws.function("g").zip(zip(1)).create();
    backup(&bench, &["g"]).expect(0);
    let run = runs(&bench).pop().unwrap();
    fs::remove_file(bench.path(format!("store/runs/{run}.json"))).unwrap();
    assert_eq!(
        bench.aws.count("GetObject"),
        2,
        "the package was found, not downloaded"
    );
    let pruned = store(&bench, "prune", &[]).expect(0).json();
    assert!(pruned["deleted"]["blobs"].as_u64().unwrap() > 0, "{pruned}");
    assert!(blob(&bench, &zip(1)).exists(), "its mark was renewed");
    backup(&bench, &["--all"]).expect(0);
    assert_eq!(bench.aws.count("GetObject"), 2);
    is_sound(&bench);
}

#[test]
fn nothing_is_deleted_while_something_cannot_be_read() {
    let bench = Bench::new();
    forgotten(&bench);
    let run = bench.path(format!("store/runs/{}.json", runs(&bench)[0]));
    let good = fs::read_to_string(&run).unwrap();
    let before = names(&bench.path("store/blobs/sha256"));
    let refused = |what: &str, kind: &str| {
        let ran = store(&bench, "prune", &["--grace", "0"]).expect(1);
        let json = ran.json();
        assert_eq!(json["refused"][0]["kind"], kind, "{what}: {json}");
        assert_eq!(names(&bench.path("store/blobs/sha256")), before, "{what}");
        assert!(!bench.path("store/marks").exists(), "{what}");
    };
    let newer = good.replace("\"larder.format\":\"1\"", "\"larder.format\":\"2\"");
    fs::write(&run, newer).unwrap();
    refused("a newer run", "newer");
    fs::write(&run, &good[..good.len() / 2]).unwrap();
    refused("a truncated run", "unreadable");
    fs::write(&run, &good).unwrap();
    let strange = bench.path("store/runs/joint-of-a-later-version.json");
    fs::write(&strange, &good).unwrap();
    refused("a run of another name", "strange");
    fs::remove_file(&strange).unwrap();
    // The index of a region, and the manifest of a function.
    let region = digests(&good)[0].clone();
    let region_path = bench.path("store/blobs/sha256").join(&region);
    let index = fs::read_to_string(&region_path).unwrap();
    for name in [region, digests(&index)[0].clone()] {
        let path = bench.path("store/blobs/sha256").join(name);
        let good = fs::read(&path).unwrap();
        fs::write(&path, b"{}").unwrap();
        refused("a changed document", "modified");
        fs::write(&path, &good).unwrap();
    }
    // What is no run at all does not matter.
    fs::write(bench.path("store/runs/.DS_Store"), "x").unwrap();
    store(&bench, "prune", &["--grace", "0"]).expect(0);
    is_sound(&bench);
}

/// The hex digests that a document names, in their order.
fn digests(json: &str) -> Vec<String> {
    let parts = json.split("\"sha256:").skip(1);
    parts.map(|part| part[..64].to_owned()).collect()
}

#[test]
fn temporary_files_of_dead_writers_go_after_the_grace() {
    let bench = Bench::new();
    forgotten(&bench);
    let left = ["blobs/sha256/00ff#1", "runs/x.json#2", "index.json#1"];
    for name in left {
        fs::write(bench.path("store").join(name), "half").unwrap();
    }
    is_sound(&bench);
    store(&bench, "prune", &[]).expect(0);
    for name in left {
        let path = bench.path("store").join(name);
        assert!(path.exists());
        age(&path, 8 * DAY);
    }
    let pruned = store(&bench, "prune", &[]).expect(0).json();
    assert_eq!(pruned["temporaries"], 3);
    assert!(
        left.iter()
            .all(|name| !bench.path("store").join(name).exists())
    );
}

/// Even a prune without any grace, all the time, does not make a backup publish what is not there: it fails and says so, or
/// it is whole.
#[test]
fn a_backup_beside_prunes_without_grace_is_whole_or_fails() {
    let bench = Bench::new();
    for n in 0..20 {
        bench.aws.function(&format!("f{n}")).zip(zip(n)).create();
    }
    backup(&bench, &["f0"]).expect(0);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (mut failed, mut strange) = (0, Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let ran = store(&bench, "prune", &["--grace", "0"]);
                assert_eq!(ran.code, 0, "{ran:?}");
            }
        });
        for _ in 0..4 {
            let ran = backup(&bench, &["--all"]);
            match ran.code {
                0 => {}
                6 => failed += 1,
                _ => strange.push(ran),
            }
        }
        // A panic before this would leave the other thread pruning for ever.
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(strange.is_empty(), "{strange:?}");
    eprintln!("{failed} of 4 failed");
    backup(&bench, &["--all"]).expect(0);
    is_sound(&bench);
}

/// A prune that died in the middle of deleting is waited for no longer than it could have gone on.
#[test]
fn a_dead_prune_holds_a_backup_up_for_some_seconds_only() {
    let bench = Bench::new();
    forgotten(&bench);
    fs::create_dir(bench.path("store/prunes")).unwrap();
    let record = bench.path("store/prunes/20200101T000000.000Z-ab.000001.json");
    fs::write(&record, r#"{"grace_seconds":1,"ended":false}"#).unwrap();
    let since = std::time::Instant::now();
    let ran = bench
        .run(&["backup", "--store", "store", "--all", "-v"])
        .expect(0);
    assert!(ran.stderr.contains("a prune is deleting"), "{}", ran.stderr);
    let took = since.elapsed();
    assert!(
        took > Duration::from_secs(10) && took < Duration::from_secs(40),
        "{took:?}"
    );
    // The next one finds it old.
    let since = std::time::Instant::now();
    backup(&bench, &["--all"]).expect(0);
    assert!(since.elapsed() < Duration::from_secs(10));
    is_sound(&bench);
}
