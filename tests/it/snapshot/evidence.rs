//! What the bag says about who took it, when and how; and what it does not say.

use serde_json::{Value, json};

use super::{Account, events, files, is_whole, log};
use crate::harness;
use crate::proof::ENV_VALUE;
use larder_testkit::SECRET_MARKER;

#[test]
fn the_log_says_who_when_and_how() {
    let account = Account::new();
    account.bench.aws.clock_offset(-30);
    let secret = "larder-external-secret";
    account
        .snapshot(&[
            "orders",
            "--operator",
            "A. Smith",
            "--case-id",
            "IR-17",
            "--role-arn",
            "arn:aws:iam::123456789012:role/reader",
            "--external-id",
            secret,
        ])
        .expect(0);
    is_whole(&account.bag());
    let log = log(&account.bag());
    let begin = &log[0];
    assert_eq!(begin["event"], "begin");
    assert_eq!(begin["schema_version"], 1);
    assert_eq!(begin["operator"], "A. Smith");
    assert_eq!(begin["case_id"], "IR-17");
    let program = std::fs::read(env!("CARGO_BIN_EXE_larder")).unwrap();
    let digest = larder::digest::Sha256Digest::of(&program).hex();
    assert_eq!(begin["tool"]["sha256"], digest);
    let command: Vec<&str> = begin["command"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(command.ends_with(&["--external-id", "***"]), "{command:?}");
    let caller = events(&log, "caller")[0];
    assert!(
        caller["arn"]
            .as_str()
            .unwrap()
            .contains(":assumed-role/reader/")
    );
    assert!(caller["request_id"].is_string());
    for (number, line) in log.iter().enumerate() {
        assert_eq!(line["seq"], number);
        let at: jiff::Timestamp = line["at"].as_str().unwrap().parse().unwrap();
        assert!(jiff::Timestamp::now().as_second() - at.as_second() < 300);
        if number > 0 {
            let before = log[number - 1]["elapsed_us"].as_u64();
            assert!(line["elapsed_us"].as_u64() >= before);
        }
    }
    let package = events(&log, "package")
        .into_iter()
        .find(|line| line["path"].as_str().unwrap().contains("LATEST"))
        .unwrap();
    assert_eq!(package["result"], "verified");
    assert_eq!(package["claimed"]["size"], account.zips[0].len());
    assert_eq!(package["computed"]["size"], account.zips[0].len());
    let location = package["object"]["location"].as_str().unwrap();
    assert!(location.ends_with(&format!(
        "?versionId={}",
        package["object"]["version_id"].as_str().unwrap()
    )));
    assert!(package["object"]["etag"].is_string());
    assert_eq!(package["transfer"]["attempts"], 1);
    // The servers' clock is half a minute behind.
    let clock = &events(&log, "end")[0]["clock"];
    let ahead = clock["least_ahead"].as_i64().unwrap();
    assert!((29..=33).contains(&ahead), "{clock}");
    for call in events(&log, "call") {
        assert!(
            call["server_date"].is_string() && call["request_id"].is_string(),
            "{call}"
        );
    }
    for (path, bytes) in files(&account.bag()) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(secret), "{path}");
    }
}

#[test]
fn the_statement_names_what_was_taken() {
    let account = Account::new();
    account.snapshot(&["orders", "--operator", "me"]).expect(0);
    let bag = account.bag();
    let statement = harness::json(&bag.join("attestations/acquisition.json"));
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(
        statement["predicateType"],
        "https://in-toto.io/attestation/link/v0.3"
    );
    let all = files(&bag);
    let subjects = statement["subject"].as_array().unwrap();
    // The manifest, three packages and a layer.
    assert_eq!(subjects.len(), 5);
    for subject in subjects {
        let bytes = &all[subject["name"].as_str().unwrap()];
        let digest = larder::digest::Sha256Digest::of(bytes).hex();
        assert_eq!(subject["digest"]["sha256"], digest);
    }
    let predicate = &statement["predicate"];
    assert_eq!(predicate["environment"]["operator"], "me");
    assert_eq!(predicate["materials"].as_array().unwrap().len(), 4);
    assert_eq!(predicate["byproducts"]["counts"], json!({"saved": 1}));
    assert!(!bag.join("attestations/acquisition.dsse.json").exists());
    let text = std::fs::read_to_string(bag.join("VERIFY.txt")).unwrap();
    assert!(text.contains("not signed"), "{text}");
}

#[test]
fn no_secret_is_in_the_bag() {
    let account = Account::new();
    let ran = account.snapshot(&["orders", "pictures", "-vvv"]).expect(0);
    assert!(!ran.stderr.contains(SECRET_MARKER) && !ran.stdout.contains(SECRET_MARKER));
    assert!(!ran.stderr.contains(ENV_VALUE) && !ran.stdout.contains(ENV_VALUE));
    let mut with_values = Vec::new();
    for (path, bytes) in files(&account.bag()) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        for secret in [SECRET_MARKER, "X-Amz-", "AKIA"] {
            assert!(!text.contains(secret), "{secret} in {path}");
        }
        if text.contains(ENV_VALUE) {
            with_values.push(path.rsplit('/').next().unwrap().to_owned());
        }
    }
    with_values.sort();
    with_values.dedup();
    assert_eq!(with_values, ["function.json", "versions.jsonl"]);

    std::fs::remove_dir_all(account.bag()).unwrap();
    account.snapshot(&["orders", "--redact-env"]).expect(0);
    for (path, bytes) in files(&account.bag()) {
        assert!(
            !String::from_utf8_lossy(&bytes).contains(ENV_VALUE),
            "{path}"
        );
    }
    let answer = harness::json(&account.at("orders").join("versions/LATEST/function.json"));
    let variables = &answer["Configuration"]["Environment"]["Variables"];
    assert_eq!(variables, &json!({"DATABASE_PASSWORD": null}));
}

#[test]
fn an_sts_that_cannot_be_had_is_recorded_and_refused_credentials_end_the_run() {
    let account = Account::new();
    let ran = account.bench.run_with(
        &[("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")],
        &[
            "snapshot",
            "orders",
            "--bag",
            "bag",
            "--max-rate",
            "1000",
            "--max-attempts",
            "1",
        ],
    );
    ran.expect(0).says(&["does not name the caller"]);
    let log = log(&account.bag());
    assert!(events(&log, "caller")[0]["reason"].is_string());
    std::fs::remove_dir_all(account.bag()).unwrap();
    let mut command = account
        .bench
        .command(&["snapshot", "orders", "--bag", "bag"]);
    command.envs(account.bench.aws.env_as(larder_testkit::Key::Unrecognized));
    harness::run(&mut command).expect(4);
    assert!(account.bench.names().is_empty());
}
