//! To another name, region or account; layers; storage.

use larder_testkit::{REGION, packages};
use serde_json::json;

use super::{backup, deployed, lost, restore, states, zip};
use crate::harness::Bench;

#[test]
fn another_name_leaves_the_first_alone() {
    let bench = Bench::new();
    deployed(&bench);
    backup(&bench, &[]);
    restore(&bench, &["--yes", "--to-name", "orders-2", "orders"]).expect(0);
    let function = bench.aws.existing("orders-2").unwrap();
    assert_eq!(
        function.code_sha256(),
        bench.aws.existing("orders").unwrap().code_sha256()
    );
    let logging = &function.configuration("$LATEST")["LoggingConfig"];
    assert_eq!(logging["LogGroup"], "/aws/lambda/orders-2");
    // What no SDK knows within a field is written back too.
    assert_eq!(logging["NewSetting"]["x"].to_string(), "1.50");
    for name in [
        "a.b",
        "a:b",
        &"x".repeat(65),
        "arn:aws:lambda:us-east-1:123456789012:function:f",
    ] {
        restore(&bench, &["--yes", "--to-name", name, "orders"]).expect(2);
    }
}

#[test]
fn another_region_gets_layers_of_its_own_and_nothing_of_the_network() {
    let bench = Bench::new();
    bench.aws.regions(&["eu-west-1"]);
    deployed(&bench);
    backup(&bench, &[]);
    let plan = restore(&bench, &["--yes", "--to-region", "eu-west-1", "orders"])
        .expect(0)
        .json();
    let account = larder_testkit::ACCOUNT;
    let function = bench
        .aws
        .existing_in(account, "eu-west-1", "orders")
        .unwrap();
    let configuration = function.configuration("$LATEST");
    let new = "arn:aws:lambda:eu-west-1:123456789012:layer:deps:1";
    assert_eq!(configuration["Layers"][0]["Arn"], new);
    assert_eq!(
        plan["layers"]["arn:aws:lambda:us-east-1:123456789012:layer:deps:1"],
        new
    );
    assert!(configuration["VpcConfig"].is_null() && configuration["DeadLetterConfig"].is_null());
    assert!(lost(&plan).contains("VpcConfig") && lost(&plan).contains("DeadLetterConfig"));
    assert_eq!(states(&plan)[0], "publish_layer:done");
    // Its second use finds the layer.
    let again = restore(
        &bench,
        &[
            "--yes",
            "--to-region",
            "eu-west-1",
            "--to-name",
            "o2",
            "orders",
        ],
    );
    assert_eq!(states(&again.expect(0).json())[0], "create_function:done");
}

#[test]
fn another_account_needs_a_role_of_its_own() {
    let bench = Bench::new();
    deployed(&bench);
    backup(&bench, &[]);
    let there = ["--role-arn", "arn:aws:iam::210987654321:role/deployer"];
    let mut arguments = vec!["--yes"];
    arguments.extend(there);
    arguments.push("orders");
    let ran = restore(&bench, &arguments).expect(2);
    ran.says(&["--execution-role", "nothing was changed"]);
    let role = "arn:aws:iam::210987654321:role/runs-orders";
    arguments.extend(["--execution-role", role]);
    let plan = restore(&bench, &arguments).expect(0).json();
    assert_eq!(plan["target"]["account"], "210987654321");
    let function = bench
        .aws
        .existing_in("210987654321", REGION, "orders")
        .unwrap();
    assert_eq!(function.configuration("$LATEST")["Role"], role);
}

#[test]
fn a_layer_that_was_deleted_is_published_anew_or_named() {
    let bench = Bench::new();
    let layer = deployed(&bench);
    backup(&bench, &[]);
    bench.aws.existing("orders").unwrap().delete();
    bench.aws.delete_layer(&layer);
    // Another version of the layer, of other code, is none.
    let _ = bench.aws.layer("deps").zip(zip(5)).create();
    let plan = restore(&bench, &["--yes", "orders"]).expect(0).json();
    assert_eq!(plan["layers"][&layer], layer.replace("deps:1", "deps:2"));
    let fetched = bench.run(&["fetch", "orders", "--layers"]).expect(0);
    let zip = bench.path("orders/layers/deps-2/package.zip");
    assert!(
        std::fs::read(zip).unwrap() == packages::layer_package().zip(),
        "{fetched:?}"
    );
}

#[test]
fn a_layer_that_nobody_has_is_refused_unless_it_may_be_missing() {
    let bench = Bench::new();
    let layer = deployed(&bench);
    backup(&bench, &["--layers", "none"]);
    bench.aws.existing("orders").unwrap().delete();
    bench.aws.delete_layer(&layer);
    let ran = restore(&bench, &["--yes", "orders"]).expect(5);
    ran.says(&[&layer, "--allow-missing-layers"]);
    assert!(bench.aws.existing("orders").is_none());
    let plan = restore(&bench, &["--yes", "--allow-missing-layers", "orders"])
        .expect(0)
        .json();
    assert!(lost(&plan).contains(&layer));
    let configuration = bench
        .aws
        .existing("orders")
        .unwrap()
        .configuration("$LATEST");
    assert!(configuration["Layers"].is_null());
}

#[test]
fn code_in_the_customers_bucket_is_referred_to_again_if_it_is_still_the_same() {
    let bench = Bench::new();
    bench
        .aws
        .function("own")
        .reference("code", "own.zip", zip(4))
        .create();
    backup(&bench, &[]);
    bench.aws.existing("own").unwrap().delete();
    restore(&bench, &["--yes", "own"]).expect(0);
    let configuration = bench.aws.existing("own").unwrap().configuration("$LATEST");
    assert_eq!(configuration["S3ObjectStorageMode"], "REFERENCE");
    assert_eq!(
        configuration["CodeSha256"],
        larder_testkit::code_sha256(&zip(4))
    );
    restore(&bench, &["--yes", "own"]).expect(0);
    // Elsewhere the object is no use, and Lambda keeps a copy.
    let plan = restore(&bench, &["--yes", "--to-region", "eu-west-1", "own"])
        .expect(0)
        .json();
    assert!(lost(&plan).contains("storage mode REFERENCE"), "{plan}");
    let there = bench
        .aws
        .existing_in(larder_testkit::ACCOUNT, "eu-west-1", "own")
        .unwrap();
    assert_eq!(
        there.configuration("$LATEST")["CodeSha256"],
        larder_testkit::code_sha256(&zip(4))
    );
    assert_eq!(
        there.configuration("$LATEST")["S3ObjectStorageMode"],
        json!(null)
    );
}
