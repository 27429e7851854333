//! What others rely on: golden records, and the table of IAM actions.

use std::collections::BTreeSet;
use std::path::Path;

use larder::lambda::permission::PERMISSIONS;
use larder::record::Record;
use larder_testkit::image::{Family, Image};
use larder_testkit::{Login, packages};
use serde_json::Value;

use crate::harness::{Bench, json};

#[test]
fn golden_records_are_read_and_nothing_in_them_is_lost() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/records/v1");
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let golden = json(&path);
        let record = Record::from_json(&std::fs::read(&path).unwrap())
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let written: Value = serde_json::from_slice(&record.to_json()).unwrap();
        let lost = missing(&golden, &written, "");
        assert!(lost.is_empty(), "{}: {lost:?}", path.display());
        count += 1;
    }
    assert!(count >= 3, "{count} golden records");
}

/// Where `golden` holds something that `written` has not.
fn missing(golden: &Value, written: &Value, at: &str) -> Vec<String> {
    match (golden, written) {
        (Value::Object(golden), Value::Object(written)) => golden
            .iter()
            .flat_map(|(name, value)| {
                let at = format!("{at}/{name}");
                match written.get(name) {
                    Some(found) => missing(value, found, &at),
                    None => vec![at],
                }
            })
            .collect(),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .flat_map(|(a, b)| missing(a, b, &format!("{at}/[]")))
            .collect(),
        _ if golden == written => Vec::new(),
        _ => vec![format!("{at}: {golden} became {written}")],
    }
}

#[test]
fn a_record_that_is_written_now_has_every_field_of_the_golden_ones() {
    let bench = Bench::new();
    let layer = bench
        .aws
        .layer("common")
        .zip(packages::layer_package().zip())
        .create();
    let zip = packages::python_package().zip();
    bench.aws.function("f").zip(zip).layer(&layer).create();
    bench.run(&["fetch", "f", "--layers"]).expect(0);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/records/v1/zip-layers.json");
    let (golden, written) = (shape(&json(&golden)), shape(&bench.record("f")));
    let lost: Vec<_> = golden.difference(&written).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

/// Every field's path.
fn shape(value: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, at: &str, out: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    walk(value, &format!("{at}/{name}"), out);
                }
            }
            Value::Array(items) => items
                .iter()
                .for_each(|item| walk(item, &format!("{at}/[]"), out)),
            _ => {}
        }
        out.insert(at.to_owned());
    }
    let mut out = BTreeSet::new();
    walk(value, "", &mut out);
    out
}

#[test]
fn every_call_that_aws_sees_is_in_the_table_of_permissions() {
    let bench = Bench::new();
    let arn = bench
        .aws
        .layer("l")
        .zip(packages::layer_package().zip())
        .create();
    let zip = packages::python_package().zip();
    bench
        .aws
        .function("zip")
        .zip(zip.clone())
        .layer(&arn)
        .create();
    bench
        .aws
        .function("own")
        .reference("bucket", "key", zip)
        .create();
    let digest = "sha256:7b3c0c6a8c1f5c5f5e6f1d2b9a4e8d7c6b5a49382716f5e4d3c2b1a09f8e7d6c";
    bench
        .aws
        .function("image")
        .image("r.example/i:t", digest)
        .create();
    let pulled = Image::build(Family::Docker).layer("x").create();
    let uri = bench.aws.push("app", &pulled, Login::Ecr);
    bench
        .aws
        .function("pulled")
        .image(&uri, &pulled.digest)
        .create();
    bench.run(&["fetch", "pulled", "--pull-image"]).expect(0);
    for name in ["zip", "own", "image"] {
        let role = "arn:aws:iam::123456789012:role/reader";
        bench
            .run(&["fetch", name, "--layers", "--role-arn", role])
            .expect(0);
    }
    // One of each way in which these choose functions.
    for arguments in [
        &["list", "--all-regions", "--tag", "a=b"][..],
        &["backup", "--store", "store", "zip", "own:$LATEST"],
        &["backup", "--store", "store", "--all", "--layers", "all"],
    ] {
        bench.run(arguments).expect(0);
    }
    bench.run(&["lock", "zip"]).expect(0);
    bench.run(&["check"]).expect(0);
    bench
        .aws
        .function("scaled")
        .set("CapacityProviderConfig", serde_json::json!({}))
        .create();
    crate::snapshot::snapshot(&bench, &["scaled"]).expect(0);
    crate::restore::every_call(&bench);
    let asked: BTreeSet<&str> = bench.aws.requests().iter().map(|r| r.operation).collect();
    let mut listed: BTreeSet<&str> = PERMISSIONS.iter().filter_map(|p| p.operation).collect();
    // Asked for with a template alone; the tests of templates see that call.
    assert!(listed.remove("ListStackResources"));
    // Asked for with a package over 50 MiB alone; the tests of restoring see it, and what else S3 is asked then.
    assert!(listed.remove("PutObject"));
    // For event sources of a backup with all reads; the tests of restoring see it.
    assert!(listed.remove("CreateEventSourceMapping"));
    assert_eq!(asked, listed);
}
