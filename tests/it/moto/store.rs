//! A store in a bucket, the whole way: moto is Lambda and S3 at once, or S3 for another account's store.

use std::path::Path;

use larder_testkit::packages;
use serde_json::{Value, json};

use super::front::{Front, Rule, SECRET};
use super::server::{Mode, Moto, REGION};
use crate::harness::{self, Ran, json as read_json, write};

const OTHER: &str = "111122223333";

/// `larder ARGUMENTS --store URL --output json`, against the plain server.
fn larder(moto: &Moto, dir: &Path, url: &str, arguments: &[&str]) -> Ran {
    let mut all = arguments.to_vec();
    all.extend(["--store", url, "--output", "json", "--max-attempts", "2"]);
    if arguments[0] == "backup" {
        all.extend(["--max-rate", "1000"]);
    }
    moto.larder(dir, &all)
}

fn last(ran: &Ran) -> Value {
    serde_json::from_str(ran.stdout.lines().last().expect("a line")).expect("JSON")
}

/// The keys below a prefix.
fn keys(moto: &Moto, bucket: &str, prefix: &str) -> Vec<String> {
    let listed = moto.call(
        "s3",
        "list_objects_v2",
        json!({"Bucket": bucket, "Prefix": prefix}),
    );
    let contents = listed["Contents"].as_array().cloned().unwrap_or_default();
    let keys = contents.iter().filter_map(|o| o["Key"].as_str());
    keys.map(ToOwned::to_owned).collect()
}

/// A function whose package is `zip`.
fn deploy(moto: &Moto, dir: &Path, name: &str, zip: &[u8]) {
    let file = write(dir.join(format!("{name}.zip")), zip);
    let arguments = json!({
        "FunctionName": name, "Runtime": "python3.13", "Handler": "h.h", "Role": moto.role(),
        "Code": {"ZipFile": {"$file": file}},
    });
    moto.call("lambda", "create_function", arguments);
    moto.serve(name, &file);
}

fn update(moto: &Moto, dir: &Path, name: &str, zip: &[u8]) {
    let file = write(dir.join(format!("{name}.zip")), zip);
    let arguments = json!({"FunctionName": name, "ZipFile": {"$file": file}});
    moto.call("lambda", "update_function_code", arguments);
    moto.serve(name, &file);
}

fn bucket(moto: &Moto, name: &str) -> String {
    moto.call("s3", "create_bucket", json!({"Bucket": name}));
    format!("s3://{name}/lambda/nightly")
}

/// Two functions: a small one, and one above the size of a part.
fn functions(moto: &Moto, dir: &Path, names: [&str; 2]) -> [Vec<u8>; 2] {
    let zips = [
        packages::zip_of_size(4_000, 1),
        packages::zip_of_size(20_000_000, 2),
    ];
    for (name, zip) in names.iter().zip(&zips) {
        deploy(moto, dir, name, zip);
    }
    zips
}

#[test]
fn a_bucket_holds_a_store_the_whole_way() {
    let Some(moto) = Moto::get(Mode::Endpoint) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let url = bucket(moto, "whole-way");
    let run = |arguments: &[&str]| larder(moto, dir.path(), &url, arguments);
    run(&["store", "list"]).expect(5);
    let names = ["s3-small", "s3-large"];
    let zips = functions(moto, dir.path(), names);
    let backup = ["backup", names[0], names[1]];
    let logged = moto.log().len();
    let first = last(&run(&backup).expect(0));
    assert_eq!(first["counts"]["saved"], 2, "{first}");
    let log = moto.log()[logged..].to_owned();
    // Above the size of a part: three parts, and one completion. What goes up is put only if it is not there.
    for part in ["uploads", "partNumber=1", "partNumber=2", "partNumber=3"] {
        assert!(log.contains(part), "{part}: {log}");
    }
    for (name, zip) in names.iter().zip(&zips) {
        let hex = larder::digest::Sha256Digest::of(zip).hex();
        let key = format!("lambda/nightly/blobs/sha256/{hex}");
        let head = moto.call(
            "s3",
            "head_object",
            json!({"Bucket": "whole-way", "Key": key}),
        );
        assert_eq!(head["ContentLength"], zip.len(), "{name}");
    }
    // Unchanged: nothing is asked for but the listing, nothing is put but the new run's documents.
    let second = last(&run(&backup).expect(0));
    assert_eq!(second["counts"]["unchanged"], 2, "{second}");
    assert_eq!(second["bytes_downloaded"], 0);
    let changed = packages::zip_of_size(5_000, 3);
    update(moto, dir.path(), names[0], &changed);
    let third = last(&run(&backup).expect(0));
    assert_eq!(
        third["counts"],
        json!({"saved": 1, "unchanged": 1}),
        "{third}"
    );

    let checked = run(&["store", "check", "--read-data"]).expect(0).json();
    assert_eq!(
        (&checked["runs"], &checked["ok"]),
        (&3.into(), &true.into()),
        "{checked}"
    );
    assert_eq!(
        run(&["store", "list", "--size"])
            .expect(0)
            .stdout
            .lines()
            .count(),
        3
    );
    let of_function = run(&["store", "list", names[0]]).expect(0);
    assert_eq!(of_function.stdout.lines().count(), 3);

    let first_run = first["run"].as_str().unwrap();
    for (function, arguments, zip) in [
        (names[0], vec!["new"], &changed),
        (names[0], vec!["old", "--run", first_run], &zips[0]),
        (names[1], vec!["large"], &zips[1]),
    ] {
        let mut all = vec!["restore", function];
        all.extend(&arguments);
        run(&all).expect(0);
        assert!(std::fs::read(dir.path().join(arguments[0]).join("package.zip")).unwrap() == *zip);
    }

    // Forgotten and pruned: what only the first two runs held.
    run(&["store", "forget", "--keep-last", "1"]).expect(0);
    assert_eq!(keys(moto, "whole-way", "lambda/nightly/runs/").len(), 1);
    assert_eq!(
        keys(moto, "whole-way", "lambda/nightly/forgotten/").len(),
        2
    );
    let marked = run(&["store", "prune"]).expect(0).json();
    assert_eq!(marked["deleted"]["blobs"], 0);
    let marks = keys(moto, "whole-way", "lambda/nightly/marks/").len();
    assert_eq!(marked["marked"]["blobs"], marks);
    let pruned = run(&["store", "prune", "--grace", "0"]).expect(0).json();
    assert_eq!(pruned["deleted"], marked["marked"], "{pruned}");
    assert!(keys(moto, "whole-way", "lambda/nightly/marks/").is_empty());
    assert!(keys(moto, "whole-way", "lambda/nightly/forgotten/").is_empty());
    let checked = run(&["store", "check", "--read-data"]).expect(0).json();
    assert_eq!(
        (&checked["runs"], &checked["unreferenced"]),
        (&1.into(), &0.into())
    );
    run(&["restore", names[0], "after"]).expect(0);
    let after = last(&run(&backup).expect(0));
    assert_eq!(after["counts"]["unchanged"], 2);
    // Nothing lies beside the prefix.
    assert!(
        keys(moto, "whole-way", "")
            .iter()
            .all(|key| key.starts_with("lambda/nightly/"))
    );
}

#[test]
fn a_store_may_be_another_accounts_and_be_encrypted_with_a_key() {
    let Some(moto) = Moto::get(Mode::Endpoint) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    functions(moto, dir.path(), ["kms-a", "kms-b"]);
    let keys_of_other = moto.assume(OTHER);
    let s3 = moto.client("s3").credentials(&keys_of_other);
    s3.call("create_bucket", json!({"Bucket": "others-store"}));
    let kms = moto.client("kms").credentials(&keys_of_other);
    let key = kms.call("create_key", json!({}));
    let key = key["KeyMetadata"]["Arn"].as_str().unwrap().to_owned();

    let profile = format!(
        "[profile keeper]\naws_access_key_id = {}\naws_secret_access_key = {}\naws_session_token = {}\nregion = eu-west-1\n",
        keys_of_other["AccessKeyId"].as_str().unwrap(),
        keys_of_other["SecretAccessKey"].as_str().unwrap(),
        keys_of_other["SessionToken"].as_str().unwrap(),
    );
    let config = write(dir.path().join("config"), profile);
    let config = config.display().to_string();
    let role = format!("arn:aws:iam::{OTHER}:role/keeper");
    let endpoint = moto.url();
    for (store, who) in [
        (
            "s3://others-store/profile",
            vec!["--store-profile", "keeper"],
        ),
        ("s3://others-store/role", vec!["--store-role-arn", &role]),
        (
            "s3://others-store/endpoint",
            vec!["--store-endpoint-url", &endpoint, "--store-region", REGION],
        ),
    ] {
        let mut arguments = vec!["backup", "kms-a", "--store", store, "--store-kms-key", &key];
        arguments.extend(["--max-rate", "1000", "--output", "json", "-vvv"]);
        arguments.extend(&who);
        let mut command = harness::bare(dir.path());
        command.envs(moto.env()).env("AWS_CONFIG_FILE", &config);
        let ran = harness::run(command.args(&arguments)).expect(0);
        // The function is the caller's, and the store's credentials did not ask for it.
        assert!(
            ran.stdout.contains(":123456789012:function:kms-a"),
            "{}",
            ran.stdout
        );
        for secret in ["SecretAccessKey", "SessionToken"] {
            let secret = keys_of_other[secret].as_str().unwrap();
            assert!(!ran.stderr.contains(secret) && !ran.stdout.contains(secret));
        }
        let prefix = format!("{}/blobs", store.trim_start_matches("s3://others-store/"));
        let listed = s3.call(
            "list_objects_v2",
            json!({"Bucket": "others-store", "Prefix": prefix}),
        );
        let blob = listed["Contents"][0]["Key"].clone();
        let head = s3.call(
            "head_object",
            json!({"Bucket": "others-store", "Key": blob}),
        );
        assert_eq!(head["ServerSideEncryption"], "aws:kms", "{store}: {head}");
        assert_eq!(head["SSEKMSKeyId"], key);
        let mut arguments = vec!["restore", "kms-a", "--store", store];
        let dest = store.rsplit('/').next().unwrap();
        arguments.push(dest);
        arguments.extend(&who);
        let mut command = harness::bare(dir.path());
        command.envs(moto.env()).env("AWS_CONFIG_FILE", &config);
        harness::run(command.args(&arguments)).expect(0);
        assert_eq!(
            read_json(&dir.path().join(dest).join("larder.json"))["status"],
            "saved"
        );
    }
}

#[test]
fn a_bucket_that_cannot_be_had_is_told_as_what_it_is() {
    let Some(moto) = Moto::get(Mode::Endpoint) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    for arguments in [
        &["backup", "--all"][..],
        &["store", "list"],
        &["store", "prune"],
        &["restore", "f"],
    ] {
        let ran = larder(
            moto,
            dir.path(),
            "s3://there-is-no-such-bucket/x",
            arguments,
        )
        .expect(5);
        let error = ran.json_error();
        assert_eq!(
            error["hint"], "there is no such bucket; larder makes none",
            "{error}"
        );
        assert!(
            error["subject"]
                .as_str()
                .unwrap()
                .starts_with("s3://there-is")
        );
    }
    for (url, code) in [("s3://", 2), ("s3://b/../c", 2)] {
        larder(moto, dir.path(), url, &["store", "list"]).expect(code);
    }
    // An endpoint where nobody listens.
    let mut command = harness::bare(dir.path());
    command.envs(moto.env()).args([
        "store",
        "list",
        "--store",
        "s3://b/p",
        "--store-endpoint-url",
        "http://127.0.0.1:9",
        "--max-attempts",
        "1",
    ]);
    let ran = harness::run(&mut command).expect(6);
    assert!(ran.stderr.contains("cannot be reached"), "{}", ran.stderr);
}

fn rule(part: &'static str, status: u16, code: &'static str) -> Rule {
    Rule { part, status, code }
}

/// `larder ARGUMENTS` with the store behind `front`; Lambda is moto itself.
fn through(moto: &Moto, front: &Front, dir: &Path, url: &str, arguments: &[&str]) -> Ran {
    let mut all = arguments.to_vec();
    all.extend(["--store-endpoint-url", &front.url, "-vvv"]);
    let ran = larder(moto, dir, url, &all);
    assert!(
        !ran.stderr.contains(SECRET) && !ran.stdout.contains(SECRET),
        "{ran:?}"
    );
    ran
}

#[test]
fn what_a_bucket_refuses_is_told_as_what_it_is() {
    let Some(moto) = Moto::get(Mode::Endpoint) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let url = bucket(moto, "refusals");
    let front = Front::before(&moto.url());
    for (status, code, exit, says) in [
        (403, "AccessDenied", 4, "access to the store was denied"),
        (400, "ExpiredToken", 4, "the credentials were refused"),
        (403, "InvalidAccessKeyId", 4, "the credentials were refused"),
        (
            403,
            "SignatureDoesNotMatch",
            4,
            "the credentials were refused",
        ),
        (301, "PermanentRedirect", 2, "another region"),
        (400, "AuthorizationHeaderMalformed", 2, "another region"),
        (404, "NoSuchBucket", 5, "there is no such bucket"),
        (503, "SlowDown", 6, "slow down"),
        (500, "InternalError", 6, "the store failed"),
    ] {
        front.rules(&[rule("/refusals", status, code)]);
        for arguments in [&["store", "list"][..], &["backup", "--all"]] {
            let ran = through(moto, &front, dir.path(), &url, arguments);
            assert_eq!(ran.code, exit, "{status} {code}: {ran:?}");
            let error = ran.json_error().to_string();
            assert!(error.contains(says), "{status} {code}: {error}");
        }
    }
    let hint = "--store-region";
    front.rules(&[rule("/refusals", 301, "PermanentRedirect")]);
    let ran = through(moto, &front, dir.path(), &url, &["store", "list"]);
    assert!(ran.json_error()["hint"].as_str().unwrap().contains(hint));
}

#[test]
fn who_may_not_look_or_delete_can_still_back_up() {
    let Some(moto) = Moto::get(Mode::Endpoint) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let url = bucket(moto, "write-only");
    let front = Front::before(&moto.url());
    let names = ["wo-small", "wo-large"];
    functions(moto, dir.path(), names);
    front.rules(&[rule("HEAD ", 403, ""), rule("DELETE ", 403, "AccessDenied")]);
    let run = |arguments: &[&str]| through(moto, &front, dir.path(), &url, arguments);
    run(&["backup", names[0], names[1]]).expect(0);
    let heads = front.take();
    let puts: Vec<&String> = heads
        .iter()
        .filter(|head| head.starts_with("PUT ") && !head.contains("partNumber"))
        .collect();
    assert!(!puts.is_empty());
    for put in &puts {
        assert!(
            put.contains("if-none-match: *") || put.contains("/index.json"),
            "not a conditional put: {put}"
        );
        assert!(put.contains("x-amz-checksum-sha256:"), "{put}");
    }
    let small = larder::digest::Sha256Digest::of(&packages::zip_of_size(4_000, 1)).hex();
    assert!(puts.iter().any(|put| put.contains(&small)));
    // The same packages again, which it may not see: found by the conditional put.
    run(&["backup", names[0], names[1], "--refresh"]).expect(0);
    larder(moto, dir.path(), &url, &["store", "check", "--read-data"]).expect(0);

    // What may not be deleted is named, and the rest goes on.
    let ran = run(&["store", "forget", "--keep-last", "1"]).expect(3);
    let forgot = ran.json();
    assert_eq!(forgot["denied"].as_array().unwrap().len(), 1, "{forgot}");
    assert!(ran.stderr.contains("refused to remove"), "{}", ran.stderr);
    larder(
        moto,
        dir.path(),
        &url,
        &["store", "forget", "--keep-last", "1"],
    )
    .expect(0);
    let ran = run(&["store", "prune", "--grace", "0"]).expect(3);
    let pruned = ran.json();
    assert_eq!(pruned["deleted"]["blobs"], 0, "{pruned}");
    assert!(pruned["denied"]["blobs"].as_u64().unwrap() > 0, "{pruned}");
    assert!(ran.stderr.contains("refused to delete"), "{}", ran.stderr);
    // A writer without these rights is not held up by the prune.
    run(&["backup", names[0], names[1]]).expect(0);
    let pruned = larder(moto, dir.path(), &url, &["store", "prune", "--grace", "0"])
        .expect(0)
        .json();
    assert!(pruned["deleted"]["blobs"].as_u64().unwrap() > 0, "{pruned}");
    let checked = larder(moto, dir.path(), &url, &["store", "check", "--read-data"])
        .expect(0)
        .json();
    assert_eq!(checked["ok"], true);
}

#[test]
fn a_put_that_fails_on_the_way_is_tried_again() {
    let Some(moto) = Moto::get(Mode::Endpoint) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let url = bucket(moto, "flaky");
    let front = Front::before(&moto.url());
    let names = ["flaky-small", "flaky-large"];
    functions(moto, dir.path(), names);
    let run = |arguments: &[&str]| through(moto, &front, dir.path(), &url, arguments);
    // The run itself cannot be put: nothing is published, and nothing is lost.
    front.rules(&[rule("/runs/", 503, "SlowDown")]);
    run(&["backup", names[0], names[1]]).expect(6);
    front.rules(&[rule("uploadId", 500, "InternalError")]);
    run(&["backup", names[0]]).expect(0);
    front.rules(&[]);
    front.take();
    let done = last(&run(&["backup", names[0], names[1]]).expect(0));
    assert_eq!(
        done["counts"],
        json!({"saved": 1, "unchanged": 1}),
        "{done}"
    );
    larder(moto, dir.path(), &url, &["store", "check", "--read-data"]).expect(0);
}
