//! Images: indexes and tags, asked of the embedded AWS's registry.

use larder_testkit::image::{Family, Image};
use larder_testkit::{Fault, Login, On};
use serde_json::{Value, json};

use super::{check, only};
use crate::harness::{Bench, write};
use crate::proof::harmless;

const MANIFEST: On = On::Operation("GetManifest");

fn image(architecture: &str, byte: u8) -> Image {
    Image::build(Family::Oci)
        .architecture(architecture)
        .layer(vec![byte; 100])
        .create()
}

fn notes(result: &Value) -> String {
    result["notes"].to_string()
}

/// A Terraform state that expects this reference, and nothing more of it.
fn expects(bench: &Bench, uri: &str) {
    let state = json!({
        "version": 4, "terraform_version": "1.9.0", "serial": 1, "lineage": "x", "outputs": {},
        "resources": [{
            "mode": "managed", "type": "aws_lambda_function", "name": "web",
            "provider": "provider[\"registry.terraform.io/hashicorp/aws\"]",
            "instances": [{"schema_version": 0, "attributes": {
                "function_name": "web", "package_type": "Image", "image_uri": uri,
            }}],
        }],
    });
    write(bench.path("t.tfstate"), state.to_string());
}

#[test]
fn an_expected_index_is_resolved_to_the_image_for_the_functions_architecture() {
    let (amd, arm, other) = (image("amd64", 1), image("arm64", 2), image("amd64", 3));
    let index = Image::index(Family::Oci, &[("amd64", &amd), ("arm64", &arm)]);
    let nested = Image::index(Family::Docker, &[("amd64", &index)]);
    for login in [Login::Ecr, Login::Open] {
        for (expected, architecture, deployed, status, says) in [
            (&index, "x86_64", &amd, "in_sync", "for linux/amd64"),
            (&index, "arm64", &arm, "in_sync", "for linux/arm64"),
            (&index, "arm64", &amd, "drifted", &arm.digest),
            (&index, "x86_64", &other, "drifted", &amd.digest),
            (&other, "x86_64", &amd, "drifted", "is the image"),
            (&nested, "arm64", &arm, "in_sync", "for linux/arm64"),
        ] {
            let bench = Bench::new();
            bench.aws.push("team/web", &nested, login.clone());
            bench.aws.push("team/web", &index, login.clone());
            let uri = bench.aws.push("team/web", &other, login.clone());
            let function = bench
                .aws
                .function("web")
                .image(&format!("{uri}:v1"), &deployed.digest)
                .create();
            function.set("Architectures", json!([architecture]));
            expects(&bench, &format!("{uri}@{}", expected.digest));
            for arguments in [
                &["web", "--expect", &expected.digest][..],
                &["--terraform", "t.tfstate"],
                &["--terraform", "t.tfstate", "--no-download"],
            ] {
                let before = bench.aws.count("GetFunction");
                let ran = check(&bench, arguments).expect(i32::from(status == "drifted"));
                harmless(&ran);
                let json = ran.json();
                let result = only(&json, status);
                let text = format!("{}{}", result["reason"], notes(result));
                assert!(text.contains(says), "{arguments:?}: {text}");
                let asked = bench.aws.count("GetFunction") - before;
                assert_eq!(asked, usize::from(!arguments.contains(&"--no-download")));
            }
            assert_eq!(
                bench.aws.count("GetBlob"),
                0,
                "only manifests are asked for"
            );
        }
    }
}

#[test]
fn what_was_deployed_by_an_indexs_digest_needs_no_registry() {
    let bench = Bench::new();
    let amd = image("amd64", 1);
    let index = Image::index(Family::Oci, &[("amd64", &amd)]);
    let uri = format!("r.example/web@{}", index.digest);
    bench.aws.function("web").image(&uri, &amd.digest).create();
    expects(&bench, &uri);
    check(&bench, &["--terraform", "t.tfstate"]).expect(0);
    assert_eq!(bench.aws.count("GetManifest"), 0);
}

#[test]
fn an_index_without_platforms_holds_what_it_holds() {
    let bench = Bench::new();
    let (amd, arm, other) = (image("amd64", 1), image("arm64", 2), image("amd64", 3));
    let mut index = Image::index(Family::Oci, &[("amd64", &amd), ("arm64", &arm)]);
    let (media_type, bytes) = index.manifests.remove(&index.digest).unwrap();
    let mut bare: Value = serde_json::from_slice(&bytes).unwrap();
    for manifest in bare["manifests"].as_array_mut().unwrap() {
        manifest.as_object_mut().unwrap().remove("platform");
    }
    let bytes = bare.to_string().into_bytes();
    index.digest = larder_testkit::image::digest(&bytes);
    index
        .manifests
        .insert(index.digest.clone(), (media_type, bytes.into()));
    let uri = bench.aws.push("web", &index, Login::Open);
    for (deployed, code) in [(&amd, 0), (&arm, 0), (&other, 1)] {
        bench
            .aws
            .function("web")
            .image(&format!("{uri}:v1"), &deployed.digest)
            .create();
        check(&bench, &["web", "--expect", &index.digest]).expect(code);
    }
}

#[test]
fn a_registry_that_cannot_be_asked_leaves_it_unknown() {
    let (amd, other) = (image("amd64", 1), image("amd64", 3));
    let index = Image::index(Family::Oci, &[("amd64", &amd)]);
    for (status, code) in [(503, 6), (403, 4), (404, 5)] {
        let bench = Bench::new();
        let uri = bench.aws.push("web", &other, Login::Open);
        if status != 404 {
            let fault = Fault::registry(status, "OTHER", "no");
            bench.aws.fault(MANIFEST.always(), fault);
        }
        bench
            .aws
            .function("web")
            .image(&format!("{uri}:v1"), &amd.digest)
            .create();
        let arguments = ["web", "--expect", &index.digest, "--max-attempts", "2"];
        let ran = check(&bench, &arguments).expect(code);
        let json = ran.json();
        let result = only(&json, "unknown");
        let reason = result["reason"].as_str().unwrap();
        assert!(reason.contains("is an index"), "{result:#}");
    }
}

#[test]
fn a_tag_that_has_moved_is_a_note_and_only_when_asked_for() {
    let bench = Bench::new();
    let (old, new) = (image("amd64", 1), image("amd64", 2));
    bench.aws.push("web", &old, Login::Ecr);
    let uri = bench.aws.push("web", &new, Login::Ecr);
    bench.aws.tag_image("web", "v1", &old.digest);
    let tagged = format!("{uri}:v1");
    bench
        .aws
        .function("web")
        .image(&tagged, &old.digest)
        .create();
    expects(&bench, &tagged);
    let by_digest = ["web", "--expect", &old.digest];
    let by_tag = ["--terraform", "t.tfstate"];
    let run = |arguments: &[&str], resolve: bool, code| {
        let mut all = arguments.to_vec();
        all.extend(resolve.then_some("--resolve-tags"));
        let ran = check(&bench, &all).expect(code);
        harmless(&ran);
        ran.json()["functions"][0].clone()
    };
    for arguments in [&by_digest[..], &by_tag] {
        let result = run(arguments, true, 0);
        assert!(!notes(&result).contains("moved"), "{result:#}");
    }
    bench.aws.tag_image("web", "v1", &new.digest);
    for arguments in [&by_digest[..], &by_tag] {
        let before = bench.aws.count("GetManifest");
        let result = run(arguments, false, 0);
        assert!(!notes(&result).contains("names"), "{result:#}");
        assert_eq!(bench.aws.count("GetManifest"), before);
        let result = run(arguments, true, 0);
        assert_eq!(result["status"], "in_sync");
        let notes = notes(&result);
        assert!(notes.contains("has moved"), "{notes}");
        assert!(
            notes.contains(&new.digest) && notes.contains(&old.digest),
            "{notes}"
        );
    }
    // The registry fails: what is in sync by its digest stays so, and it is said.
    bench
        .aws
        .fault(MANIFEST.always(), Fault::registry(403, "DENIED", "no"));
    for arguments in [&by_digest[..], &by_tag] {
        let result = run(arguments, true, 0);
        assert!(notes(&result).contains("could not be told"), "{result:#}");
    }
}

#[test]
fn a_tag_stands_for_what_it_names_where_another_reference_was_deployed() {
    let bench = Bench::new();
    let (amd, other) = (image("amd64", 1), image("amd64", 2));
    let index = Image::index(Family::Docker, &[("amd64", &amd)]);
    bench.aws.push("web", &index, Login::Open);
    let uri = bench.aws.push("web", &other, Login::Open);
    bench.aws.tag_image("web", "release", &index.digest);
    bench.aws.tag_image("web", "other", &other.digest);
    bench
        .aws
        .function("web")
        .image(&format!("{uri}@{}", amd.digest), &amd.digest)
        .create();
    for (tag, plain, resolved) in [("release", 1, 0), ("other", 1, 1), ("none", 1, 5)] {
        expects(&bench, &format!("{uri}:{tag}"));
        let arguments = ["--terraform", "t.tfstate", "--resolve-tags"];
        check(&bench, &arguments[..2]).expect(plain);
        let ran = check(&bench, &arguments).expect(resolved);
        let result = &ran.json()["functions"][0];
        match resolved {
            1 => assert!(
                result["reason"].as_str().unwrap().contains(&other.digest),
                "{result:#}"
            ),
            5 => assert_eq!(result["status"], "unknown", "{result:#}"),
            _ => assert!(notes(result).contains("names an index"), "{result:#}"),
        }
    }
}
