//! No secret leaves. The embedded AWS puts a marker in every signature, token and secret key, and the functions here
//! hold one in their environment; everything that a run said and wrote is searched for both.

#![allow(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "tests may panic, and a table is as long as what it lists"
)]

use std::path::PathBuf;
use std::process::Command;

use larder_testkit::zip::ZipBuilder;
use larder_testkit::{Fault, Key, LambdaError, On, S3Error, SECRET_MARKER, access_key};

use crate::harness::{Bench, finish, holds};
use crate::proof::{ENV_VALUE, each, harmless, package, planted};

type Arrange = fn(&Bench);

/// How a run goes, and the exit codes it may have.
const CASES: &[(&str, i32, Arrange)] = &[
    ("success", 0, |_| {}),
    ("resumed", 0, |b| b.aws.fault(On::Object, Fault::rst(2000))),
    ("a renewed URL", 0, |b| {
        b.aws
            .fault(On::Object, Fault::S3(S3Error::RequestHasExpired));
    }),
    ("an ended token, which the body repeats", 0, |b| {
        b.aws.fault(On::Object, Fault::S3(S3Error::ExpiredToken));
    }),
    ("ended tokens", 6, |b| {
        b.aws
            .fault(On::Object.always(), Fault::S3(S3Error::ExpiredToken));
    }),
    ("a signature that the body repeats", 4, |b| {
        b.aws.fault(
            On::Object.always(),
            Fault::S3(S3Error::SignatureDoesNotMatch),
        );
    }),
    ("a proxy's page that repeats the URL", 4, |b| {
        let body = format!(
            "<Error><Code>AccessDenied</Code><Message>no https://h/k?X-Amz-Signature={SECRET_MARKER} here</Message></Error>"
        );
        b.aws.fault(
            On::Object.always(),
            Fault::Page {
                status: 403,
                content_type: "application/xml".into(),
                body: body.into(),
            },
        );
    }),
    ("a proxy's page that quotes the signature alone", 4, |b| {
        let signature = format!("{SECRET_MARKER}0123456789");
        let url = format!("{}/b/k?X-Amz-Signature={signature}", b.aws.endpoint());
        planted(b, "web").location(Some(&url)).create();
        let body =
            format!("<Error><Code>{signature}</Code><Message>not {signature}</Message></Error>");
        b.aws.fault(
            On::Object.always(),
            Fault::Page {
                status: 403,
                content_type: "application/xml".into(),
                body: body.into(),
            },
        );
    }),
    ("a redirect to a page that quotes the first query", 4, |b| {
        let signature = format!("{SECRET_MARKER}0123456789");
        let url = format!("{}/b/k?X-Amz-Signature={signature}", b.aws.endpoint());
        planted(b, "web").location(Some(&url)).create();
        let to = format!("{}/b/blocked", b.aws.endpoint());
        b.aws.fault(On::Object, Fault::Redirect { status: 302, to });
        let body = format!(
            "<Error><Code>{signature}</Code><Message>not {}</Message></Error>",
            signature.to_lowercase()
        );
        b.aws.fault(
            On::Object.nth(2),
            Fault::Page {
                status: 403,
                content_type: "application/xml".into(),
                body: body.into(),
            },
        );
    }),
    ("a signature in the path of a redirect", 4, |b| {
        let signature = format!("{SECRET_MARKER}0123456789");
        let url = format!("{}/b/k?X-Amz-Signature={signature}", b.aws.endpoint());
        planted(b, "web").location(Some(&url)).create();
        let to = format!("/b/blocked/https%3A%2F%2Fh%2Fk%3FX-Amz-Signature%3D{signature}");
        b.aws.fault(On::Object, Fault::Redirect { status: 302, to });
        b.aws
            .fault(On::Object.nth(2), Fault::S3(S3Error::AccessDenied));
    }),
    ("a signature in the path on another host", 6, |b| {
        let signature = format!("{SECRET_MARKER}0123456789");
        let url = format!("{}/b/k?X-Amz-Signature={signature}", b.aws.endpoint());
        planted(b, "web").location(Some(&url)).create();
        let to = format!("http://localhost:1/blocked/{signature}");
        let redirect = Fault::Redirect { status: 302, to };
        b.aws.fault(On::Object.always(), redirect);
    }),
    ("S3 is busy", 6, |b| {
        b.aws.fault(On::Object.always(), Fault::slow_down());
    }),
    ("reset each time", 6, |b| {
        b.aws.fault(On::Object.always(), Fault::rst(0));
    }),
    ("no answer", 6, |b| {
        b.aws.fault(On::Object.always(), Fault::NoAnswer);
    }),
    ("no HTTP", 6, |b| {
        b.aws.fault(
            On::Object.always(),
            Fault::Header("Content-Length".into(), "x".into()),
        );
    }),
    ("another package", 1, |b| {
        b.aws.fault(On::Object.always(), Fault::flip(1));
    }),
    ("HTML", 1, |b| {
        b.aws.fault(On::Object.always(), Fault::html());
    }),
    ("a redirect loop", 6, |b| {
        b.aws.fault(On::Object.always(), Fault::RedirectLoop);
    }),
    (
        "a redirect with the signature to where nobody listens",
        6,
        |b| {
            b.aws.fault(
                On::Object.always(),
                Fault::MovedTo {
                    status: 307,
                    base: "http://127.0.0.1:1".into(),
                },
            );
        },
    ),
    ("a redirect with the signature to another scheme", 6, |b| {
        b.aws.fault(
            On::Object.always(),
            Fault::MovedTo {
                status: 307,
                base: "ftp://127.0.0.1".into(),
            },
        );
    }),
    ("a redirect with the signature in what is no URL", 6, |b| {
        b.aws.fault(
            On::Object.always(),
            Fault::MovedTo {
                status: 307,
                base: "http://[".into(),
            },
        );
    }),
    ("throttled", 6, |b| {
        b.aws
            .fault(On::GetFunction.always(), Fault::throttled(None));
    }),
    ("GetFunction breaks off", 6, |b| {
        b.aws.fault(On::GetFunction.always(), Fault::fin(400));
    }),
    ("GetFunction is cut", 6, |b| {
        b.aws.fault(On::GetFunction.always(), Fault::CutBody(1500));
    }),
    ("denied", 4, |b| {
        b.aws.fault(
            On::GetFunction.always(),
            Fault::access_denied("lambda:GetFunction"),
        );
    }),
    ("a wrong signature that the message repeats", 4, |b| {
        let message = format!(
            "The request signature we calculated does not match. The Canonical String for this request should have been\n'GET\n/\nx-amz-security-token:{SECRET_MARKER}sessiontoken\n'"
        );
        b.aws.fault(
            On::GetFunction.always(),
            Fault::Lambda(LambdaError::new(403, "InvalidSignatureException", message)),
        );
    }),
    ("the environment in a message", 6, |b| {
        // Not Lambda's habit; but sub-errors of a 200 are sensitive.
        b.aws
            .function("web")
            .code_error("InternalError", ENV_VALUE)
            .create();
    }),
    ("a Location of another scheme", 6, |b| {
        planted(b, "web")
            .location(Some(&format!("s3://b/k?X-Amz-Signature={SECRET_MARKER}")))
            .create();
    }),
    ("a Location with a user and a password", 6, |b| {
        planted(b, "web")
            .location(Some(&format!(
                "http://user:{SECRET_MARKER}@127.0.0.1:1/k?a={SECRET_MARKER}#{SECRET_MARKER}"
            )))
            .create();
    }),
    ("a Location that is no URL", 6, |b| {
        planted(b, "web").location(Some(SECRET_MARKER)).create();
    }),
    ("a hostile package", 7, |b| {
        planted(b, "web")
            .zip(ZipBuilder::new().file("../x", "1").build())
            .create();
    }),
    ("an image", 0, |b| {
        planted(b, "web")
            .image(
                "r:t",
                "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            )
            .create();
    }),
    ("a destination that is taken", 8, |b| {
        std::fs::write(b.path("out"), "").unwrap();
    }),
];

#[test]
fn no_run_shows_or_writes_a_secret() {
    each(
        CASES,
        |case| case.0.to_owned(),
        |(_, code, arrange)| {
            for options in [
                &["-vvv", "--progress", "always"][..],
                &["-vvv", "--output", "json"],
                &["--redact-env", "-v"],
            ] {
                let bench = Bench::new();
                planted(&bench, "web").zip(package(1, 4000)).create();
                arrange(&bench);
                let mut arguments = vec![
                    "fetch",
                    "web",
                    "out",
                    "--max-attempts",
                    "2",
                    "--read-timeout",
                    "1s",
                ];
                arguments.extend(options);
                let ran = bench
                    .run_with(
                        &[("RUST_LOG", "trace"), ("RUST_BACKTRACE", "1")],
                        &arguments,
                    )
                    .expect(*code);
                harmless(&ran);
                searched(&bench, options.contains(&"--redact-env"));
            }
        },
    );
}

#[test]
fn no_key_and_no_role_leaves_a_secret() {
    for key in [
        Key::Unrecognized,
        Key::Expired,
        Key::Denied,
        Key::BadSignature,
    ] {
        let bench = Bench::new();
        planted(&bench, "web").zip(package(1, 4000)).create();
        let ran = bench
            .run_with(
                &[("AWS_ACCESS_KEY_ID", access_key(key))],
                &["fetch", "web", "out", "-vvv"],
            )
            .expect(4);
        harmless(&ran);
        let role = ["--role-arn", "arn:aws:iam::123456789012:role/reader"];
        let mut arguments = vec!["fetch", "web", "out", "-vvv"];
        arguments.extend(role);
        let ran = bench
            .run_with(&[("AWS_ACCESS_KEY_ID", access_key(key))], &arguments)
            .expect(4);
        harmless(&ran);
        searched(&bench, false);
    }
    let bench = Bench::new();
    planted(&bench, "web").zip(package(1, 4000)).create();
    let ran = bench
        .run(&[
            "fetch",
            "web",
            "out",
            "-vvv",
            "--role-arn",
            "arn:aws:iam::123456789012:role/reader",
        ])
        .expect(0);
    harmless(&ran);
    searched(&bench, false);
    assert_eq!(bench.aws.assumed_roles().len(), 1);
}

#[test]
fn what_a_killed_run_leaves_holds_no_signature() {
    let bench = Bench::new();
    planted(&bench, "web").zip(package(1, 400_000)).create();
    bench.aws.fault(On::Object, Fault::stall(200_000));
    let child = bench
        .command(&["fetch", "web", "out", "-vvv"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    assert!(
        bench
            .aws
            .wait_for_bytes("GetObject", 200_000, std::time::Duration::from_secs(20))
    );
    Command::new("kill")
        .args(["-9", &child.id().to_string()])
        .status()
        .unwrap();
    harmless(&finish(child));
    assert_eq!(
        bench.names().len(),
        1,
        "the staging is left: {:?}",
        bench.names()
    );
    searched(&bench, true);
}

/// Searches every file of the bench. The environment's values may stand in function.json, and only there.
#[track_caller]
fn searched(bench: &Bench, redacted: bool) {
    let nowhere: Vec<PathBuf> = Vec::new();
    assert_eq!(
        holds(bench.dir.path(), SECRET_MARKER, &[]),
        nowhere,
        "a signature, token or key"
    );
    assert_eq!(
        holds(bench.dir.path(), "X-Amz-", &[]),
        nowhere,
        "a signed query"
    );
    let spared: &[&str] = if redacted { &[] } else { &["function.json"] };
    assert_eq!(
        holds(bench.dir.path(), ENV_VALUE, spared),
        nowhere,
        "an environment value"
    );
}

#[test]
fn the_markers_are_where_a_leak_would_begin() {
    let bench = Bench::new();
    planted(&bench, "web").zip(package(1, 4000)).create();
    bench.run(&["fetch", "web", "out"]).expect(0);
    let object = &bench.aws.requests_of("GetObject")[0];
    for name in ["X-Amz-Signature", "X-Amz-Security-Token"] {
        assert!(
            object
                .query_value(name)
                .is_some_and(|v| v.contains(SECRET_MARKER)),
            "{name}"
        );
    }
    let call = &bench.aws.requests_of("GetFunction")[0];
    assert!(
        call.header("x-amz-security-token")
            .is_some_and(|v| v.contains(SECRET_MARKER))
    );
    assert_eq!(
        holds(bench.dir.path(), ENV_VALUE, &[]),
        [bench.path("out/function.json")]
    );
}
