//! larder against moto, an AWS that others wrote: real packages, both ways to reach it, every way to get credentials.
//!
//! Where moto answers otherwise than AWS does, the test says so and holds larder to what is right for that answer:
//! - `GetFunction`'s `Location` is unsigned, and nothing is stored there: [`Moto::serve`] puts the package in its place.
//! - All versions of a function share one `Location`.
//! - A partial ARN is answered with a status of 500 or 502.

mod backup;
mod credentials;
mod drift;
mod front;
mod machine;
mod packages;
mod restore;
mod server;
mod store;
pub mod venv;

use std::path::Path;
use std::process::Command;

use larder_testkit::code_sha256;
use serde_json::{Value, json};

use crate::harness::{self, json as read_json, names};
use packages::{Node, Package};
use server::{ACCOUNT, Client, Mode, Moto, REGION};
use venv::Venv;

impl Moto {
    /// Creates a function from a package sent along, and puts the package where `Location` points.
    fn deploy(&self, name: &str, package: &Package) {
        self.create(name, package, &json!({"ZipFile": {"$file": package.zip}}));
        self.serve(name, &package.zip);
    }

    fn create(&self, name: &str, package: &Package, code: &Value) {
        let arguments = json!({
            "FunctionName": name,
            "Runtime": package.runtime,
            "Handler": package.handler,
            "Role": self.role(),
            "Code": code,
            "Environment": {"Variables": {"TABLE": "orders"}},
            "Tags": {"team": "larder"},
        });
        self.call("lambda", "create_function", arguments);
    }

    fn role(&self) -> String {
        Self::role_in(ACCOUNT, &self.client("iam"))
    }

    /// The ARN of an execution role in the account that `iam` acts in.
    fn role_in(account: &str, iam: &Client<'_>) -> String {
        let arguments = json!({"RoleName": "lambda", "AssumeRolePolicyDocument": "{}"});
        if let Err(refused) = iam.try_call("create_role", &arguments) {
            assert!(refused.contains("EntityAlreadyExists"), "{refused}");
        }
        format!("arn:aws:iam::{account}:role/lambda")
    }

    /// Puts a zip where `GetFunction` says that the function's package is.
    fn serve(&self, name: &str, zip: &Path) {
        self.put_at(&self.location(name), zip);
    }

    fn put_at(&self, location: &str, zip: &Path) {
        let key = location
            .split_once(".amazonaws.com/")
            .expect("an S3 location")
            .1;
        self.put(&format!("awslambda-{REGION}-tasks"), key, zip);
    }

    fn location(&self, name: &str) -> String {
        let function = self.call("lambda", "get_function", json!({"FunctionName": name}));
        function["Code"]["Location"]
            .as_str()
            .expect("a location")
            .to_owned()
    }

    fn put(&self, bucket: &str, key: &str, file: &Path) {
        self.call("s3", "create_bucket", json!({"Bucket": bucket}));
        let arguments = json!({"Bucket": bucket, "Key": key, "Body": {"$file": file}});
        self.call("s3", "put_object", arguments);
    }
}

/// What a fetch into `dest` must have left, whatever the package.
#[track_caller]
fn is_whole(moto: &Moto, dest: &Path, name: &str, package: &Package) -> Value {
    assert_eq!(
        names(dest),
        ["code", "function.json", "larder.json", "package.zip"]
    );
    let differences = package.differences(&dest.join("code"));
    assert!(differences.is_empty(), "{differences:#?}");

    let record = read_json(&dest.join("larder.json"));
    let sent = package.bytes();
    let zip = dest.join("package.zip");
    assert!(
        std::fs::read(&zip).expect("package.zip") == sent,
        "package.zip is not what was deployed"
    );
    // A stock tool says the same.
    if let Some(tool) = harness::tool("sha256sum", "coreutils") {
        let output = Command::new(tool).arg(&zip).output().expect("sha256sum");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(text.split(' ').next(), record["package"]["sha256"].as_str());
    }

    let nodes = package.nodes();
    let count = |kind: fn(&Node) -> bool| nodes.values().filter(|node| kind(node)).count();
    let bytes: usize = nodes
        .values()
        .map(|n| {
            if let Node::File { content, .. } = n {
                content.len()
            } else {
                0
            }
        })
        .sum();
    let deployed = moto.call(
        "lambda",
        "get_function_configuration",
        json!({"FunctionName": name}),
    );
    for (pointer, expected) in [
        ("/status", json!("saved")),
        ("/incomplete", json!([])),
        ("/function/name", json!(name)),
        ("/function/region", json!(REGION)),
        ("/function/account", json!(ACCOUNT)),
        ("/package_type", json!("Zip")),
        ("/package/path", json!("package.zip")),
        ("/package/size", json!(sent.len())),
        ("/package/code_sha256", json!(code_sha256(&sent))),
        ("/package/code_sha256", deployed["CodeSha256"].clone()),
        ("/package/size", deployed["CodeSize"].clone()),
        (
            "/unpacked/files",
            json!(count(|n| matches!(n, Node::File { .. }))),
        ),
        (
            "/unpacked/directories",
            json!(count(|n| matches!(n, Node::Dir { .. }))),
        ),
        (
            "/unpacked/symlinks",
            json!(count(|n| matches!(n, Node::Link { .. }))),
        ),
        ("/unpacked/bytes", json!(bytes)),
        ("/image", Value::Null),
        ("/transfer/attempts", json!(1)),
    ] {
        assert_eq!(
            record.pointer(pointer),
            Some(&expected),
            "{pointer} of larder.json"
        );
    }
    record
}

/// Every field that boto3 sees in an answer is in function.json.
#[track_caller]
fn holds_the_answer(moto: &Moto, dest: &Path, name: &str) {
    let kept = read_json(&dest.join("function.json"));
    let answer = moto.call("lambda", "get_function", json!({"FunctionName": name}));
    let mut missing = Vec::new();
    differs("", &answer, &kept, &mut missing);
    assert!(missing.is_empty(), "{missing:#?}");
}

fn differs(at: &str, wanted: &Value, kept: &Value, out: &mut Vec<String>) {
    match wanted.as_object() {
        Some(fields) => {
            for (name, value) in fields {
                differs(&format!("{at}/{name}"), value, &kept[name], out);
            }
        }
        None if wanted != kept => out.push(format!("{at} is {kept} and should be {wanted}")),
        None => {}
    }
}

#[test]
fn a_python_package_with_shared_libraries() {
    let Some(venv) = Venv::get() else { return };
    let dir = tempfile::tempdir().unwrap();
    let package = packages::python(venv, dir.path());
    let executable = |name: &str| matches!(package.nodes().get(name), Some(Node::File { mode, .. }) if mode & 0o100 != 0);
    assert!(executable("bin/normalizer"), "pip made a console script");
    assert!(
        package
            .nodes()
            .keys()
            .any(|path| path.starts_with("charset_normalizer/")
                && Path::new(path).extension().is_some_and(|e| e == "so")),
        "a wheel for this platform"
    );
    for moto in Moto::both() {
        let dest = dir.path().join(format!("{:?}", moto.mode));
        moto.deploy("python", &package);
        let ran = moto
            .larder(dir.path(), &["fetch", "python", dest.to_str().unwrap()])
            .expect(0);
        assert!(ran.stdout.contains("python"), "{}", ran.stdout);
        is_whole(moto, &dest, "python", &package);
        holds_the_answer(moto, &dest, "python");
        // The shared libraries load: the tree is not merely alike, it works.
        let code = dest.join("code");
        let loaded = Command::new(venv.python())
            .args(["-I", "-c", "import sys; sys.path.insert(0, sys.argv[1]); import requests; print(requests.__file__)"])
            .arg(&code)
            .output()
            .unwrap();
        let file = String::from_utf8_lossy(&loaded.stdout).into_owned();
        assert!(
            loaded.status.success() && Path::new(file.trim()).starts_with(&code),
            "{loaded:?}"
        );
    }
}

#[test]
fn an_npm_tree_with_bin_links() {
    let Some(venv) = Venv::get() else { return };
    let dir = tempfile::tempdir().unwrap();
    let made = ("node", Some(packages::npm(venv, dir.path())));
    let installed = ("npm", packages::npm_itself(venv, dir.path()));
    for (name, package) in [made, installed] {
        let Some(package) = package else { continue };
        for moto in Moto::both() {
            // Deployed from a bucket, as large packages are.
            let key = format!("releases/7/{name}.zip");
            moto.put("artifacts", &key, &package.zip);
            moto.create(
                name,
                &package,
                &json!({"S3Bucket": "artifacts", "S3Key": key}),
            );
            moto.serve(name, &package.zip);
            let dest = dir.path().join(format!("{name}-{:?}", moto.mode));
            moto.larder(dir.path(), &["fetch", name, dest.to_str().unwrap()])
                .expect(0);
            is_whole(moto, &dest, name, &package);
            let link = dest.join("code/node_modules/.bin/util");
            let target = std::fs::read_link(&link).unwrap();
            assert!(target.starts_with("../@acme/util"), "{target:?}");
            let script = std::fs::read_to_string(&link).unwrap();
            assert!(script.starts_with("#!/usr/bin/env node"), "{script}");
        }
    }
}

#[test]
fn a_native_binary_that_still_runs() {
    let Some(venv) = Venv::get() else { return };
    let dir = tempfile::tempdir().unwrap();
    for moto in Moto::both() {
        let package = packages::native(venv, dir.path());
        moto.deploy("native", &package);
        let dest = dir.path().join(format!("{:?}", moto.mode));
        let ran = moto
            .larder(
                dir.path(),
                &[
                    "fetch",
                    "native",
                    dest.to_str().unwrap(),
                    "--output",
                    "json",
                ],
            )
            .expect(0);
        let record = is_whole(moto, &dest, "native", &package);
        assert_eq!(ran.json(), record, "--output json prints the record");
        let version = |program: &Path| Command::new(program).arg("version").output().unwrap();
        let (fetched, original) = (
            version(&dest.join("code/bootstrap")),
            version(&package.tree.join("bootstrap")),
        );
        assert!(
            fetched.status.success() && fetched.stdout == original.stdout,
            "{fetched:?}"
        );
    }
}

#[test]
fn an_image_function_is_recorded() {
    for moto in Moto::both() {
        let dir = tempfile::tempdir().unwrap();
        let repository = moto.call("ecr", "create_repository", json!({"repositoryName": "app"}));
        let uri = repository["repository"]["repositoryUri"]
            .as_str()
            .unwrap()
            .to_owned();
        let digest = |c: char| format!("sha256:{}", c.to_string().repeat(64));
        let layer = |media: &str, c| json!({"mediaType": format!("application/vnd.oci.image.{media}"), "size": 512, "digest": digest(c)});
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": layer("config.v1+json", 'b'),
            "layers": [layer("layer.v1.tar+gzip", 'c')],
        });
        let arguments = json!({"repositoryName": "app", "imageManifest": manifest.to_string(), "imageTag": "v1"});
        let image = moto.call("ecr", "put_image", arguments);
        let pushed = image["image"]["imageId"]["imageDigest"]
            .as_str()
            .unwrap()
            .to_owned();

        let code = json!({"ImageUri": format!("{uri}:v1")});
        let arguments = json!({"FunctionName": "image", "PackageType": "Image", "Role": moto.role(), "Code": code});
        moto.call("lambda", "create_function", arguments);
        moto.larder(dir.path(), &["fetch", "image"]).expect(0);
        let dest = dir.path().join("image");
        assert_eq!(
            names(&dest),
            ["function.json", "larder.json"],
            "nothing is downloaded"
        );
        let record = read_json(&dest.join("larder.json"));
        assert_eq!(record["status"], "image");
        assert_eq!(record["package_type"], "Image");
        assert_eq!(record["package"], Value::Null);
        assert_eq!(record["unpacked"], Value::Null);
        let expected = json!({
            "image_uri": format!("{uri}:v1"),
            "resolved_image_uri": format!("{uri}@{pushed}"),
            "digest": pushed,
            "code_sha256": pushed.strip_prefix("sha256:").unwrap(),
            "path": null,
        });
        assert_eq!(record["image"], expected);
        holds_the_answer(moto, &dest, "image");

        // Deployed by digest: moto writes the digest twice, and the last one counts.
        let code = json!({"ImageUri": format!("{uri}@{pushed}")});
        let arguments = json!({"FunctionName": "by-digest", "PackageType": "Image", "Role": moto.role(), "Code": code});
        moto.call("lambda", "create_function", arguments);
        moto.larder(dir.path(), &["fetch", "by-digest"]).expect(0);
        let record = read_json(&dir.path().join("by-digest/larder.json"));
        assert_eq!(record["image"]["digest"], pushed);
        assert_eq!(
            record["image"]["resolved_image_uri"],
            format!("{uri}@sha256@{pushed}")
        );
    }
}

#[test]
fn versions_and_aliases() {
    let Some(venv) = Venv::get() else { return };
    for moto in Moto::both() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (
            packages::small(venv, dir.path(), "old"),
            packages::small(venv, dir.path(), "new"),
        );
        moto.deploy("versioned", &old);
        moto.call(
            "lambda",
            "publish_version",
            json!({"FunctionName": "versioned"}),
        );
        let alias = json!({"FunctionName": "versioned", "Name": "live", "FunctionVersion": "1"});
        moto.call("lambda", "create_alias", alias);
        let update = json!({"FunctionName": "versioned", "ZipFile": {"$file": new.zip}});
        moto.call("lambda", "update_function_code", update);

        let arn = format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:versioned");
        // moto has one Location for all versions; what lies there is each time what AWS would serve.
        moto.serve("versioned", &old.zip);
        for (typed, qualifier, dest) in [
            ("versioned:1", None, "versioned-1"),
            ("versioned", Some("1"), "versioned-1"),
            ("versioned:live", None, "versioned-live"),
            ("versioned", Some("live"), "versioned-live"),
            (&*format!("{arn}:1"), None, "versioned-1"),
            (&*format!("{arn}:live"), Some("live"), "versioned-live"),
            (&*arn, Some("live"), "versioned-live"),
        ] {
            let run = tempfile::tempdir().unwrap();
            let mut arguments = vec!["fetch", typed];
            arguments.extend(qualifier.map(|q| ["--qualifier", q]).into_iter().flatten());
            moto.larder(run.path(), &arguments).expect(0);
            assert_eq!(names(run.path()), [dest], "{typed} {qualifier:?}");
            assert_eq!(
                old.differences(&run.path().join(dest).join("code")),
                [""; 0]
            );
            let record = read_json(&run.path().join(dest).join("larder.json"));
            assert_eq!(record["function"]["version"], "1", "{typed} {qualifier:?}");
            assert_eq!(
                record["function"]["qualifier"],
                dest.strip_prefix("versioned-").unwrap()
            );
            assert_eq!(record["function"]["arn"], format!("{arn}:1"));
        }
        moto.serve("versioned", &new.zip);
        for typed in ["versioned", &*arn, "versioned:$LATEST"] {
            let run = tempfile::tempdir().unwrap();
            moto.larder(run.path(), &["fetch", typed, "out"]).expect(0);
            let record = read_json(&run.path().join("out/larder.json"));
            assert_eq!(record["function"]["version"], "$LATEST", "{typed}");
            assert_eq!(new.differences(&run.path().join("out/code")), [""; 0]);
        }
        // Version 1 is still stated with its own digest, and the bytes there are now another version's.
        let run = tempfile::tempdir().unwrap();
        moto.larder(run.path(), &["fetch", "versioned:1"])
            .expect(1)
            .says(&["versioned"]);
        assert_eq!(
            names(run.path()),
            [""; 0],
            "nothing is left of a package that does not verify"
        );
    }
}

#[test]
fn a_snapshot_of_an_account_is_accepted_by_stock_tools() {
    let Some(venv) = Venv::get() else { return };
    if !crate::signature::tools() {
        return;
    }
    for moto in Moto::both() {
        let dir = tempfile::tempdir().unwrap();
        let package = packages::small(venv, dir.path(), "snapped");
        moto.deploy("snap", &package);
        for _ in 0..2 {
            // moto publishes no version of what it has one of.
            let touch = json!({"FunctionName": "snap", "ZipFile": {"$file": package.zip}});
            moto.call("lambda", "update_function_code", touch);
            moto.call("lambda", "publish_version", json!({"FunctionName": "snap"}));
        }
        moto.serve("snap", &package.zip);
        let alias = json!({"FunctionName": "snap", "Name": "live", "FunctionVersion": "1",
            "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.25}}});
        moto.call("lambda", "create_alias", alias);
        let layer =
            json!({"LayerName": "snap-layer", "Content": {"ZipFile": {"$file": package.zip}}});
        let layer = moto.call("lambda", "publish_layer_version", layer);
        moto.deploy("snap-layered", &package);
        let layers = json!({"FunctionName": "snap-layered", "Layers": [layer["LayerVersionArn"]]});
        moto.call("lambda", "update_function_configuration", layers);
        moto.serve("snap-layered", &package.zip);
        let repository = moto.call(
            "ecr",
            "create_repository",
            json!({"repositoryName": "snap"}),
        );
        let uri = &repository["repository"]["repositoryUri"];
        let part = |media: &str, c: &str| {
            json!({"mediaType": format!("application/vnd.oci.image.{media}"), "size": 512,
                "digest": format!("sha256:{}", c.repeat(64))})
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": part("config.v1+json", "b"),
            "layers": [part("layer.v1.tar+gzip", "c")],
        });
        let pushed = json!({"repositoryName": "snap", "imageManifest": manifest.to_string(), "imageTag": "v1"});
        moto.call("ecr", "put_image", pushed);
        let code = json!({"ImageUri": format!("{}:v1", uri.as_str().unwrap())});
        let image = json!({"FunctionName": "snap-image", "PackageType": "Image", "Role": moto.role(), "Code": code});
        moto.call("lambda", "create_function", image);

        crate::signature::keygen(dir.path(), "key", "ed25519", &[], "");
        let ran = moto.larder(
            dir.path(),
            &[
                "snapshot",
                "snap",
                "snap-layered",
                "snap-image",
                "snap-nowhere",
                "--bag",
                "bag",
                "--max-rate",
                "1000",
                "--sign-key",
                "key",
            ],
        );
        eprintln!("{}{}", ran.stdout, ran.stderr);
        // moto states no place for a layer's package, and the last function is not there.
        let ran = ran.expect(3).says(&["snap-nowhere", "snap-layer"]);
        assert!(
            ran.stdout.contains("1 gone, 1 image, 1 partial, 1 saved"),
            "{}",
            ran.stdout
        );
        let bag = dir.path().join("bag");
        crate::snapshot::is_whole(&bag);
        crate::snapshot::stock::stock_tools_accept(&bag);
        let live = crate::snapshot::at(&bag, "snap").join("aliases/live/alias.json");
        let live = read_json(&live);
        assert_eq!(live["RoutingConfig"]["AdditionalVersionWeights"]["2"], 0.25);
        let versions = names(&crate::snapshot::at(&bag, "snap").join("versions"));
        assert_eq!(versions, ["1", "2", "LATEST"]);
        for version in versions {
            let zip = crate::snapshot::at(&bag, "snap")
                .join("versions")
                .join(version)
                .join("package.zip");
            assert!(std::fs::read(zip).unwrap() == package.bytes());
        }
    }
}

#[test]
fn an_update_takes_over_new_code_only() {
    let Some(venv) = Venv::get() else { return };
    for moto in Moto::both() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (
            packages::small(venv, dir.path(), "old"),
            packages::small(venv, dir.path(), "new"),
        );
        moto.deploy("updated", &old);
        let run = tempfile::tempdir().unwrap();
        moto.larder(run.path(), &["fetch", "updated"]).expect(0);
        moto.larder(run.path(), &["fetch", "updated"])
            .expect(8)
            .says(&["--force"]);
        moto.larder(run.path(), &["fetch", "updated", "--update"])
            .expect(0);
        assert_eq!(
            read_json(&run.path().join("updated/larder.json"))["status"],
            "unchanged"
        );
        let update = json!({"FunctionName": "updated", "ZipFile": {"$file": new.zip}});
        moto.call("lambda", "update_function_code", update);
        moto.serve("updated", &new.zip);
        moto.larder(run.path(), &["fetch", "updated", "--update"])
            .expect(0);
        is_whole(moto, &run.path().join("updated"), "updated", &new);
    }
}

#[test]
fn what_is_not_there_is_not_found() {
    let Some(venv) = Venv::get() else { return };
    for moto in Moto::both() {
        let dir = tempfile::tempdir().unwrap();
        let package = packages::small(venv, dir.path(), "here");
        moto.deploy("here", &package);
        let elsewhere = format!("arn:aws:lambda:eu-west-1:{ACCOUNT}:function:here");
        for arguments in [
            &["fetch", "nowhere"][..],
            &["fetch", "here:7"],
            &["fetch", "here", "--qualifier", "beta"],
            // Another region: by the option, and by the ARN.
            &["fetch", "here", "--region", "eu-west-1"],
            &["fetch", &elsewhere],
        ] {
            let run = tempfile::tempdir().unwrap();
            let ran = moto
                .larder(run.path(), arguments)
                .expect(5)
                .says(&["not found", "hint:"]);
            if arguments.len() == 4 && arguments[2] == "--region" || arguments[1] == elsewhere {
                ran.says(&["eu-west-1"]);
            }
            assert_eq!(names(run.path()), [""; 0]);
        }
        // A qualifier twice is refused before any call; AWS would refuse it, moto takes the first.
        let before = moto.log();
        moto.larder(dir.path(), &["fetch", "here:1", "--qualifier", "live"])
            .expect(2);
        assert_eq!(
            moto.log().matches("here%3A1").count(),
            before.matches("here%3A1").count()
        );
    }
}

#[test]
fn a_package_that_is_not_there_or_is_another() {
    let Some(venv) = Venv::get() else { return };
    for moto in Moto::both() {
        let dir = tempfile::tempdir().unwrap();
        let package = packages::small(venv, dir.path(), "true");
        let other = packages::small(venv, dir.path(), "fake"); // as long, and not the same
        assert_eq!(package.bytes().len(), other.bytes().len());
        moto.create(
            "tampered",
            &package,
            &json!({"ZipFile": {"$file": package.zip}}),
        );
        let run = tempfile::tempdir().unwrap();
        let fetch = ["fetch", "tampered", "--max-attempts", "2"];
        moto.larder(run.path(), &fetch)
            .expect(5)
            .says(&["not where Lambda says"]);
        moto.serve("tampered", &other.zip);
        let stated = code_sha256(&package.bytes());
        moto.larder(run.path(), &fetch).expect(1).says(&[
            "tampered",
            &stated,
            &code_sha256(&other.bytes()),
        ]);
        assert_eq!(names(run.path()), [""; 0]);
    }
}

/// moto knows no partial ARN and fails: what a server's own fault looks like, from a server that is not ours.
#[test]
fn a_fault_of_the_server_is_told_as_one() {
    for moto in Moto::both() {
        let run = tempfile::tempdir().unwrap();
        let partial = format!("{ACCOUNT}:function:any");
        let ran = moto
            .larder(
                run.path(),
                &["fetch", &partial, "--max-attempts", "2", "--output", "json"],
            )
            .expect(6);
        let error = ran.json_error();
        assert_eq!(error["kind"], "service", "{error}");
        assert!(
            error["message"].as_str().unwrap().contains("status 50"),
            "{error}"
        );
        assert!(!ran.stderr.contains("<html"), "{}", ran.stderr);
    }
}

#[test]
fn the_proxy_carries_every_call_and_its_ca_is_what_is_trusted() {
    let (Some(venv), Some(moto)) = (Venv::get(), Moto::get(Mode::Proxy)) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let package = packages::small(venv, dir.path(), "behind");
    moto.deploy("behind-a-proxy", &package);
    moto.larder(dir.path(), &["fetch", "behind-a-proxy", "out"])
        .expect(0);
    let log = moto.log();
    for url in [
        format!("https://lambda.{REGION}.amazonaws.com/2015-03-31/functions/behind-a-proxy"),
        moto.location("behind-a-proxy"),
    ] {
        assert!(
            log.contains(&format!("GET\u{1b}[0m {url}")),
            "{url} in\n{log}"
        );
    }

    let fetch = ["fetch", "behind-a-proxy", "none", "--max-attempts", "2"];
    let without = |name: &str| {
        let mut variables = moto.env();
        variables.retain(|(key, _)| key != name);
        variables
    };
    // The system's certificates do not vouch for moto's.
    let mut command = harness::bare(dir.path());
    harness::run(command.envs(without("AWS_CA_BUNDLE")).args(fetch))
        .expect(6)
        .says(&["certificate", "AWS_CA_BUNDLE"]);
    // The bundle may stand in the profile.
    let config = format!("[default]\nca_bundle = {}\n", moto.ca_bundle().display());
    let config = harness::write(dir.path().join("config"), config);
    let mut command = harness::bare(dir.path());
    command
        .envs(without("AWS_CA_BUNDLE"))
        .env("AWS_CONFIG_FILE", &config)
        .args(["fetch", "behind-a-proxy", "out2"]);
    harness::run(&mut command).expect(0);
    // A bundle that is none is told before any call.
    let mut command = harness::bare(dir.path());
    command
        .envs(moto.env())
        .env("AWS_CA_BUNDLE", &config)
        .args(fetch);
    harness::run(&mut command)
        .expect(2)
        .says(&["config", "CA bundle"]);
    // Nobody listens at the proxy's port.
    let mut command = harness::bare(dir.path());
    command
        .envs(moto.env())
        .env("HTTPS_PROXY", "http://127.0.0.1:9")
        .args(fetch);
    harness::run(&mut command).expect(6).says(&["HTTPS_PROXY"]);
    // Hosts that NO_PROXY names are called directly.
    let mut command = harness::bare(dir.path());
    command
        .envs(moto.env())
        .env("NO_PROXY", "larder.invalid")
        .args(fetch)
        .args(["--endpoint-url", "https://larder.invalid"]);
    let direct = harness::run(&mut command).expect(6);
    assert!(!direct.stderr.contains("tunnel"), "{}", direct.stderr);
    assert_eq!(moto.log().matches("larder.invalid").count(), 0);
    assert!(!dir.path().join("none").exists());
}
