//! A backup of an account that moto plays: more than 300 functions with versions, shared code and aliases, by a role.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use super::packages;
use super::server::{Mode, Moto};
use super::venv::Venv;
use crate::harness::Ran;

/// An account of its own: the server is shared with the other tests.
const ACCOUNT: &str = "222233334444";
const COUNT: usize = 306;
/// How many different packages there are.
const PACKAGES: usize = 6;

fn summary(ran: &Ran) -> Value {
    let last = ran.stdout.lines().last().expect("a summary");
    serde_json::from_str(last).expect("JSON")
}

#[test]
fn an_account_of_hundreds_of_functions_comes_back_byte_for_byte() {
    let Some(venv) = Venv::get() else { return };
    let Some(moto) = Moto::get(Mode::Endpoint) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let zips: Vec<_> = (0..PACKAGES)
        .map(|n| packages::small(venv, dir.path(), &format!("package-{n}")))
        .collect();
    let keys = moto.assume(ACCOUNT);
    let lambda = moto.client("lambda").credentials(&keys);
    let role = Moto::role_in(ACCOUNT, &moto.client("iam").credentials(&keys));
    let mut versions = COUNT;
    for n in 0..COUNT {
        let name = format!("fn-{n:03}");
        let package = &zips[n % PACKAGES];
        lambda.call(
            "create_function",
            json!({"FunctionName": name, "Runtime": package.runtime, "Handler": package.handler, "Role": role,
                "Code": {"ZipFile": {"$file": package.zip}}, "Tags": {"n": n.to_string()}}),
        );
        if n % 3 == 0 {
            lambda.call("publish_version", json!({"FunctionName": name}));
            lambda.call(
                "create_alias",
                json!({"FunctionName": name, "Name": "live", "FunctionVersion": "1"}),
            );
            versions += 1;
        }
        // moto does not store what its Location names.
        let function = lambda.call("get_function", json!({"FunctionName": name}));
        moto.put_at(function["Code"]["Location"].as_str().unwrap(), &package.zip);
    }
    let arn = format!("arn:aws:iam::{ACCOUNT}:role/reader");
    let backup = [
        "backup",
        "--store",
        "store",
        "--all",
        "--role-arn",
        &arn,
        "--output",
        "json",
        "--max-rate",
        "1000",
    ];
    let first = moto.larder(dir.path(), &backup).expect(0);
    let counts: BTreeMap<String, usize> =
        serde_json::from_value(summary(&first)["counts"].clone()).unwrap();
    assert_eq!(counts, BTreeMap::from([("saved".to_owned(), versions)]));
    // Each package once, however many functions have it.
    let size: u64 = zips.iter().map(|p| p.bytes().len() as u64).sum();
    assert_eq!(summary(&first)["bytes_downloaded"], size);
    let second = moto.larder(dir.path(), &backup).expect(0);
    assert_eq!(summary(&second)["counts"]["unchanged"], versions);
    assert!(summary(&second)["calls"]["GetFunction"].is_null());
    let check = ["store", "check", "--store", "store", "--read-data"];
    moto.larder(dir.path(), &check).expect(0);
    for n in [0, 1, 3, 150, 305] {
        for version in ["", ":live"].iter().filter(|v| v.is_empty() || n % 3 == 0) {
            let name = format!("fn-{n:03}{version}");
            let dest = format!("r-{n}-{}", version.len());
            moto.larder(dir.path(), &["restore", "--store", "store", &name, &dest])
                .expect(0);
            let restored = fs::read(dir.path().join(&dest).join("package.zip")).unwrap();
            assert!(restored == zips[n % PACKAGES].bytes(), "{name}");
        }
    }
}
