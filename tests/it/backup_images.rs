//! `larder backup --pull-image`: images in the store, each blob once, and back again.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::fs;

use larder_testkit::image::{Family, Image};
use larder_testkit::{Fault, Login, On, SECRET_MARKER};
use serde_json::{Value, json};

use crate::harness::{Bench, Ran, holds, json as read_json, names};
use crate::images::{bytes, image_for, is_whole, small, web};

fn backup(bench: &Bench, arguments: &[&str]) -> Ran {
    let mut all = vec!["backup", "--store", "store", "--all", "--output", "json"];
    all.extend(["--max-rate", "1000", "--max-attempts", "2"]);
    all.extend(arguments);
    bench.run(&all)
}

/// The line about `web`.
fn line(ran: &Ran) -> Value {
    let mut lines = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .find(|line| line["arn"].as_str().is_some_and(|a| a.ends_with(":web")))
        .unwrap()
}

fn check(bench: &Bench, code: i32) -> Value {
    let arguments = ["store", "check", "--store", "store", "--read-data"];
    let mut all = arguments.to_vec();
    all.extend(["--output", "json"]);
    bench.run(&all).expect(code).json()
}

/// The whole of `web` comes back, as a fetch leaves it.
#[track_caller]
fn comes_back(bench: &Bench, image: &Image, manifests: &[&str]) {
    bench
        .run(&["restore", "--store", "store", "web", "back", "--force"])
        .expect(0);
    is_whole(&bench.path("back/image"), image, manifests);
    bench.run(&["verify", "back"]).expect(0);
    bench
        .run(&["fetch", "web", "fetched", "--pull-image", "--force"])
        .expect(0);
    let image = |dest: &str| bench.record(dest)["image"].clone();
    assert_eq!(image("back"), image("fetched"));
    for name in ["index.json", "oci-layout"] {
        let read = |dest: &str| fs::read(bench.path(dest).join("image").join(name)).unwrap();
        assert_eq!(read("back"), read("fetched"), "{name}");
    }
}

#[test]
fn images_go_into_the_store_once_and_come_back() {
    let bench = Bench::new();
    let image = small(Family::Docker);
    web(&bench, &image, Login::Ecr);
    // Another function has a layer in common, and a third the whole image.
    let other = Image::build(Family::Oci)
        .layer(bytes(1, 70_000))
        .layer(bytes(9, 500))
        .create();
    for (name, image) in [("other", &other), ("twin", &image)] {
        let uri = bench.aws.push(&format!("team/{name}"), image, Login::Ecr);
        let uri = format!("{uri}:v1");
        bench.aws.function(name).image(&uri, &image.digest).create();
    }
    let ran = backup(&bench, &["--pull-image"]).expect(0);
    assert_eq!(line(&ran)["status"], "image");
    let mut blobs = image.blobs.clone();
    blobs.extend(other.blobs.clone());
    assert_eq!(bench.aws.count("GetObject"), blobs.len());
    assert_eq!(bench.aws.count("GetAuthorizationToken"), 1);
    let store = bench.path("store/blobs/sha256");
    for (digest, bytes) in &blobs {
        assert!(
            fs::read(store.join(&digest[7..])).unwrap() == *bytes,
            "{digest}"
        );
    }
    let manifest = fs::read(store.join(&image.digest[7..])).unwrap();
    assert!(manifest == image.manifests[&image.digest].1);
    let checked = check(&bench, 0);
    assert_eq!(checked["unreferenced"], 0, "{checked}");
    assert!(holds(&bench.path("store"), SECRET_MARKER, &[]).is_empty());

    let asked = |bench: &Bench| {
        [
            "GetManifest",
            "GetBlob",
            "GetAuthorizationToken",
            "GetFunction",
        ]
        .map(|operation| bench.aws.count(operation))
    };
    let before = asked(&bench);
    let ran = backup(&bench, &["--pull-image"]).expect(0);
    assert_eq!(line(&ran)["status"], "unchanged");
    assert_eq!(asked(&bench), before);
    comes_back(&bench, &image, &[&image.digest]);
}

#[test]
fn an_image_is_pulled_later_and_kept_when_its_registry_lost_it() {
    let bench = Bench::new();
    let (amd, arm) = (image_for("amd64", 1), image_for("arm64", 2));
    let index = Image::index(Family::Docker, &[("amd64", &amd), ("arm64", &arm)]);
    let function = web(&bench, &index, Login::Ecr);
    function.set("Architectures", json!(["arm64"]));
    backup(&bench, &[]).expect(0);
    assert_eq!(bench.aws.count("GetManifest"), 0);
    let ran = backup(&bench, &["--pull-image"]).expect(0);
    assert_eq!(line(&ran)["status"], "image");
    let all = [&*index.digest, &arm.digest];
    comes_back(&bench, &index, &all);
    // A run that pulls nothing keeps what there is of what did not change.
    let ran = backup(&bench, &[]).expect(0);
    assert_eq!(line(&ran)["status"], "unchanged");
    // The configuration changes, and the image is gone from its registry.
    function.set("Timeout", json!(77));
    let fetched = bench.aws.count("GetBlob");
    for digest in [&index.digest, &arm.digest] {
        bench.aws.delete_image("team/web", digest);
    }
    let ran = backup(&bench, &["--pull-image"]).expect(0);
    assert_eq!(line(&ran)["status"], "image");
    assert_eq!(bench.aws.count("GetBlob"), fetched);
    bench
        .run(&["restore", "--store", "store", "web", "back", "--force"])
        .expect(0);
    is_whole(&bench.path("back/image"), &index, &all);
    assert_eq!(
        read_json(&bench.path("back/function.json"))["Configuration"]["Timeout"],
        77
    );
    assert_eq!(check(&bench, 0)["unreferenced"], 0);
}

#[test]
fn an_image_that_cannot_be_had_leaves_its_version_partial() {
    let bench = Bench::new();
    let image = small(Family::Oci);
    web(&bench, &image, Login::Ecr);
    let blob = On::Operation("GetBlob").always();
    bench.aws.fault(blob, Fault::registry(403, "DENIED", "no"));
    let ran = backup(&bench, &["--pull-image"]);
    assert!(matches!(ran.code, 3 | 4), "{ran:?}");
    let said = line(&ran);
    assert_eq!(said["status"], "partial");
    let reason = said["reason"].as_str().unwrap();
    assert!(reason.contains("Image (access_denied)"), "{reason}");
    // What Lambda states of it is kept.
    bench
        .run(&["restore", "--store", "store", "web", "back"])
        .expect(0);
    assert_eq!(
        bench.record("back")["image"]["digest"],
        image.digest.as_str()
    );
    assert!(!bench.path("back/image").exists());
    // It is tried again, and what came then is not fetched again.
    bench.aws.clear_faults();
    let ran = backup(&bench, &["--pull-image"]).expect(0);
    assert_eq!(line(&ran)["status"], "image");
    comes_back(&bench, &image, &[&image.digest]);
}

#[test]
fn wrong_bytes_never_get_into_the_store() {
    let bench = Bench::new();
    let image = small(Family::Docker);
    web(&bench, &image, Login::Ecr);
    bench.aws.fault(On::Object.always(), Fault::flip(3));
    let ran = backup(&bench, &["--pull-image"]);
    assert!(ran.code != 0, "{ran:?}");
    let left = names(&bench.path("store/blobs/sha256"));
    assert!(
        image
            .blobs
            .keys()
            .all(|d| !left.contains(&d[7..].to_owned()))
    );
    check(&bench, 0);
}

#[test]
fn a_damaged_image_is_found_and_not_restored() {
    let bench = Bench::new();
    let image = small(Family::Docker);
    web(&bench, &image, Login::Ecr);
    backup(&bench, &["--pull-image"]).expect(0);
    let largest = image.blobs.iter().max_by_key(|(_, b)| b.len()).unwrap().0;
    let place = bench.path("store/blobs/sha256");
    for digest in [largest, &image.digest] {
        let name = &digest[7..];
        let path = place.join(name);
        let kept = fs::read(&path).unwrap();
        let mut bytes = kept.clone();
        bytes[9] ^= 1;
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        let found = check(&bench, 1).to_string();
        assert!(
            found.contains(name) && found.contains("modified"),
            "{found}"
        );
        bench
            .run(&["restore", "--store", "store", "web", "back"])
            .expect(1);
        assert!(!bench.path("back").exists());
        fs::remove_file(&path).unwrap();
        check(&bench, 1);
        bench
            .run(&["restore", "--store", "store", "web", "back"])
            .expect(5);
        // What is lost is had again.
        backup(&bench, &["--pull-image", "--refresh"]).expect(0);
        assert!(fs::read(&path).unwrap() == kept);
        check(&bench, 0);
    }
    comes_back(&bench, &image, &[&image.digest]);
}
