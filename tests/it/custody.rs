//! `larder custody`: handovers beside a bag, and that what was done to a chain is found.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{self, Bench, Ran};
use crate::proof::{mode, planted};
use crate::signature::{allow, keygen, tools};
use crate::snapshot::{files, snapshot};

/// A bag with a key; None where OpenSSH is left out.
fn bagged() -> Option<Bench> {
    if !tools() {
        return None;
    }
    let bench = Bench::new();
    planted(&bench, "web").create();
    keygen(bench.dir.path(), "key", "ed25519", &[], "");
    keygen(bench.dir.path(), "other", "ed25519", &[], "");
    snapshot(&bench, &["web"]).expect(0);
    Some(bench)
}

fn add(bench: &Bench, operator: &str, key: &str) -> Ran {
    bench.run(&[
        "custody",
        "add",
        "bag",
        "--operator",
        operator,
        "--sign-key",
        key,
        "--output",
        "json",
    ])
}

fn show(bench: &Bench) -> Ran {
    bench.run(&["custody", "show", "bag", "--output", "json"])
}

fn custody(bench: &Bench) -> PathBuf {
    bench.path("bag.custody")
}

#[test]
fn a_handover_is_signed_and_linked_and_the_bag_untouched() {
    let Some(bench) = bagged() else { return };
    let before = files(&bench.path("bag"));
    let first = add(&bench, "A", "key").expect(0).json();
    let second = bench
        .run(&[
            "custody",
            "add",
            "bag/",
            "--operator",
            "B",
            "--to",
            "C",
            "--case-id",
            "IR-17",
            "--note",
            "sealed bag 4",
            "--sign-key",
            "other",
            "--output",
            "json",
        ])
        .expect(0)
        .json();
    assert_eq!(files(&bench.path("bag")), before);
    assert_eq!(
        harness::names(&custody(&bench)),
        ["0001.json", "0001.json.sig", "0002.json", "0002.json.sig"]
    );
    assert_eq!(mode(&custody(&bench)), 0o700);
    assert_eq!(mode(&custody(&bench).join("0002.json")), 0o400);
    let sum = |path: &Path| larder::digest::Sha256Digest::of(&std::fs::read(path).unwrap()).hex();
    let entry = harness::json(&custody(&bench).join("0002.json"));
    assert_eq!(entry, second["entry"]);
    assert_eq!(entry["recipient"], "C");
    let bag = sum(&bench.path("bag/tagmanifest-sha256.txt"));
    assert_eq!(entry["tagmanifest_sha256"], bag.as_str());
    assert_eq!(entry["previous_signature_sha256"], first["head"]);
    let head = sum(&custody(&bench).join("0002.json.sig"));
    assert_eq!(second["head"], head.as_str());
    // OpenSSH takes it for the other key's.
    let done = Command::new("sh")
        .args([
            "-c",
            "ssh-keygen -Y verify -f \"$0\" -I someone@example.org -n larder-bag -s 0002.json.sig < 0002.json",
        ])
        .arg(allow(bench.dir.path(), &bench.path("other")))
        .current_dir(custody(&bench))
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let shown = show(&bench).expect(0).json();
    assert_eq!(shown["ok"], true);
    assert_eq!(shown["head"], head.as_str());
    assert_eq!(shown["entries"].as_array().unwrap().len(), 2);
    let text = bench.run(&["custody", "show", "bag"]).expect(0).stdout;
    for part in ["holds", "2 entries", "sealed bag 4", &head] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn what_was_done_to_a_chain_is_found() {
    type Tamper = fn(&Path);
    let write = |path: PathBuf, bytes: Vec<u8>| {
        let _ = std::fs::remove_file(&path);
        std::fs::write(path, bytes).unwrap();
    };
    let _ = write;
    let cases: &[(&str, Tamper, &str)] = &[
        (
            "an entry edited",
            |d| edit(&d.join("0001.json"), "\"A\"", "\"Z\""),
            "0001.json.sig",
        ),
        (
            "an entry removed",
            |d| {
                std::fs::remove_file(d.join("0002.json")).unwrap();
                std::fs::remove_file(d.join("0002.json.sig")).unwrap();
            },
            "0003.json",
        ),
        (
            "the first removed",
            |d| {
                std::fs::remove_file(d.join("0001.json")).unwrap();
                std::fs::remove_file(d.join("0001.json.sig")).unwrap();
            },
            "0002.json",
        ),
        (
            "a signature removed",
            |d| std::fs::remove_file(d.join("0003.json.sig")).unwrap(),
            "0003.json.sig",
        ),
        (
            "an entry without its text",
            |d| std::fs::remove_file(d.join("0003.json")).unwrap(),
            "0003.json.sig",
        ),
        (
            "two swapped",
            |d| {
                for name in ["json", "json.sig"] {
                    let (a, b) = (
                        d.join(format!("0002.{name}")),
                        d.join(format!("0003.{name}")),
                    );
                    std::fs::rename(&a, d.join("x")).unwrap();
                    std::fs::rename(&b, &a).unwrap();
                    std::fs::rename(d.join("x"), &b).unwrap();
                }
            },
            "0002.json",
        ),
        (
            "a signature swapped for another",
            |d| {
                std::fs::remove_file(d.join("0002.json.sig")).unwrap();
                std::fs::copy(d.join("0001.json.sig"), d.join("0002.json.sig")).unwrap();
            },
            "0002.json.sig",
        ),
        (
            "a file added",
            |d| std::fs::write(d.join("0004.txt"), "x").unwrap(),
            "0004.txt",
        ),
        (
            "no JSON",
            |d| edit(&d.join("0003.json"), "{", "["),
            "0003.json",
        ),
    ];
    for (name, tamper, file) in cases {
        let Some(bench) = bagged() else { return };
        for operator in ["A", "B", "C"] {
            add(&bench, operator, "key").expect(0);
        }
        tamper(&custody(&bench));
        let shown = show(&bench).expect(1).json();
        assert_eq!(shown["ok"], false, "{name}");
        let findings = shown["findings"].as_array().unwrap();
        assert!(
            findings.iter().any(|f| f["file"] == *file),
            "{name}: {findings:#?}"
        );
        let before = files(&custody(&bench));
        add(&bench, "D", "key").expect(1);
        assert_eq!(files(&custody(&bench)), before, "{name}");
    }
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn a_chain_belongs_to_its_bag() {
    let Some(bench) = bagged() else { return };
    add(&bench, "A", "key").expect(0);
    edit(
        &bench.path("bag/tagmanifest-sha256.txt"),
        "  bag-info.txt",
        "  bag-info.tXt",
    );
    let shown = show(&bench).expect(1).json();
    let text = shown["findings"].to_string();
    assert!(text.contains("another bag"), "{text}");
}

#[test]
fn what_is_no_bag_or_not_signed_is_refused() {
    let Some(bench) = bagged() else { return };
    std::fs::create_dir(bench.path("empty")).unwrap();
    bench.run(&["custody", "show", "empty"]).expect(2);
    bench.run(&["custody", "show", "nowhere"]).expect(2);
    bench
        .run(&["custody", "add", "bag", "--operator", "A"])
        .expect(2)
        .says(&["--sign-key"]);
    bench
        .run(&[
            "custody",
            "add",
            "empty",
            "--operator",
            "A",
            "--sign-key",
            "key",
        ])
        .expect(2);
    let shown = show(&bench).expect(0).json();
    assert_eq!(shown["entries"], serde_json::json!([]));
    assert!(!custody(&bench).exists());
}

#[test]
fn an_altered_bag_is_handed_over_only_by_who_says_so() {
    let Some(bench) = bagged() else { return };
    let entry = add(&bench, "A", "key").expect(0).json();
    let state = &entry["entry"]["bag"];
    assert_eq!(state["verified"], true, "{entry}");
    assert_eq!(state["findings"], 0);
    assert!(state["files"].as_u64().unwrap() > 5, "{entry}");
    // Whoever alters it makes it writable first.
    let info = bench.path("bag/bag-info.txt");
    std::fs::remove_file(&info).unwrap();
    let before = files(&custody(&bench));
    let ran = add(&bench, "B", "key").expect(1);
    ran.says(&["missing bag-info.txt", "--known-altered"]);
    assert_eq!(files(&custody(&bench)), before);
    let entry = bench
        .run(&[
            "custody",
            "add",
            "bag",
            "--operator",
            "B",
            "--known-altered",
            "--sign-key",
            "key",
            "--output",
            "json",
        ])
        .expect(0)
        .json();
    let state = &entry["entry"]["bag"];
    assert_eq!(state["verified"], false);
    assert_eq!(state["first"][0], "missing bag-info.txt");
    let text = bench.run(&["custody", "show", "bag"]).expect(0).stdout;
    assert!(
        text.contains("NOT verified, as was known") && text.contains("missing bag-info.txt"),
        "{text}"
    );
}

/// A run that was killed: before the signature nothing was said, after it the entry is there, under another name.
#[test]
fn an_addition_that_was_cut_short_is_ended_by_the_next() {
    let Some(bench) = bagged() else { return };
    let first = add(&bench, "A", "key").expect(0).json();
    let second = add(&bench, "B", "key").expect(0).json();
    let dir = custody(&bench);
    let whole = files(&dir);
    std::fs::rename(dir.join("0002.json"), dir.join("0002.json.part")).unwrap();
    let shown = show(&bench).expect(1).json();
    let text = shown["findings"].to_string();
    assert!(text.contains("cut short"), "{text}");
    assert_eq!(shown["findings"].as_array().unwrap().len(), 1, "{text}");
    let ran = add(&bench, "C", "key").expect(0);
    assert!(ran.stderr.contains("entry 2"), "{ran:?}");
    let third = ran.json();
    assert_eq!(third["entry"]["entry"], 3);
    assert_eq!(third["entry"]["previous_signature_sha256"], second["head"]);
    show(&bench).expect(0);
    // Without a signature.
    for name in ["0003.json", "0003.json.sig"] {
        std::fs::remove_file(dir.join(name)).unwrap();
    }
    assert_eq!(files(&dir), whole);
    for name in ["0003.json.part", ".larder-draft"] {
        std::fs::write(dir.join(name), "{\"half\":").unwrap();
        let text = show(&bench).expect(1).json()["findings"].to_string();
        assert!(text.contains("cut short") && text.contains(name), "{text}");
    }
    add(&bench, "D", "key").expect(0);
    assert_eq!(harness::names(&dir).len(), 6);
    show(&bench).expect(0);
    // An entry that is not what was signed is nobody's to complete.
    std::fs::rename(dir.join("0003.json"), dir.join("0003.json.part")).unwrap();
    edit(&dir.join("0003.json.part"), "\"D\"", "\"Z\"");
    add(&bench, "E", "key").expect(1);
    assert!(dir.join("0003.json.part").exists());
    let _ = first;
}

#[test]
fn killed_at_any_moment_the_chain_goes_on() {
    let Some(bench) = bagged() else { return };
    for round in 0..12_u64 {
        let mut child = bench
            .command(&[
                "custody",
                "add",
                "bag",
                "--operator",
                "K",
                "--sign-key",
                "key",
            ])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(3 + round * 3));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    add(&bench, "A", "key").expect(0);
    show(&bench).expect(0);
}

/// Three tries, as ssh gives; nothing is shown, and the terminal shows again afterwards, however it ended.
#[test]
fn a_passphrase_is_asked_for_on_the_terminal() {
    use crate::moto::venv::Venv;
    let Some(bench) = bagged() else { return };
    let Some(venv) = Venv::get() else { return };
    keygen(bench.dir.path(), "locked", "ed25519", &[], "open sesame");
    let command = [
        "custody",
        "add",
        "bag",
        "--operator",
        "A",
        "--sign-key",
        "locked",
    ];
    for (answers, code, asked, part) in [
        ("open sesame", 0, 1, ""),
        (
            "wrong,worse,open sesame",
            0,
            3,
            "Wrong. Passphrase of locked: ",
        ),
        (
            "wrong,worse,worst,open sesame",
            2,
            3,
            "does not open the key",
        ),
        ("^C", 130, 1, "interrupted"),
        ("wrong,^C", 130, 2, "interrupted"),
        ("TERM", 130, 1, "interrupted"),
    ] {
        let larder = bench.command(&command);
        let mut ask = venv.script("ask.py");
        ask.arg(answers)
            .arg(larder.get_program())
            .args(larder.get_args())
            .current_dir(larder.get_current_dir().unwrap())
            .env_clear();
        for (name, value) in larder.get_envs() {
            if let Some(value) = value {
                ask.env(name, value);
            }
        }
        let done = ask.output().unwrap();
        assert!(done.status.success(), "{done:?}");
        let json: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(json["code"], code, "{answers}: {json}");
        assert_eq!(json["asked"], asked, "{answers}: {json}");
        assert_eq!(json["echo"], true, "{answers}: {json}");
        let shown = json["shown"].as_str().unwrap();
        assert!(shown.contains(part), "{answers}: {shown}");
        assert!(!shown.contains("sesame"), "{answers}: {shown}");
    }
    assert_eq!(harness::names(&custody(&bench)).len(), 4);
}

/// Nobody is there to ask.
#[test]
fn without_a_terminal_an_encrypted_key_is_refused() {
    let Some(bench) = bagged() else { return };
    keygen(bench.dir.path(), "locked", "ed25519", &[], "open sesame");
    let larder = bench.command(&[
        "custody",
        "add",
        "bag",
        "--operator",
        "A",
        "--sign-key",
        "locked",
    ]);
    // A session of its own has no terminal.
    let mut command = Command::new("setsid");
    command
        .arg("--wait")
        .arg(larder.get_program())
        .args(larder.get_args())
        .current_dir(larder.get_current_dir().unwrap())
        .env_clear();
    for (name, value) in larder.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    harness::run(&mut command)
        .expect(2)
        .says(&["no terminal to ask", "ssh-add"]);
}

#[test]
fn a_place_of_the_chain_that_is_none_is_found() {
    let Some(bench) = bagged() else { return };
    let place = custody(&bench);
    let verify = || bench.run(&["verify", "bag"]);
    let hidden = bench.path("hidden");
    add(&bench, "A", "key").expect(0);
    std::fs::rename(&place, &hidden).unwrap();
    verify().expect(0);
    show(&bench).expect(0);
    // Its entries were taken out.
    std::fs::create_dir(&place).unwrap();
    assert!(
        verify()
            .expect(1)
            .stdout
            .contains("its entries were taken out")
    );
    let json = show(&bench).expect(1).json();
    assert!(
        json["findings"].to_string().contains("taken out"),
        "{json:#}"
    );
    add(&bench, "A", "key").expect(0);
    verify().expect(0);
    std::fs::remove_dir_all(&place).unwrap();
    // A link, a file and a pipe are no chain, and nothing is added to them.
    let link = || std::os::unix::fs::symlink("hidden", &place).unwrap();
    let file = || std::fs::write(&place, "").unwrap();
    let pipe = || {
        let made = Command::new("mkfifo").arg(&place).status();
        assert!(made.unwrap().success());
    };
    let before = files(&hidden);
    for (make, says) in [
        (&link as &dyn Fn(), "is a link"),
        (&file, "is no directory"),
        (&pipe, "is no directory"),
    ] {
        make();
        assert!(verify().expect(1).stdout.contains(says), "{says}");
        let json = show(&bench).expect(1).json();
        assert!(json["findings"].to_string().contains(says), "{json:#}");
        add(&bench, "A", "key").expect(1).says(&[says]);
        std::fs::remove_file(&place).unwrap();
    }
    assert_eq!(files(&hidden), before);
}
