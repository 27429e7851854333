//! A time-stamp authority made with openssl, on loopback; and that larder and openssl agree about its stamps.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder::digest::Sha256Digest;
use larder::error::ErrorKind;
use larder::evidence::timestamp::{Authorities, Request, Stamp, StampError};
use larder::http::{HttpClient, HttpOptions};
use url::Url;

use crate::harness::tool;

const CONFIG: &str = "
[ req ]
distinguished_name = dn
[ dn ]
[ ca ]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[ tsa ]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[ stamps ]
serial = ./serial
crypto_device = builtin
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ordering = yes
tsa_name = yes
";

/// How the authority answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Honest,
    /// Stamps what was asked the first time, whatever is asked.
    Replays,
    /// Answers 503.
    Busy,
    /// Answers with something else.
    Nonsense,
    /// Never stops answering.
    Endless,
}

/// An authority that answers until the test ends.
pub struct Tsa {
    pub url: Url,
    /// The certificate that is to be trusted, PEM.
    pub ca: PathBuf,
    dir: PathBuf,
}

fn openssl(dir: &Path, arguments: &[&str]) {
    let done = Command::new("openssl")
        .args(arguments)
        .current_dir(dir)
        .env("OPENSSL_CONF", dir.join("openssl.cnf"))
        .output()
        .unwrap();
    assert!(done.status.success(), "{arguments:?}: {done:?}");
}

impl Tsa {
    /// Makes a CA and an authority with a key of `key`, the options of `openssl genpkey`; `section` is the authority's
    /// certificate's. None where openssl is left out.
    pub fn start(dir: &Path, key: &[&str], section: &str, mood: Mood) -> Option<Self> {
        tool("openssl", "openssl")?;
        let dir = dir.join("tsa");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("openssl.cnf"), CONFIG).unwrap();
        fs::write(dir.join("serial"), "01\n").unwrap();
        let genpkey =
            |out: &str| openssl(&dir, &[&["genpkey", "-quiet", "-out", out], key].concat());
        genpkey("ca.key");
        genpkey("tsa.key");
        openssl(
            &dir,
            &[
                "req",
                "-x509",
                "-new",
                "-key",
                "ca.key",
                "-subj",
                "/CN=Root",
                "-days",
                "30",
                "-extensions",
                "ca",
                "-out",
                "ca.pem",
            ],
        );
        openssl(
            &dir,
            &[
                "req",
                "-new",
                "-key",
                "tsa.key",
                "-subj",
                "/CN=Stamps",
                "-out",
                "tsa.csr",
            ],
        );
        openssl(
            &dir,
            &[
                "x509",
                "-req",
                "-in",
                "tsa.csr",
                "-CA",
                "ca.pem",
                "-CAkey",
                "ca.key",
                "-CAcreateserial",
                "-days",
                "30",
                "-extfile",
                "openssl.cnf",
                "-extensions",
                section,
                "-out",
                "tsa.pem",
            ],
        );
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = Url::parse(&format!("http://127.0.0.1:{port}/stamp")).unwrap();
        let (place, asked) = (dir.clone(), Arc::new(AtomicUsize::new(0)));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let number = asked.fetch_add(1, Ordering::SeqCst);
                let _ = answer(stream, &place, mood, number);
            }
        });
        Some(Self {
            url,
            ca: dir.join("ca.pem"),
            dir,
        })
    }

    /// Whether openssl takes `stamp` for one of `data`.
    pub fn accepts(&self, stamp: &Path, data: &Path) -> bool {
        let done = Command::new("openssl")
            .args(["ts", "-verify", "-CAfile"])
            .arg(&self.ca)
            .arg("-in")
            .arg(stamp)
            .arg("-data")
            .arg(data)
            .output()
            .unwrap();
        done.status.success()
    }
}

fn answer(mut stream: TcpStream, dir: &Path, mood: Mood, number: usize) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut length) = (String::new(), 0);
    let mut kind = String::new();
    while reader.read_line(&mut line)? > 2 {
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if let Some(value) = lower.strip_prefix("content-type:") {
            value.trim().clone_into(&mut kind);
        }
        line.clear();
    }
    let mut query = vec![0; length];
    reader.read_exact(&mut query)?;
    assert_eq!(kind, "application/timestamp-query");
    let body = match mood {
        Mood::Busy => {
            return stream
                .write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
        Mood::Nonsense => b"<html>".to_vec(),
        Mood::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[0; 4096])?;
            }
        }
        Mood::Honest | Mood::Replays => {
            if mood == Mood::Honest || number == 0 {
                fs::write(dir.join("query"), &query)?;
            }
            openssl(
                dir,
                &[
                    "ts",
                    "-reply",
                    "-queryfile",
                    "query",
                    "-signer",
                    "tsa.pem",
                    "-inkey",
                    "tsa.key",
                    "-section",
                    "stamps",
                    "-config",
                    "openssl.cnf",
                    "-out",
                    "reply",
                ],
            );
            fs::read(dir.join("reply"))?
        }
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/timestamp-reply\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat())
}

pub fn client() -> HttpClient {
    HttpClient::new(&HttpOptions {
        user_agent: "larder-test".to_owned(),
        ca_bundle: None,
        proxies: false,
        connect_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_secs(10),
    })
    .unwrap()
}

fn ask(tsa: &Tsa, digest: Sha256Digest) -> larder::error::Result<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(Request::new(digest).send(&client(), &tsa.url))
}

const RSA: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
pub const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

#[test]
fn a_stamp_is_asked_for_and_both_accept_it() {
    for key in [RSA, P256] {
        let dir = tempfile::tempdir().unwrap();
        let Some(tsa) = Tsa::start(dir.path(), key, "tsa", Mood::Honest) else {
            return;
        };
        let data = dir.path().join("data");
        fs::write(&data, "signature").unwrap();
        let digest = Sha256Digest::of(b"signature");
        let bytes = ask(&tsa, digest).unwrap();
        let file = dir.path().join("stamp.tsr");
        fs::write(&file, &bytes).unwrap();
        assert!(tsa.accepts(&file, &data), "{key:?}");

        let stamp = Stamp::parse(&bytes).unwrap();
        let age = jiff::Timestamp::now().duration_since(stamp.time());
        assert!(age.as_secs().abs() < 60, "{age:?}");
        let trusted = Authorities::from_pem(&fs::read(&tsa.ca).unwrap()).unwrap();
        stamp.check_trusted(digest, &trusted).unwrap();
        let other = stamp.check_trusted(Sha256Digest::of(b"x"), &trusted);
        assert!(matches!(other, Err(StampError::OtherBytes(_))), "{other:?}");
        // Another root leads to nothing.
        let elsewhere = tempfile::tempdir().unwrap();
        let Some(stranger) = Tsa::start(elsewhere.path(), key, "tsa", Mood::Honest) else {
            return;
        };
        let pem = fs::read(&stranger.ca).unwrap();
        let verdict = stamp.check_trusted(digest, &Authorities::from_pem(&pem).unwrap());
        assert!(
            matches!(verdict, Err(StampError::NotTrusted(_))),
            "{verdict:?}"
        );
        // The token alone, as `openssl ts -reply -token_out` gives it.
        openssl(
            &tsa.dir,
            &[
                "ts",
                "-reply",
                "-in",
                "reply",
                "-token_out",
                "-out",
                "token",
            ],
        );
        let token = fs::read(tsa.dir.join("token")).unwrap();
        Stamp::parse(&token)
            .unwrap()
            .check_trusted(digest, &trusted)
            .unwrap();
        // Each byte counts, but for those that no signature covers.
        let mut accepted = Vec::new();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let verdict =
                Stamp::parse(&changed).and_then(|stamp| stamp.check_trusted(digest, &trusted));
            if verdict.is_ok() {
                accepted.push(at);
            }
        }
        assert!(accepted.len() < 100, "{accepted:?}");
    }
}

#[test]
fn an_authority_that_does_not_do_its_work_is_told() {
    for (mood, kind, cause) in [
        (Mood::Busy, ErrorKind::Service, "503"),
        (Mood::Nonsense, ErrorKind::Service, "no time-stamp token"),
        (Mood::Endless, ErrorKind::Network, "more than"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let Some(tsa) = Tsa::start(dir.path(), P256, "tsa", mood) else {
            return;
        };
        let error = ask(&tsa, Sha256Digest::of(b"x")).unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(format!("{error:?}").contains(cause), "{error:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(tsa) = Tsa::start(dir.path(), P256, "tsa", Mood::Replays) else {
        return;
    };
    ask(&tsa, Sha256Digest::of(b"x")).unwrap();
    let error = ask(&tsa, Sha256Digest::of(b"x")).unwrap_err();
    assert!(
        format!("{error:?}").contains("another request"),
        "{error:?}"
    );
}

#[test]
fn a_broken_file_is_no_authority() {
    for pem in [
        "",
        "x",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let error = Authorities::from_pem(pem.as_bytes()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Usage, "{pem}");
    }
}
