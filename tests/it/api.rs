//! `GetFunction` as its API page describes it: what is asked, every field of what is answered, and what each exception and
//! each failure on the way becomes. The documents are in `testdata/api`.

#![allow(clippy::too_many_lines, reason = "a table is as long as what it lists")]

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use larder_testkit::{ACCOUNT, Cut, Fault, Key, LambdaError, On, REGION, code_sha256, packages};
use serde_json::{Value, json};

use crate::harness::{Bench, json as read_json, names};
use crate::proof::{Failing, each, harmless, package, planted};

const ROLE: &str = "arn:aws:iam::111122223333:role/reader";

/// A document of `testdata/api`.
fn document(name: &str) -> Value {
    read_json(&data(name))
}

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("testdata/api")
        .join(name)
}

// ---- The request ----

/// How a function is named, and what must arrive.
struct Asked {
    arguments: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
    /// `FunctionName`, percent-encoded as in the path.
    name: &'static str,
    qualifier: Option<&'static str>,
    region: &'static str,
}

#[test]
fn every_form_of_the_request_arrives_as_the_page_has_it() {
    let asked = |arguments, name, qualifier| Asked {
        arguments,
        variables: &[],
        name,
        qualifier,
        region: REGION,
    };
    let arn = "arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Aweb";
    let partial = "123456789012%3Afunction%3Aweb";
    let cases = [
        // Function name: name-only, with version, with alias.
        asked(&["web"], "web", None),
        asked(&["web:1"], "web", Some("1")),
        asked(&["web:live"], "web", Some("live")),
        asked(&["web:$LATEST"], "web", Some("$LATEST")),
        // Function ARN.
        asked(
            &["arn:aws:lambda:us-east-1:123456789012:function:web"],
            arn,
            None,
        ),
        asked(
            &["arn:aws:lambda:us-east-1:123456789012:function:web:1"],
            arn,
            Some("1"),
        ),
        asked(
            &["arn:aws:lambda:us-east-1:123456789012:function:web:live"],
            arn,
            Some("live"),
        ),
        // Partial ARN.
        asked(&["123456789012:function:web"], partial, None),
        asked(&["123456789012:function:web:live"], partial, Some("live")),
        asked(&["function:web"], "function%3Aweb", None),
        // Qualifier.
        asked(&["web", "--qualifier", "1"], "web", Some("1")),
        asked(&["web", "--qualifier", "live"], "web", Some("live")),
        asked(&["web", "--qualifier", "$LATEST"], "web", Some("$LATEST")),
        asked(&["web:live", "--qualifier", "live"], "web", Some("live")),
        asked(
            &[
                "arn:aws:lambda:us-east-1:123456789012:function:web",
                "--qualifier",
                "live",
            ],
            arn,
            Some("live"),
        ),
        // A function that is called like its alias: the end of its name is no qualifier.
        asked(&["live", "--qualifier", "live"], "live", Some("live")),
        asked(
            &[
                "arn:aws:lambda:us-east-1:123456789012:function:live",
                "--qualifier",
                "live",
            ],
            "arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Alive",
            Some("live"),
        ),
        asked(
            &["123456789012:function:live", "--qualifier", "live"],
            "123456789012%3Afunction%3Alive",
            Some("live"),
        ),
        // The longest bare name.
        asked(
            &["n234567890123456789012345678901234567890123456789012345678901234"],
            "n234567890123456789012345678901234567890123456789012345678901234",
            None,
        ),
        // Another region: by the option, by the environment, by the ARN, which goes before the environment.
        Asked {
            region: "eu-west-1",
            ..asked(&["web", "--region", "eu-west-1"], "web", None)
        },
        Asked {
            region: "eu-west-1",
            variables: &[("AWS_REGION", "eu-west-1")],
            ..asked(&["web"], "web", None)
        },
        Asked {
            region: "cn-north-1",
            ..asked(
                &["arn:aws-cn:lambda:cn-north-1:123456789012:function:web"],
                "arn%3Aaws-cn%3Alambda%3Acn-north-1%3A123456789012%3Afunction%3Aweb",
                None,
            )
        },
        Asked {
            region: "us-gov-west-1",
            variables: &[("AWS_REGION", "eu-west-1")],
            ..asked(
                &["arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:web:live"],
                "arn%3Aaws-us-gov%3Alambda%3Aus-gov-west-1%3A123456789012%3Afunction%3Aweb",
                Some("live"),
            )
        },
    ];
    each(
        &cases,
        |case| case.arguments.join(" "),
        |case| {
            let bench = Bench::new();
            let long = "n234567890123456789012345678901234567890123456789012345678901234";
            for name in ["web", "live", long] {
                let function = bench.aws.function(name).region(case.region);
                function
                    .zip(packages::node_package().zip())
                    .publish()
                    .alias("live", "1")
                    .create();
            }
            let mut arguments = vec!["fetch"];
            arguments.extend(case.arguments);
            bench.run_with(case.variables, &arguments).expect(0);

            let requests = bench.aws.requests_of("GetFunction");
            assert_eq!(requests.len(), 1, "one call is enough");
            let request = &requests[0];
            assert_eq!(request.method, "GET");
            assert_eq!(request.path, format!("/2015-03-31/functions/{}", case.name));
            let query: Vec<_> = request
                .query
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            let wanted: Vec<_> = case
                .qualifier
                .map(|qualifier| ("Qualifier", qualifier))
                .into_iter()
                .collect();
            assert_eq!(query, wanted);
            assert!(request.body.is_empty());
            let scope = format!("/{}/lambda/aws4_request", case.region);
            let authorization = request.header("authorization").unwrap();
            assert!(authorization.contains(&scope), "{authorization}");
            let agent = request.header("user-agent").unwrap();
            assert!(
                agent.contains(&format!("larder-{}", env!("CARGO_PKG_VERSION"))),
                "{agent}"
            );

            // What was found is what was asked for.
            let dest = names(bench.dir.path());
            assert_eq!(dest.len(), 1, "{dest:?}");
            let record = bench.record(&dest[0]);
            let version = case
                .qualifier
                .map_or("$LATEST", |q| if q == "live" { "1" } else { q });
            assert_eq!(record["function"]["version"], version);
            assert_eq!(record["function"]["qualifier"], json!(case.qualifier));
            assert_eq!(record["function"]["region"], case.region);
        },
    );
}

// ---- The answer ----

/// A function whose answer is `document`, but for what must be true of the package behind it.
fn answering(bench: &Bench, name: &str, region: &str, document: &Value, zip: &[u8]) {
    let document = document.clone();
    let function = bench
        .aws
        .function(name)
        .region(region)
        .zip(zip.to_vec())
        .create();
    function.patch(move |answer| {
        let mut said = document.clone();
        if said.pointer("/Code/Location").is_some() {
            for pointer in [
                "/Configuration/CodeSha256",
                "/Configuration/CodeSize",
                "/Code/Location",
            ] {
                *said.pointer_mut(pointer).unwrap() = answer.pointer(pointer).unwrap().clone();
            }
        }
        *answer = said;
    });
}

/// The document as function.json must have it: what is true of the package, and nothing of the location's query but
/// `versionId`.
fn recorded(bench: &Bench, document: &Value, zip: &[u8]) -> Value {
    let mut wanted = document.clone();
    if let Some(request) = bench.aws.requests_of("GetObject").first() {
        let version = request.query_value("versionId").expect("a version");
        let location = format!(
            "{}{}?versionId={version}",
            bench.aws.endpoint(),
            request.path
        );
        *wanted.pointer_mut("/Code/Location").unwrap() = json!(location);
        *wanted.pointer_mut("/Configuration/CodeSha256").unwrap() = json!(code_sha256(zip));
        *wanted.pointer_mut("/Configuration/CodeSize").unwrap() = json!(zip.len());
    }
    wanted
}

#[test]
fn every_field_of_the_answer_is_kept() {
    let zip = packages::node_package().zip();
    let mut kept = Vec::new();
    for (name, status, incomplete) in [
        ("zip", "saved", json!([])),
        ("image", "image", json!([])),
        (
            "incomplete",
            "partial",
            json!([
                {"field": "Tags", "code": "AccessDeniedException"},
                {"field": "Environment", "code": "AccessDeniedException"},
                {"field": "ImageConfigResponse", "code": "KMSAccessDeniedException"},
                {"field": "RuntimeVersionConfig", "code": "InternalError"},
            ]),
        ),
        ("future", "saved", json!([])),
    ] {
        eprintln!("{name}.json");
        let bench = Bench::new();
        let document = document(&format!("{name}.json"));
        answering(&bench, "full", REGION, &document, &zip);
        let ran = bench.run(&["fetch", "full"]).expect(0);
        harmless(&ran);
        let text = fs::read_to_string(bench.path("full/function.json")).unwrap();
        let function: Value = serde_json::from_str(&text).unwrap();
        // As texts: the order of the fields and the digits of the numbers are kept too.
        assert_eq!(
            function.to_string(),
            recorded(&bench, &document, &zip).to_string()
        );
        for secret in [
            "X-Amz-Signature",
            "X-Amz-Credential",
            "X-Amz-Security-Token",
        ] {
            assert!(!text.contains(secret), "{text}");
        }

        let record = bench.record("full");
        assert_eq!(record["status"], status);
        assert_eq!(record["incomplete"], incomplete);
        assert_eq!(
            record["package_type"],
            document["Configuration"]["PackageType"]
        );
        let said = &document["Configuration"];
        assert_eq!(
            record["function"],
            json!({
                "arn": said["FunctionArn"], "name": "full", "version": said["Version"], "qualifier": null,
                "region": REGION, "account": ACCOUNT, "revision_id": said["RevisionId"],
            })
        );
        kept.push(function);
    }

    // The documents leave no field of the page out.
    let fields = fs::read_to_string(data("fields.txt")).unwrap();
    let missing: Vec<_> = fields
        .lines()
        .filter(|line| line.starts_with('/'))
        .filter(|field| !kept.iter().any(|answer| has(answer, field)))
        .collect();
    assert!(missing.is_empty(), "no document has {missing:?}");
}

/// Whether a document has a field: `[]` in its path is any item, `*` any name.
fn has(value: &Value, field: &str) -> bool {
    let Some(rest) = field.strip_prefix('/') else {
        return !value.is_null();
    };
    let (first, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match (first, value) {
        ("[]", Value::Array(items)) => items.iter().any(|item| has(item, rest)),
        ("*", Value::Object(map)) => map.values().any(|item| has(item, rest)),
        (name, Value::Object(map)) => map.get(name).is_some_and(|item| has(item, rest)),
        _ => false,
    }
}

#[test]
fn the_example_of_the_page() {
    let bench = Bench::new();
    let zip = packages::node_package().zip();
    let document = document("example.json");
    answering(&bench, "my-function", "us-west-2", &document, &zip);
    let arn = "arn:aws:lambda:us-west-2:123456789012:function:my-function";
    bench.run(&["fetch", arn]).expect(0);
    let kept = read_json(&bench.path("my-function/function.json"));
    assert_eq!(
        kept.to_string(),
        recorded(&bench, &document, &zip).to_string()
    );
    let record = bench.record("my-function");
    assert_eq!(record["function"]["arn"], arn);
    assert_eq!(
        record["function"]["revision_id"],
        "b75dcd81-xmpl-48a8-a75a-93ba8b5b9727"
    );
    // It is older than PackageType.
    assert_eq!(
        (&record["package_type"], &record["status"]),
        (&json!("Zip"), &json!("saved"))
    );
}

/// The answer as bytes, which no JSON library of the test's has touched.
#[test]
fn numbers_and_names_are_kept_as_they_were_written() {
    let bench = Bench::new();
    let zip = packages::node_package().zip();
    let location = bench.aws.public_object("tasks", "full", zip.clone());
    let text = fs::read_to_string(data("future.json")).unwrap();
    let said = text
        .replace("\"CodeSize\": 0", &format!("\"CodeSize\": {}", zip.len()))
        .replace(
            "\"CodeSha256\": \"\"",
            &format!("\"CodeSha256\": {:?}", code_sha256(&zip)),
        )
        .replace("\"Location\": \"\"", &format!("\"Location\": {location:?}"));
    bench.aws.function("full").create().raw(said.clone());
    bench.run(&["fetch", "full"]).expect(0);
    let kept = fs::read_to_string(bench.path("full/function.json")).unwrap();
    for token in [
        "18446744073709551616",
        "2.50",
        "1.10",
        "123456789012345678901234567890",
        "-0.0",
    ] {
        assert!(
            kept.contains(&format!(" {token}")),
            "{token} is not in {kept}"
        );
    }
    let (wanted, kept): (Value, Value) = (
        serde_json::from_str(&said).unwrap(),
        serde_json::from_str(&kept).unwrap(),
    );
    assert_eq!(kept.to_string(), wanted.to_string());
}

// ---- Exceptions ----

fn web(bench: &Bench) {
    planted(bench, "web").zip(package(1, 4000)).create();
}

/// `GetFunction` answers with this error, each time.
fn raised(error: LambdaError, code: i32, kind: &'static str) -> Failing {
    let name = format!("{} {} {}", error.status, error.code, error.message);
    let says = error.code.clone();
    Failing::new(name, code, kind)
        .when(move |bench| {
            web(bench);
            bench
                .aws
                .fault(On::GetFunction.always(), Fault::Lambda(error.clone()));
        })
        .says(&["web", &says])
}

#[test]
fn every_exception_has_its_kind_its_code_and_a_hint() {
    let error = LambdaError::new;
    let throttled = |retry_after| LambdaError {
        retry_after,
        reason: Some("ReservedFunctionConcurrentInvocationLimitExceeded".to_owned()),
        ..error(429, "TooManyRequestsException", "Rate exceeded")
    };
    let refused = "credentials_refused";
    let mut cases = vec![
        // The four that the page declares.
        raised(
            error(500, "ServiceException", "An error occurred."),
            6,
            "service",
        )
        .says(&["status 500"])
        .hint("try again")
        .calls(2, 0),
        raised(
            error(404, "ResourceNotFoundException", "Function not found: web"),
            5,
            "not_found",
        )
        .hint("us-east-1")
        .calls(1, 0),
        raised(throttled(None), 6, "throttled")
            .hint("--max-rate")
            .calls(2, 0),
        raised(throttled(Some(1)), 6, "throttled")
            .hint("--max-rate")
            .calls(2, 0),
        raised(
            error(
                400,
                "InvalidParameterValueException",
                "The derived qualifier does not match.",
            ),
            2,
            "usage",
        )
        .says(&["derived qualifier"])
        .hint("name and the qualifier")
        .calls(1, 0),
        // Those that any call can answer.
        raised(
            error(
                403,
                "AccessDeniedException",
                "User: alice is not authorized",
            ),
            4,
            "access_denied",
        )
        .hint("lambda:GetFunction")
        .calls(1, 0),
        raised(
            error(
                403,
                "ExpiredTokenException",
                "The security token is expired",
            ),
            4,
            refused,
        )
        .hint("session has ended")
        .calls(1, 0),
        raised(
            error(
                403,
                "UnrecognizedClientException",
                "The security token is invalid.",
            ),
            4,
            refused,
        )
        .hint("access key")
        .calls(1, 0),
        raised(
            error(
                403,
                "InvalidSignatureException",
                "The signature does not match.",
            ),
            4,
            refused,
        )
        .hint("secret access key")
        .calls(1, 0),
        raised(
            error(
                403,
                "InvalidSignatureException",
                "Signature expired: 20260101T000000Z is now earlier than",
            ),
            4,
            refused,
        )
        .hint("clock")
        .calls(1, 0),
        raised(
            error(403, "IncompleteSignatureException", "no Credential"),
            4,
            refused,
        )
        .hint("get-caller-identity"),
        raised(
            error(403, "MissingAuthenticationTokenException", "Missing Token"),
            4,
            refused,
        )
        .hint("get-caller-identity"),
        raised(
            error(400, "RequestExpired", "Request has expired."),
            4,
            refused,
        )
        .hint("clock"),
        raised(
            error(400, "ValidationException", "1 validation error detected"),
            2,
            "usage",
        )
        .hint("name and the qualifier")
        .calls(1, 0),
        raised(
            error(400, "ThrottlingException", "Rate exceeded"),
            6,
            "throttled",
        )
        .hint("--max-rate")
        .calls(2, 0),
        raised(
            error(503, "ServiceUnavailableException", "Service is unavailable"),
            6,
            "service",
        )
        .hint("try again")
        .calls(2, 0),
        // One that does not exist yet is told as it came.
        raised(
            error(409, "ResourceAsleepException", "Come back in spring."),
            6,
            "service",
        )
        .says(&["Come back in spring."])
        .calls(1, 0),
    ];
    // Answers that are not Lambda's: a load balancer, a proxy, an API gateway.
    for (status, code, kind, hint) in [
        (502, 6, "service", "try again"),
        (504, 6, "service", "try again"),
        (403, 4, "access_denied", "proxy"),
        (404, 5, "not_found", "endpoint"),
        (429, 6, "throttled", "--max-rate"),
    ] {
        for (content_type, body) in [
            (
                "text/html",
                "<html><title>No</title>LARDERENVIRONMENTVALUE</html>",
            ),
            ("application/json", "{\"message\": \"no\"}"),
            ("text/plain", ""),
        ] {
            let page = Fault::Page {
                status,
                content_type: content_type.to_owned(),
                body: Bytes::from_static(body.as_bytes()),
            };
            cases.push(
                Failing::new(format!("{status} as {content_type}"), code, kind)
                    .when(move |bench| {
                        web(bench);
                        bench.aws.fault(On::GetFunction.always(), page.clone());
                    })
                    .hint(hint),
            );
        }
    }
    each(&cases, |case| case.name.clone(), Failing::check);
}

/// The code of an error stands in a header or in the body, bare or with a name space before or a URL behind it (AWS
/// `restJson1` protocol, "operation error serialization").
#[test]
fn an_error_is_known_by_each_form_of_its_code() {
    let name = "ResourceNotFoundException";
    let in_header = |value: &str| (Some(value.to_owned()), json!({"Message": "gone"}));
    let in_body = |body: Value| (None, body);
    let cases = [
        in_header(name),
        in_header(&format!(
            "{name}:http://internal.amazon.com/coral/com.amazonaws.lambda/"
        )),
        in_header(&format!("com.amazonaws.lambda#{name}")),
        in_body(json!({"__type": name, "message": "gone"})),
        in_body(json!({"__type": format!("com.amazonaws.lambda#{name}"), "Message": "gone"})),
        in_body(json!({"code": name, "message": "gone"})),
    ];
    each(
        &cases,
        |case| format!("{case:?}"),
        |(header, body)| {
            let bench = Bench::new();
            web(&bench);
            let page = Fault::Page {
                status: 404,
                content_type: "application/json".to_owned(),
                body: body.to_string().into(),
            };
            bench.aws.fault(On::GetFunction.always(), page);
            if let Some(value) = header {
                bench.aws.fault(
                    On::GetFunction.always(),
                    Fault::Header("x-amzn-ErrorType".to_owned(), value.clone()),
                );
            }
            let ran = bench.run(&["fetch", "web"]).expect(5);
            ran.says(&["cause: ResourceNotFoundException: gone", "list-functions"]);
        },
    );
}

#[test]
fn what_may_pass_is_tried_again() {
    let cases = [
        ("ServiceException", Fault::service_exception(), 0),
        ("throttled", Fault::throttled(None), 0),
        ("throttled for a second", Fault::throttled(Some(1)), 1),
        (
            "502",
            Fault::Page {
                status: 502,
                content_type: "text/html".to_owned(),
                body: Bytes::new(),
            },
            0,
        ),
        ("a broken connection", Fault::fin(10), 0),
        ("no JSON", Fault::not_json(), 0),
    ];
    each(
        &cases,
        |case| case.0.to_owned(),
        |(_, fault, seconds)| {
            let bench = Bench::new();
            web(&bench);
            bench.aws.fault(On::GetFunction, fault.clone());
            let began = Instant::now();
            bench.run(&["fetch", "web"]).expect(0);
            assert_eq!(bench.aws.count("GetFunction"), 2);
            assert!(
                began.elapsed() >= Duration::from_secs(*seconds),
                "Retry-After is honoured"
            );
        },
    );
}

// ---- Failures before there is an answer ----

/// Each `GetFunction` meets this fault.
fn on_the_way(name: &str, fault: Fault, kind: &'static str) -> Failing {
    Failing::new(name, 6, kind)
        .when(move |bench| {
            web(bench);
            bench.aws.fault(On::GetFunction.always(), fault.clone());
        })
        .calls(2, 0)
}

#[test]
fn every_failure_on_the_way_has_its_kind_its_code_and_a_hint() {
    let keys = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ];
    // Takes connections and says nothing, so that TLS never comes about.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("https://{}", silent.local_addr().unwrap());
    // Answers whatever comes with plain HTTP.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let tls = format!("https://{}", plain.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in plain.incoming().flatten() {
            let mut stream = stream;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let cases = [
        Failing::new("no credentials", 4, "no_credentials")
            .without(&keys)
            .hint("AWS_PROFILE")
            .calls(0, 0),
        Failing::new("half of the credentials", 4, "no_credentials")
            .without(&["AWS_SECRET_ACCESS_KEY"])
            .hint("AWS_SECRET_ACCESS_KEY")
            .calls(0, 0),
        Failing::new("no region", 2, "usage")
            .without(&["AWS_REGION", "AWS_DEFAULT_REGION"])
            .hint("--region"),
        Failing::new("a host that does not resolve", 6, "network")
            .with(&["--endpoint-url", "https://lambda.invalid"])
            .says(&["lambda.invalid"])
            .hint("endpoint"),
        Failing::new("nobody listens", 6, "network")
            .with(&["--endpoint-url", "https://127.0.0.1:9"])
            .hint("endpoint"),
        Failing::new("a proxy that nobody runs", 6, "network")
            .with(&["--endpoint-url", "https://lambda.invalid"])
            .var("HTTPS_PROXY", "http://user:LARDERSECRETMARKER@127.0.0.1:9")
            .hint("HTTPS_PROXY"),
        Failing::new("a proxy whose name does not resolve", 6, "network")
            .with(&["--endpoint-url", "https://lambda.invalid"])
            .var("HTTPS_PROXY", "http://proxy.invalid:3128")
            .hint("HTTPS_PROXY"),
        Failing::new("a server that speaks no TLS", 6, "network")
            .with(&["--endpoint-url", &tls])
            .hint("endpoint"),
        Failing::new("a server that begins no TLS", 6, "timeout")
            .with(&["--endpoint-url", &silent, "--connect-timeout", "1s"])
            .hint("endpoint"),
        on_the_way("no answer", Fault::NoAnswer, "timeout").hint("endpoint"),
        on_the_way("an answer that stops", Fault::stall(100), "timeout").hint("endpoint"),
        on_the_way(
            "an answer's head that trickles",
            Fault::SlowHead(1),
            "timeout",
        )
        .hint("endpoint"),
        on_the_way("an answer that breaks off", Fault::rst(100), "network").hint("endpoint"),
        on_the_way("an answer that ends early", Fault::fin(100), "network").hint("endpoint"),
        on_the_way(
            "a connection that is closed at once",
            Fault::Hangup(Cut::Fin),
            "network",
        )
        .hint("endpoint"),
        on_the_way(
            "a connection that is reset at once",
            Fault::Hangup(Cut::Rst),
            "network",
        )
        .hint("endpoint"),
        // The role on the way to Lambda.
        Failing::new(
            "a role that asks for another external id",
            4,
            "credentials_refused",
        )
        .when(|bench| {
            web(bench);
            bench.aws.role(ROLE, "right");
        })
        .with(&["--role-arn", ROLE, "--external-id", "wrong"])
        .hint("sts:AssumeRole")
        .calls(0, 0),
        Failing::new(
            "a caller who may not assume the role",
            4,
            "credentials_refused",
        )
        .when(web)
        .var("AWS_ACCESS_KEY_ID", larder_testkit::access_key(Key::Denied))
        .with(&["--role-arn", ROLE])
        .hint("sts:AssumeRole")
        .calls(0, 0),
        Failing::new("STS cannot be reached", 6, "network")
            .when(web)
            .var("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
            .with(&["--role-arn", ROLE])
            .hint("endpoint")
            .calls(0, 0),
    ];
    each(&cases, |case| case.name.clone(), Failing::check);
}
