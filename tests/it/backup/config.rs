//! `--config full`, and what a dry run says of calls and time.

use std::collections::BTreeMap;
use std::fs;

use larder_testkit::{Fault, On, packages};
use serde_json::{Value, json};

use super::{account, backup, check, lines, summary, zip};
use crate::harness::{Bench, Ran, names};

/// The configuration documents of the newest run: ARN to the document and the manifest.
fn configs(bench: &Bench) -> BTreeMap<String, (Value, Value)> {
    let runs = bench.path("store/runs");
    let name = names(&runs).pop().unwrap();
    let run: Value = serde_json::from_slice(&fs::read(runs.join(name)).unwrap()).unwrap();
    let blob = |descriptor: &Value| -> Value {
        let hex = descriptor["digest"]
            .as_str()
            .unwrap()
            .trim_start_matches("sha256:");
        let path = bench.path("store/blobs/sha256").join(hex);
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    let region = blob(&run["manifests"][0]);
    let entries = region["manifests"].as_array().unwrap().iter();
    let configs = entries.filter(|e| e["artifactType"] == "application/vnd.larder.config.v1+json");
    configs
        .map(|entry| {
            let manifest = blob(entry);
            let arn = entry["annotations"]["larder.arn"].as_str().unwrap();
            (arn.to_owned(), (blob(&manifest["config"]), manifest))
        })
        .collect()
}

/// Operation and qualifier to result.
fn results(document: &Value) -> BTreeMap<String, String> {
    let reads = document["Reads"].as_array().unwrap().iter();
    reads
        .map(|read| {
            let qualifier = read["Qualifier"].as_str().unwrap_or_default();
            (
                format!("{} {qualifier}", read["Operation"].as_str().unwrap())
                    .trim()
                    .to_owned(),
                read["Result"].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}

/// Calls to Lambda by operation.
fn calls(ran: &Ran) -> BTreeMap<String, u64> {
    serde_json::from_value(summary(ran)["calls"].clone()).unwrap()
}

fn planned(ran: &Ran) -> BTreeMap<String, u64> {
    serde_json::from_value(summary(ran)["plan"]["calls"].clone()).unwrap()
}

#[test]
fn everything_beside_the_code_is_read_in_each_run_and_stored_once() {
    let bench = Bench::new();
    let orders = bench
        .aws
        .function("orders")
        .zip(zip(1))
        .publish()
        .alias("live", "1")
        .create();
    orders.side(
        "GetPolicy",
        "",
        json!({"Policy": "{\"Statement\":[\"mine\"]}", "RevisionId": "r"}),
    );
    orders.side(
        "GetPolicy",
        "live",
        json!({"Policy": "{\"Statement\":[\"hidden\"]}", "RevisionId": "r"}),
    );
    orders.side(
        "ListFunctionUrlConfigs",
        "",
        json!({"FunctionUrlConfigs": [{"FunctionUrl": "https://x.lambda-url.us-east-1.on.aws/"}]}),
    );
    let sources = json!({"EventSourceMappings": [{"UUID": "u-1", "State": "Enabled"}]});
    bench.aws.side("ListEventSourceMappings", sources);
    bench
        .aws
        .function("img")
        .image(
            "123456789012.dkr.ecr.us-east-1.amazonaws.com/r:t",
            &format!("sha256:{}", super::DIGEST),
        )
        .create();
    let first = backup(&bench, &["--all", "--config", "full"]).expect(0);
    // How long it will take is said before.
    assert!(
        first.stderr.contains("2 functions and 3 versions"),
        "{}",
        first.stderr
    );
    let found = configs(&bench);
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:orders";
    let of_function = results(&found[arn].0);
    for (read, result) in [
        ("GetPolicy", "found"),
        ("GetPolicy live", "found"),
        ("ListFunctionUrlConfigs", "found"),
        ("ListFunctionEventInvokeConfigs", "not_set"),
        ("GetFunctionCodeSigningConfig", "not_set"),
        ("ListProvisionedConcurrencyConfigs", "not_set"),
        ("GetFunctionRecursionConfig", "found"),
    ] {
        assert_eq!(of_function[read], result, "{read}: {of_function:?}");
    }
    let of_version = results(&found[&format!("{arn}:1")].0);
    assert_eq!(of_version["GetPolicy 1"], "not_set");
    assert_eq!(of_version["GetRuntimeManagementConfig 1"], "found");
    let titles: Vec<&str> = found[arn].1["layers"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|l| l["annotations"]["org.opencontainers.image.title"].as_str())
        .collect();
    assert!(
        titles.contains(&"policy-live.json") && titles.contains(&"function-urls.json"),
        "{titles:?}"
    );
    let region = &found["arn:aws:lambda:us-east-1:123456789012:event-source-mapping"].0;
    assert_eq!(results(region)["ListEventSourceMappings"], "found");
    check(&bench, 0);
    // An unchanged version is read again, and leads to the same documents.
    let asked = bench.aws.count("GetPolicy");
    let second = backup(&bench, &["--all", "--config", "full"]).expect(0);
    assert_eq!(summary(&second)["counts"]["unchanged"], 3);
    assert_eq!(bench.aws.count("GetPolicy"), 2 * asked);
    assert_eq!(configs(&bench), found);
    // A grant that appears without a new version is found.
    orders.side(
        "GetPolicy",
        "1",
        json!({"Policy": "{\"Statement\":[\"attacker\"]}", "RevisionId": "r"}),
    );
    backup(&bench, &["--all", "--config", "full"]).expect(0);
    assert_eq!(
        results(&configs(&bench)[&format!("{arn}:1")].0)["GetPolicy 1"],
        "found"
    );
    // Restore does not need any of it.
    bench
        .run(&["restore", "--store", "store", "orders"])
        .expect(0);
}

#[test]
fn what_is_denied_is_a_line_and_not_a_silence() {
    let bench = Bench::new();
    bench.aws.function("orders").zip(zip(1)).publish().create();
    bench.aws.function("billing").zip(zip(2)).create();
    bench.aws.fault(
        On::Operation("GetPolicy").always(),
        Fault::access_denied("lambda:GetPolicy"),
    );
    let ran = backup(&bench, &["--all", "--config", "full"]).expect(3);
    let denied: Vec<_> = lines(&ran)
        .into_iter()
        .filter(|l| l["event"] == "config")
        .collect();
    assert_eq!(denied.len(), 3, "{denied:?}");
    assert!(
        denied.iter().all(|l| l["status"] == "partial"
            && l["reason"].as_str().unwrap().contains("lambda:GetPolicy"))
    );
}

#[test]
fn a_dry_run_knows_the_calls_of_the_real_one() {
    let bench = Bench::new();
    account(&bench);
    let spare = bench
        .aws
        .layer("spare")
        .zip(packages::zip_of_size(3000, 9))
        .create();
    let _ = spare;
    for choice in [
        &["--all", "--config", "none", "--layers", "none"][..],
        &["--all"],
        &["--all", "--layers", "all"],
        &["orders", "billing:$LATEST"],
    ] {
        let dry = backup(&bench, &[choice, &["--dry-run"]].concat()).expect(0);
        let real = backup(&bench, choice).expect(0);
        assert_eq!(planned(&dry), calls(&real), "{choice:?}");
        let plan = &summary(&dry)["plan"];
        let downloaded = summary(&real)["bytes_downloaded"].as_u64().unwrap();
        assert!(plan["bytes"].as_u64().unwrap() <= downloaded, "{plan}");
        // Once it is there, a dry run has nothing but lists.
        let after = backup(&bench, &[choice, &["--dry-run"]].concat()).expect(0);
        let again = backup(&bench, choice).expect(0);
        assert_eq!(planned(&after), calls(&again), "{choice:?}");
        fs::remove_dir_all(bench.path("store")).unwrap();
    }
    // Of functions that are named it has the event sources too.
    let choice = ["billing", "--config", "full"];
    let dry = backup(&bench, &[&choice[..], &["--dry-run"]].concat()).expect(0);
    let real = backup(&bench, &choice).expect(0);
    assert_eq!(planned(&dry), calls(&real));
    assert_eq!(calls(&real)["ListEventSourceMappings"], 1);
    let region = "arn:aws:lambda:us-east-1:123456789012:event-source-mapping";
    assert!(configs(&bench).contains_key(region));
    fs::remove_dir_all(bench.path("store")).unwrap();
    // With the reads beside the code: all but the policies of aliases, which are not known before.
    let dry = backup(&bench, &["--all", "--config", "full", "--dry-run"]).expect(0);
    let real = backup(&bench, &["--all", "--config", "full"]).expect(0);
    let (mut dry_calls, real_calls) = (planned(&dry), calls(&real));
    *dry_calls.get_mut("GetPolicy").unwrap() += 1;
    // The real one counts first, to say how long it will take.
    *dry_calls.get_mut("ListFunctions").unwrap() += 1;
    assert_eq!(dry_calls, real_calls);
    // 5 a second of the shared budget: 3 functions, 5 versions.
    let text = bench
        .run(&["backup", "--store", "other", "--all", "--dry-run"])
        .expect(0);
    assert!(text.stdout.contains("at 5 a second"), "{text:?}");
    assert!(!bench.path("other").exists());
}
