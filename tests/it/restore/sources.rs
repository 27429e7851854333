//! Event sources of a backup with `--config full`.

use larder_testkit::{Fault, On};
use serde_json::json;

use super::{backup, lost, restore, states, zip};
use crate::harness::Bench;

const QUEUE: &str = "arn:aws:sqs:us-east-1:123456789012:incoming";

/// A function with an event source, and another function's.
fn triggered(bench: &Bench) {
    let function = bench
        .aws
        .function("f")
        .zip(zip(1))
        .alias("live", "$LATEST")
        .create();
    let mapping = |uuid: &str, arn: &str, source: &str| {
        json!({"UUID": uuid, "FunctionArn": arn, "EventSourceArn": source, "State": "Enabled", "BatchSize": 10,
            "MaximumBatchingWindowInSeconds": 5, "LastModified": 1.5})
    };
    let all = json!({"EventSourceMappings": [
        mapping("1", &format!("{}:live", function.arn()), QUEUE),
        mapping("2", "arn:aws:lambda:us-east-1:123456789012:function:f2", QUEUE),
    ]});
    bench.aws.side("ListEventSourceMappings", all);
    function.side("GetPolicy", "", json!({"Policy": "{}", "RevisionId": "r"}));
}

#[test]
fn event_sources_are_made_disabled_and_only_once() {
    let bench = Bench::new();
    triggered(&bench);
    backup(&bench, &["--config", "full"]);
    bench.aws.existing("f").unwrap().delete();
    bench.aws.side(
        "ListEventSourceMappings",
        json!({"EventSourceMappings": []}),
    );
    // The answer is lost: it is looked for, and not asked for again.
    bench.aws.fault(
        On::Operation("CreateEventSourceMapping"),
        Fault::Drop {
            after: 5,
            how: larder_testkit::Cut::Rst,
        },
    );
    let plan = restore(&bench, &["--yes", "f"]).expect(0).json();
    assert_eq!(
        states(&plan),
        [
            "create_function:done",
            "set_alias:done",
            "create_event_source:done"
        ]
    );
    assert!(lost(&plan).contains("Policy"), "{plan}");
    let sent = bench.aws.requests_of("CreateEventSourceMapping");
    assert_eq!(sent.len(), 1);
    let sent: serde_json::Value = serde_json::from_slice(&sent[0].body).unwrap();
    assert_eq!(
        sent,
        json!({"EventSourceArn": QUEUE, "BatchSize": 10, "MaximumBatchingWindowInSeconds": 5,
            "FunctionName": "f:live", "Enabled": false})
    );
    let again = restore(&bench, &["--yes", "f"]).expect(0).json();
    assert_eq!(again["steps"], json!([]), "{again}");
}

#[test]
fn a_backup_without_them_says_so() {
    let bench = Bench::new();
    triggered(&bench);
    backup(&bench, &[]);
    let plan = restore(&bench, &["f"]).expect(0).json();
    assert!(lost(&plan).contains("--config full"), "{plan}");
}

#[test]
fn what_could_not_be_read_is_named_in_the_plan() {
    let bench = Bench::new();
    triggered(&bench);
    for operation in ["GetPolicy", "ListEventSourceMappings"] {
        bench.aws.fault(
            On::Operation(operation).always(),
            Fault::access_denied(&format!("lambda:{operation}")),
        );
    }
    let arguments = ["backup", "--store", "store", "--all", "--config", "full"];
    bench.run(&arguments).expect(3);
    bench.aws.clear_faults();
    let plan = restore(&bench, &["f"]).expect(0).json();
    let lost = lost(&plan);
    for what in ["Policy", "event source mappings"] {
        assert!(lost.contains(what), "{lost}");
    }
    assert!(lost.contains("could not be read"), "{lost}");
}
