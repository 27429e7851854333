//! `larder fetch --layers`.

use larder_testkit::{Fault, On, S3Error, packages};

use crate::harness::{Bench, json};

/// The ARN of a layer that is in the embedded AWS as `name:1`, with a zip of its own.
fn layer(bench: &Bench, name: &str, account: &str) -> String {
    let zip = packages::layer_package()
        .file("python/who.py", format!("{name} of {account}"))
        .zip();
    bench.aws.layer(name).account(account).zip(zip).create()
}

#[test]
fn layers_are_fetched_verified_and_unpacked_each_once() {
    let bench = Bench::new();
    let ours = layer(&bench, "common", larder_testkit::ACCOUNT);
    let theirs = layer(&bench, "common", "210987654321");
    let zip = packages::python_package().zip();
    bench
        .aws
        .function("f")
        .zip(zip)
        .layer(&ours)
        .layer(&theirs)
        .layer(&ours)
        .create();
    let ran = bench.run(&["fetch", "f", "--layers"]).expect(0);
    assert!(ran.stdout.contains("2 saved"), "{}", ran.stdout);
    let record = bench.record("f");
    let layers = record["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2);
    let paths: Vec<_> = layers.iter().map(|l| l["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["layers/common-1", "layers/common-1-210987654321"]);
    for (path, account) in paths.iter().zip([larder_testkit::ACCOUNT, "210987654321"]) {
        let who = std::fs::read_to_string(bench.path(format!("f/{path}/code/python/who.py")));
        assert_eq!(who.unwrap(), format!("common of {account}"));
        let stated = json(&bench.path(format!("f/{path}/layer.json")));
        let package = std::fs::read(bench.path(format!("f/{path}/package.zip"))).unwrap();
        assert_eq!(
            stated["Content"]["CodeSha256"],
            larder_testkit::code_sha256(&package)
        );
    }
    assert_eq!(bench.aws.count("GetLayerVersionByArn"), 2);
}

#[test]
fn a_layer_that_is_kept_costs_no_call() {
    let bench = Bench::new();
    let arn = layer(&bench, "common", larder_testkit::ACCOUNT);
    let zip = packages::python_package().zip();
    bench.aws.function("f").zip(zip).layer(&arn).create();
    bench.run(&["fetch", "f", "--layers"]).expect(0);
    let before = std::fs::read(bench.path("f/layers/common-1/layer.json")).unwrap();
    let ran = bench.run(&["fetch", "f", "--layers", "--update"]).expect(0);
    assert!(ran.stdout.contains("1 unchanged"), "{}", ran.stdout);
    assert_eq!(bench.aws.count("GetLayerVersionByArn"), 1);
    assert_eq!(bench.aws.count("GetObject"), 2);
    let after = std::fs::read(bench.path("f/layers/common-1/layer.json")).unwrap();
    assert_eq!(before, after);
}

#[test]
fn a_layer_kept_here_that_was_damaged_is_fetched_again() {
    let bench = Bench::new();
    let arn = layer(&bench, "common", larder_testkit::ACCOUNT);
    let zip = packages::python_package().zip();
    bench.aws.function("f").zip(zip).layer(&arn).create();
    bench.run(&["fetch", "f", "--layers"]).expect(0);
    std::fs::write(bench.path("f/layers/common-1/package.zip"), "damaged").unwrap();
    let ran = bench.run(&["fetch", "f", "--layers", "--update"]).expect(0);
    assert!(ran.stderr.contains("common"), "{}", ran.stderr);
    assert_eq!(bench.aws.count("GetLayerVersionByArn"), 2);
    let package = std::fs::read(bench.path("f/layers/common-1/package.zip")).unwrap();
    assert_ne!(package, b"damaged");
}

#[test]
fn a_layer_that_cannot_be_had_is_recorded_and_the_function_kept() {
    for (case, code, status) in [("deleted", 5, "gone"), ("denied", 4, "denied")] {
        let bench = Bench::new();
        let arn = if case == "deleted" {
            let arn = layer(&bench, "common", larder_testkit::ACCOUNT);
            bench.aws.delete_layer(&arn);
            arn
        } else {
            let zip = packages::layer_package().zip();
            let theirs = bench.aws.layer("common").account("210987654321");
            theirs.zip(zip).denied().create()
        };
        let zip = packages::python_package().zip();
        bench.aws.function("f").zip(zip).layer(&arn).create();
        let ran = bench.run(&["fetch", "f", "--layers"]).expect(code);
        let ran = ran.says(&["warning: ", "common", "--allow-missing-layers"]);
        assert_eq!(
            code == 4,
            ran.stderr.contains("lambda:GetLayerVersion"),
            "{}",
            ran.stderr
        );
        let record = bench.record("f");
        assert_eq!(record["status"], "saved", "{case}");
        assert_eq!(record["layers"][0]["status"], status);
        assert!(record["layers"][0]["reason"].is_string(), "{case}");
        assert!(bench.path("f/code/index.py").exists(), "{case}");
        assert_eq!(bench.names(), ["f"], "{case}");
        bench
            .run(&[
                "fetch",
                "f",
                "--layers",
                "--allow-missing-layers",
                "--force",
            ])
            .expect(0)
            .says(&["warning: "]);
    }
}

#[test]
fn a_layer_whose_bytes_are_wrong_fails_the_fetch() {
    let bench = Bench::new();
    let zip = packages::layer_package().zip();
    let wrong = larder_testkit::code_sha256(b"something else");
    let arn = bench
        .aws
        .layer("common")
        .zip(zip)
        .code_sha256(&wrong)
        .create();
    let zip = packages::python_package().zip();
    bench.aws.function("f").zip(zip).layer(&arn).create();
    bench
        .run(&["fetch", "f", "--layers"])
        .expect(1)
        .says(&[&wrong]);
    assert!(bench.names().is_empty(), "{:?}", bench.names());
}

#[test]
fn a_layer_whose_object_is_not_given_fails_the_fetch() {
    for (fault, code) in [(S3Error::AccessDenied, 4), (S3Error::NoSuchKey, 5)] {
        let bench = Bench::new();
        let arn = layer(&bench, "common", larder_testkit::ACCOUNT);
        let zip = packages::python_package().zip();
        bench.aws.function("f").zip(zip).layer(&arn).create();
        // The first object is the function's own.
        for nth in 2..9 {
            bench.aws.fault(On::Object.nth(nth), Fault::S3(fault));
        }
        let ran = bench.run(&["fetch", "f", "--layers", "--allow-missing-layers"]);
        let ran = ran.says(&["common"]);
        assert!(matches!(ran.code, 4..=7), "{code}: {ran:?}");
        assert!(!ran.stderr.contains("is kept"), "{}", ran.stderr);
        assert!(bench.names().is_empty(), "{:?}", bench.names());
    }
}

#[test]
fn a_missing_layer_leaves_no_directory() {
    let bench = Bench::new();
    let arn = layer(&bench, "common", larder_testkit::ACCOUNT);
    bench.aws.delete_layer(&arn);
    let zip = packages::python_package().zip();
    bench.aws.function("f").zip(zip).layer(&arn).create();
    bench.run(&["fetch", "f", "--layers"]).expect(5);
    assert!(!bench.path("f/layers").exists());
}

#[test]
fn a_forged_record_of_a_layer_is_not_believed() {
    type Forge = fn(&mut serde_json::Value, &mut serde_json::Value);
    let forgeries: [(&str, Forge); 5] = [
        ("the digest", |record, _| {
            record["code_sha256"] = larder_testkit::code_sha256(b"other").into();
        }),
        ("the size, in both", |record, answer| {
            record["size"] = 5.into();
            answer["Content"]["CodeSize"] = 5.into();
        }),
        ("a path that leads out", |record, _| {
            record["path"] = "../elsewhere".into();
        }),
        ("the answer's digest", |_, answer| {
            answer["Content"]["CodeSha256"] = larder_testkit::code_sha256(b"other").into();
        }),
        ("the answer's layer", |_, answer| {
            answer["LayerVersionArn"] = "arn:aws:lambda:us-east-1:123456789012:layer:x:1".into();
        }),
    ];
    for (name, forge) in forgeries {
        let bench = Bench::new();
        let arn = layer(&bench, "common", larder_testkit::ACCOUNT);
        let zip = packages::python_package().zip();
        bench.aws.function("f").zip(zip).layer(&arn).create();
        bench.run(&["fetch", "f", "--layers"]).expect(0);
        let mut record = bench.record("f");
        let at = bench.path("f/layers/common-1/layer.json");
        let mut answer = json(&at);
        forge(&mut record["layers"][0], &mut answer);
        std::fs::write(bench.path("f/larder.json"), record.to_string()).unwrap();
        std::fs::write(&at, answer.to_string()).unwrap();
        let ran = bench.run(&["fetch", "f", "--layers", "--update"]).expect(0);
        let ran = ran.says(&["warning: ", "common", "fetched again"]);
        assert!(ran.stdout.contains("1 saved"), "{name}: {}", ran.stdout);
        assert_eq!(bench.aws.count("GetLayerVersionByArn"), 2, "{name}");
    }
}
