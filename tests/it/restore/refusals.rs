//! What must be given first: staging, environment, image; and what AWS refuses.

use larder_testkit::image::{Family, Image};
use larder_testkit::{Fault, Login, On, packages};
use serde_json::json;

use super::{backup, deployed, restore, states, writes, zip};
use crate::harness::{Bench, write};

#[test]
fn a_package_over_50_mib_goes_through_a_bucket_and_leaves_nothing_there() {
    let bench = Bench::new();
    let large = packages::zip_of_size(53 << 20, 1);
    assert!(large.len() > 52_428_800);
    bench.aws.function("large").zip(large.clone()).create();
    backup(&bench, &[]);
    bench.aws.existing("large").unwrap().delete();
    let ran = restore(&bench, &["--yes", "large"]).expect(2);
    ran.says(&["--staging-bucket", "nothing was changed"]);
    assert!(writes(&bench).is_empty());
    let plan = restore(&bench, &["large"]).expect(0).json();
    assert_eq!(plan["needs"][0]["option"], "--staging-bucket");
    restore(&bench, &["--yes", "--staging-bucket", "staging", "large"]).expect(0);
    let function = bench.aws.existing("large").unwrap();
    assert_eq!(function.code_sha256(), larder_testkit::code_sha256(&large));
    assert_eq!(bench.aws.keys_in("staging"), [""; 0]);
    assert!(bench.aws.count("DeleteObject") == 1 && bench.aws.count("UploadPart") > 1);
}

#[test]
fn a_package_of_50_mib_is_sent_without_being_held_in_memory() {
    let bench = Bench::new();
    let large = packages::zip_of_size(50 << 20, 1);
    assert!(large.len() <= 52_428_800 && large.len() > 49 << 20);
    bench.aws.function("large").zip(large.clone()).create();
    backup(&bench, &[]);
    bench.aws.existing("large").unwrap().delete();
    restore(&bench, &["--yes", "large"]).expect(0);
    let function = bench.aws.existing("large").unwrap();
    assert_eq!(function.code_sha256(), larder_testkit::code_sha256(&large));
}

#[test]
fn what_is_staged_is_removed_when_lambda_refuses_it_too() {
    let bench = Bench::new();
    bench
        .aws
        .function("large")
        .zip(packages::zip_of_size(53 << 20, 1))
        .create();
    backup(&bench, &[]);
    let function = bench.aws.existing("large").unwrap();
    let role = function.configuration("$LATEST")["Role"]
        .as_str()
        .unwrap()
        .to_owned();
    function.delete();
    bench.aws.role_gone(&role);
    let ran = restore(&bench, &["--yes", "--staging-bucket", "staging", "large"]).expect(2);
    ran.says(&["cannot be assumed by Lambda", "--execution-role"]);
    assert_eq!(bench.aws.keys_in("staging"), [""; 0]);
}

#[test]
fn a_redacted_environment_needs_its_values() {
    let bench = Bench::new();
    deployed(&bench);
    backup(&bench, &["--redact-env"]);
    bench.aws.existing("orders").unwrap().delete();
    let ran = restore(&bench, &["--yes", "orders"]).expect(2);
    ran.says(&["--env-from", "PASSWORD", "MODE", "nothing was changed"]);
    write(bench.path("part.env"), "PASSWORD=s3cret-in-file\n");
    let ran = restore(&bench, &["--yes", "--env-from", "part.env", "orders"]).expect(2);
    assert!(!ran.stderr.contains("PASSWORD") && ran.stderr.contains("MODE"));
    assert!(writes(&bench).is_empty());
    write(
        bench.path("env.json"),
        r#"{"PASSWORD": "s3cret-in-file", "MODE": "m", "OTHER": "o"}"#,
    );
    let ran = restore(
        &bench,
        &["--yes", "-vvv", "--env-from", "env.json", "orders"],
    )
    .expect(0);
    assert!(!ran.stderr.contains("s3cret-in-file") && !ran.stdout.contains("s3cret-in-file"));
    assert!(
        ran.stdout.contains("OTHER"),
        "a value that is not used is said"
    );
    let configuration = bench
        .aws
        .existing("orders")
        .unwrap()
        .configuration("$LATEST");
    let variables = &configuration["Environment"]["Variables"];
    assert_eq!(
        variables,
        &json!({"PASSWORD": "s3cret-in-file", "MODE": "m"})
    );
    write(bench.path("bad.env"), "s3cret-in-file\n");
    let ran = restore(&bench, &["--yes", "--env-from", "bad.env", "orders"]).expect(2);
    assert!(!ran.stderr.contains("s3cret-in-file"));
}

#[test]
fn a_value_that_aws_quotes_in_its_refusal_is_not_shown() {
    use larder_testkit::LambdaError;
    let bench = Bench::new();
    deployed(&bench);
    backup(&bench, &[]);
    bench.aws.existing("orders").unwrap().delete();
    let message = "1 validation error detected: Value '{PASSWORD=hunter2-in-clear}' at 'environment.variables' failed";
    bench.aws.fault(
        On::Operation("CreateFunction"),
        Fault::Lambda(LambdaError::new(400, "ValidationException", message)),
    );
    let ran = restore(&bench, &["--yes", "-vvv", "orders"]).expect(2);
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    ran.says(&["ValidationException"]);
}

#[test]
fn an_image_function_gets_the_image_that_is_given() {
    const DIGEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let bench = Bench::new();
    let repository = "123456789012.dkr.ecr.us-east-1.amazonaws.com/r";
    bench
        .aws
        .function("img")
        .image(&format!("{repository}:t"), DIGEST)
        .create();
    backup(&bench, &[]);
    bench.aws.existing("img").unwrap().delete();
    restore(&bench, &["--yes", "img"])
        .expect(2)
        .says(&["--image-uri", DIGEST]);
    let wrong = format!("{repository}@sha256:{}", "0".repeat(64));
    restore(&bench, &["--yes", "--image-uri", &wrong, "img"]).expect(1);
    assert!(writes(&bench).is_empty());
    let plan = restore(&bench, &["--yes", "--image-uri", repository, "img"])
        .expect(0)
        .json();
    assert_eq!(states(&plan), ["create_function:done"]);
    let function = bench.aws.existing("img").unwrap();
    assert_eq!(function.code_sha256(), &DIGEST[7..]);
    assert_eq!(function.configuration("$LATEST")["PackageType"], "Image");
}

#[test]
fn a_tag_is_looked_up_and_the_digest_is_sent() {
    let image = |byte: u8| {
        let image = Image::build(Family::Oci).architecture("amd64");
        image.layer(vec![byte; 100]).create()
    };
    let (own, other) = (image(1), image(2));
    let bench = Bench::new();
    let uri = bench.aws.push("web", &own, Login::Open);
    bench.aws.push("web", &other, Login::Open);
    let function = bench.aws.function("img");
    function.image(&format!("{uri}:then"), &own.digest).create();
    backup(&bench, &[]);
    bench.aws.existing("img").unwrap().delete();
    bench.aws.tag_image("web", "own", &own.digest);
    bench.aws.tag_image("web", "moved", &other.digest);
    let restore = |tag: &str| {
        let uri = format!("{uri}:{tag}");
        restore(&bench, &["--yes", "--image-uri", &uri, "img"])
    };
    restore("moved").expect(1).says(&["leads to", &own.digest]);
    restore("none")
        .expect(5)
        .says(&["give the URI with its digest"]);
    let manifest = On::Operation("GetManifest");
    bench
        .aws
        .fault(manifest.always(), Fault::registry(403, "DENIED", "no"));
    restore("own")
        .expect(4)
        .says(&["give the URI with its digest", &own.digest]);
    bench.aws.clear_faults();
    assert!(writes(&bench).is_empty());
    restore("own").expect(0);
    let sent = bench.aws.requests_of("CreateFunction").remove(0);
    let sent: serde_json::Value = serde_json::from_slice(&sent.body).unwrap();
    let by_digest = format!("{uri}@{}", own.digest);
    assert_eq!(sent["Code"]["ImageUri"], by_digest.as_str());
}

#[test]
fn another_package_type_is_refused() {
    let bench = Bench::new();
    deployed(&bench);
    backup(&bench, &[]);
    bench.aws.existing("orders").unwrap().delete();
    let digest = format!("sha256:{}", "1".repeat(64));
    bench
        .aws
        .function("orders")
        .image("r.example/i:t", &digest)
        .create();
    restore(&bench, &["--yes", "orders"])
        .expect(2)
        .says(&["--to-name"]);
}

#[test]
fn a_damaged_package_is_not_sent() {
    let bench = Bench::new();
    bench.aws.function("f").zip(zip(1)).create();
    backup(&bench, &[]);
    bench.aws.existing("f").unwrap().delete();
    let blob = bench
        .path("store/blobs/sha256")
        .join(larder::digest::Sha256Digest::of(&zip(1)).hex());
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[100] ^= 1;
    std::fs::remove_file(&blob).unwrap();
    std::fs::write(&blob, bytes).unwrap();
    restore(&bench, &["--yes", "f"])
        .expect(1)
        .says(&["damaged in the store"]);
    assert!(writes(&bench).is_empty());
}

#[test]
fn options_of_the_one_kind_do_not_go_with_the_other() {
    let bench = Bench::new();
    for arguments in [
        &["restore", "--store", "s", "f", "--yes"][..],
        &["restore", "--store", "s", "f", "--to-name", "g"],
        &["restore", "--store", "s", "f", "--versions", "all"],
        &["restore", "--store", "s", "--to-lambda", "f", "DEST"],
        &["restore", "--store", "s", "--to-lambda", "f", "--force"],
        &[
            "restore",
            "--store",
            "s",
            "--to-lambda",
            "f",
            "--execution-role",
            "x",
        ],
    ] {
        bench.run(arguments).expect(2);
    }
}
