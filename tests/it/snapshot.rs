//! `larder snapshot`, and that stock tools find its bags whole.

mod crash;
mod evidence;
pub mod stock;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use larder_testkit::image::Family;
use larder_testkit::{Fault, LambdaError, Login, On, code_sha256, packages};
use serde_json::{Value, json};

use crate::harness::{self, Bench, Ran};
use crate::proof::{each, mode, planted};

/// What the account holds.
pub struct Account {
    pub bench: Bench,
    pub layer: String,
    /// The package of `$LATEST` of `orders`, and of its versions 1 and 2.
    pub zips: [Vec<u8>; 3],
}

const IMAGE: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

impl Account {
    /// A zip function with a layer, versions, an alias with weights and a policy on it; and an image function.
    pub fn new() -> Self {
        let bench = Bench::new();
        let layer = packages::layer_package().zip();
        let layer = bench.aws.layer("common").zip(layer).create();
        let zips = [1, 2, 3].map(|n| {
            packages::python_package()
                .file("number.txt", n.to_string())
                .zip()
        });
        let orders = planted(&bench, "orders")
            .version(zips[1].clone())
            .version(zips[2].clone())
            .zip(zips[0].clone())
            .weighted_alias("live", "1", &[("2", 0.25)])
            .tag("team", "payments")
            .layer(&layer)
            .create();
        orders.side(
            "GetPolicy",
            "live",
            json!({"Policy": "{\"Statement\":[]}", "RevisionId": "r"}),
        );
        bench
            .aws
            .function("pictures")
            .image(
                "123456789012.dkr.ecr.us-east-1.amazonaws.com/pictures:v1",
                IMAGE,
            )
            .layer(&layer)
            .create();
        Self { bench, layer, zips }
    }

    /// Denies every call about `name`.
    pub fn deny(&self, name: &str) {
        let refusal = LambdaError::new(403, "AccessDeniedException", "not authorized");
        let about = On::Lambda.always().path(&format!("/{name}"));
        self.bench.aws.fault(about, Fault::Lambda(refusal));
    }

    pub fn snapshot(&self, more: &[&str]) -> Ran {
        snapshot(&self.bench, more)
    }

    pub fn bag(&self) -> PathBuf {
        self.bench.path("bag")
    }

    /// Where a function's files lie in the bag.
    pub fn at(&self, function: &str) -> PathBuf {
        at(&self.bag(), function)
    }
}

pub fn at(bag: &Path, function: &str) -> PathBuf {
    bag.join("data/functions/123456789012/us-east-1")
        .join(function)
}

/// `larder snapshot MORE --bag bag`, at a rate that is no wait.
pub fn snapshot(bench: &Bench, more: &[&str]) -> Ran {
    let common = ["snapshot", "--bag", "bag", "--max-rate", "1000"];
    bench.run(&[&common[..], more].concat())
}

/// The lines of the acquisition log.
pub fn log(bag: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(bag.join("data/acquisition.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The lines of one kind.
pub fn events<'a>(log: &'a [Value], event: &str) -> Vec<&'a Value> {
    log.iter().filter(|line| line["event"] == event).collect()
}

/// Every file of a bag, from its root.
pub fn files(bag: &Path) -> BTreeMap<String, Vec<u8>> {
    crate::proof::contents(bag)
}

/// What every bag must be: each file listed once and as it is, private, and nothing else there.
#[track_caller]
pub fn is_whole(bag: &Path) {
    let files = files(bag);
    let sum = |bytes: &[u8]| larder::digest::Sha256Digest::of(bytes).hex();
    let mut listed = vec!["tagmanifest-sha256.txt".to_owned()];
    for manifest in ["manifest-sha256.txt", "tagmanifest-sha256.txt"] {
        let text = String::from_utf8(files[manifest].clone()).unwrap();
        for line in text.lines() {
            let (hex, path) = line.split_once("  ").unwrap();
            let bytes = files
                .get(path)
                .unwrap_or_else(|| panic!("{path} is missing"));
            assert_eq!(hex, sum(bytes), "{path}");
            assert_eq!(path.starts_with("data/"), manifest.starts_with('m'));
            listed.push(path.to_owned());
        }
    }
    listed.extend(
        files
            .keys()
            .filter(|name| name.starts_with("tagmanifest-sha256.txt.sig"))
            .cloned(),
    );
    listed.sort();
    let there: Vec<String> = files.keys().cloned().collect();
    assert_eq!(listed, there);
    for path in files.keys() {
        assert_eq!(mode(&bag.join(path)), 0o400, "{path}");
        for parent in Path::new(path).ancestors().skip(1) {
            assert_eq!(mode(&bag.join(parent)), 0o700, "{}", parent.display());
        }
    }
    let payload: Vec<&Vec<u8>> = files
        .iter()
        .filter(|(path, _)| path.starts_with("data/"))
        .map(|(_, bytes)| bytes)
        .collect();
    let bytes: usize = payload.iter().map(|bytes| bytes.len()).sum();
    let info = String::from_utf8(files["bag-info.txt"].clone()).unwrap();
    let oxum = format!("Payload-Oxum: {bytes}.{}\n", payload.len());
    assert!(info.contains(&oxum), "{oxum} in {info}");
}

#[test]
fn all_that_belongs_to_a_function_is_in_the_bag() {
    let account = Account::new();
    let ran = account.snapshot(&["orders", "pictures"]).expect(0);
    is_whole(&account.bag());
    assert_eq!(account.bench.names(), ["bag"]);
    for part in ["bagged", "2 functions", "1 image, 1 saved", "arn:aws:"] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
    let orders = account.at("orders");
    // $LATEST, and the two versions that the alias routes to.
    for (version, zip) in ["LATEST", "1", "2"].iter().zip(&account.zips) {
        let dir = orders.join("versions").join(version);
        assert!(&std::fs::read(dir.join("package.zip")).unwrap() == zip);
        let answer = harness::json(&dir.join("function.json"));
        assert_eq!(answer["Configuration"]["CodeSha256"], code_sha256(zip));
    }
    let answer = harness::json(&orders.join("versions/LATEST/function.json"));
    assert_eq!(answer["Tags"]["team"], "payments");
    let alias = harness::json(&orders.join("aliases/live/alias.json"));
    assert_eq!(
        alias["RoutingConfig"]["AdditionalVersionWeights"]["2"],
        0.25
    );
    let policy = harness::json(&orders.join("aliases/live/policy.json"));
    assert!(policy["Policy"].is_string());
    let versions = std::fs::read_to_string(orders.join("versions.jsonl")).unwrap();
    assert_eq!(versions.lines().count(), 3);
    let image = harness::json(&account.at("pictures").join("versions/LATEST/image.json"));
    assert_eq!(image["digest"], IMAGE);
    // One layer version, kept once for both functions.
    let layer = account
        .bag()
        .join("data/layers/123456789012/us-east-1/common/1");
    assert_eq!(harness::names(&layer), ["layer.json", "package.zip"]);
    assert_eq!(account.bench.aws.count("GetLayerVersionByArn"), 1);
    // Nothing is unpacked.
    let unpacked = files(&account.bag());
    assert!(unpacked.keys().all(|path| !path.contains("index.py")));
}

#[test]
fn every_side_read_is_recorded_with_its_result() {
    let account = Account::new();
    let denied = LambdaError::new(403, "AccessDeniedException", "not authorized");
    let url = On::Operation("ListFunctionUrlConfigs").always();
    account.bench.aws.fault(url, Fault::Lambda(denied));
    let inapplicable = LambdaError::new(400, "InvalidParameterValueException", "no");
    let recursion = On::Operation("GetFunctionRecursionConfig").always();
    account
        .bench
        .aws
        .fault(recursion, Fault::Lambda(inapplicable));
    // One function alone: the cause of what is missing is the exit code.
    account
        .snapshot(&["orders"])
        .expect(4)
        .says(&["lambda:ListFunctionUrlConfigs", "the bag is whole"]);
    is_whole(&account.bag());
    let record = harness::json(&account.at("orders").join("record.json"));
    assert_eq!(record["outcome"]["status"], "partial");
    assert_eq!(record["outcome"]["versions"][0]["status"], "saved");
    let result = |operation: &str, qualifier: Option<&str>| {
        let reads = record["side_reads"].as_array().unwrap();
        let read = reads
            .iter()
            .find(|read| read["operation"] == operation && read["qualifier"].as_str() == qualifier);
        read.unwrap_or_else(|| panic!("{operation} {qualifier:?}: {reads:#?}"))["result"].clone()
    };
    for (operation, qualifier, expected) in [
        ("GetPolicy", None, "not_set"),
        ("GetPolicy", Some("1"), "not_set"),
        ("GetPolicy", Some("2"), "not_set"),
        ("GetPolicy", Some("live"), "found"),
        ("ListFunctionUrlConfigs", None, "denied"),
        ("ListFunctionEventInvokeConfigs", None, "not_set"),
        ("GetFunctionCodeSigningConfig", None, "not_set"),
        ("GetRuntimeManagementConfig", Some("$LATEST"), "found"),
        (
            "GetFunctionScalingConfig",
            Some("$LATEST"),
            "not_applicable",
        ),
        ("ListProvisionedConcurrencyConfigs", None, "not_set"),
        ("GetFunctionRecursionConfig", None, "not_applicable"),
    ] {
        assert_eq!(
            result(operation, qualifier),
            expected,
            "{operation} {qualifier:?}"
        );
    }
    let log = log(&account.bag());
    let reads = events(&log, "side_read");
    assert!(
        reads
            .iter()
            .any(|read| read["operation"] == "ListEventSourceMappings")
    );
    let found = reads.iter().find(|read| read["result"] == "found").unwrap();
    assert!(account.bag().join(found["path"].as_str().unwrap()).exists());
    assert!(found["request_id"].is_string());
}

#[test]
fn what_is_denied_or_gone_is_in_the_log_and_the_rest_in_the_bag() {
    let account = Account::new();
    planted(&account.bench, "secret").create();
    account.deny("secret");
    let ran = account
        .snapshot(&["orders", "secret", "nowhere", "--output", "json"])
        .expect(3)
        .says(&["secret", "nowhere"]);
    is_whole(&account.bag());
    let json = ran.json();
    assert_eq!(json["counts"], json!({"saved": 1, "denied": 1, "gone": 1}));
    let log = log(&account.bag());
    let mut ended: Vec<_> = events(&log, "function")
        .iter()
        .map(|line| line["status"].as_str().unwrap().to_owned())
        .collect();
    ended.sort();
    assert_eq!(ended, ["denied", "gone", "saved"]);
    let refused = events(&log, "call");
    assert!(
        refused
            .iter()
            .any(|call| call["status"] == 403 && call["request_id"].is_string())
    );
    assert_eq!(events(&log, "end")[0]["counts"], json["counts"]);
}

#[test]
fn nothing_at_all_makes_no_bag() {
    let account = Account::new();
    account
        .snapshot(&["nowhere"])
        .expect(5)
        .says(&["nowhere", "no bag"]);
    account.deny("orders");
    account.snapshot(&["orders"]).expect(4).says(&["orders"]);
    assert!(
        account.bench.names().is_empty(),
        "{:?}",
        account.bench.names()
    );
}

#[test]
fn bytes_that_are_not_what_lambda_states_are_kept_in_quarantine() {
    type Arrange = fn(&Bench);
    let page: &[u8] = b"<html>blocked by the proxy</html>";
    let cases: [(&str, Arrange, Option<&[u8]>); 3] = [
        (
            "another digest",
            |b| {
                let wrong = code_sha256(b"something else");
                planted(b, "web")
                    .zip(crate::proof::package(7, 4000))
                    .code_sha256(&wrong)
                    .create();
            },
            None,
        ),
        (
            "a proxy's page",
            |b| {
                planted(b, "web")
                    .zip(crate::proof::package(7, 4000))
                    .create();
                let page = Fault::Page {
                    status: 200,
                    content_type: "text/html".into(),
                    body: (b"<html>blocked by the proxy</html>").to_vec().into(),
                };
                b.aws.fault(On::Object.always(), page);
            },
            Some(page),
        ),
        (
            "no CodeSha256",
            |b| {
                let function = planted(b, "web")
                    .zip(crate::proof::package(7, 4000))
                    .create();
                function.patch(|answer| {
                    answer["Configuration"]
                        .as_object_mut()
                        .unwrap()
                        .remove("CodeSha256");
                });
            },
            None,
        ),
    ];
    each(
        &cases,
        |case| case.0.to_owned(),
        |(_, arrange, expected)| {
            let bench = Bench::new();
            arrange(&bench);
            let ran = snapshot(&bench, &["web"]).expect(1).says(&["quarantine"]);
            let bag = bench.path("bag");
            is_whole(&bag);
            let below = "functions/123456789012/us-east-1/web/versions/LATEST/package.zip";
            assert!(!bag.join("data").join(below).exists());
            let kept = std::fs::read(bag.join("data/quarantine").join(below)).unwrap();
            let package = crate::proof::package(7, 4000);
            assert!(kept == expected.unwrap_or(&package), "{ran:?}");
            let note = harness::json(
                &bag.join("data/quarantine")
                    .join(format!("{below}.mismatch.json")),
            );
            assert_eq!(note["mismatch"], true);
            assert_eq!(note["computed"]["size"], kept.len());
            let log = log(&bag);
            assert_eq!(events(&log, "package")[0]["result"], "quarantined");
            assert_eq!(events(&log, "end")[0]["mismatches"], 1);
        },
    );
}

#[test]
fn a_layer_that_cannot_be_had_is_a_fact_unless_it_must_be_there() {
    let account = Account::new();
    account.bench.aws.delete_layer(&account.layer);
    account
        .snapshot(&["orders"])
        .expect(0)
        .says(&["layer", "common"]);
    is_whole(&account.bag());
    let log = log(&account.bag());
    assert_eq!(events(&log, "layer")[0]["status"], "gone");
    std::fs::remove_dir_all(account.bag()).unwrap();
    account.snapshot(&["orders", "--strict-layers"]).expect(5);
    assert!(account.bag().exists());
}

#[test]
fn a_bag_is_never_added_to() {
    let account = Account::new();
    account.snapshot(&["orders"]).expect(0);
    let before = files(&account.bag());
    account
        .snapshot(&["pictures"])
        .expect(8)
        .says(&["already exists", "another directory"]);
    assert_eq!(files(&account.bag()), before);
    // What was downloaded for it is not there, because nothing was asked.
    std::fs::create_dir(account.bench.path("full")).unwrap();
    harness::write(account.bench.path("full/x"), "x");
    account
        .bench
        .run(&["snapshot", "orders", "--bag", "full"])
        .expect(8);
    assert_eq!(account.bench.names(), ["bag", "full"]);
}

#[test]
fn a_change_while_it_is_taken_is_recorded_with_both_states() {
    let account = Account::new();
    let before = packages::python_package().zip();
    let after = packages::python_package().file("new.txt", "new").zip();
    let moving = account
        .bench
        .aws
        .function("moving")
        .zip(before.clone())
        .create();
    // After the answer that the download goes by, and not seen before the last look.
    moving.update_code_on(larder_testkit::Trigger::AfterGetFunction(1), after.clone());
    let ran = account
        .snapshot(&["moving", "--output", "json"])
        .expect(0)
        .says(&["changed"]);
    is_whole(&account.bag());
    assert_eq!(ran.json()["changed"], 1);
    let dir = account.at("moving").join("versions/LATEST");
    assert!(std::fs::read(dir.join("package.zip")).unwrap() == before);
    assert!(std::fs::read(dir.join("package.after.zip")).unwrap() == after);
    let state = harness::json(&dir.join("function.after.json"));
    assert_eq!(state["Configuration"]["CodeSha256"], code_sha256(&after));
    let log = log(&account.bag());
    let line = events(&log, "consistency")[0];
    assert_eq!(line["changed"], true);
    assert_eq!(line["before"]["code_sha256"], code_sha256(&before));
    assert_eq!(line["after"]["code_sha256"], code_sha256(&after));
    assert_ne!(line["before"]["revision_id"], line["after"]["revision_id"]);
}

#[test]
fn versions_and_qualifiers_choose() {
    for (arguments, expected) in [
        (&["orders:live"][..], &["1", "2"][..]),
        (&["orders:2"], &["2"]),
        (&["orders", "--versions", "all"], &["1", "2", "LATEST"]),
        (&["orders", "--versions", "published"], &["1", "2"]),
        (&["orders:1", "orders:$LATEST"], &["1", "LATEST"]),
    ] {
        let account = Account::new();
        account.snapshot(arguments).expect(0);
        is_whole(&account.bag());
        let versions = harness::names(&account.at("orders").join("versions"));
        let with_code: Vec<_> = versions
            .iter()
            .filter(|v| {
                account
                    .at("orders")
                    .join("versions")
                    .join(v)
                    .join("package.zip")
                    .exists()
            })
            .collect();
        assert_eq!(with_code, expected, "{arguments:?}");
    }
}

#[test]
fn a_region_is_taken_whole_and_several_one_after_the_other() {
    let account = Account::new();
    let zip = packages::node_package().zip();
    account
        .bench
        .aws
        .function("far")
        .region("eu-west-1")
        .zip(zip)
        .create();
    let ran = account
        .snapshot(&[
            "--all",
            "--region",
            "us-east-1",
            "--region",
            "eu-west-1",
            "--output",
            "json",
        ])
        .expect(0);
    is_whole(&account.bag());
    assert_eq!(ran.json()["counts"], json!({"saved": 2, "image": 1}));
    let far = account
        .bag()
        .join("data/functions/123456789012/eu-west-1/far");
    assert!(far.join("versions/LATEST/package.zip").exists());
    std::fs::remove_dir_all(account.bag()).unwrap();
    account.snapshot(&["--all", "--exclude", "pict*"]).expect(0);
    assert!(!account.at("pictures").exists() && account.at("orders").exists());
}

#[test]
fn a_region_that_cannot_be_listed_does_not_stop_the_others() {
    let account = Account::new();
    let refusal = LambdaError::new(403, "AccessDeniedException", "not authorized");
    let second = On::ListFunctions.nth(2);
    account.bench.aws.fault(second, Fault::Lambda(refusal));
    account
        .snapshot(&["--all", "--region", "us-east-1", "--region", "eu-west-1"])
        .expect(3)
        .says(&["all functions of eu-west-1", "lambda:ListFunctions"]);
    is_whole(&account.bag());
    assert!(account.at("orders").exists());
}

#[test]
fn a_version_that_two_names_lead_to_is_taken_once() {
    let account = Account::new();
    let refusal = LambdaError::new(403, "AccessDeniedException", "not authorized");
    account
        .bench
        .aws
        .fault(On::ListAliases.always(), Fault::Lambda(refusal));
    // Without the list, an alias is known by GetFunction alone.
    account.snapshot(&["orders:live", "orders:1"]).expect(4);
    is_whole(&account.bag());
    let record = harness::json(&account.at("orders").join("record.json"));
    assert_eq!(record["outcome"]["versions"].as_array().unwrap().len(), 1);
}

#[test]
fn an_image_is_pulled_whole_into_the_bag_or_not_at_all() {
    let bench = Bench::new();
    let image = crate::images::small(Family::Oci);
    let uri = bench.aws.push("team/web", &image, Login::Ecr);
    planted(&bench, "web")
        .image(&format!("{uri}:v1"), &image.digest)
        .create();
    let ran = snapshot(&bench, &["web", "--pull-image", "-vvv"]).expect(0);
    crate::proof::harmless(&ran);
    let bag = bench.path("bag");
    is_whole(&bag);
    stock::stock_tools_accept(&bag);
    let version = at(&bag, "web").join("versions/LATEST");
    let checked = larder::image::layout::verify(&version.join("image"), &[], &|| false).unwrap();
    assert_eq!(checked.findings, []);
    let root: larder::digest::Sha256Digest = image.digest.parse().unwrap();
    assert_eq!(checked.roots, [root]);
    let record = harness::json(&version.join("image.json"));
    assert_eq!(record["blobs"], image.blobs.len());
    for bytes in files(&bag).values() {
        assert!(!String::from_utf8_lossy(bytes).contains(larder_testkit::SECRET_MARKER));
    }

    // Who was asked for it is in the log, like every call.
    let lines = log(&bag);
    let tokens: Vec<_> = events(&lines, "call")
        .into_iter()
        .filter(|line| line["operation"] == "GetAuthorizationToken")
        .collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(
        (&tokens[0]["status"], &tokens[0]["region"]),
        (&json!(200), &json!("us-east-1"))
    );
    let answers = events(&lines, "registry");
    assert_eq!(answers.len(), 1, "{answers:?}");
    let (answer, path) = (
        &answers[0],
        format!("/v2/team/web/manifests/{}", image.digest),
    );
    assert_eq!(answer["operation"], "GetManifest");
    assert_eq!(answer["method"], "GET");
    assert_eq!(answer["status"], 200);
    assert_eq!(answer["digest"], image.digest.as_str());
    assert!(
        answer["location"].as_str().unwrap().ends_with(&path),
        "{answer}"
    );
    assert_eq!(events(&lines, "object").len(), image.blobs.len());

    // A registry that denies leaves the record, and no part of the image.
    std::fs::remove_dir_all(&bag).unwrap();
    let refusal = LambdaError::new(400, "AccessDeniedException", "not authorized");
    let token = On::Operation("GetAuthorizationToken").always();
    bench.aws.fault(token, Fault::Lambda(refusal));
    snapshot(&bench, &["web", "--pull-image"])
        .expect(4)
        .says(&["ecr:GetAuthorizationToken"]);
    is_whole(&bag);
    assert!(version.join("image.json").exists() && !version.join("image").exists());
    let refused = log(&bag);
    let refused: Vec<_> = events(&refused, "call")
        .into_iter()
        .filter(|line| line["operation"] == "GetAuthorizationToken" && line["status"] == 400)
        .collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
}

/// Ten times as many packages take no more memory, though all of them together are many times larger than it. The bound
/// itself is one of release builds: here the program alone is larger. `LARDER_MEASURE` names another program to run.
#[test]
fn memory_does_not_grow_with_what_is_taken() {
    let zip = bytes::Bytes::from(packages::zip_of_size(20_000_000, 1));
    let peaks = [6_u64, 60].map(|functions| {
        let bench = Bench::new();
        for number in 0..functions {
            let name = format!("large-{number}");
            bench.aws.function(&name).zip(zip.clone()).create();
        }
        let measured = |arguments: &[&str]| {
            let mut command = bench.command(arguments);
            let Some(other) = std::env::var_os("LARDER_MEASURE") else {
                return harness::run_measured(&mut command);
            };
            let mut replaced = std::process::Command::new(other);
            replaced
                .args(command.get_args())
                .current_dir(command.get_current_dir().unwrap())
                .env_clear();
            for (name, value) in command.get_envs() {
                if let Some(value) = value {
                    replaced.env(name, value);
                }
            }
            harness::run_measured(&mut replaced)
        };
        let arguments = ["--max-rate", "1000", "--output", "json"];
        let (ran, taken) =
            measured(&[&["snapshot", "--all", "--bag", "bag"], &arguments[..]].concat());
        assert_eq!(ran.expect(0).json()["counts"], json!({"saved": functions}));
        let (ran, verified) = measured(&["verify", "bag"]);
        ran.expect(0);
        eprintln!("{functions} functions: snapshot {taken} KiB, verify {verified} KiB");
        (taken, verified)
    });
    let [few, many] = peaks;
    assert!(many.0 <= few.0 + (8 << 10), "snapshot: {peaks:?} KiB");
    assert!(many.1 <= few.1 + (4 << 10), "verify: {peaks:?} KiB");
}

#[test]
fn bad_arguments_ask_nothing() {
    let account = Account::new();
    for arguments in [
        &[][..],
        &["orders", "--all"],
        &["orders", "--include", "x"],
        &["orders", "--tsa-url", "http://127.0.0.1:1/"],
        &["orders", "--sign-key", "nowhere"],
        &["a/b"],
    ] {
        let ran = account.snapshot(arguments);
        assert!(matches!(ran.code, 2 | 8), "{arguments:?}: {ran:?}");
    }
    assert!(account.bench.aws.requests().is_empty());
    assert!(account.bench.names().is_empty());
}
