//! Presigned URLs, ranges, versions, and code that changes.

use super::*;
use crate::packages;

#[test]
fn a_package_is_described_signed_and_served() {
    let aws = FakeAws::start();
    let zip = packages::python_package().zip();
    aws.function("app")
        .zip(zip.clone())
        .env("A", "B")
        .tag("k", "v")
        .create();
    let reply = lambda(&aws, "/2015-03-31/functions/app");
    let answer = reply.json();
    assert_eq!(reply.status, 200);
    assert!(reply.header("x-amzn-RequestId").is_some() && reply.header("Date").is_some());
    assert_eq!(answer["Configuration"]["CodeSha256"], code_sha256(&zip));
    assert_eq!(answer["Configuration"]["CodeSize"], zip.len());
    assert_eq!(
        answer["Configuration"]["Environment"]["Variables"]["A"],
        "B"
    );
    assert_eq!(answer["Tags"]["k"], "v");
    let url = answer["Code"]["Location"].as_str().unwrap();
    assert!(url.contains(SECRET_MARKER));
    let package = get(url, &[]);
    assert_eq!(package.status, 200);
    assert_eq!(package.body, zip);
    assert_eq!(package.header("accept-ranges"), Some("bytes"));
    assert_eq!(ask("HEAD", url, &[], "").status, 403);
    assert_eq!(aws.count("GetFunction"), 1);
    assert_eq!(aws.bytes_sent("GetObject"), zip.len() as u64);
    assert!(url.contains(package.header("x-amz-version-id").unwrap()));
}

#[test]
fn a_presigned_url_ends_is_tampered_with_and_loses_its_object() {
    let aws = FakeAws::start();
    let function = aws.function("app").zip(packages::sized(1000, 1)).create();
    let url = location(&aws, "app");
    let code = |reply: &Reply| {
        let text = reply.text();
        let start = text.find("<Code>").unwrap() + 6;
        text[start..].split('<').next().unwrap().to_owned()
    };
    for (changed, status, expected) in [
        (
            url.replace("X-Amz-Expires=600", "X-Amz-Expires=900"),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            url.replace("/snapshots/", "/snapshot/"),
            403,
            "SignatureDoesNotMatch",
        ),
        (format!("{url}0"), 403, "SignatureDoesNotMatch"),
        (
            url.split('?').next().unwrap().to_owned(),
            403,
            "AccessDenied",
        ),
    ] {
        let reply = get(&changed, &[]);
        assert_eq!(
            (reply.status, code(&reply).as_str()),
            (status, expected),
            "{changed}"
        );
    }
    // A URL outlives the function, as its object does.
    function.delete();
    assert_eq!(get(&url, &[]).status, 200);
    aws.clock_offset(601);
    let reply = get(&url, &[]);
    assert_eq!(reply.status, 403);
    assert!(
        reply
            .text()
            .contains("<Message>Request has expired</Message><X-Amz-Expires>600<")
    );
    aws.clock_offset(0);
    aws.expire_tokens();
    let reply = get(&url, &[]);
    assert_eq!((reply.status, code(&reply).as_str()), (400, "ExpiredToken"));
    aws.expire_urls();
    assert!(get(&url, &[]).text().contains("Request has expired"));
}

#[test]
fn a_short_lifetime_really_ends() {
    let aws = FakeAws::start();
    aws.function("app").create();
    aws.url_lifetime(Duration::from_secs(1));
    let url = location(&aws, "app");
    assert!(url.contains("X-Amz-Expires=1&"));
    std::thread::sleep(Duration::from_millis(1050));
    assert!(get(&url, &[]).text().contains("Request has expired"));
}

#[test]
fn ranges_and_conditions() {
    let aws = FakeAws::start();
    let bytes = packages::sized(1000, 1);
    let base = aws.public_object("bucket", "a b/key.zip", bytes.clone());
    let url = base.replace(' ', "%20");
    let whole = get(&url, &[]);
    let etag = whole.header("etag").unwrap().to_owned();
    for (headers, status, range, body) in [
        (
            vec![("Range", "bytes=400-")],
            206,
            Some("bytes 400-999/1000"),
            &bytes[400..],
        ),
        (
            vec![("Range", "bytes=0-0")],
            206,
            Some("bytes 0-0/1000"),
            &bytes[..1],
        ),
        (
            vec![("Range", "bytes=990-2000"), ("If-Match", &etag)],
            206,
            Some("bytes 990-999/1000"),
            &bytes[990..],
        ),
        (vec![("If-Match", &etag)], 200, None, &bytes[..]),
    ] {
        let reply = get(&url, &headers);
        assert_eq!(
            (reply.status, reply.header("content-range")),
            (status, range),
            "{headers:?}"
        );
        assert_eq!(reply.body, body, "{headers:?}");
    }
    assert_eq!(get(&url, &[("If-Match", "\"other\"")]).status, 412);
    let beyond = get(&url, &[("Range", "bytes=1000-")]);
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (416, Some("bytes */1000"))
    );
    assert_eq!(get(&format!("{url}?versionId=x"), &[]).status, 404);
    assert_eq!(
        get(&format!("{}/bucket/none", aws.endpoint()), &[]).status,
        403
    );
}

#[test]
fn private_objects_take_a_signed_request_and_a_version() {
    let aws = FakeAws::start();
    let old = aws.object("bucket", "app.zip", "old");
    aws.object("bucket", "app.zip", "new");
    let url = format!("{}/bucket/app.zip", aws.endpoint());
    let auth = authorization(access_key(Key::Valid), REGION);
    let denied = authorization(access_key(Key::Denied), REGION);
    assert_eq!(get(&url, &[]).status, 403);
    assert_eq!(get(&url, &[("Authorization", &denied)]).status, 403);
    assert_eq!(get(&url, &[("Authorization", &auth)]).text(), "new");
    let reply = get(
        &format!("{url}?versionId={old}"),
        &[("Authorization", &auth)],
    );
    assert_eq!(
        (reply.text().as_str(), reply.header("x-amz-version-id")),
        ("old", Some(old.as_str()))
    );
    let missing = format!("{}/bucket/none", aws.endpoint());
    assert_eq!(get(&missing, &[("Authorization", &auth)]).status, 404);
}

#[test]
fn code_is_swapped_when_told() {
    let aws = FakeAws::start();
    let first = packages::sized(400_000, 1);
    let function = aws.function("app").zip(first.clone()).create();
    let digest = |number: u64| code_sha256(&packages::sized(1000, number));
    function.update_code_on(Trigger::AfterGetFunction(1), packages::sized(1000, 2));
    let url = location(&aws, "app");
    assert_eq!(function.code_sha256(), digest(2));
    function.update_code_on(Trigger::ObjectStarts, packages::sized(1000, 3));
    function.update_code_on(Trigger::ObjectBytes(300_000), packages::sized(1000, 4));
    aws.fault(
        On::Object,
        Fault::pause(200_000, Duration::from_millis(150)),
    );
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| get(&url, &[]));
        assert!(aws.wait_for_bytes("GetObject", 200_000, Duration::from_secs(5)));
        assert_eq!(function.code_sha256(), digest(3));
        // The old URL still names the old object.
        assert_eq!(reader.join().unwrap().body, first);
    });
    assert_eq!(function.code_sha256(), digest(4));
}

#[test]
fn objects_can_live_on_another_address() {
    let aws = FakeAws::start();
    let Ok(_) = std::net::TcpListener::bind("127.0.0.2:0") else {
        eprintln!("skipped: this machine has no 127.0.0.2");
        return;
    };
    aws.function("app").create();
    let base = aws.listen_on("127.0.0.2");
    aws.objects_at(&base);
    let url = location(&aws, "app");
    assert!(url.starts_with("http://127.0.0.2:"));
    assert_eq!(get(&url, &[]).status, 200);
}
