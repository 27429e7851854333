//! What happens when somebody else is at work, when AWS fails, and when it is done again.

use std::process::{Child, Stdio};
use std::time::Duration;

use larder_testkit::{Fault, LambdaError, On};
use serde_json::{Value, json};

use super::{backup, deployed, restore, states, writes, zip};
use crate::harness::{Bench, finish};

#[test]
fn a_change_under_way_is_not_overwritten() {
    let bench = Bench::new();
    deployed(&bench);
    backup(&bench, &[]);
    let function = bench.aws.existing("orders").unwrap();
    function.update_code(zip(9));
    function.set("LastUpdateStatus", "InProgress".into());
    let ran = restore(&bench, &["--yes", "orders"]).expect(6);
    ran.says(&["a change is under way", "nothing was changed"]);
    assert!(writes(&bench).is_empty());
}

#[test]
fn somebody_elses_change_between_two_steps_ends_it() {
    let bench = Bench::new();
    deployed(&bench);
    backup(&bench, &[]);
    let function = bench.aws.existing("orders").unwrap();
    function.update_code(zip(9));
    function.set("MemorySize", 128.into());
    // The configuration is read before it is changed: then the RevisionId is another.
    bench.aws.fault(
        On::Operation("UpdateFunctionConfiguration"),
        Fault::Lambda(LambdaError::new(
            412,
            "PreconditionFailedException",
            "The RevisionId provided does not match",
        )),
    );
    let ran = restore(&bench, &["--yes", "orders"]).expect(6);
    assert_eq!(
        states(&ran.json()),
        ["update_code:done", "update_configuration:failed"]
    );
    ran.says(&["PreconditionFailedException", "nothing was overwritten"]);
    assert_eq!(function.configuration("$LATEST")["MemorySize"], 128);
    restore(&bench, &["--yes", "orders"]).expect(0);
    assert_eq!(function.configuration("$LATEST")["MemorySize"], 512);
}

/// A restoration of `orders` whose change of this kind has just been accepted.
fn begun(bench: &Bench, operation: &str) -> Child {
    let arguments = ["restore", "--store", "store", "--to-lambda", "--yes"];
    let child = bench
        .command(&[&arguments[..], &["--max-rate", "1000", "orders"]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    assert!(bench.aws.wait_until(Duration::from_secs(60), |requests| {
        requests
            .iter()
            .any(|r| r.operation == operation && r.status == Some(200))
    }));
    child
}

#[test]
fn code_that_is_deployed_while_it_is_restored_is_seen() {
    let bench = Bench::new();
    deployed(&bench);
    backup(&bench, &[]);
    let function = bench.aws.existing("orders").unwrap();
    function.update_code(zip(9));
    bench.aws.settle_after(Duration::from_millis(600));
    let child = begun(&bench, "UpdateFunctionCode");
    std::thread::sleep(Duration::from_millis(20));
    function.update_code(zip(11));
    finish(child)
        .expect(6)
        .says(&["somebody else changed it meanwhile"]);
    assert_eq!(
        function.code_sha256(),
        larder_testkit::code_sha256(&zip(11))
    );
}

#[test]
fn a_configuration_that_is_changed_while_code_is_restored_is_not_overwritten() {
    let bench = Bench::new();
    deployed(&bench);
    backup(&bench, &[]);
    let function = bench.aws.existing("orders").unwrap();
    function.update_code(zip(9));
    function.set("Description", "other".into());
    bench.aws.settle_after(Duration::from_millis(600));
    let child = begun(&bench, "UpdateFunctionCode");
    function.set("MemorySize", 1024.into());
    function.set("LastModified", "2026-01-31T12:00:00.000+0000".into());
    finish(child)
        .expect(6)
        .says(&["somebody else changed it meanwhile"]);
    assert_eq!(function.configuration("$LATEST")["MemorySize"], 1024);
    assert_eq!(writes(&bench), ["UpdateFunctionCode"]);
}

#[test]
fn code_or_a_field_that_is_changed_while_the_configuration_is_restored_is_seen() {
    for code in [true, false] {
        let bench = Bench::new();
        deployed(&bench);
        backup(&bench, &[]);
        let function = bench.aws.existing("orders").unwrap();
        function.set("Description", "other".into());
        bench.aws.settle_after(Duration::from_millis(600));
        let child = begun(&bench, "UpdateFunctionConfiguration");
        if code {
            function.update_code(zip(11));
        } else {
            function.set("MemorySize", 1024.into());
        }
        function.set("LastModified", "2026-01-31T12:00:00.000+0000".into());
        finish(child)
            .expect(6)
            .says(&["somebody else changed it meanwhile"]);
    }
}

#[test]
fn fields_that_are_emptied_are_known_for_its_own_work_and_for_undone_work() {
    let bench = Bench::new();
    bench.aws.function("f").zip(zip(1)).create();
    backup(&bench, &[]);
    let function = bench.aws.existing("f").unwrap();
    let fill = || {
        function.set("Description", "d".into());
        function.set(
            "Layers",
            json!([{"Arn": "arn:aws:lambda:us-east-1:1:layer:l:1"}]),
        );
        function.set("Environment", json!({"Variables": {"A": "1"}}));
        function.set(
            "VpcConfig",
            json!({"SubnetIds": ["s"], "SecurityGroupIds": ["g"]}),
        );
        function.set("DeadLetterConfig", json!({"TargetArn": "q"}));
    };
    let is_empty = || {
        let now = function.configuration("$LATEST");
        let none = |pointer: &str| match now.pointer(pointer) {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Array(items)) => items.is_empty(),
            Some(value) => value.as_object().is_some_and(serde_json::Map::is_empty),
        };
        [
            "/Description",
            "/Layers",
            "/Environment/Variables",
            "/VpcConfig/SubnetIds",
            "/DeadLetterConfig/TargetArn",
        ]
        .iter()
        .all(|pointer| none(pointer))
    };
    // A fault before anything was done.
    fill();
    let update = On::Operation("UpdateFunctionConfiguration");
    let fault = LambdaError::new(500, "ServiceException", "sorry");
    bench.aws.fault(update, Fault::Lambda(fault));
    restore(&bench, &["--yes", "f"]).expect(0);
    assert!(is_empty());
    assert_eq!(bench.aws.count("UpdateFunctionConfiguration"), 2);
    // Its own change, of which Lambda states another time at its end.
    fill();
    bench.aws.settle_after(Duration::from_millis(200));
    let time = "2026-01-31T12:00:00.000+0000";
    let patch = Fault::json(move |answer| answer["LastModified"] = time.into());
    bench.aws.fault(update, patch);
    restore(&bench, &["--yes", "f"]).expect(0);
    assert!(is_empty());
}

#[test]
fn a_code_update_that_did_nothing_is_sent_again_when_the_code_is_the_same() {
    let bench = Bench::new();
    deployed(&bench);
    let own = bench.aws.function("own");
    own.reference("code", "own.zip", zip(4)).create();
    backup(&bench, &[]);
    let function = bench.aws.existing("orders").unwrap();
    function.set("Architectures", json!(["x86_64"]));
    let own = bench.aws.existing("own").unwrap();
    own.set("S3ObjectStorageMode", json!(null));
    own.update_code(zip(4));
    for name in ["orders", "own"] {
        let before = bench.aws.count("UpdateFunctionCode");
        bench.aws.fault(
            On::Operation("UpdateFunctionCode"),
            Fault::Lambda(LambdaError::new(500, "ServiceException", "sorry")),
        );
        restore(&bench, &["--yes", name]).expect(0);
        assert_eq!(bench.aws.count("UpdateFunctionCode"), before + 2, "{name}");
    }
    assert_eq!(
        function.configuration("$LATEST")["Architectures"],
        json!(["arm64"])
    );
    assert_eq!(
        own.configuration("$LATEST")["S3ObjectStorageMode"],
        "REFERENCE"
    );
}

#[test]
fn a_restoration_that_lambda_does_not_keep_is_no_success() {
    let bench = Bench::new();
    deployed(&bench);
    backup(&bench, &[]);
    let function = bench.aws.existing("orders").unwrap();
    function.set("MemorySize", 128.into());
    // The look after the last step finds another.
    let patch = Fault::json(|answer| answer["MemorySize"] = 1024.into());
    let looks = On::Operation("GetFunctionConfiguration");
    bench.aws.fault(looks.nth(3), patch);
    restore(&bench, &["--yes", "orders"])
        .expect(1)
        .says(&["Lambda states another MemorySize"]);
    restore(&bench, &["--yes", "orders"]).expect(0);
}

#[test]
fn denied_in_the_middle_says_what_was_done_and_can_be_made_again() {
    let bench = Bench::new();
    deployed(&bench);
    backup(&bench, &[]);
    bench.aws.existing("orders").unwrap().delete();
    bench.aws.fault(
        On::Operation("PutFunctionConcurrency"),
        Fault::Lambda(LambdaError::new(403, "AccessDeniedException", "no")),
    );
    let ran = restore(&bench, &["--yes", "orders"]).expect(4);
    let plan = ran.json();
    assert_eq!(plan["done"], false);
    assert_eq!(
        states(&plan),
        ["create_function:done", "set_concurrency:failed"]
    );
    ran.says(&["lambda:PutFunctionConcurrency"]);
    let plan = restore(&bench, &["--yes", "orders"]).expect(0).json();
    assert_eq!(states(&plan), ["set_concurrency:done"]);
    assert_eq!(bench.aws.existing("orders").unwrap().concurrency(), Some(7));
}

#[test]
fn an_answer_that_is_lost_is_looked_for_before_it_is_asked_for_again() {
    for (operation, arguments) in [
        ("CreateFunction", &["--yes", "f"][..]),
        ("PublishVersion", &["--yes", "--publish", "f"]),
        ("CreateAlias", &["--yes", "--versions", "all", "f"]),
    ] {
        let bench = Bench::new();
        bench
            .aws
            .function("f")
            .zip(zip(1))
            .publish()
            .alias("live", "1")
            .create();
        backup(&bench, &[]);
        bench.aws.existing("f").unwrap().delete();
        // It is carried out, and the answer never comes.
        bench.aws.fault(
            On::Operation(operation),
            Fault::Drop {
                after: 5,
                how: larder_testkit::Cut::Rst,
            },
        );
        restore(&bench, arguments).expect(0);
        assert_eq!(bench.aws.count(operation), 1, "{operation}");
    }
}

#[test]
fn a_server_that_fails_is_asked_again() {
    let bench = Bench::new();
    deployed(&bench);
    backup(&bench, &[]);
    bench.aws.existing("orders").unwrap().delete();
    bench.aws.faults(
        On::Operation("CreateFunction"),
        [
            Fault::Lambda(LambdaError::new(500, "ServiceException", "sorry")),
            Fault::Lambda(LambdaError::new(429, "TooManyRequestsException", "slower")),
        ],
    );
    // A fault that replaces the answer comes after the work: it is found to be done.
    restore(&bench, &["--yes", "orders"]).expect(0);
    assert!(bench.aws.existing("orders").is_some());
}

#[test]
fn an_update_that_lambda_cannot_carry_out_is_an_error_and_is_made_again() {
    let bench = Bench::new();
    deployed(&bench);
    backup(&bench, &[]);
    let function = bench.aws.existing("orders").unwrap();
    function.update_code(zip(9));
    function.fail_next_update("The runtime is deprecated");
    restore(&bench, &["--yes", "orders"])
        .expect(6)
        .says(&["The runtime is deprecated"]);
    restore(&bench, &["--yes", "orders"]).expect(0);
    assert_eq!(function.code_sha256(), larder_testkit::code_sha256(&zip(1)));
}

#[test]
fn killed_at_any_moment_it_is_made_again() {
    for (operation, count) in [
        ("CreateFunction", 1),
        ("UpdateFunctionCode", 1),
        ("PublishVersion", 2),
    ] {
        let bench = Bench::new();
        bench
            .aws
            .function("f")
            .zip(zip(3))
            .version(zip(1))
            .version(zip(2))
            .alias("live", "2")
            .create();
        backup(&bench, &[]);
        bench.aws.existing("f").unwrap().delete();
        bench.aws.settle_after(Duration::from_millis(100));
        let mut child = bench
            .command(&[
                "restore",
                "--store",
                "store",
                "--to-lambda",
                "--yes",
                "--max-rate",
                "1000",
                "--versions",
                "all",
                "f",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        assert!(bench.aws.wait_until(Duration::from_secs(60), |requests| {
            requests
                .iter()
                .filter(|r| r.operation == operation && r.status.is_some())
                .count()
                >= count
        }));
        child.kill().unwrap();
        child.wait().unwrap();
        std::thread::sleep(Duration::from_millis(200));
        let plan = restore(&bench, &["--yes", "--versions", "all", "f"])
            .expect(0)
            .json();
        assert_eq!(plan["done"], true, "{operation}");
        let function = bench.aws.existing("f").unwrap();
        assert_eq!(function.versions(), [1, 2], "{operation}");
        assert_eq!(function.aliases()["live"].0, "2");
        for (version, seed) in [("1", 1), ("2", 2), ("$LATEST", 3)] {
            let digest = function.configuration(version)["CodeSha256"].clone();
            assert_eq!(
                digest,
                larder_testkit::code_sha256(&zip(seed)),
                "{operation} {version}"
            );
        }
    }
}
