//! What `larder snapshot` makes verifies, and what is done to it afterwards is found.

use std::fs;
use std::path::Path;

use larder::digest::Sha256Digest;

use larder_testkit::{Fault, LambdaError, On, packages};

use serde_json::Value;

use super::{copy, files, findings, found, put, seal, unlock, verify};
use crate::harness::Bench;
use crate::signature::{allow, keygen, tools};

#[test]
fn a_signed_snapshot_verifies_and_each_file_of_it_counts() {
    if !tools() {
        return;
    }
    let bench = Bench::new();
    let dir = bench.dir.path();
    let key = keygen(dir, "key", "ed25519", &[], "");
    let allowed = allow(dir, &key);
    let allowed = allowed.to_str().unwrap();
    bench
        .aws
        .function("web")
        .zip(packages::node_package().zip())
        .create();
    bench
        .run(&[
            "snapshot",
            "web",
            "--bag",
            "whole",
            "--sign-key",
            key.to_str().unwrap(),
        ])
        .expect(0);
    found(dir, &["--allowed-signers", allowed, "whole"], &[]);
    for (name, bytes) in files(&dir.join("whole")) {
        let bag = dir.join("bag");
        copy(&dir.join("whole"), &bag);
        unlock(&bag);
        let mut changed = bytes.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        fs::write(bag.join(&name), changed).unwrap();
        let kinds = findings(dir, &["--allowed-signers", allowed, "bag"]);
        let signed = name.starts_with("tagmanifest-");
        assert!(
            kinds
                .iter()
                .any(|(kind, path)| *path == name || signed && kind == "signature"),
            "{name}: {kinds:?}"
        );
        fs::remove_file(bag.join(&name)).unwrap();
        let kinds = findings(dir, &["--allowed-signers", allowed, "bag"]);
        assert!(!kinds.is_empty(), "{name}");
        fs::remove_dir_all(&bag).unwrap();
    }
}

/// A bag with a package that verifies, one in quarantine, and a function that was denied.
fn mixed() -> Bench {
    let bench = Bench::new();
    let aws = &bench.aws;
    aws.function("web")
        .zip(packages::node_package().zip())
        .create();
    aws.function("bad")
        .zip(packages::python_package().zip())
        .code_sha256("ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=")
        .create();
    aws.function("shut")
        .zip(packages::node_package().zip())
        .create();
    let refusal = LambdaError::new(403, "AccessDeniedException", "not authorized");
    aws.fault(On::Lambda.always().path("/shut"), Fault::Lambda(refusal));
    bench
}

/// Writes the manifests of a bag anew, as somebody would who changes it consistently.
fn reseal(bag: &Path) {
    let payload: String = files(bag)
        .iter()
        .filter(|(name, _)| name.starts_with("data/"))
        .map(|(name, bytes)| format!("{}  {name}\n", Sha256Digest::of(bytes)))
        .collect();
    put(bag, "manifest-sha256.txt", payload);
    let info = fs::read_to_string(bag.join("bag-info.txt")).unwrap();
    let info: String = info
        .lines()
        .filter(|line| !line.starts_with("Payload-Oxum"))
        .map(|line| format!("{line}\n"))
        .collect();
    put(bag, "bag-info.txt", info);
    seal(bag);
}

const LOG: &str = "data/acquisition.jsonl";
const STATEMENT: &str = "attestations/acquisition.json";
const ENVELOPE: &str = "attestations/acquisition.dsse.json";

#[test]
fn what_was_not_taken_is_told_and_what_the_bag_says_of_itself_is_held_together() {
    let bench = mixed();
    let dir = bench.dir.path();
    bench
        .run(&["snapshot", "--all", "--bag", "whole"])
        .expect(1);
    found(dir, &["whole"], &[]);
    let text = verify(dir, &["whole"]).expect(0).stdout;
    for part in [
        "1 package lies in data/quarantine/",
        "of 3 functions 1 denied (",
        "1 failed (",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let edit = |path: &Path, from: &str, to: &str| {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains(from), "{from}: {text}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    };
    let drop_last = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        fs::write(path, lines[..lines.len() - 1].join("\n") + "\n").unwrap();
    };
    let package = |bag: &Path| {
        let name = files(bag)
            .into_keys()
            .find(|name| name.contains("/web/") && name.ends_with("package.zip"));
        bag.join(name.unwrap())
    };
    type Change<'a> = &'a dyn Fn(&Path);
    let cases: &[(&str, Change<'_>, &[(&str, &str)])] = &[
        (
            "a package changed, the manifests too",
            &|bag| {
                fs::write(package(bag), "other").unwrap();
                reseal(bag);
            },
            // The manifest is another one, and so is the package; the log has the package.
            &[("contradiction", STATEMENT), ("contradiction", LOG)],
        ),
        (
            "a package removed, the manifests too",
            &|bag| {
                fs::remove_file(package(bag)).unwrap();
                reseal(bag);
            },
            &[("contradiction", STATEMENT), ("contradiction", LOG)],
        ),
        (
            "the quarantine emptied",
            &|bag| {
                fs::remove_dir_all(bag.join("data/quarantine")).unwrap();
                reseal(bag);
            },
            &[("contradiction", STATEMENT), ("contradiction", LOG)],
        ),
        (
            "the log's end cut off",
            &|bag| {
                drop_last(&bag.join(LOG));
                reseal(bag);
            },
            &[("contradiction", STATEMENT), ("malformed", LOG)],
        ),
        (
            "a line taken out of the log",
            &|bag| {
                let text = fs::read_to_string(bag.join(LOG)).unwrap();
                let mut lines: Vec<&str> = text.lines().collect();
                lines.remove(3);
                fs::write(bag.join(LOG), lines.join("\n") + "\n").unwrap();
                reseal(bag);
            },
            &[("contradiction", STATEMENT), ("malformed", LOG)],
        ),
        (
            "the statement names another digest",
            &|bag| {
                let text = fs::read(bag.join(STATEMENT)).unwrap();
                let mut json: Value = serde_json::from_slice(&text).unwrap();
                json["subject"][1]["digest"]["sha256"] = "00".repeat(32).into();
                put(bag, STATEMENT, json.to_string());
                seal(bag);
            },
            &[("contradiction", STATEMENT)],
        ),
        (
            "the statement names no manifest",
            &|bag| {
                edit(
                    &bag.join(STATEMENT),
                    "\"manifest-sha256.txt\"",
                    "\"manifest-sha999.txt\"",
                );
                seal(bag);
            },
            &[("contradiction", STATEMENT)],
        ),
        (
            "the statement is another thing",
            &|bag| {
                edit(&bag.join(STATEMENT), "Statement/v1", "Statement/v9");
                seal(bag);
            },
            &[("unsupported", STATEMENT)],
        ),
        (
            "an empty directory",
            &|bag| fs::create_dir(bag.join("data/more")).unwrap(),
            &[("unexpected", "data/more")],
        ),
    ];
    for (name, change, want) in cases {
        let bag = dir.join("bag");
        copy(&dir.join("whole"), &bag);
        unlock(&bag);
        change(&bag);
        let kinds = findings(dir, &["bag"]);
        for (kind, path) in *want {
            assert!(
                kinds.iter().any(|(k, p)| k == kind && p == path),
                "{name}: {kinds:?}"
            );
        }
        assert!(
            kinds
                .iter()
                .all(|(k, p)| want.contains(&(k.as_str(), p.as_str()))),
            "{name}: {kinds:?}"
        );
        let text = verify(dir, &["bag"]).expect(1).stdout;
        assert!(
            text.contains("modes are not those that larder gives"),
            "{name}: {text}"
        );
        fs::remove_dir_all(&bag).unwrap();
    }
}

#[test]
fn the_envelope_is_the_statement_signed_by_the_same_key() {
    if !tools() {
        return;
    }
    let bench = Bench::new();
    let dir = bench.dir.path();
    bench
        .aws
        .function("web")
        .zip(packages::node_package().zip())
        .create();
    let other = keygen(dir, "other", "ed25519", &[], "");
    let kinds: [(&str, &[&str]); 4] = [
        ("ed25519", &[]),
        ("ecdsa", &["-b", "384"]),
        ("ecdsa", &["-b", "521"]),
        ("rsa", &["-b", "2048"]),
    ];
    for (number, (kind, more)) in kinds.into_iter().enumerate() {
        let key = keygen(dir, &format!("key{number}"), kind, more, "");
        let key = key.to_str().unwrap();
        let name = format!("bag{number}");
        bench
            .run(&["snapshot", "web", "--bag", &name, "--sign-key", key])
            .expect(0);
        found(dir, &[&name], &[]);
        let bag = dir.join(&name);
        unlock(&bag);
        let text = fs::read(bag.join(ENVELOPE)).unwrap();
        let envelope: Value = serde_json::from_slice(&text).unwrap();
        let sign_again = |bag: &Path| {
            seal_but_loose(bag);
            super::signed::sign_bag(bag, Path::new(key), "larder-bag");
        };
        let mut changed = envelope.clone();
        changed["payload"] = "e30=".into();
        put(&bag, ENVELOPE, changed.to_string());
        sign_again(&bag);
        found(
            dir,
            &[&name],
            &[("contradiction", ENVELOPE), ("signature", ENVELOPE)],
        );
        let mut changed = envelope.clone();
        let sig = changed["signatures"][0]["sig"].as_str().unwrap();
        let flipped = if sig.starts_with('A') { "B" } else { "A" };
        changed["signatures"][0]["sig"] = format!("{flipped}{}", &sig[1..]).into();
        put(&bag, ENVELOPE, changed.to_string());
        sign_again(&bag);
        found(dir, &[&name], &[("signature", ENVELOPE)]);
        let mut changed = envelope.clone();
        changed["signatures"] = serde_json::json!([]);
        put(&bag, ENVELOPE, changed.to_string());
        sign_again(&bag);
        found(dir, &[&name], &[("signature", ENVELOPE)]);
        // By another key than the envelope's: then that one's signature cannot be checked, unless it is known.
        put(&bag, ENVELOPE, envelope.to_string());
        seal_but_loose(&bag);
        super::signed::sign_bag(&bag, &other, "larder-bag");
        let contradiction = [("contradiction", SIGNATURE)];
        found(dir, &[&name], &contradiction);
        let text = verify(dir, &[&name]).expect(1).stdout;
        assert!(text.contains("not checked"), "{text}");
        assert!(
            text.contains("the log says it was signed by SHA256:"),
            "{text}"
        );
        // Without any, it is not merely a bag that nobody signed.
        fs::remove_file(bag.join(SIGNATURE)).unwrap();
        found(dir, &[&name], &contradiction);
        let text = verify(dir, &[&name]).expect(1).stdout;
        assert!(text.contains("there is no signature"), "{text}");
    }
}

/// The bag's signature.
const SIGNATURE: &str = "tagmanifest-sha256.txt.sig";

/// Writes the tag manifest anew, without what is signed over it.
fn seal_but_loose(bag: &Path) {
    let _ = fs::remove_file(bag.join("tagmanifest-sha256.txt.sig"));
    seal(bag);
}
