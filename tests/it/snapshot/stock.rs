//! Stock tools on what larder made: coreutils, bagit.py, OpenSSH, openssl.

use std::path::Path;
use std::process::Command;

use super::{Account, is_whole};
use crate::harness::{self, tool};
use crate::moto::venv::Venv;
use crate::signature::{allow, keygen, tools};
use crate::tsa::{Mood, P256, Tsa};

/// Checks a bag with `sha256sum` and `bagit.py`, as VERIFY.txt says.
#[track_caller]
pub fn stock_tools_accept(bag: &Path) {
    if let Some(sha256sum) = tool("sha256sum", "coreutils") {
        for manifest in ["manifest-sha256.txt", "tagmanifest-sha256.txt"] {
            let done = Command::new(&sha256sum)
                .args(["--check", "--strict", "--quiet", manifest])
                .current_dir(bag)
                .output()
                .unwrap();
            assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
        }
    }
    if let Some(venv) = Venv::get() {
        let done = venv
            .program("bagit.py")
            .args(["--validate", "."])
            .current_dir(bag)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success() && said.contains("is valid"), "{said}");
    }
}

#[test]
fn coreutils_and_bagit_accept_a_bag_and_find_what_was_changed() {
    let account = Account::new();
    account.snapshot(&["orders", "pictures"]).expect(0);
    is_whole(&account.bag());
    stock_tools_accept(&account.bag());
    let Some(venv) = Venv::get() else { return };
    let extra = account.bag().join("data/extra");
    harness::write(extra, "x");
    let done = venv
        .program("bagit.py")
        .args(["--validate", "."])
        .current_dir(account.bag())
        .output()
        .unwrap();
    assert!(!done.status.success());
}

#[test]
fn openssh_and_openssl_accept_signature_and_stamp() {
    if !tools() {
        return;
    }
    let account = Account::new();
    let dir = account.bench.dir.path();
    let key = keygen(dir, "key", "ed25519", &[], "");
    let Some(tsa) = Tsa::start(dir, P256, "tsa", Mood::Honest) else {
        return;
    };
    let ran = account
        .snapshot(&[
            "orders",
            "--sign-key",
            "key",
            "--tsa-url",
            tsa.url.as_str(),
            "--output",
            "json",
        ])
        .expect(0);
    let bag = account.bag();
    is_whole(&bag);
    stock_tools_accept(&bag);
    let fingerprint = crate::signature::public(&key).fingerprint();
    assert_eq!(ran.json()["signed_by"], fingerprint.as_str());
    assert_eq!(ran.json()["time_stamped"], true);
    let verified = |message: &str| {
        Command::new("sh")
            .args([
                "-c",
                "ssh-keygen -Y verify -f \"$0\" -I someone@example.org -n larder-bag -s tagmanifest-sha256.txt.sig < \"$1\"",
            ])
            .arg(allow(dir, &key))
            .arg(message)
            .current_dir(&bag)
            .output()
            .unwrap()
            .status
            .success()
    };
    assert!(verified("tagmanifest-sha256.txt"));
    assert!(!verified("manifest-sha256.txt"));
    let signature = bag.join("tagmanifest-sha256.txt.sig");
    let stamp = bag.join("tagmanifest-sha256.txt.sig.tsr");
    assert!(tsa.accepts(&stamp, &signature));
    assert!(!tsa.accepts(&stamp, &bag.join("bagit.txt")));
    let text = std::fs::read_to_string(bag.join("VERIFY.txt")).unwrap();
    assert!(text.contains(&fingerprint) && text.contains("openssl ts -verify"));

    // The envelope holds the statement, signed with the same key: Ed25519 is checked by openssl.
    let envelope = harness::json(&bag.join("attestations/acquisition.dsse.json"));
    assert_eq!(envelope["payloadType"], "application/vnd.in-toto+json");
    assert_eq!(envelope["signatures"][0]["keyid"], fingerprint.as_str());
    let statement = std::fs::read(bag.join("attestations/acquisition.json")).unwrap();
    let (payload, sig) = (
        envelope["payload"].as_str().unwrap(),
        envelope["signatures"][0]["sig"].as_str().unwrap(),
    );
    let decode = |text: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD
            .decode(text)
            .unwrap()
    };
    assert_eq!(decode(payload), statement);
    let kind = "application/vnd.in-toto+json";
    let mut pae = format!("DSSEv1 {} {kind} {} ", kind.len(), statement.len()).into_bytes();
    pae.extend(&statement);
    let raw = crate::signature::public(&key).blob()[19..].to_vec();
    let mut der = vec![
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ];
    der.extend(raw);
    harness::write(dir.join("pub.der"), der);
    harness::write(dir.join("pae"), pae);
    harness::write(dir.join("pae.sig"), decode(sig));
    let done = Command::new("openssl")
        .args([
            "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "pub.der", "-rawin",
            "-in", "pae", "-sigfile", "pae.sig",
        ])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn a_stamp_that_cannot_be_had_leaves_a_signed_bag() {
    if !tools() {
        return;
    }
    let account = Account::new();
    keygen(account.bench.dir.path(), "key", "ed25519", &[], "");
    account
        .snapshot(&[
            "orders",
            "--sign-key",
            "key",
            "--tsa-url",
            "http://127.0.0.1:1/",
        ])
        .expect(6)
        .says(&["time-stamp", "the bag is kept, signed"]);
    is_whole(&account.bag());
    assert!(account.bag().join("tagmanifest-sha256.txt.sig").exists());
    assert!(
        !account
            .bag()
            .join("tagmanifest-sha256.txt.sig.tsr")
            .exists()
    );
}

#[test]
fn an_encrypted_key_without_a_terminal_is_refused_before_anything_is_asked() {
    if !tools() {
        return;
    }
    let account = Account::new();
    keygen(
        account.bench.dir.path(),
        "key",
        "ed25519",
        &[],
        "a passphrase",
    );
    account
        .snapshot(&["orders", "--sign-key", "key"])
        .expect(2)
        .says(&["encrypted", "agent"]);
    assert!(account.bench.aws.requests().is_empty());
}
