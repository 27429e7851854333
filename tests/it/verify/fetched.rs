//! Fetched directories: with layers, links, modes, empty directories; and images that were recorded.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use larder_testkit::{Tree, packages};
use serde_json::Value;

use super::{copy, files, found, put, verify};
use crate::harness::Bench;

/// A function with a layer, fetched to `web`.
fn fetched() -> Bench {
    let bench = Bench::new();
    let tree = Tree::new()
        .file("index.js", "exports.handler = 1")
        .file("lib/a.js", "a")
        .file("lib/b.js", "b")
        .executable("bin/run", "#!/bin/sh\n")
        .symlink("link", "lib/a.js")
        .dir("empty");
    let layer = bench
        .aws
        .layer("shared")
        .zip(packages::python_package().zip())
        .create();
    bench
        .aws
        .function("web")
        .zip(tree.zip())
        .layer(&layer)
        .create();
    bench.run(&["fetch", "web", "--layers"]).expect(0);
    bench
}

#[test]
fn what_fetch_leaves_verifies_and_every_change_is_named() {
    let bench = fetched();
    let dir = bench.dir.path();
    found(dir, &["web"], &[]);
    let layer = crate::harness::names(&dir.join("web/layers"));
    let layer = format!("layers/{}", layer[0]);

    type Change<'a> = &'a dyn Fn(&Path);
    let in_layer = |name: &str| format!("{layer}/{name}");
    let layer_index = in_layer("code/index.py");
    assert!(dir.join("web").join(&layer_index).exists());
    let (layer_zip, layer_json, layer_extra) = (
        in_layer("package.zip"),
        in_layer("layer.json"),
        in_layer("notes"),
    );
    let chmod = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let cases: &[(&str, Change<'_>, &[(&str, &str)])] = &[
        (
            "content",
            &|d| fs::write(d.join("code/lib/a.js"), "x").unwrap(),
            &[("modified", "code/lib/a.js")],
        ),
        (
            "removed",
            &|d| fs::remove_file(d.join("code/lib/a.js")).unwrap(),
            &[("missing", "code/lib/a.js")],
        ),
        (
            "added",
            &|d| drop(put(d, "code/lib/c.js", "x")),
            &[("unexpected", "code/lib/c.js")],
        ),
        (
            "renamed",
            &|d| fs::rename(d.join("code/lib/a.js"), d.join("code/lib/z.js")).unwrap(),
            &[
                ("missing", "code/lib/a.js"),
                ("unexpected", "code/lib/z.js"),
            ],
        ),
        (
            "swapped",
            &|d| {
                fs::rename(d.join("code/lib/a.js"), d.join("t")).unwrap();
                fs::rename(d.join("code/lib/b.js"), d.join("code/lib/a.js")).unwrap();
                fs::rename(d.join("t"), d.join("code/lib/b.js")).unwrap();
            },
            &[("modified", "code/lib/a.js"), ("modified", "code/lib/b.js")],
        ),
        (
            "mode",
            &|d| chmod(&d.join("code/bin/run"), 0o644),
            &[("mode", "code/bin/run")],
        ),
        (
            "may run",
            &|d| chmod(&d.join("code/index.js"), 0o755),
            &[("mode", "code/index.js")],
        ),
        (
            "setuid",
            &|d| chmod(&d.join("code/bin/run"), 0o4755),
            &[("mode", "code/bin/run")],
        ),
        (
            "link",
            &|d| {
                fs::remove_file(d.join("code/link")).unwrap();
                symlink("/etc/passwd", d.join("code/link")).unwrap();
            },
            &[("modified", "code/link")],
        ),
        (
            "file to link",
            &|d| {
                fs::rename(d.join("code/index.js"), d.join("../elsewhere.js")).unwrap();
                symlink("../../elsewhere.js", d.join("code/index.js")).unwrap();
            },
            &[("type", "code/index.js")],
        ),
        (
            "directory to link",
            &|d| {
                fs::rename(d.join("code/lib"), d.join("../lib")).unwrap();
                symlink("../../lib", d.join("code/lib")).unwrap();
            },
            &[
                ("unexpected", "code/lib"),
                ("missing", "code/lib/a.js"),
                ("missing", "code/lib/b.js"),
            ],
        ),
        (
            "empty directory gone",
            &|d| fs::remove_dir(d.join("code/empty")).unwrap(),
            &[("missing", "code/empty")],
        ),
        (
            "empty directory filled",
            &|d| drop(put(d, "code/empty/x", "x")),
            &[("unexpected", "code/empty/x")],
        ),
        (
            "empty directory added",
            &|d| fs::create_dir(d.join("code/more")).unwrap(),
            &[("unexpected", "code/more")],
        ),
        (
            "tree gone",
            &|d| fs::remove_dir_all(d.join("code")).unwrap(),
            &[("missing", "code")],
        ),
        (
            "tree moved",
            &|d| {
                fs::rename(d.join("code"), d.join("../real")).unwrap();
                symlink("../real", d.join("code")).unwrap();
            },
            &[("unreadable", "code")],
        ),
        (
            "package",
            &|d| fs::write(d.join("package.zip"), "zip").unwrap(),
            &[("modified", "package.zip")],
        ),
        (
            "package gone",
            &|d| fs::remove_file(d.join("package.zip")).unwrap(),
            &[("missing", "package.zip")],
        ),
        (
            "package and tree",
            &|d| {
                fs::remove_file(d.join("package.zip")).unwrap();
                fs::write(d.join("code/index.js"), "x").unwrap();
            },
            &[("modified", "code"), ("missing", "package.zip")],
        ),
        (
            "answer gone",
            &|d| fs::remove_file(d.join("function.json")).unwrap(),
            &[("missing", "function.json")],
        ),
        (
            "answer broken",
            &|d| fs::write(d.join("function.json"), "{").unwrap(),
            &[("malformed", "function.json")],
        ),
        (
            "answer",
            &|d| edit(&d.join("function.json"), "Configuration", "CodeSha256", "x"),
            &[("contradiction", "function.json")],
        ),
        (
            "version",
            &|d| edit(&d.join("function.json"), "Configuration", "Version", "7"),
            &[("contradiction", "function.json")],
        ),
        (
            "record's digest",
            &|d| {
                edit(
                    &d.join("larder.json"),
                    "package",
                    "code_sha256",
                    "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
                )
            },
            &[
                ("contradiction", "function.json"),
                ("contradiction", "larder.json"),
                ("modified", "package.zip"),
            ],
        ),
        (
            "record's tree",
            &|d| edit(&d.join("larder.json"), "unpacked", "tree", "t1:x"),
            &[("contradiction", "larder.json")],
        ),
        (
            "record's path",
            &|d| {
                edit(
                    &d.join("larder.json"),
                    "package",
                    "path",
                    "../../etc/passwd",
                )
            },
            &[("path", "larder.json")],
        ),
        (
            "record gone",
            &|d| fs::remove_file(d.join("larder.json")).unwrap(),
            &[("missing", "larder.json")],
        ),
        (
            "record broken",
            &|d| fs::write(d.join("larder.json"), "[]").unwrap(),
            &[("malformed", "larder.json")],
        ),
        (
            "record newer",
            &|d| fs::write(d.join("larder.json"), "{\"schema_version\": 99}").unwrap(),
            &[("unsupported", "larder.json")],
        ),
        (
            "extra",
            &|d| drop(put(d, "notes.txt", "x")),
            &[("unexpected", "notes.txt")],
        ),
        (
            "hidden",
            &|d| drop(put(d, ".git/config", "x")),
            &[("unexpected", ".git")],
        ),
        (
            "image",
            &|d| fs::create_dir(d.join("image")).unwrap(),
            &[("unexpected", "image")],
        ),
        (
            "layer's code",
            &|d| fs::write(d.join(&layer_index), "x").unwrap(),
            &[("modified", &layer_index)],
        ),
        (
            "layer's zip",
            &|d| fs::remove_file(d.join(&layer_zip)).unwrap(),
            &[("missing", &layer_zip)],
        ),
        (
            "layer's answer",
            &|d| edit(&d.join(&layer_json), "Content", "CodeSha256", "x"),
            &[("contradiction", &layer_json)],
        ),
        (
            "layer's extra",
            &|d| drop(put(d, &layer_extra, "x")),
            &[("unexpected", &layer_extra)],
        ),
        (
            "layer gone",
            &|d| fs::remove_dir_all(d.join(&layer)).unwrap(),
            &[("missing", &layer)],
        ),
        (
            "another layer",
            &|d| drop(put(d, "layers/x-1/package.zip", "x")),
            &[("unexpected", "layers/x-1")],
        ),
    ];
    for (name, change, want) in cases {
        let copied = dir.join("case");
        copy(&dir.join("web"), &copied);
        change(&copied);
        let found = super::findings(dir, &["case"]);
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|(k, p)| (k.as_str(), p.as_str()))
            .collect();
        assert_eq!(found, *want, "{name}");
        fs::remove_dir_all(&copied).unwrap();
        for left in ["lib", "real", "elsewhere.js"] {
            let left = dir.join(left);
            let _ = fs::remove_dir_all(&left);
            let _ = fs::remove_file(&left);
        }
    }
    // Every byte of every file that is hashed counts.
    for name in files(&dir.join("web")).keys() {
        if name.ends_with(".json") || fs::metadata(dir.join("web").join(name)).unwrap().len() == 0 {
            continue;
        }
        let copied = dir.join("case");
        copy(&dir.join("web"), &copied);
        let path = copied.join(name);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        found(dir, &["case"], &[("modified", name)]);
        fs::remove_dir_all(&copied).unwrap();
    }
}

/// Replaces one field of an object in a JSON file.
fn edit(path: &Path, object: &str, field: &str, value: &str) {
    let mut json: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert!(json[object].get(field).is_some(), "{json}");
    json[object][field] = value.into();
    fs::write(path, json.to_string()).unwrap();
}

/// Every field of the record that follows from something else: changed by hand it is found, and the message names it.
#[test]
fn a_record_that_was_edited_is_found_and_the_field_named() {
    let bench = fetched();
    let dir = bench.dir.path();
    let whole: Value =
        serde_json::from_slice(&fs::read(dir.join("web/larder.json")).unwrap()).unwrap();
    for (pointer, value, word) in [
        ("/status", "image".into(), "status"),
        ("/status", "partial".into(), "status"),
        ("/status", "denied".into(), "status"),
        (
            "/incomplete",
            serde_json::json!([{"field": "Tags", "code": "x"}]),
            "incomplete",
        ),
        (
            "/function/arn",
            "arn:aws:lambda:us-east-1:123456789012:function:x".into(),
            "name",
        ),
        ("/function/name", "x".into(), "name"),
        ("/function/version", "7".into(), "Version"),
        ("/function/region", "eu-west-1".into(), "region"),
        ("/function/account", "210987654321".into(), "account"),
        ("/function/revision_id", "x".into(), "RevisionId"),
        ("/function/revision_id", Value::Null, "RevisionId"),
        ("/package_type", "Image".into(), "package_type"),
        ("/package_type", "Tar".into(), "PackageType"),
        ("/package/path", "other.zip".into(), "other.zip"),
        ("/package/size", 7.into(), "7"),
        ("/package/sha256", "00".repeat(32).into(), "sha256"),
        ("/package/code_sha256", "x".into(), "code_sha256"),
        ("/package", Value::Null, "package"),
        ("/unpacked/path", "tree".into(), "tree"),
        ("/unpacked/files", 99.into(), "99 files"),
        ("/unpacked/directories", 99.into(), "99 directories"),
        ("/unpacked/symlinks", 99.into(), "99 links"),
        ("/unpacked/bytes", 99.into(), "99 bytes"),
        ("/unpacked/h1", "h1:x".into(), "h1"),
        ("/unpacked/h1", Value::Null, "h1"),
        ("/unpacked/h1_reason", "why not".into(), "h1_reason"),
        ("/unpacked/tree", "t1:x".into(), "t1:x"),
        ("/unpacked/duplicates", "middle".into(), "duplicates"),
        ("/unpacked", Value::Null, "code"),
        ("/layers/0/arn", "arn:x".into(), "Arn"),
        ("/layers/0/status", "gone".into(), "gone"),
        ("/layers/0/path", Value::Null, "layer"),
        ("/layers/0/path", "layers/../x".into(), "layers/../x"),
        ("/layers/0/size", 7.into(), "7"),
        ("/layers/0/sha256", "00".repeat(32).into(), "sha256"),
        ("/layers/0/code_sha256", "x".into(), "code_sha256"),
        ("/layers/0/unpacked/bytes", 99.into(), "99 bytes"),
        ("/layers", serde_json::json!([]), "layers"),
        (
            "/image",
            serde_json::json!({"image_uri": null, "resolved_image_uri": null, "digest": null,
            "code_sha256": null, "path": null}),
            "image",
        ),
        (
            "/transfer/location",
            "http://127.0.0.1:1/else".into(),
            "Location",
        ),
    ] {
        let mut record = whole.clone();
        if let Some(place) = record.pointer_mut(pointer) {
            *place = value.clone();
        } else {
            let (above, field) = pointer.rsplit_once('/').unwrap();
            record.pointer_mut(above).unwrap()[field] = value.clone();
        }
        fs::write(dir.join("web/larder.json"), record.to_string()).unwrap();
        let ran = verify(dir, &["--output", "json", "web"]);
        assert_eq!(ran.code, 1, "{pointer} {value}: {ran:?}");
        let findings = ran.json()["paths"][0]["findings"].to_string();
        assert!(
            findings.contains(word)
                && (findings.contains("larder.json") || findings.contains("the record")),
            "{pointer} {value}: {findings}"
        );
    }
    fs::write(dir.join("web/larder.json"), whole.to_string()).unwrap();
    found(dir, &["web"], &[]);
    // A second layer that the function has and the record does not.
    let mut answer: Value =
        serde_json::from_slice(&fs::read(dir.join("web/function.json")).unwrap()).unwrap();
    let layers = answer["Configuration"]["Layers"].as_array_mut().unwrap();
    layers.push(serde_json::json!({"Arn": "arn:y", "CodeSize": 1}));
    fs::write(dir.join("web/function.json"), answer.to_string()).unwrap();
    found(dir, &["web"], &[("contradiction", "function.json")]);
}

#[test]
fn packages_of_all_kinds_verify() {
    let bench = Bench::new();
    for (name, tree) in [
        ("node", packages::node_package()),
        ("python", packages::python_package()),
        ("newline", Tree::new().file("a\nb", "x").file("%0A", "y")),
    ] {
        bench.aws.function(name).zip(tree.zip()).create();
        bench.run(&["fetch", name]).expect(0);
        found(bench.dir.path(), &[name], &[]);
    }
    bench
        .run(&["fetch", "node", "plain", "--no-unpack", "--redact-env"])
        .expect(0);
    found(bench.dir.path(), &["plain"], &[]);
    put(bench.dir.path(), "plain/code/x", "x");
    found(bench.dir.path(), &["plain"], &[("unexpected", "code")]);
    // By another name, and through a link.
    symlink("node", bench.path("link")).unwrap();
    found(bench.dir.path(), &["link"], &[]);
    found(&bench.path("node"), &["."], &[]);
}

#[test]
fn an_image_that_was_recorded_verifies() {
    let bench = Bench::new();
    let digest = "0".repeat(64);
    bench
        .aws
        .function("img")
        .image(
            "123456789012.dkr.ecr.us-east-1.amazonaws.com/app:1",
            &format!("sha256:{digest}"),
        )
        .create();
    bench.run(&["fetch", "img"]).expect(0);
    found(bench.dir.path(), &["img"], &[]);
    edit(
        &bench.path("img/larder.json"),
        "image",
        "digest",
        &format!("sha256:{}", "1".repeat(64)),
    );
    let kinds = super::findings(bench.dir.path(), &["img"]);
    assert!(
        kinds
            .iter()
            .any(|(kind, path)| kind == "contradiction" && path == "larder.json"),
        "{kinds:?}"
    );
    let ran = verify(bench.dir.path(), &["img"]).expect(1);
    assert!(ran.stdout.contains("NOT verified img"));
}

#[test]
fn what_only_a_bag_can_have_is_a_finding_elsewhere() {
    let bench = fetched();
    let dir = bench.dir.path();
    fs::write(dir.join("allowed"), "").unwrap();
    let name = crate::harness::names(dir)
        .into_iter()
        .find(|name| dir.join(name).join("larder.json").is_file())
        .unwrap();
    found(dir, &[&name], &[]);
    for options in [
        &["--require-signature"][..],
        &["--allowed-signers", "allowed"],
        &["--allowed-signers", "allowed", "--identity", "a@b"],
    ] {
        found(dir, &[options, &[&name]].concat(), &[("unsigned", "")]);
    }
    let ran = verify(dir, &["--require-signature", &name]).expect(1);
    assert!(
        ran.stdout.contains("is no bag, so it cannot be signed"),
        "{ran:?}"
    );
}
