//! `larder check` against Terraform, CDK and SAM. The assembly and the built template are what those tools wrote.

use std::path::Path;

use larder_testkit::{Tree, code_sha256};
use serde_json::{Value, json};

use crate::harness::{Bench, Ran, run, write};

/// A bench with `testdata/NAME` in it.
fn with_sample(name: &str) -> Bench {
    let bench = Bench::new();
    let from = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name);
    copy(&from, &bench.path(name));
    bench
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn check(bench: &Bench, arguments: &[&str]) -> Ran {
    let mut all = vec!["check", "--output", "json"];
    all.extend(arguments);
    bench.run(&all)
}

/// The result of a function, by the end of its ARN or label.
#[track_caller]
fn result(ran: &Ran, name: &str) -> Value {
    let report = ran.json();
    let functions = report["functions"].as_array().unwrap();
    let found = functions
        .iter()
        .find(|f| f["function"].as_str().unwrap().ends_with(name));
    found
        .unwrap_or_else(|| panic!("no {name} in {report:#}"))
        .clone()
}

/// Every result as `name status`, sorted.
fn statuses(ran: &Ran) -> Vec<String> {
    let report = ran.json();
    let all = report["functions"].as_array().unwrap().iter().map(|f| {
        let name = f["function"]
            .as_str()
            .unwrap()
            .rsplit([':', '/'])
            .next()
            .unwrap()
            .to_owned();
        format!("{name} {}", f["status"].as_str().unwrap())
    });
    let mut all: Vec<_> = all.collect();
    all.sort();
    all
}

fn package(version: u32) -> Tree {
    Tree::new()
        .file("app.py", format!("VERSION = {version}\n"))
        .file("lib/util.py", "def one():\n    return 1\n")
}

/// A raw state of version 4 with these `(type, name, attributes)`.
fn state(bench: &Bench, path: &str, resources: &[(&str, &str, Value)]) {
    let resources: Vec<_> = resources
        .iter()
        .map(|(kind, name, attributes)| {
            json!({"mode": "managed", "type": kind, "name": name, "provider": "provider[\"example.org/hashicorp/aws\"]",
                "instances": [{"schema_version": 0, "attributes": attributes}]})
        })
        .collect();
    let state = json!({"version": 4, "terraform_version": "1.9.8", "serial": 1, "lineage": "l", "outputs": {}, "resources": resources});
    let path = bench.path(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    write(path, state.to_string());
}

const FUNCTION: &str = "aws_lambda_function";

#[test]
fn a_state_in_sync_costs_no_download() {
    let bench = Bench::new();
    let zip = package(1).zip();
    for name in ["a", "b", "c"] {
        bench.aws.function(name).zip(zip.clone()).create();
    }
    let resource = |name: &str| {
        let arn = format!("arn:aws:lambda:us-east-1:123456789012:function:{name}");
        json!({"arn": arn, "function_name": name, "source_code_hash": code_sha256(&zip), "code_sha256": code_sha256(&zip)})
    };
    state(
        &bench,
        "t.tfstate",
        &["a", "b", "c"].map(|name| (FUNCTION, name, resource(name))),
    );
    let ran = check(&bench, &["--terraform", "t.tfstate"]).expect(0);
    assert_eq!(statuses(&ran), ["a in_sync", "b in_sync", "c in_sync"]);
    let a = result(&ran, ":a");
    assert_eq!(a["expected"]["basis"], "source_code_hash");
    assert_eq!(a["expected"]["file"], "t.tfstate");
    assert_eq!(a["expected"]["label"], "aws_lambda_function.a");
    assert_eq!(
        (bench.aws.count("GetFunction"), bench.aws.count("GetObject")),
        (0, 0)
    );
}

#[test]
fn a_local_zip_shows_which_file_was_changed() {
    let bench = Bench::new();
    bench.aws.function("orders").zip(package(2).zip()).create();
    let attributes =
        json!({"function_name": "orders", "filename": "dist/app.zip", "source_code_hash": "x"});
    state(
        &bench,
        "infra/t.tfstate",
        &[(FUNCTION, "orders", attributes)],
    );
    // Beside the state, where Terraform ran.
    std::fs::create_dir_all(bench.path("infra/dist")).unwrap();
    write(bench.path("infra/dist/app.zip"), package(1).zip());
    let ran = check(&bench, &["--terraform", "infra/t.tfstate"]).expect(1);
    let orders = result(&ran, ":orders");
    assert_eq!(orders["status"], "drifted");
    let changes: Vec<_> = orders["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (&c["path"], &c["change"]))
        .collect();
    assert_eq!(changes, [(&json!("app.py"), &json!("modified"))]);
    assert!(
        orders["notes"].to_string().contains("infra/dist/app.zip"),
        "{orders:#}"
    );
    // The same tree, packed otherwise, is in sync.
    let other = package(2).builder().build();
    write(bench.path("infra/dist/app.zip"), other);
    let ran = check(&bench, &["--terraform", "infra/t.tfstate"]).expect(0);
    assert!(
        ["in_sync", "repackaged"].contains(&result(&ran, ":orders")["status"].as_str().unwrap())
    );
}

#[test]
fn a_hash_of_sources_is_explained_and_can_be_passed_over() {
    let bench = Bench::new();
    let zip = package(1).zip();
    bench.aws.function("orders").zip(zip.clone()).create();
    let attributes = json!({"function_name": "orders", "source_code_hash": code_sha256(b"the sources"), "code_sha256": code_sha256(&zip)});
    state(&bench, "t.tfstate", &[(FUNCTION, "orders", attributes)]);
    let ran = check(&bench, &["--terraform", "t.tfstate"]).expect(1);
    let notes = result(&ran, ":orders")["notes"].to_string();
    assert!(
        notes.contains("hash of sources") && notes.contains("--terraform-hash code_sha256"),
        "{notes}"
    );
    let ran = check(
        &bench,
        &[
            "--terraform",
            "t.tfstate",
            "--terraform-hash",
            "code_sha256",
        ],
    )
    .expect(0);
    let orders = result(&ran, ":orders");
    assert_eq!(
        orders["expected"]["basis"],
        "code_sha256 of the state, as of the last refresh"
    );
    // Swapped since: neither hash explains that.
    bench.aws.function("orders").zip(package(3).zip()).create();
    let ran = check(&bench, &["--terraform", "t.tfstate"]).expect(1);
    assert!(
        !result(&ran, ":orders")["notes"]
            .to_string()
            .contains("hash of sources")
    );
}

#[test]
fn an_alias_of_a_state_that_was_moved_is_drift() {
    let bench = Bench::new();
    let zip = package(1).zip();
    let function = bench
        .aws
        .function("orders")
        .version(zip.clone())
        .version(package(2).zip())
        .zip(zip.clone())
        .alias("live", "1")
        .create();
    let arn = function.arn().to_owned();
    let resources = [
        (
            FUNCTION,
            "orders",
            json!({"arn": arn, "function_name": "orders", "version": "1", "source_code_hash": code_sha256(&zip)}),
        ),
        (
            "aws_lambda_alias",
            "live",
            json!({"arn": format!("{arn}:live"), "name": "live", "function_name": arn, "function_version": "1", "routing_config": []}),
        ),
    ];
    state(&bench, "t.tfstate", &resources);
    check(&bench, &["--terraform", "t.tfstate"]).expect(0);
    function.alias("live", "2");
    let ran = check(&bench, &["--terraform", "t.tfstate"]).expect(1);
    let report = ran.json();
    let drifted: Vec<_> = report["functions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|f| f["status"] == "drifted")
        .collect();
    assert!(
        !drifted.is_empty()
            && drifted
                .iter()
                .all(|f| f["alias"] == "live" || f["qualifier"] == "live"),
        "{report:#}"
    );
}

#[test]
fn an_image_is_compared_by_digest_and_a_missing_function_is_missing() {
    let bench = Bench::new();
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    bench
        .aws
        .function("thumbs")
        .image(
            "1.dkr.ecr.us-east-1.amazonaws.com/r:v1",
            &format!("sha256:{digest}"),
        )
        .create();
    let registry = "1.dkr.ecr.us-east-1.amazonaws.com/r";
    let image = |uri: String, hash: &str| json!({"function_name": "thumbs", "package_type": "Image", "image_uri": uri, "source_code_hash": hash});
    let other = "b".repeat(64);
    for (uri, hash, code) in [
        (format!("{registry}@sha256:{digest}"), "", 0),
        (format!("{registry}:v1"), digest, 0),
        (format!("{registry}:v1"), other.as_str(), 1),
        // With a tag alone, the tag is all there is.
        (format!("{registry}:v1"), "", 0),
        (format!("{registry}:v2"), "", 1),
    ] {
        state(
            &bench,
            "t.tfstate",
            &[(FUNCTION, "thumbs", image(uri, hash))],
        );
        check(&bench, &["--terraform", "t.tfstate"]).expect(code);
    }
    state(
        &bench,
        "t.tfstate",
        &[(
            FUNCTION,
            "gone",
            json!({"function_name": "gone", "source_code_hash": code_sha256(b"")}),
        )],
    );
    let ran = check(&bench, &["--terraform", "t.tfstate"]).expect(1);
    assert_eq!(statuses(&ran), ["gone missing"]);
}

#[test]
fn bad_states_are_refused_before_any_call() {
    let bench = Bench::new();
    for (text, want) in [
        ("{", "broken JSON"),
        (
            "{\"version\": 3}",
            "a state of version 3; larder reads version 4",
        ),
        (
            "{\"version\": 4, \"resources\": []}",
            "no aws_lambda_function",
        ),
        (
            "{\"encrypted_data\": \"AAAA\", \"encryption_version\": \"v0\"}",
            "the state is encrypted",
        ),
        ("{\"format_version\": \"1.0\"}", "no aws_lambda_function"),
        ("PK\u{3}\u{4}", "a plan in Terraform's own form"),
    ] {
        write(bench.path("s.json"), text);
        bench
            .run(&["check", "--terraform", "s.json"])
            .expect(2)
            .says(&["s.json", want]);
    }
    std::fs::create_dir(bench.path("empty")).unwrap();
    bench
        .run(&["check", "--cdk", "empty"])
        .expect(2)
        .says(&["no manifest.json", "cdk synth"]);
    write(bench.path("t.yaml"), "Resources: [");
    bench
        .run(&["check", "--sam", "t.yaml"])
        .expect(2)
        .says(&["t.yaml", "no YAML"]);
    write(
        bench.path("t.yaml"),
        "Resources: {T: {Type: AWS::SNS::Topic}}",
    );
    bench
        .run(&["check", "--sam", "t.yaml"])
        .expect(2)
        .says(&["no Lambda function"]);
    assert_eq!(bench.aws.requests().len(), 0);
    // Nor is a region asked for before.
    let mut bare = bench.command(&["check", "--sam", "t.yaml"]);
    bare.env_remove("AWS_REGION")
        .env_remove("AWS_DEFAULT_REGION");
    run(&mut bare).expect(2).says(&["no Lambda function"]);
}

const IMAGE: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/cdk-hnb659fds-container-assets-123456789012-eu-west-1:c8253fd59d12b46c71ce621ce98ba139561cc320482a4daef07ba88f543cd4a1";
const ASSETS: &str = "cdk/cdk.out/asset.";
const ORDERS: &str = "61e3e6415f2e44daeaf0909168dd3cb19ab4f272d20ee0eea0e8923b020b09ed";
const SHARED: &str = "9ad9acab8160cd7d50699fa82a22b171d634a1706d68107847e485c0cf4b7b58";
const NESTED: &str = "71967241d77ac124ba0a65d478097f678a6d78f7593cfb8daa65187d2efd9cb3";
const READY: &str = "feb29b45974096cf92404f8c56189b30d30921e0f4b22750b6b63cfbaa2ef363.zip";
const INNER: &str = "InnerNestedStackInnerNestedStackResource745E041B";

/// The stack of the assembly, deployed in eu-west-1 as it says.
fn deployed(bench: &Bench) -> larder_testkit::Function {
    let zip = |asset: &str| {
        Tree::read(&bench.path(format!("{ASSETS}{asset}")))
            .unwrap()
            .zip()
    };
    let region = "eu-west-1";
    let layer = bench
        .aws
        .layer("shared")
        .region(region)
        .zip(zip(SHARED))
        .create();
    let function = |name: &str| bench.aws.function(name).region(region);
    let orders = function("orders").zip(zip(ORDERS)).layer(&layer).create();
    let ready = std::fs::read(bench.path(format!("{ASSETS}{READY}"))).unwrap();
    function("OrdersStack-Ready-1").zip(ready).create();
    function("OrdersStack-Nested-1").zip(zip(NESTED)).create();
    for name in ["OrdersStack-Inline-1", "OrdersStack-FromBucket-1"] {
        function(name).zip(package(1).zip()).create();
    }
    function("OrdersStack-Image-1")
        .image(IMAGE, &format!("sha256:{}", "a".repeat(64)))
        .create();
    let inner = "arn:aws:cloudformation:eu-west-1:123456789012:stack/OrdersStack-Inner/1";
    let is = "AWS::Lambda::Function";
    for (stack, id, kind, physical) in [
        ("OrdersStack", "OrdersA9B65338", is, "orders"),
        ("OrdersStack", "ReadyD457FD7E", is, "OrdersStack-Ready-1"),
        ("OrdersStack", "Inline6CF80F9D", is, "OrdersStack-Inline-1"),
        (
            "OrdersStack",
            "FromBucket6AEC0055",
            is,
            "OrdersStack-FromBucket-1",
        ),
        ("OrdersStack", "Image9D742C96", is, "OrdersStack-Image-1"),
        ("OrdersStack", INNER, "AWS::CloudFormation::Stack", inner),
        (inner, "Nested0E007A7E", is, "OrdersStack-Nested-1"),
    ] {
        bench
            .aws
            .stack_resource_in(region, stack, id, kind, physical);
    }
    orders
}

#[test]
fn an_assembly_is_compared_by_content_through_its_stacks() {
    let bench = with_sample("cdk");
    let orders = deployed(&bench);
    let arguments = ["--cdk", "cdk/cdk.out", "--stack", "OrdersStack"];
    let ran = check(&bench, &arguments).expect(3);
    let found = statuses(&ran);
    let good = |name: &str| {
        found
            .iter()
            .any(|f| [format!("{name} in_sync"), format!("{name} repackaged")].contains(f))
    };
    for name in ["orders", "OrdersStack-Ready-1", "OrdersStack-Nested-1"] {
        assert!(good(name), "{name}: {found:?}\n{}", ran.stdout);
    }
    for name in ["OrdersStack-Inline-1", "OrdersStack-FromBucket-1"] {
        assert!(
            found.contains(&format!("{name} unknown")),
            "{name}: {found:?}"
        );
    }
    assert!(
        result(&ran, "OrdersStack-Inline-1")["reason"]
            .to_string()
            .contains("inline")
    );
    let image = result(&ran, "OrdersStack-Image-1");
    assert_eq!(image["status"], "in_sync");
    assert!(
        image["notes"].to_string().contains("a hash of its sources"),
        "{image:#}"
    );
    assert_eq!(found.len(), 6, "{found:?}");
    // Two pages of the stack, one of the nested one.
    assert_eq!(bench.aws.count("ListStackResources"), 3);
    assert!(!ran.stdout.contains("planted-secret") && !ran.stderr.contains("planted-secret"));

    orders.update_code(package(9).zip());
    let ran = check(&bench, &arguments).expect(1);
    let changed = result(&ran, ":orders");
    assert_eq!(changed["status"], "drifted");
    let paths: Vec<_> = changed["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, ["app.py", "lib/util.py"]);
    let file = "cdk/cdk.out/OrdersStack.template.json";
    assert_eq!(changed["expected"]["file"], file);
    let text = std::fs::read_to_string(bench.path(file)).unwrap();
    let line = usize::try_from(changed["expected"]["line"].as_u64().unwrap()).unwrap();
    assert!(
        text.lines()
            .nth(line - 1)
            .unwrap()
            .contains("OrdersA9B65338")
    );
}

#[test]
fn a_stack_that_is_not_there_or_denied_leaves_its_functions_unknown() {
    let bench = with_sample("cdk");
    let ran = check(&bench, &["--cdk", "cdk/cdk.out", "--stack", "OrdersStack"]);
    // The one with a name is looked for, and missing.
    ran.says(&[]).expect(1);
    let bench = with_sample("sam");
    bench.aws.function("plain").zip(package(1).zip()).create();
    let ran = check(
        &bench,
        &["--sam", "sam/.aws-sam/build", "--stack", "nowhere"],
    )
    .expect(1);
    let worker = result(&ran, "WorkerFunction");
    assert_eq!(worker["status"], "unknown");
    assert_eq!(worker["cause"], "not_found");
    assert!(
        worker["reason"]
            .to_string()
            .contains("no such stack in us-east-1"),
        "{worker:#}"
    );
    bench.run(&["check", "--cdk", "sam"]).expect(2);
}

#[test]
fn a_built_template_is_compared_with_the_stack_it_was_deployed_as() {
    let bench = with_sample("sam");
    let build = "sam/.aws-sam/build";
    let zip = |dir: &str| Tree::read(&bench.path(format!("sam/{dir}"))).unwrap().zip();
    let shared = bench.aws.layer("shared").zip(zip("shared")).create();
    let tools = bench
        .aws
        .layer("ours")
        .zip(zip(".aws-sam/build/ToolsLayer"))
        .create();
    let fixed = "arn:aws:lambda:eu-west-1:123456789012:layer:tools:3";
    let code_of = |dir: &str| zip(&format!(".aws-sam/build/{dir}"));
    bench
        .aws
        .function("orders-prod")
        .zip(code_of("OrdersFunction"))
        .layer(&shared)
        .create();
    bench
        .aws
        .function("s-worker")
        .zip(code_of("WorkerFunction"))
        .layer(&shared)
        .layer(fixed)
        .layer(&tools)
        .create();
    bench
        .aws
        .function("plain")
        .zip(code_of("PlainFunction"))
        .create();
    bench
        .aws
        .function("given-child")
        .zip(code_of("ChildApplication/ChildFunction"))
        .create();
    for name in ["s-inline", "s-bucket"] {
        bench
            .aws
            .function(name)
            .zip(package(1).zip())
            .layer(&shared)
            .create();
    }
    let is = "AWS::Lambda::Function";
    for (id, physical) in [
        ("OrdersFunction", "orders-prod"),
        ("WorkerFunction", "s-worker"),
        ("InlineFunction", "s-inline"),
        ("BucketFunction", "s-bucket"),
        ("PlainFunction", "plain"),
    ] {
        bench.aws.stack_resource("orders", id, is, physical);
    }
    let ran = check(
        &bench,
        &[
            "--sam",
            &format!("{build}/template.yaml"),
            "--stack",
            "orders",
        ],
    )
    .expect(3);
    let found = statuses(&ran);
    let unsure: Vec<_> = found
        .iter()
        .filter(|f| !f.ends_with(" in_sync") && !f.ends_with(" repackaged"))
        .collect();
    assert_eq!(
        unsure,
        ["s-bucket unknown", "s-inline unknown"],
        "{}",
        ran.stdout
    );
    assert_eq!(
        found.len(),
        6,
        "the function that its condition leaves out is not expected: {found:?}"
    );

    // Another file in the shared layer, at the same place in the list.
    let other = bench
        .aws
        .layer("other")
        .zip(
            Tree::new()
                .file("python/shared.py", "GREETING = 'bye'\n")
                .zip(),
        )
        .create();
    bench
        .aws
        .function("orders-prod")
        .zip(code_of("OrdersFunction"))
        .layer(&other)
        .create();
    let ran = check(&bench, &["--sam", build, "--stack", "orders"]).expect(1);
    let orders = result(&ran, ":orders-prod");
    assert_eq!(orders["status"], "drifted", "{orders:#}");
    assert_eq!(orders["layers"][0]["status"], "drifted", "{orders:#}");
}

#[test]
fn without_a_stack_only_names_in_the_template_are_known() {
    let bench = with_sample("sam");
    let zip = |dir: &str| {
        Tree::read(&bench.path(format!("sam/.aws-sam/build/{dir}")))
            .unwrap()
            .zip()
    };
    bench
        .aws
        .function("plain")
        .zip(zip("PlainFunction"))
        .create();
    bench
        .aws
        .function("given-child")
        .zip(zip("ChildApplication/ChildFunction"))
        .create();
    let ran = check(&bench, &["--sam", "sam/.aws-sam/build/template.yaml"]).expect(1);
    let found = statuses(&ran);
    for want in [
        "BucketFunction unknown",
        "InlineFunction unknown",
        "OptionalFunction unknown",
        "WorkerFunction unknown",
        "orders-beta missing",
    ] {
        assert!(found.iter().any(|f| f == want), "{want}: {found:?}");
    }
    assert!(
        result(&ran, "WorkerFunction")["reason"]
            .to_string()
            .contains("--stack")
    );
    let beta = result(&ran, "orders-beta");
    assert!(
        beta["notes"].to_string().contains("the default of Stage"),
        "{beta:#}"
    );
    assert_eq!(bench.aws.count("ListStackResources"), 0);
}

#[test]
fn a_value_of_a_state_that_cannot_be_read_is_unknown_and_never_in_sync() {
    let bench = Bench::new();
    let zip = package(1).zip();
    let function = bench.aws.function("a").zip(zip.clone()).create();
    function.set("MemorySize", json!(512));
    function.set("Timeout", json!(3));
    let with = |field: &str, value: Value| {
        let mut attributes = json!({"function_name": "a", "code_sha256": code_sha256(&zip)});
        attributes[field] = value;
        state(&bench, "t.tfstate", &[(FUNCTION, "a", attributes)]);
        check(&bench, &["--terraform", "t.tfstate", "--config"])
    };
    for (field, value) in [
        ("memory_size", json!(512)),
        ("memory_size", json!(512.0)),
        ("memory_size", json!("512")),
        ("memory_size", json!(null)),
        ("runtime", json!("")),
        ("architectures", json!([])),
        ("environment", json!([])),
        ("environment", json!([{"variables": null}])),
        ("layers", json!(null)),
    ] {
        let ran = with(field, value.clone()).expect(0);
        assert_eq!(statuses(&ran), ["a in_sync"], "{field} {value}");
    }
    with("memory_size", json!("256")).expect(1);
    for (field, value) in [
        ("memory_size", json!(512.5)),
        ("memory_size", json!(-5)),
        ("memory_size", json!("x")),
        ("timeout", json!([1])),
        ("runtime", json!(7)),
        ("handler", json!({})),
        ("role", json!(true)),
        ("architectures", json!("arm64")),
        ("architectures", json!([7])),
        ("environment", json!("x")),
        ("environment", json!([{"variables": "x"}])),
        ("layers", json!("x")),
    ] {
        let ran = with(field, value.clone()).expect(2);
        let a = result(&ran, "a");
        assert_eq!(a["status"], "unknown", "{field} {value}: {a:#}");
        let said = a.to_string();
        assert!(
            said.contains("cannot be read") && said.contains(field),
            "{said}"
        );
        assert!(!said.contains("known after apply"), "{said}");
    }
    // One layer, whatever it is, and none deployed.
    with("layers", json!([7])).expect(1);
    // Beside a difference it is told too.
    let attributes = json!({"function_name": "a", "code_sha256": code_sha256(&zip), "timeout": 9, "memory_size": "x"});
    state(&bench, "t.tfstate", &[(FUNCTION, "a", attributes)]);
    let ran = check(&bench, &["--terraform", "t.tfstate", "--config"]).expect(1);
    let a = result(&ran, "a");
    assert!(a["notes"].to_string().contains("memory_size"), "{a:#}");
}

#[test]
fn a_pipe_is_no_file_that_is_not_there() {
    let bench = Bench::new();
    make_fifo(&bench.path("pipe"));
    for option in ["--terraform", "--lock", "--accept"] {
        let ran = check(&bench, &["f", option, "pipe", "--expect", "lambda:g"]).expect(2);
        ran.says(&["is no regular file"]);
    }
}

fn make_fifo(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
}
