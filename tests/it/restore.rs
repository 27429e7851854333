//! `larder restore --to-lambda`: what is in AWS afterwards, what it was asked, and what is said.

mod all;
mod guards;
mod places;
mod refusals;
mod runs;
mod sources;
mod versions;

use larder_testkit::packages;
use serde_json::Value;

use crate::harness::{Bench, Ran};

/// A function with all that can be written back.
fn deployed(bench: &Bench) -> String {
    // As it is written: a macro would make another number of it.
    let new: Value = serde_json::from_str(r#"{"x": 1.50}"#).unwrap();
    let layer = bench
        .aws
        .layer("deps")
        .zip(packages::layer_package().zip())
        .create();
    bench
        .aws
        .function("orders")
        .zip(zip(1))
        .layer(&layer)
        .env("PASSWORD", "hunter2-in-clear")
        .env("MODE", "production-value")
        .tag("team", "payments")
        .concurrency(7)
        .set("MemorySize", 512.into())
        .set("Description", "takes orders".into())
        .set("Architectures", serde_json::json!(["arm64"]))
        .set("DeadLetterConfig", serde_json::json!({"TargetArn": "arn:aws:sqs:us-east-1:123456789012:dead"}))
        .set("VpcConfig", serde_json::json!({"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"], "VpcId": "vpc-0123456789abcdef0"}))
        .set("LoggingConfig", serde_json::json!({"LogFormat": "JSON", "LogGroup": "/aws/lambda/orders", "NewSetting": new}))
        .publish()
        .create();
    layer
}

fn zip(seed: u64) -> Vec<u8> {
    packages::zip_of_size(20_000, seed)
}

fn backup(bench: &Bench, arguments: &[&str]) {
    let mut all = vec!["backup", "--store", "store", "--max-rate", "1000", "--all"];
    all.extend(arguments);
    bench.run(&all).expect(0);
}

/// `larder restore --to-lambda` from the store, as JSON.
fn restore(bench: &Bench, arguments: &[&str]) -> Ran {
    let mut all = vec![
        "restore",
        "--store",
        "store",
        "--to-lambda",
        "--output",
        "json",
        "--max-rate",
        "1000",
    ];
    all.extend(arguments);
    bench.run(&all)
}

/// Makes every call that a restoration can make, but those to a staging bucket.
pub fn every_call(bench: &Bench) {
    let layer = deployed(bench);
    let function = bench.aws.existing("orders").unwrap();
    function.alias("live", "1");
    function.alias("other", "1");
    let store = ["--store", "all-calls", "--max-rate", "1000"];
    let backup = [&["backup", "orders"], &store[..]].concat();
    bench.run(&backup).expect(0);
    let restore = ["restore", "--to-lambda", "--yes", "--versions", "all"];
    let restore = [&restore, &store[..], &["orders"]].concat();
    function.delete();
    bench.run(&restore).expect(0);
    bench.aws.delete_layer(&layer);
    let function = bench.aws.existing("orders").unwrap();
    function.update_code(zip(9));
    function.set("Layers", serde_json::json!([]));
    function.alias("live", "$LATEST");
    function.untag("team");
    bench.run(&restore).expect(0);
}

/// What of a configuration a restoration gives back.
fn essence(mut configuration: Value) -> Value {
    for field in ["RevisionId", "LastModified", "Version", "FunctionArn"] {
        configuration.as_object_mut().unwrap().shift_remove(field);
    }
    configuration
}

/// The operations that changed something, in order.
fn writes(bench: &Bench) -> Vec<&'static str> {
    let requests = bench.aws.requests();
    let writes = requests.iter().filter(|request| {
        request.method != "GET" && !matches!(request.operation, "GetCallerIdentity" | "AssumeRole")
    });
    writes.map(|request| request.operation).collect()
}

/// The step's states, as `action:state`.
fn states(plan: &Value) -> Vec<String> {
    let steps = plan["steps"].as_array().unwrap().iter();
    steps
        .map(|step| format!("{}:{}", step["action"], step["state"]).replace('"', ""))
        .collect()
}

/// What does not come back, each with its reason.
fn lost(plan: &Value) -> String {
    plan["not_restored"].to_string()
}

#[test]
fn a_plan_changes_nothing_and_shows_no_value_of_the_environment() {
    let bench = Bench::new();
    deployed(&bench);
    backup(&bench, &[]);
    bench.aws.existing("orders").unwrap().delete();
    let ran = restore(&bench, &["orders"]).expect(0);
    let plan = ran.json();
    assert_eq!(plan["done"], false);
    assert_eq!(plan["target"]["exists"], false);
    assert_eq!(
        states(&plan),
        ["create_function:planned", "set_concurrency:planned"]
    );
    assert!(lost(&plan).contains("triggers outside Lambda"), "{plan}");
    assert!(lost(&plan).contains("FieldOfTheFuture"), "{plan}");
    assert!(writes(&bench).is_empty());
    let arguments = [
        "restore",
        "--store",
        "store",
        "--to-lambda",
        "-vvv",
        "orders",
    ];
    let text = bench.run(&arguments).expect(0);
    for part in ["plan orders", "create function", "not restored", "--yes"] {
        assert!(text.stdout.contains(part), "{}", text.stdout);
    }
    for said in [&ran.stdout, &ran.stderr, &text.stdout, &text.stderr] {
        assert!(!said.contains("hunter2") && !said.contains("production-value"));
    }
    assert!(writes(&bench).is_empty());
}

#[test]
fn a_function_that_is_gone_comes_back_as_it_was() {
    let bench = Bench::new();
    deployed(&bench);
    backup(&bench, &[]);
    let function = bench.aws.existing("orders").unwrap();
    let before = essence(function.configuration("$LATEST"));
    function.delete();
    bench
        .aws
        .settle_after(std::time::Duration::from_millis(300));
    let ran = restore(&bench, &["--yes", "-vvv", "orders"]).expect(0);
    let plan = ran.json();
    assert_eq!(plan["done"], true);
    let function = bench.aws.existing("orders").unwrap();
    assert_eq!(essence(function.configuration("$LATEST")), before);
    assert_eq!(plan["target"]["code_sha256"], function.code_sha256());
    assert_eq!(function.tags()["team"], "payments");
    assert_eq!(function.concurrency(), Some(7));
    assert_eq!(writes(&bench), ["CreateFunction", "PutFunctionConcurrency"]);
    assert!(!ran.stderr.contains("hunter2") && !ran.stdout.contains("hunter2"));
    // What is restored already takes no change.
    let again = restore(&bench, &["--yes", "orders"]).expect(0).json();
    assert_eq!(
        (&again["done"], again["steps"].as_array().unwrap().len()),
        (&true.into(), 0)
    );
    assert_eq!(writes(&bench).len(), 2);
}

#[test]
fn a_function_that_was_changed_is_rolled_back() {
    let bench = Bench::new();
    let layer = deployed(&bench);
    backup(&bench, &[]);
    let function = bench.aws.existing("orders").unwrap();
    let before = essence(function.configuration("$LATEST"));
    function.update_code(zip(9));
    function.set("MemorySize", 128.into());
    function.set(
        "Environment",
        serde_json::json!({"Variables": {"MODE": "other-value", "MORE": "x"}}),
    );
    function.set(
        "KMSKeyArn",
        "arn:aws:kms:us-east-1:123456789012:key/1".into(),
    );
    function.set("Layers", serde_json::json!([]));
    bench
        .aws
        .settle_after(std::time::Duration::from_millis(100));
    let plan = restore(&bench, &["orders"]).expect(0).json();
    let detail = plan["steps"][1]["detail"].as_str().unwrap();
    for part in [
        "MemorySize 128 → 512",
        "PASSWORD added",
        "MODE changed",
        "MORE removed",
        "KMSKeyArn",
    ] {
        assert!(detail.contains(part), "{detail}");
    }
    assert!(!plan.to_string().contains("other-value"));
    restore(&bench, &["--yes", "orders"]).expect(0);
    assert_eq!(essence(function.configuration("$LATEST")), before);
    assert_eq!(function.configuration("$LATEST")["Layers"][0]["Arn"], layer);
    assert_eq!(
        writes(&bench),
        ["UpdateFunctionCode", "UpdateFunctionConfiguration"]
    );
    for request in bench.aws.requests_of("UpdateFunctionConfiguration") {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert!(body["RevisionId"].is_string());
    }
    // Byte for byte what was deployed.
    bench.run(&["fetch", "orders"]).expect(0);
    assert!(std::fs::read(bench.path("orders/package.zip")).unwrap() == zip(1));
}
