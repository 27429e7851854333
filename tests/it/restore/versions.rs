//! Versions, their new numbers, and aliases.

use serde_json::json;

use super::{backup, lost, restore, states, writes, zip};
use crate::harness::Bench;

fn versioned(bench: &Bench) {
    bench
        .aws
        .function("f")
        .zip(zip(3))
        .version(zip(1))
        .version(zip(2))
        .weighted_alias("live", "1", &[("2", 0.25)])
        .alias("next", "$LATEST")
        .create();
}

#[test]
fn versions_are_published_in_order_and_aliases_follow() {
    let bench = Bench::new();
    versioned(&bench);
    backup(&bench, &[]);
    bench.aws.existing("f").unwrap().delete();
    // Another function of this name came and went: it took number 1.
    let other = bench.aws.function("f").zip(zip(8)).create();
    other.publish();
    let plan = restore(&bench, &["--yes", "--versions", "all", "f"])
        .expect(0)
        .json();
    assert_eq!(plan["versions"], json!({"1": "2", "2": "3"}));
    let function = bench.aws.existing("f").unwrap();
    let digest = |version: &str| function.configuration(version)["CodeSha256"].clone();
    for (version, seed) in [("2", 1), ("3", 2), ("$LATEST", 3)] {
        assert_eq!(
            digest(version),
            larder_testkit::code_sha256(&zip(seed)),
            "{version}"
        );
    }
    let aliases = function.aliases();
    assert_eq!(aliases["live"].0, "2");
    assert_eq!(format!("{:?}", aliases["live"].1), r#"{"3": 0.25}"#);
    assert_eq!(aliases["next"].0, "$LATEST");
    assert!(lost(&plan).contains("version numbers"));
    // The same again changes nothing: the versions are found.
    let before = writes(&bench).len();
    let again = restore(&bench, &["--yes", "--versions", "all", "f"])
        .expect(0)
        .json();
    assert_eq!(again["versions"], json!({"1": "2", "2": "3"}));
    assert_eq!(writes(&bench).len(), before, "{again}");
}

#[test]
fn an_alias_goes_back_to_a_version_that_is_still_there() {
    let bench = Bench::new();
    versioned(&bench);
    backup(&bench, &[]);
    let function = bench.aws.existing("f").unwrap();
    function.update_code(zip(9));
    function.publish();
    function.alias("live", "3");
    let plan = restore(&bench, &["--yes", "f"]).expect(0).json();
    assert_eq!(states(&plan), ["update_code:done", "set_alias:done"]);
    assert_eq!(function.aliases()["live"].0, "1");
    assert_eq!(
        format!("{:?}", function.aliases()["live"].1),
        r#"{"2": 0.25}"#
    );
    // With the aliases left alone nothing moves.
    function.alias("live", "3");
    let plan = restore(&bench, &["--yes", "--no-aliases", "f"])
        .expect(0)
        .json();
    assert!(lost(&plan).contains("--no-aliases"));
    assert_eq!(function.aliases()["live"].0, "3");
}

#[test]
fn an_alias_without_its_version_is_named() {
    let bench = Bench::new();
    versioned(&bench);
    backup(&bench, &[]);
    bench.aws.existing("f").unwrap().delete();
    let plan = restore(&bench, &["--yes", "f"]).expect(0).json();
    assert!(lost(&plan).contains("alias live"), "{plan}");
    let aliases = bench.aws.existing("f").unwrap().aliases();
    assert_eq!(aliases.keys().collect::<Vec<_>>(), ["next"]);
}

#[test]
fn one_version_can_be_restored_and_published() {
    let bench = Bench::new();
    versioned(&bench);
    backup(&bench, &[]);
    let function = bench.aws.existing("f").unwrap();
    let plan = restore(&bench, &["--yes", "--publish", "--no-aliases", "f:1"])
        .expect(0)
        .json();
    assert_eq!(plan["versions"], json!({"1": "3"}));
    assert_eq!(function.code_sha256(), larder_testkit::code_sha256(&zip(1)));
    assert_eq!(function.versions(), [1, 2, 3]);
}
