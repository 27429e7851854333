//! Signatures that OpenSSH accepts, and OpenSSH's that larder accepts, for every type of key.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use base64::Engine as _;
use larder::error::ErrorKind;
use larder::evidence::signature::{NAMESPACE, Signature, sign};
use larder::evidence::ssh::{PublicKey, SigningKey};
use larder::evidence::{AllowedSigners, Trust};

use crate::harness::tool;

const MESSAGE: &[u8] = b"what is signed\n";
const KINDS: [(&str, &[&str]); 5] = [
    ("ed25519", &[]),
    ("ecdsa", &["-b", "256"]),
    ("ecdsa", &["-b", "384"]),
    ("ecdsa", &["-b", "521"]),
    ("rsa", &["-b", "2048"]),
];

/// Whether OpenSSH and openssl are here; a missing one fails unless `LARDER_SKIP` names it.
pub fn tools() -> bool {
    ["ssh-keygen", "ssh-agent", "ssh-add"]
        .iter()
        .all(|name| tool(name, "openssh-client").is_some())
        && tool("openssl", "openssl").is_some()
}

fn run(command: &mut Command, stdin: &[u8]) -> Output {
    use std::io::Write as _;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    child.wait_with_output().unwrap()
}

/// Makes a key of `kind` and gives its file.
pub fn keygen(dir: &Path, name: &str, kind: &str, more: &[&str], passphrase: &str) -> PathBuf {
    let path = dir.join(name);
    let done = Command::new("ssh-keygen")
        .args([
            "-q",
            "-t",
            kind,
            "-N",
            passphrase,
            "-C",
            "someone@example.org",
            "-f",
        ])
        .arg(&path)
        .args(more)
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    path
}

pub fn public(key: &Path) -> PublicKey {
    PublicKey::from_line(&std::fs::read_to_string(key.with_extension("pub")).unwrap()).unwrap()
}

/// An `allowed_signers` file that trusts the key as `someone@example.org`.
pub fn allow(dir: &Path, key: &Path) -> PathBuf {
    let path = dir.join("allowed_signers");
    let line = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    std::fs::write(&path, format!("someone@example.org {line}")).unwrap();
    path
}

fn ssh_keygen_accepts(dir: &Path, key: &Path, armor: &str) -> bool {
    let file = dir.join("m.sig");
    std::fs::write(&file, armor).unwrap();
    let mut command = Command::new("ssh-keygen");
    command
        .args([
            "-Y",
            "verify",
            "-I",
            "someone@example.org",
            "-n",
            NAMESPACE,
            "-f",
        ])
        .arg(allow(dir, key))
        .arg("-s")
        .arg(&file);
    run(&mut command, MESSAGE).status.success()
}

fn nobody() -> impl FnMut(&Path) -> larder::error::Result<Option<zeroize::Zeroizing<String>>> {
    |path: &Path| panic!("asked for the passphrase of {}", path.display())
}

#[test]
fn openssh_accepts_what_larder_signs_and_the_other_way_round() {
    if !tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (at, (kind, more)) in KINDS.into_iter().enumerate() {
        let dir = dir.path();
        let path = keygen(dir, &format!("k{at}"), kind, more, "");
        let key = SigningKey::from_file(&path, &mut nobody()).unwrap();
        assert_eq!(key.public_key(), &public(&path));
        let armor = sign(&key, NAMESPACE, MESSAGE).unwrap();
        assert!(ssh_keygen_accepts(dir, &path, &armor), "{kind} {more:?}");
        let signature = Signature::from_armor(armor.as_bytes()).unwrap();
        signature.verify(NAMESPACE, MESSAGE).unwrap();
        assert!(signature.verify("file", MESSAGE).is_err());
        assert!(signature.verify(NAMESPACE, b"another").is_err());

        for hash in ["sha256", "sha512"] {
            let mut command = Command::new("ssh-keygen");
            command
                .args([
                    "-q",
                    "-Y",
                    "sign",
                    "-n",
                    NAMESPACE,
                    "-O",
                    &format!("hashalg={hash}"),
                    "-f",
                ])
                .arg(&path);
            let theirs = run(&mut command, MESSAGE);
            assert!(theirs.status.success(), "{theirs:?}");
            let signature = Signature::from_armor(&theirs.stdout).unwrap();
            signature.verify(NAMESPACE, MESSAGE).unwrap();
            assert!(signature.verify(NAMESPACE, b"another").is_err());
            // `ssh-keygen -l` says the same fingerprint.
            let listed = Command::new("ssh-keygen")
                .arg("-lf")
                .arg(&path)
                .output()
                .unwrap();
            let listed = String::from_utf8(listed.stdout).unwrap();
            let fingerprint = signature.key().fingerprint();
            assert!(listed.contains(&format!(" {fingerprint} ")), "{listed}");
        }
        // The armor is OpenSSH's own to the byte where the signature is deterministic.
        if kind == "ed25519" {
            let mut command = Command::new("ssh-keygen");
            command
                .args(["-q", "-Y", "sign", "-n", NAMESPACE, "-f"])
                .arg(&path);
            let theirs = run(&mut command, MESSAGE);
            assert_eq!(String::from_utf8(theirs.stdout).unwrap(), armor);
        }
    }
}

#[test]
fn each_bit_of_a_signature_counts() {
    if !tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = keygen(dir.path(), "k", "ed25519", &[], "");
    let key = SigningKey::from_file(&path, &mut nobody()).unwrap();
    let armor = sign(&key, NAMESPACE, MESSAGE).unwrap();
    let body = armor
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with('-'));
    let letters: usize = body.map(str::len).sum();
    for at in 0..letters {
        let start = armor.find('\n').unwrap() + 1;
        let place = start + at + at / 70;
        let mut changed = armor.clone().into_bytes();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        let verdict = Signature::from_armor(&changed)
            .and_then(|signature| signature.verify(NAMESPACE, MESSAGE));
        assert!(verdict.is_err(), "letter {at}");
    }
}

#[test]
fn an_encrypted_key_asks_three_times_at_the_most_and_says_when_the_passphrase_is_wrong() {
    if !tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = keygen(dir.path(), "k", "ed25519", &["-a", "2"], "open sesame");
    let mut asked = 0;
    let mut answer = |text: Option<&str>| {
        let text = text.map(|text| zeroize::Zeroizing::new(text.to_owned()));
        SigningKey::from_file(&path, &mut |_| {
            asked += 1;
            Ok(text.clone())
        })
    };
    let key = answer(Some("open sesame")).unwrap();
    for wrong in [Some("x"), Some(""), None] {
        let error = answer(wrong).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error:?}");
    }
    // Once, three times, three times, and once for who is not there.
    assert_eq!(asked, 8);
    let armor = sign(&key, NAMESPACE, MESSAGE).unwrap();
    assert!(ssh_keygen_accepts(dir.path(), &path, &armor));
    assert!(!format!("{key:?}").contains("sesame"));
}

/// ECDSA keys whose number begins with a zero byte, among them, and every cipher of OpenSSH.
#[test]
fn many_keys_of_all_ciphers_are_read() {
    if !tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for at in 0..24 {
        let path = keygen(dir.path(), &format!("k{at}"), "ecdsa", &["-b", "521"], "");
        let key = SigningKey::from_file(&path, &mut nobody()).unwrap();
        sign(&key, NAMESPACE, MESSAGE).unwrap();
    }
    for cipher in [
        "aes256-ctr",
        "aes128-cbc",
        "aes192-ctr",
        "aes128-gcm@openssh.com",
        "aes256-gcm@openssh.com",
        "chacha20-poly1305@openssh.com",
    ] {
        let more = ["-a", "1", "-Z", cipher];
        let path = keygen(dir.path(), cipher, "ed25519", &more, "secret");
        let read = |phrase: &str| {
            SigningKey::from_file(&path, &mut |_| Ok(Some(phrase.to_owned().into())))
        };
        assert!(read("secret").is_ok(), "{cipher}");
        assert!(read("secreT").is_err(), "{cipher}");
    }
}

#[test]
fn what_is_no_key_is_told() {
    if !tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let pem = keygen(dir.path(), "pem", "rsa", &["-b", "2048", "-m", "PEM"], "");
    let other = dir.path().join("other");
    std::fs::write(&other, "no key\n").unwrap();
    for path in [&pem, &other] {
        let error = SigningKey::from_file(path, &mut nobody()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error:?}");
        assert!(
            error.hint_text().unwrap().contains("ssh-keygen -p"),
            "{error:?}"
        );
    }
    let absent = SigningKey::from_file(&dir.path().join("none"), &mut nobody()).unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::Io);
}

/// An agent that ends with the test.
pub struct Agent {
    child: Child,
    pub socket: PathBuf,
}

impl Agent {
    pub fn start(dir: &Path) -> Self {
        let socket = dir.join("agent");
        let child = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..500 {
            if socket.exists() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Self { child, socket }
    }

    pub fn add(&self, key: &Path) {
        let done = Command::new("ssh-add")
            .arg("-q")
            .arg(key)
            .env("SSH_AUTH_SOCK", &self.socket)
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_agent_signs_with_the_key_of_a_fingerprint() {
    if !tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(dir.path());
    for (at, (kind, more)) in KINDS.into_iter().enumerate() {
        let path = keygen(dir.path(), &format!("k{at}"), kind, more, "");
        agent.add(&path);
        let fingerprint = public(&path).fingerprint();
        let key = SigningKey::from_agent_at(&agent.socket, &fingerprint).unwrap();
        let armor = sign(&key, NAMESPACE, MESSAGE).unwrap();
        assert!(
            ssh_keygen_accepts(dir.path(), &path, &armor),
            "{kind} {more:?}"
        );
        // The plain signature is the same kind that the file's key makes.
        let plain = key.sign_plain(MESSAGE).unwrap();
        assert!(
            openssl_accepts(dir.path(), &path, &plain),
            "{kind} {more:?}"
        );
        let own = SigningKey::from_file(&path, &mut nobody()).unwrap();
        let plain = own.sign_plain(MESSAGE).unwrap();
        assert!(
            openssl_accepts(dir.path(), &path, &plain),
            "{kind} {more:?}"
        );
        assert!(!openssl_accepts(dir.path(), &path, &plain[1..]));
    }
    let error = SigningKey::from_agent_at(&agent.socket, "SHA256:none").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    let error = SigningKey::from_agent_at(&dir.path().join("nobody"), "SHA256:none").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}

/// Whether openssl takes the signature for the key's, with the digest that goes with it.
fn openssl_accepts(dir: &Path, key: &Path, signature: &[u8]) -> bool {
    let pem = Command::new("ssh-keygen")
        .args(["-e", "-m", "PKCS8", "-f"])
        .arg(key.with_extension("pub"))
        .output()
        .unwrap();
    let (sig, message) = (dir.join("plain.sig"), dir.join("message"));
    std::fs::write(&sig, signature).unwrap();
    std::fs::write(&message, MESSAGE).unwrap();
    let pem = if pem.status.success() {
        pem.stdout
    } else {
        // ssh-keygen writes no Ed25519 key so: the twelve bytes of RFC 8410 before its own 32.
        let blob = public(key).blob().to_vec();
        let mut der = vec![0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
        der.extend_from_slice(&blob[blob.len() - 32..]);
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n").into_bytes()
    };
    let file = dir.join("public.pem");
    std::fs::write(&file, pem).unwrap();
    let algorithm = public(key).algorithm();
    let digest: &[&str] = match algorithm.as_str() {
        "ssh-ed25519" => &[],
        "ecdsa-sha2-nistp256" => &["-digest", "sha256"],
        "ecdsa-sha2-nistp384" => &["-digest", "sha384"],
        _ => &["-digest", "sha512"],
    };
    let done = Command::new("openssl")
        .args(["pkeyutl", "-verify", "-pubin", "-rawin", "-inkey"])
        .arg(&file)
        .arg("-sigfile")
        .arg(&sig)
        .arg("-in")
        .arg(&message)
        .args(digest)
        .output()
        .unwrap();
    done.status.success()
}

#[test]
fn allowed_signers_trusts_as_ssh_keygen_does() {
    if !tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = keygen(dir.path(), "k", "ed25519", &[], "");
    let key = SigningKey::from_file(&path, &mut nobody()).unwrap();
    let armor = sign(&key, NAMESPACE, MESSAGE).unwrap();
    let sig = dir.path().join("m.sig");
    std::fs::write(&sig, &armor).unwrap();
    let file = dir.path().join("signers");
    let line = key.public_key().to_line();
    for (options, trusted) in [
        ("", true),
        ("namespaces=\"larder-bag\"", true),
        ("namespaces=\"file\"", false),
        ("namespaces=\"file,larder-*\"", true),
        ("valid-after=\"20200101\"", true),
        ("valid-after=\"20200101\",valid-before=\"20210101Z\"", false),
        ("valid-after=\"29990101Z\"", false),
        ("valid-after=20200101", false),
        ("valid-after=\"20200101UTC\"", true),
        (
            "valid-after=\"20200101Z\",valid-before=\"20190101Z\"",
            false,
        ),
        ("NameSpaces=\"larder-bag\"", true),
        ("namespaces=\"file, larder-bag\"", false),
        ("namespaces=\"file\",namespaces=\"larder-bag\"", false),
        ("namespaces=\"*,!larder-bag\"", false),
        ("no-such-option", false),
        ("cert-authority", false),
        ("cert-authority,", false),
        ("\"", false),
    ] {
        allowed_alike(
            &file,
            &sig,
            &key,
            &format!("someone@example.org {options} {line}"),
            trusted,
            options,
        );
    }
    for (principals, trusted) in [
        ("*", true),
        ("*@example.org", true),
        ("*@example.org,!someone@*", false),
        ("!someone@*,*", false),
        ("a,someone@example.or?,b", true),
        ("\"a b,someone@example.org\"", true),
        ("some\"one@example.org\"", true),
        ("Someone@example.org", false),
        ("\"someone@example.org", false),
    ] {
        allowed_alike(
            &file,
            &sig,
            &key,
            &format!("{principals} {line} a comment"),
            trusted,
            principals,
        );
    }
}

/// Whether OpenSSH and larder say the same of a line, also where wrong ones and comments stand around it.
fn allowed_alike(
    file: &Path,
    sig: &Path,
    key: &SigningKey,
    line: &str,
    trusted: bool,
    about: &str,
) {
    for end in ["\n", "\r\n"] {
        let text = format!("# who{end}nonsense{end}x@y ssh-ed25519 !!{end}{line}{end}");
        std::fs::write(file, &text).unwrap();
        let mut command = Command::new("ssh-keygen");
        command
            .args([
                "-Y",
                "verify",
                "-I",
                "someone@example.org",
                "-n",
                NAMESPACE,
                "-f",
            ])
            .arg(file)
            .arg("-s")
            .arg(sig);
        assert_eq!(
            run(&mut command, MESSAGE).status.success(),
            trusted,
            "{about}: {text}"
        );
        let now = std::time::SystemTime::now().try_into().unwrap();
        let whom = Some("someone@example.org");
        let verdict = AllowedSigners::parse(&text).judge(key.public_key(), NAMESPACE, whom, now);
        assert_eq!(
            matches!(verdict, Trust::Trusted(_)),
            trusted,
            "{about}: {verdict:?}"
        );
    }
}
