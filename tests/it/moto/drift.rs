//! `lock` and `check` against moto: from in sync to drifted and back, for zips, layers, aliases and images.

use std::fs;
use std::path::Path;

use larder_testkit::Tree;
use serde_json::{Value, json};

use super::packages::{self, Package};
use super::server::Moto;
use super::venv::Venv;
use crate::harness::Ran;

/// New code for a function, served where moto says that it is.
fn update(moto: &Moto, name: &str, zip: &Path) {
    let update = json!({"FunctionName": name, "ZipFile": {"$file": zip}});
    moto.call("lambda", "update_function_code", update);
    moto.serve(name, zip);
}

fn check(moto: &Moto, dir: &Path, arguments: &[&str]) -> Ran {
    let mut all = vec!["check", "--output", "json"];
    all.extend(arguments);
    moto.larder(dir, &all)
}

/// The statuses by qualifier or alias.
fn statuses(ran: &Ran) -> Vec<(String, String)> {
    let json = ran.json();
    let results = json["functions"].as_array().expect("functions").iter();
    results
        .map(|f| {
            let text = |field: &str| f[field].as_str().unwrap_or_default().to_owned();
            (text("qualifier"), text("status"))
        })
        .collect()
}

fn is(list: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = list.iter();
    owned
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

/// The same files in another zip: written by another packer.
fn repacked(package: &Package, dir: &Path) -> std::path::PathBuf {
    let path = dir.join("repacked.zip");
    let zip = Tree::read(&package.tree).expect("a tree").zip();
    assert_ne!(zip, package.bytes());
    fs::write(&path, zip).expect("a zip");
    path
}

#[test]
fn from_in_sync_to_drifted_to_repackaged() {
    let Some(venv) = Venv::get() else { return };
    for moto in Moto::both() {
        let dir = tempfile::tempdir().unwrap();
        let run = tempfile::tempdir().unwrap();
        let old = packages::small(venv, dir.path(), "drift-old");
        let new = packages::small(venv, dir.path(), "drift-new");
        moto.deploy("drift", &old);
        moto.larder(run.path(), &["lock", "drift"]).expect(0);
        let ran = check(moto, run.path(), &["--config"]).expect(0);
        assert_eq!(statuses(&ran), is(&[("$LATEST", "in_sync")]));

        update(moto, "drift", &new.zip);
        let ran = check(moto, run.path(), &["--lock", "larder.lock"]).expect(1);
        assert_eq!(statuses(&ran), is(&[("$LATEST", "drifted")]));
        let zip = old.zip.display().to_string();
        let ran = check(moto, run.path(), &["drift", "--expect", &zip, "--diff"]).expect(1);
        let change = &ran.json()["functions"][0]["changes"];
        assert_eq!(change.as_array().map(Vec::len), Some(1), "{change:#}");
        assert_eq!(change[0]["path"], "app.py");
        let diff = change[0]["diff"].as_str().unwrap();
        assert!(diff.contains("-handler = \"drift-old\""), "{diff}");
        assert!(diff.contains("+handler = \"drift-new\""), "{diff}");
        let tree = new.tree.display().to_string();
        check(moto, run.path(), &["drift", "--expect", &tree]).expect(0);

        update(moto, "drift", &repacked(&old, dir.path()));
        for arguments in [&[][..], &["--no-cache"], &["drift", "--expect", &zip]] {
            let ran = check(moto, run.path(), arguments).expect(0);
            assert_eq!(statuses(&ran), is(&[("$LATEST", "repackaged")]));
        }
        check(moto, run.path(), &["--strict"]).expect(1);

        // Its configuration, and its end.
        let memory = json!({"FunctionName": "drift", "MemorySize": 512});
        moto.call("lambda", "update_function_configuration", memory);
        let ran = check(moto, run.path(), &["--config"]).expect(1);
        let config = &ran.json()["functions"][0]["config"];
        assert_eq!(config[0]["field"], "memory_size", "{config:#}");
        let gone = json!({"FunctionName": "drift"});
        moto.call("lambda", "delete_function", gone);
        let ran = check(moto, run.path(), &[]).expect(1);
        assert_eq!(statuses(&ran), is(&[("$LATEST", "missing")]));
    }
}

#[test]
fn layers_and_aliases_of_a_lock() {
    let Some(venv) = Venv::get() else { return };
    for moto in Moto::both() {
        let dir = tempfile::tempdir().unwrap();
        let run = tempfile::tempdir().unwrap();
        let old = packages::small(venv, dir.path(), "lock-old");
        let new = packages::small(venv, dir.path(), "lock-new");
        moto.deploy("layered", &old);
        let version = json!({"FunctionName": "layered"});
        moto.call("lambda", "publish_version", version.clone());
        let alias = json!({"FunctionName": "layered", "Name": "live", "FunctionVersion": "1"});
        moto.call("lambda", "create_alias", alias);
        moto.larder(run.path(), &["lock", "layered"]).expect(0);
        let ran = check(moto, run.path(), &["--config"]).expect(0);
        let in_sync = is(&[("$LATEST", "in_sync"), ("live", "in_sync")]);
        assert_eq!(statuses(&ran), in_sync);

        // A layer: by its version's ARN, which costs no call. Another one's hash cannot be had, for moto answers
        // GetLayerVersionByArn with a status of 500.
        let publish = |zip: &Path| -> Value {
            let layer = json!({"LayerName": "drift-layer", "Content": {"ZipFile": {"$file": zip}}});
            let layer = moto.call("lambda", "publish_layer_version", layer);
            layer["LayerVersionArn"].clone()
        };
        let with = |arn: &Value| {
            let layers = json!({"FunctionName": "layered", "Layers": [arn]});
            moto.call("lambda", "update_function_configuration", layers);
        };
        let first = publish(&old.zip);
        with(&first);
        let ran = check(moto, run.path(), &["layered:$LATEST"]).expect(1);
        let layer = ran.json()["functions"][0]["layers"][0].clone();
        assert_eq!(layer["status"], "unexpected", "{layer:#}");
        let lock = run.path().join("larder.lock");
        let before = fs::read(&lock).unwrap();
        let mut locked: Value = serde_json::from_slice(&before).unwrap();
        locked["functions"][0]["latest"]["layers"] =
            json!([{"arn": first, "code_sha256": null, "code_size": null}]);
        fs::write(&lock, locked.to_string()).unwrap();
        let ran = check(moto, run.path(), &[]).expect(0);
        assert_eq!(statuses(&ran), in_sync);
        with(&publish(&new.zip));
        let arguments = ["layered:$LATEST", "--max-attempts", "1"];
        let ran = check(moto, run.path(), &arguments).expect(6);
        assert_eq!(statuses(&ran), is(&[("$LATEST", "unknown")]));
        fs::write(&lock, before).unwrap();
        let none = json!({"FunctionName": "layered", "Layers": []});
        moto.call("lambda", "update_function_configuration", none);
        check(moto, run.path(), &[]).expect(0);

        // The alias moves to a version with other code; $LATEST has it too.
        update(moto, "layered", &new.zip);
        moto.call("lambda", "publish_version", version);
        let moved = json!({"FunctionName": "layered", "Name": "live", "FunctionVersion": "2"});
        moto.call("lambda", "update_alias", moved);
        let ran = check(moto, run.path(), &["--lock", "larder.lock"]).expect(1);
        let drifted = is(&[("$LATEST", "drifted"), ("live", "drifted")]);
        assert_eq!(statuses(&ran), drifted);
        moto.larder(run.path(), &["lock"]).expect(0);
        check(moto, run.path(), &[]).expect(0);
    }
}

#[test]
fn an_image_by_its_digest() {
    for moto in Moto::both() {
        let run = tempfile::tempdir().unwrap();
        let name = json!({"repositoryName": "drift-app"});
        let repository = moto.call("ecr", "create_repository", name);
        let uri = &repository["repository"]["repositoryUri"];
        let push = |tag: &str, layer: char| -> String {
            let digest = |c: char| format!("sha256:{}", c.to_string().repeat(64));
            let part = |media: &str, c| json!({"mediaType": format!("application/vnd.oci.image.{media}"), "size": 512, "digest": digest(c)});
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": part("config.v1+json", 'b'),
                "layers": [part("layer.v1.tar+gzip", layer)],
            });
            let image = json!({"repositoryName": "drift-app", "imageManifest": manifest.to_string(), "imageTag": tag});
            let image = moto.call("ecr", "put_image", image);
            let digest = image["image"]["imageId"]["imageDigest"].as_str();
            digest.expect("a digest").to_owned()
        };
        let (first, second) = (push("v1", 'c'), push("v2", 'd'));
        let of = |tag: &str| json!({"ImageUri": format!("{}:{tag}", uri.as_str().unwrap())});
        let function = json!({"FunctionName": "drift-image", "PackageType": "Image", "Role": moto.role(), "Code": of("v1")});
        moto.call("lambda", "create_function", function);
        moto.larder(run.path(), &["lock", "drift-image"]).expect(0);
        check(moto, run.path(), &[]).expect(0);
        check(moto, run.path(), &["drift-image", "--expect", &first]).expect(0);
        // The lock knows the image itself, so that another digest is drift without any registry.
        let lock = run.path().join("larder.lock");
        let text = fs::read_to_string(&lock).unwrap();
        let hex = |digest: &str| digest.trim_start_matches("sha256:").to_owned();
        fs::write(&lock, text.replace(&hex(&first), &hex(&second))).unwrap();
        let ran = check(moto, run.path(), &[]).expect(1);
        assert_eq!(statuses(&ran), is(&[("$LATEST", "drifted")]));
    }
}
