//! Which run and which of several functions is restored.

use std::fs;
use std::path::PathBuf;

use larder_testkit::{Fault, On};

use super::{backup, restore, writes, zip};
use crate::harness::{Bench, names};

const OTHER: &str = "210987654321";

/// The files of the runs, the oldest first.
fn run_files(bench: &Bench) -> Vec<PathBuf> {
    let runs = bench.path("store/runs");
    let mut names = names(&runs);
    names.sort();
    names.iter().map(|name| runs.join(name)).collect()
}

fn two_runs(bench: &Bench) {
    bench.aws.function("f").zip(zip(1)).create();
    backup(bench, &[]);
    bench.aws.existing("f").unwrap().update_code(zip(2));
    backup(bench, &[]);
    bench.aws.existing("f").unwrap().update_code(zip(3));
}

#[test]
fn a_damaged_newest_run_is_not_replaced_by_an_older_one_unasked() {
    let bench = Bench::new();
    two_runs(&bench);
    let runs = run_files(&bench);
    fs::write(&runs[1], "{").unwrap();
    let function = bench.aws.existing("f").unwrap();
    // The plan shows which run it is.
    let plan = restore(&bench, &["f"]).expect(0);
    let run = plan.json()["source"]["run"].as_str().unwrap().to_owned();
    plan.says(&["this run is passed over"]);
    assert!(runs[0].to_str().unwrap().contains(&run));
    restore(&bench, &["--yes", "f"])
        .expect(1)
        .says(&["nothing was changed", "--run"]);
    assert!(writes(&bench).is_empty());
    restore(&bench, &["--yes", "--run", &run, "f"]).expect(0);
    assert_eq!(function.code_sha256(), larder_testkit::code_sha256(&zip(1)));
    // Whoever names a moment has what was readable then.
    function.update_code(zip(3));
    restore(&bench, &["--yes", "--at", "2099-01-01T00:00:00Z", "f"]).expect(0);
    assert_eq!(function.code_sha256(), larder_testkit::code_sha256(&zip(1)));
}

#[test]
fn of_several_accounts_it_is_the_callers_own_and_otherwise_none() {
    let bench = Bench::new();
    bench.aws.regions(&["eu-west-1"]);
    bench.aws.function("f").zip(zip(1)).create();
    bench.aws.function("f").account(OTHER).zip(zip(2)).create();
    backup(&bench, &[]);
    // The newest run is of the other account.
    let role = format!("arn:aws:iam::{OTHER}:role/deployer");
    backup(&bench, &["--role-arn", &role]);
    bench.aws.existing("f").unwrap().update_code(zip(3));
    restore(&bench, &["--yes", "f"]).expect(0);
    let own = bench.aws.existing("f").unwrap();
    assert_eq!(own.code_sha256(), larder_testkit::code_sha256(&zip(1)));
    restore(&bench, &["--yes", "--role-arn", &role, "f"]).expect(0);
    let other = bench.aws.existing_in(OTHER, "us-east-1", "f").unwrap();
    assert_eq!(other.code_sha256(), larder_testkit::code_sha256(&zip(2)));
    // A third account has none of its own: nobody guesses.
    let before = writes(&bench).len();
    let third = "arn:aws:iam::333333333333:role/deployer";
    restore(&bench, &["--yes", "--role-arn", third, "f"])
        .expect(2)
        .says(&[
            "is in several accounts or regions",
            &format!("arn:aws:lambda:us-east-1:{OTHER}:function:f"),
            "arn:aws:lambda:us-east-1:123456789012:function:f",
        ]);
    // Nor between regions, each of which is in a run of its own.
    let far = bench.aws.function("f").region("eu-west-1");
    far.zip(zip(4)).create();
    backup(&bench, &["--region", "eu-west-1"]);
    restore(&bench, &["--yes", "f"])
        .expect(2)
        .says(&["eu-west-1", "us-east-1"]);
    assert_eq!(writes(&bench).len(), before);
    restore(&bench, &["--region", "us-east-1", "f"]).expect(0);
}

/// A run that could not get a function has it as an earlier run had it, and says so.
#[test]
fn a_function_that_the_newest_run_could_not_get_is_said_to_be_an_older_one() {
    let bench = Bench::new();
    bench.aws.function("f").zip(zip(1)).create();
    backup(&bench, &[]);
    bench.aws.existing("f").unwrap().update_code(zip(2));
    bench.aws.fault(
        On::GetFunction.always(),
        Fault::access_denied("lambda:GetFunction"),
    );
    bench
        .run(&["backup", "--store", "store", "--max-rate", "1000", "--all"])
        .expect(4);
    bench.aws.clear_faults();
    let ran = bench.run(&["restore", "--store", "store", "f", "out"]);
    ran.expect(0).says(&["could not get it", "kept of it at"]);
    assert_eq!(
        std::fs::read(bench.path("out/package.zip")).unwrap(),
        zip(1)
    );
    restore(&bench, &["f"])
        .expect(0)
        .says(&["could not get it"]);
    // And one that is as it was listed is not.
    backup(&bench, &[]);
    let ran = bench.run(&["restore", "--store", "store", "f", "again"]);
    assert!(!ran.expect(0).stderr.contains("could not get it"));
}
