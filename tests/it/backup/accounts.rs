//! Several accounts in one run, each by a role of its own.

use std::collections::BTreeSet;
use std::fs;

use larder_testkit::{Fault, LambdaError, On};
use serde_json::Value;

use super::{backup, check, lines, summary, zip};
use crate::harness::{Bench, names, write};

const ONE: &str = "111122223333";
const TWO: &str = "444455556666";

fn role(account: &str) -> String {
    format!("arn:aws:iam::{account}:role/backup")
}

/// A function of the same name and other code in each account, and one in the caller's own.
fn accounts(bench: &Bench) {
    bench.aws.regions(&["eu-west-1"]);
    bench.aws.function("mine").zip(zip(1)).create();
    for (account, seed) in [(ONE, 2), (TWO, 3)] {
        for (region, more) in [("us-east-1", 0), ("eu-west-1", 10)] {
            bench
                .aws
                .function("app")
                .account(account)
                .region(region)
                .zip(zip(seed + more))
                .create();
        }
    }
}

/// The ARNs of function lines.
fn arns(lines: &[Value]) -> BTreeSet<String> {
    let functions = lines.iter().filter(|line| line["event"] == "function");
    functions
        .map(|line| line["arn"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn each_role_is_an_account_of_its_own_in_one_run() {
    let bench = Bench::new();
    accounts(&bench);
    let (one, two) = (role(ONE), role(TWO));
    let roles = ["--all", "--role-arn", &one, "--role-arn", &two];
    let ran = backup(&bench, &[&roles[..], &["--all-regions"]].concat()).expect(0);
    let found = arns(&lines(&ran));
    assert_eq!(found.len(), 4, "{found:?}");
    for account in [ONE, TWO] {
        for region in ["us-east-1", "eu-west-1"] {
            let arn = format!("arn:aws:lambda:{region}:{account}:function:app");
            assert!(found.contains(&arn), "{arn} is not in {found:?}");
        }
    }
    // One run, with what each of them has; an ARN tells which is meant.
    assert_eq!(names(&bench.path("store/runs")).len(), 1);
    bench.run(&["restore", "--store", "store", "app"]).expect(2);
    let arn = format!("arn:aws:lambda:eu-west-1:{TWO}:function:app");
    bench
        .run(&["restore", "--store", "store", &arn, "app"])
        .expect(0);
    assert!(fs::read(bench.path("app/package.zip")).unwrap() == zip(13));
    // Each has its own memory: nothing is asked for again, and a role is assumed for all regions together.
    let assumed = bench.aws.count("AssumeRole");
    let asked = bench.aws.count("GetFunction");
    let again = backup(&bench, &[&roles[..], &["--all-regions"]].concat()).expect(0);
    assert_eq!(summary(&again)["counts"]["unchanged"], 4);
    assert_eq!(bench.aws.count("GetFunction"), asked);
    // Once for STS and EC2, once for Lambda, whatever the number of regions.
    assert!(bench.aws.count("AssumeRole") - assumed <= 4);
    check(&bench, 0);
    // Other commands take one role.
    let both = ["list", "--role-arn", one.as_str(), "--role-arn", &two];
    bench.run(&both).expect(2).says(&["--role-arn"]);
}

#[test]
fn a_role_that_is_denied_is_one_line_and_not_the_end_of_the_others() {
    let bench = Bench::new();
    accounts(&bench);
    let (one, two) = (role(ONE), role(TWO));
    // This one asks for an external id that is not given.
    bench.aws.role(&two, "s3cr3t");
    let ran = backup(&bench, &["--all", "--role-arn", &one, "--role-arn", &two]).expect(3);
    let lines_of = lines(&ran);
    let denied: Vec<_> = lines_of
        .iter()
        .filter(|l| l["event"] == "account")
        .collect();
    assert_eq!(denied.len(), 1, "{denied:?}");
    assert_eq!(
        (&denied[0]["arn"], &denied[0]["status"]),
        (&Value::from(two.as_str()), &Value::from("denied"))
    );
    assert_eq!(summary(&ran)["counts"]["saved"], 1);
    assert_eq!(summary(&ran)["accounts_failed"], 1);
    assert_eq!(summary(&ran)["complete"], false);
    // Alone, or where all are denied, it is the whole run's failure.
    backup(&bench, &["--all", "--role-arn", &two]).expect(4);
    let three = role("777788889999");
    bench.aws.role(&three, "x");
    backup(&bench, &["--all", "--role-arn", &three, "--role-arn", &two]).expect(4);
    // With the id it is let in.
    let both = [
        "--all",
        "--role-arn",
        &one,
        "--role-arn",
        &two,
        "--external-id",
        "s3cr3t",
    ];
    backup(&bench, &both).expect(0);
}

#[test]
fn a_file_names_accounts_with_external_ids_and_regions() {
    let bench = Bench::new();
    accounts(&bench);
    bench.aws.role(&role(TWO), "s3cr3t");
    let text = format!(
        "# ours\n{}\n{} external-id=s3cr3t regions=eu-west-1\n\ncaller\n",
        role(ONE),
        role(TWO)
    );
    write(bench.path("accounts.txt"), text);
    let ran = backup(&bench, &["--all", "--accounts-file", "accounts.txt"]).expect(0);
    let found = arns(&lines(&ran));
    let want = [
        format!("arn:aws:lambda:us-east-1:{ONE}:function:app"),
        format!("arn:aws:lambda:eu-west-1:{TWO}:function:app"),
        "arn:aws:lambda:us-east-1:123456789012:function:mine".to_owned(),
    ];
    assert_eq!(found, BTreeSet::from(want));
    // A function that is named is looked for where it can be.
    let arn = format!("arn:aws:lambda:us-east-1:{ONE}:function:app");
    let named = backup(&bench, &[&arn, "--accounts-file", "accounts.txt"]).expect(0);
    assert_eq!(arns(&lines(&named)).len(), 1);
    let strange = "arn:aws:lambda:us-east-1:999999999999:function:app";
    backup(&bench, &[strange, "--accounts-file", "accounts.txt"]).expect(2);
    let both = [
        "--all",
        "--accounts-file",
        "accounts.txt",
        "--role-arn",
        &role(ONE),
    ];
    backup(&bench, &both).expect(2);
    write(bench.path("bad.txt"), "nonsense\n");
    let bad = backup(&bench, &["--all", "--accounts-file", "bad.txt"]).expect(2);
    bad.says(&["bad.txt:1"]);
    backup(&bench, &["--all", "--accounts-file", "none.txt"]).expect(2);
}

/// Credentials that end in a read beside the code take nothing from the run that is in the store.
#[test]
fn what_is_told_as_saved_is_in_the_run_when_credentials_end_beside_it() {
    let bench = Bench::new();
    for n in 0..6 {
        bench.aws.function(&format!("f{n}")).zip(zip(n)).create();
    }
    let ended = LambdaError::new(403, "ExpiredTokenException", "it is expired");
    bench.aws.fault(
        On::Operation("GetRuntimeManagementConfig").always(),
        Fault::Lambda(ended),
    );
    let ran = backup(&bench, &["--all", "--config", "full"]).expect(4);
    let run = summary(&ran)["run"].as_str().unwrap().to_owned();
    let found = super::statuses(&ran);
    assert_eq!(found.len(), 6, "{found:?}");
    let saved: Vec<_> = found.iter().filter(|(_, s)| *s == "saved").collect();
    assert!(!saved.is_empty(), "{found:?}");
    for (function, _) in saved {
        let dest = function.replace(':', "-");
        let restore = ["restore", "--store", "store", "--run", &run];
        bench
            .run(&[&restore[..], &[function, &dest]].concat())
            .expect(0);
    }
}

#[test]
fn what_was_not_attempted_is_counted() {
    let bench = Bench::new();
    for n in 0..40 {
        bench.aws.function(&format!("f{n:02}")).zip(zip(n)).create();
    }
    let ended = || {
        Fault::Lambda(LambdaError::new(
            403,
            "ExpiredTokenException",
            "The security token included in the request is expired",
        ))
    };
    bench.aws.fault(On::GetFunction.always().nth(10), ended());
    let ran = backup(&bench, &["--all"]).expect(4);
    let counts = summary(&ran)["counts"].clone();
    let of = |status: &str| counts[status].as_u64().unwrap_or_default();
    assert_eq!(of("saved") + of("not_attempted"), 40, "{counts}");
    assert!((1..=9).contains(&of("saved")), "{counts}");
    let functions = lines(&ran)
        .iter()
        .filter(|l| l["event"] == "function")
        .count();
    assert_eq!(functions, 40);
    assert_eq!(summary(&ran)["complete"], false);
    // What the store knows and the listing did not come to is told too.
    bench.aws.clear_faults();
    backup(&bench, &["--all"]).expect(0);
    bench.aws.fault(On::ListFunctions.always(), ended());
    let ran = backup(&bench, &["--all"]).expect(4);
    assert_eq!(summary(&ran)["counts"]["not_attempted"], 40);
    // So where they end in what comes before the listing.
    let ran = backup(&bench, &["--all", "--config", "full"]).expect(4);
    assert_eq!(summary(&ran)["counts"]["not_attempted"], 40);
    bench.aws.clear_faults();
    // The credentials of one of two accounts end: the other one is not touched.
    bench.aws.function("app").account(ONE).zip(zip(50)).create();
    write(
        bench.path("accounts.txt"),
        format!("{}\ncaller\n", role(ONE)),
    );
    bench
        .aws
        .fault(On::GetFunction.always().path("functions/f"), ended());
    let ran = backup(
        &bench,
        &["--all", "--refresh", "--accounts-file", "accounts.txt"],
    )
    .expect(3);
    let counts = summary(&ran)["counts"].clone();
    assert_eq!(counts["saved"].as_u64(), Some(1), "{counts}");
    // Asking about all of it again makes no less of what there was.
    assert_eq!(counts["not_attempted"].as_u64(), Some(40), "{counts}");
    bench.aws.clear_faults();
    bench.aws.fault(On::ListFunctions.always(), ended());
    let ran = backup(&bench, &["--all", "--refresh"]).expect(4);
    assert_eq!(summary(&ran)["counts"]["not_attempted"], 40);
}
