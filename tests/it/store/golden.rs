//! Stores that earlier versions wrote (`testdata/stores/`, never edited): whatever comes later reads them. And a reader
//! that was written from `docs/store.md` alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use larder_testkit::packages;
use serde_json::Value;

use super::{backup, is_sound, store, zip};
use crate::harness::{Bench, json, names, tool};

const V1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/stores/v1");

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

/// A copy of the golden store as `store`, and nothing in AWS.
fn golden() -> Bench {
    let bench = Bench::new();
    copy(Path::new(V1), &bench.path("store"));
    bench
}

/// Two runs: a function with versions, alias, layer and environment, one more that shares its package, an image; then a
/// changed one, and one that is gone.
fn deploy(bench: &Bench) {
    let layer = bench
        .aws
        .layer("deps")
        .zip(packages::layer_package().zip())
        .create();
    bench
        .aws
        .function("orders")
        .zip(zip(2))
        .version(zip(1))
        .publish()
        .alias("live", "1")
        .layer(&layer)
        .env("TABLE", "orders")
        .create();
    let billing = bench.aws.function("billing").zip(zip(2)).create();
    bench
        .aws
        .function("img")
        .image(
            "123456789012.dkr.ecr.us-east-1.amazonaws.com/r:t",
            "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        )
        .create();
    backup(bench, &["--all"]).expect(0);
    billing.update_code(zip(3));
    backup(bench, &["--all"]).expect(0);
}

/// Run by hand, once for a version of the format; says where the store is, to be copied to `testdata/stores/`.
#[test]
#[ignore = "makes the golden store of this version of the format anew, below target/"]
fn make_a_golden_store() {
    let bench = Bench::new();
    deploy(&bench);
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("golden-store");
    let _ = fs::remove_dir_all(&to);
    copy(&bench.path("store"), &to);
    eprintln!("{}", to.display());
}

#[test]
fn a_golden_store_is_sound_and_all_of_it_restores() {
    let bench = golden();
    let checked = is_sound(&bench);
    assert_eq!(checked["runs"], 2, "{checked}");
    assert_eq!(checked["findings"], Value::Array(Vec::new()));
    let listed = store(&bench, "list", &["--size"]).expect(0);
    let runs: Vec<Value> = listed
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0]["regions"][0]["complete"], true);
    assert_eq!(runs[1]["counts"]["unchanged"], 4, "{runs:?}");
    let first = runs[0]["run"].as_str().unwrap();
    for (function, run, seed) in [
        ("orders", None, 2),
        ("orders:1", None, 1),
        ("orders:live", None, 1),
        ("billing", None, 3),
        ("billing", Some(first), 2),
    ] {
        let dest = format!("d{seed}-{}-{}", function.replace(':', "-"), run.is_some());
        let mut arguments = vec!["restore", "--store", "store", function, &dest];
        arguments.extend(run.into_iter().flat_map(|run| ["--run", run]));
        bench.run(&arguments).expect(0);
        let dest = bench.path(dest);
        assert!(
            fs::read(dest.join("package.zip")).unwrap() == zip(seed),
            "{function}"
        );
        if function.starts_with("orders") {
            let layer = fs::read(dest.join("layers/deps-1/package.zip")).unwrap();
            assert!(layer == packages::layer_package().zip());
            let answer = json(&dest.join("function.json"));
            let variables = &answer["Configuration"]["Environment"]["Variables"];
            assert_eq!(variables["TABLE"], "orders");
        }
    }
    bench.run(&["restore", "--store", "store", "img"]).expect(0);
    assert_eq!(bench.record("img")["status"], "image");
}

#[test]
fn a_golden_store_can_be_looked_after_and_written_to() {
    let bench = golden();
    store(&bench, "list", &["nobody"]).expect(5);
    let of_billing = store(&bench, "list", &["billing"]).expect(0);
    assert_eq!(
        of_billing.stdout.lines().count(),
        2,
        "{}",
        of_billing.stdout
    );
    let forgot = store(&bench, "forget", &["--keep-last", "1"])
        .expect(0)
        .json();
    assert_eq!(
        (&forgot["forgotten"], &forgot["kept"]),
        (&1.into(), &1.into())
    );
    let pruned = store(&bench, "prune", &["--grace", "0"]).expect(0).json();
    assert!(pruned["deleted"]["blobs"].as_u64().unwrap() > 0);
    is_sound(&bench);
    bench.aws.function("new").zip(zip(7)).create();
    let ran = backup(&bench, &["--all"]).expect(0);
    assert!(ran.stdout.contains("\"gone\""), "{}", ran.stdout);
    is_sound(&bench);
    bench
        .run(&["restore", "--store", "store", "orders:2"])
        .expect(0);
}

/// `docs/read-store.py` knows nothing but `docs/store.md`.
#[test]
fn a_reader_without_larder_reads_it() {
    let Some(python) = tool("python3", "python3") else {
        return;
    };
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/read-store.py");
    let read = |store: &Path, function: &str, out: &Path| {
        let output = Command::new(&python)
            .arg(&reader)
            .args([store, Path::new(function), out])
            .output()
            .unwrap();
        (output.status.success(), format!("{output:?}"))
    };
    let dir = tempfile::tempdir().unwrap();
    let out: PathBuf = dir.path().join("out.zip");
    let bench = Bench::new();
    deploy(&bench);
    for place in [PathBuf::from(V1), bench.path("store")] {
        for (function, seed) in [
            ("orders", 2),
            ("orders:1", 1),
            ("orders:2", 2),
            ("billing", 3),
        ] {
            let (good, said) = read(&place, function, &out);
            assert!(good, "{said}");
            assert!(fs::read(&out).unwrap() == zip(seed), "{function}: {said}");
        }
        for function in ["img", "none", "orders:9"] {
            assert!(!read(&place, function, &out).0);
        }
    }
    let package = super::blob(&bench, &zip(1));
    let mut bytes = fs::read(&package).unwrap();
    bytes[9] ^= 1;
    fs::write(&package, bytes).unwrap();
    let (good, said) = read(&bench.path("store"), "orders:1", &out);
    assert!(!good && said.contains("damaged"), "{said}");
}
