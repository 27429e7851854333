//! Functions whose code Lambda keeps no copy of (`S3ObjectStorageMode=REFERENCE`).

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use larder_testkit::{Fault, Key, On, S3Error, access_key, packages};

use crate::harness::{Bench, finish};

#[test]
fn the_object_is_read_with_the_callers_own_credentials() {
    let bench = Bench::new();
    let zip = packages::node_package().zip();
    bench
        .aws
        .function("f")
        .reference("our-code", "apps/the app.zip", zip.clone())
        .create();
    bench.run(&["fetch", "f"]).expect(0);
    assert_eq!(std::fs::read(bench.path("f/package.zip")).unwrap(), zip);
    let record = bench.record("f");
    let location = record["transfer"]["location"].as_str().unwrap();
    assert!(
        location.contains("/our-code/apps/the%20app.zip?versionId="),
        "{location}"
    );
    assert!(!location.contains("X-Amz"), "{location}");
    let get = &bench.aws.requests_of("GetObject")[0];
    assert!(get.query_value("versionId").is_some());
    assert!(
        get.query_value("X-Amz-Credential")
            .is_some_and(|c| c.contains("us-east-1/s3"))
    );
}

#[test]
fn a_denial_names_the_action_on_the_object() {
    let bench = Bench::new();
    let zip = packages::node_package().zip();
    bench
        .aws
        .function("f")
        .reference("our-code", "app.zip", zip)
        .create();
    bench
        .aws
        .fault(On::Object.always(), Fault::S3(S3Error::AccessDenied));
    bench
        .run(&["fetch", "f"])
        .expect(4)
        .says(&["s3:GetObjectVersion", "our-code/app.zip"]);
    assert!(bench.names().is_empty(), "{:?}", bench.names());
}

#[test]
fn a_broken_transfer_goes_on_where_it_stopped() {
    let bench = Bench::new();
    let zip = packages::zip_of_size(600_000, 3);
    bench
        .aws
        .function("f")
        .reference("our-code", "app.zip", zip.clone())
        .create();
    bench.aws.fault(On::Object, Fault::fin(200_000));
    bench.run(&["fetch", "f"]).expect(0);
    assert_eq!(std::fs::read(bench.path("f/package.zip")).unwrap(), zip);
    assert_eq!(bench.record("f")["transfer"]["resumed"], 1);
}

const ROLE: &str = "arn:aws:iam::123456789012:role/reader";

#[test]
fn a_key_arrives_as_it_is_named() {
    for key in ["app-1.2.3+45.zip", "a=(b)~ü/!$&'*,;:@ x.zip"] {
        let bench = Bench::new();
        let zip = packages::node_package().zip();
        let function = bench.aws.function("f");
        function.reference("our-code", key, zip.clone()).create();
        bench.run(&["fetch", "f"]).expect(0);
        let kept = std::fs::read(bench.path("f/package.zip")).unwrap();
        assert_eq!(kept, zip, "{key}");
    }
}

#[test]
fn a_key_that_no_url_can_hold_is_refused() {
    let bench = Bench::new();
    let zip = packages::node_package().zip();
    let function = bench.aws.function("f");
    function.reference("our-code", "a/../app.zip", zip).create();
    bench
        .run(&["fetch", "f"])
        .expect(6)
        .says(&["s3://our-code/a/../app.zip", "part of the key"]);
}

#[test]
fn an_outage_of_sts_is_no_refusal_of_the_credentials() {
    let page = |body: &str| Fault::Page {
        status: 503,
        content_type: "text/xml".into(),
        body: body.to_owned().into(),
    };
    for (fault, code) in [
        (page("busy"), 6),
        (
            page("<ErrorResponse><Error><Code>ServiceUnavailable</Code><Message>busy</Message></Error></ErrorResponse>"),
            6,
        ),
        (
            Fault::Page {
                status: 403,
                content_type: "text/xml".into(),
                body: "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>".into(),
            },
            4,
        ),
    ] {
        // The first answer is for the call to Lambda, and the second for the object.
        for first in [1, 2] {
            let bench = Bench::new();
            let zip = packages::node_package().zip();
            let function = bench.aws.function("f");
            function.reference("our-code", "app.zip", zip).create();
            for number in first..10 {
                bench.aws.fault(On::Sts.nth(number), fault.clone());
            }
            let arguments = ["fetch", "f", "--role-arn", ROLE, "--max-attempts", "2"];
            bench.run(&arguments).expect(code);
        }
    }
}

/// A run whose source of credentials answers once, for the call to Lambda, and hangs when the object's URL is signed.
fn hanging(bench: &Bench, bounds: &[&str]) -> Command {
    let script = bench.path("source.sh");
    let asked = bench.path("asked");
    let answer = format!(
        r#"{{"Version":1,"AccessKeyId":"{}","SecretAccessKey":"x"}}"#,
        access_key(Key::Valid)
    );
    let text = format!(
        "if [ -e '{0}' ]; then touch '{0}.again'; exec sleep 40; fi; touch '{0}'; echo '{answer}'",
        asked.display()
    );
    std::fs::write(&script, text).unwrap();
    let config = format!(
        "[profile slow]\ncredential_process = sh '{}'\nregion = us-east-1\n",
        script.display()
    );
    std::fs::write(bench.path("config"), config).unwrap();
    let zip = packages::node_package().zip();
    let function = bench.aws.function("f");
    function.reference("our-code", "app.zip", zip).create();
    let arguments = ["fetch", "f", "--profile", "slow"];
    let mut command = bench.command(&[&arguments[..], bounds].concat());
    command
        .env("AWS_CONFIG_FILE", bench.path("config"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[test]
fn a_source_of_credentials_that_hangs_is_not_waited_for() {
    let bench = Bench::new();
    let begin = Instant::now();
    let bounds = ["--connect-timeout", "1s", "--read-timeout", "1s"];
    finish(hanging(&bench, &bounds).spawn().unwrap())
        .expect(4)
        .says(&["s3://our-code/app.zip", "timed out"]);
    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
    assert!(bench.path("asked.again").exists());
}

#[test]
fn an_interrupt_ends_the_wait_for_credentials() {
    let bench = Bench::new();
    let begin = Instant::now();
    let child = hanging(&bench, &[]).spawn().unwrap();
    while !bench.path("asked.again").exists() {
        assert!(begin.elapsed().as_secs() < 20);
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status();
    assert!(sent.unwrap().success());
    finish(child).expect(130);
    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
}

#[test]
fn an_object_costs_one_request_for_credentials() {
    let bench = Bench::new();
    let zip = packages::node_package().zip();
    let function = bench.aws.function("f");
    function.reference("our-code", "app.zip", zip).create();
    bench.aws.fault(On::Object, Fault::fin(200));
    bench.run(&["fetch", "f", "--role-arn", ROLE]).expect(0);
    // One for the call to Lambda, one for the object.
    assert_eq!(bench.aws.assumed_roles().len(), 2);
}

#[test]
fn a_download_goes_through_the_proxy_of_the_environment() {
    let bench = Bench::new();
    let function = bench.aws.function("f");
    function
        .location(Some("http://packages.invalid/key"))
        .create();
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = proxy.accept().unwrap();
        let mut line = [0; 31];
        stream.read_exact(&mut line).unwrap();
        let refusal = b"HTTP/1.1 403 no\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(refusal).unwrap();
        String::from_utf8_lossy(&line).into_owned()
    });
    let variables = [("HTTP_PROXY", &*address), ("NO_PROXY", "127.0.0.1")];
    bench.run_with(&variables, &["fetch", "f"]).expect(4);
    assert_eq!(asked.join().unwrap(), "GET http://packages.invalid/key");
}
