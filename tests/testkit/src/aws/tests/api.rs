//! Lambda's reads and STS.

use super::*;
use crate::packages;

#[test]
fn names_keys_and_regions_are_judged_as_by_aws() {
    let aws = FakeAws::start();
    aws.function("app")
        .version("one")
        .alias("live", "1")
        .create();
    let functions = "/2015-03-31/functions/";
    let valid = access_key(Key::Valid);
    let arn = format!("arn%3Aaws%3Alambda%3Aus-east-1%3A{ACCOUNT}%3Afunction%3Aapp");
    for (name, status, text) in [
        ("app".to_owned(), 200, "function:app\""),
        ("app%3A1".to_owned(), 200, "function:app:1\""),
        ("app%3Alive".to_owned(), 200, "\"Version\":\"1\""),
        (
            "app?Qualifier=%24LATEST".to_owned(),
            200,
            "function:app:$LATEST\"",
        ),
        (format!("{ACCOUNT}%3Afunction%3Aapp"), 200, "function:app\""),
        (format!("{arn}%3Alive"), 200, "function:app:live\""),
        (
            format!("{arn}%3Alive?Qualifier=live"),
            200,
            "function:app:live\"",
        ),
        (
            "app%3A1?Qualifier=2".to_owned(),
            400,
            "The derived qualifier",
        ),
        (
            "app%3A9".to_owned(),
            404,
            "Function not found: arn:aws:lambda:us-east-1:123456789012:function:app:9",
        ),
        (
            "none".to_owned(),
            404,
            "Function not found: arn:aws:lambda:us-east-1:123456789012:function:none",
        ),
        (
            arn.replace("us-east-1", "eu-west-1"),
            404,
            "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
        ),
        (
            arn.replace(ACCOUNT, "999999999999"),
            403,
            "no resource-based policy",
        ),
        ("a%20b".to_owned(), 400, "ValidationException"),
    ] {
        let reply = lambda(&aws, &format!("{functions}{name}"));
        let all = reply.text() + &reply.head;
        assert!(
            reply.status == status && all.contains(text),
            "{name}: {all}"
        );
    }
    for (key, code) in [
        (Key::Unrecognized, "UnrecognizedClientException"),
        (Key::Expired, "ExpiredTokenException"),
        (Key::Denied, "AccessDeniedException"),
        (Key::BadSignature, "InvalidSignatureException"),
    ] {
        let reply = lambda_as(&aws, &format!("{functions}app"), access_key(key), REGION);
        assert_eq!(
            (reply.status, reply.header("x-amzn-errortype")),
            (403, Some(code))
        );
    }
    let other = lambda_as(&aws, &format!("{functions}app"), valid, "eu-west-1");
    assert_eq!(other.status, 404);
    let unsigned = get(&format!("{}{functions}app", aws.endpoint()), &[]);
    assert_eq!(unsigned.status, 403);
}

#[test]
fn lists_are_paged_by_fifty() {
    let aws = FakeAws::start();
    for number in 0..120 {
        aws.function(&format!("f{number:03}")).create();
    }
    aws.function("app")
        .version("a")
        .version("b")
        .alias("live", "1")
        .create();
    aws.function("us-east-1.edge")
        .replica_of("us-east-1", "arn:master")
        .create();
    let mut names = Vec::new();
    let mut marker = String::new();
    loop {
        let page = lambda(
            &aws,
            &format!("/2015-03-31/functions?MaxItems=9999{marker}"),
        )
        .json();
        let functions = page["Functions"].as_array().unwrap();
        assert!(functions.len() <= 50 && functions[0].get("State").is_none());
        names.extend(
            functions
                .iter()
                .map(|f| f["FunctionName"].as_str().unwrap().to_owned()),
        );
        match page["NextMarker"].as_str() {
            None => break,
            Some(next) => {
                let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
                marker = format!("&Marker={next}");
            }
        }
    }
    assert_eq!((names.len(), aws.count("ListFunctions")), (121, 3));
    let all = lambda(
        &aws,
        "/2015-03-31/functions/?FunctionVersion=ALL&MasterRegion=ALL&MaxItems=3",
    )
    .json();
    let versions: Vec<&str> = all["Functions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["Version"].as_str().unwrap())
        .collect();
    assert_eq!(versions, ["$LATEST", "1", "2"]);
    let versions = lambda(&aws, "/2015-03-31/functions/app/versions").json();
    assert_eq!(versions["Versions"].as_array().unwrap().len(), 3);
    let aliases = lambda(&aws, "/2015-03-31/functions/app/aliases").json();
    assert_eq!(aliases["Aliases"][0]["FunctionVersion"], "1");
}

#[test]
fn images_self_managed_code_layers_and_sub_errors() {
    let aws = FakeAws::start();
    let digest = format!("sha256:{}", "ab".repeat(32));
    let repository = "123456789012.dkr.ecr.us-east-1.amazonaws.com/repo";
    aws.function("image")
        .image(&format!("{repository}:v1"), &digest)
        .create();
    let image = lambda(&aws, "/2015-03-31/functions/image").json();
    assert_eq!(
        image["Code"]["ResolvedImageUri"],
        format!("{repository}@{digest}")
    );
    assert_eq!(image["Configuration"]["CodeSha256"], "ab".repeat(32));
    assert_eq!(image["Configuration"]["PackageType"], "Image");

    aws.function("own")
        .reference("bucket", "key.zip", "zip")
        .create();
    let own = lambda(&aws, "/2015-03-31/functions/own").json();
    assert_eq!(own["Code"]["ResolvedS3Object"]["S3Bucket"], "bucket");
    assert!(own["Code"].get("Location").is_none());

    aws.function("bad")
        .code_error("KMSAccessDeniedException", "no key")
        .tags_error("AccessDeniedException", "no tags")
        .environment_error("AccessDeniedException", "no env")
        .create();
    let bad = lambda(&aws, "/2015-03-31/functions/bad").json();
    assert_eq!(
        bad["Code"]["Error"]["ErrorCode"],
        "KMSAccessDeniedException"
    );
    assert_eq!(bad["TagsError"]["ErrorCode"], "AccessDeniedException");
    assert_eq!(
        bad["Configuration"]["Environment"]["Error"]["Message"],
        "no env"
    );

    let arn = aws
        .layer("shared")
        .zip(packages::layer_package().zip())
        .create();
    let foreign = aws
        .layer("closed")
        .account("999999999999")
        .denied()
        .create();
    let by_arn = |arn: &str| {
        lambda(
            &aws,
            &format!(
                "/2018-10-31/layers?find=LayerVersion&Arn={}",
                arn.replace(':', "%3A")
            ),
        )
    };
    let layer = by_arn(&arn).json();
    let zip = get(layer["Content"]["Location"].as_str().unwrap(), &[]).body;
    assert_eq!(layer["Content"]["CodeSha256"], code_sha256(&zip));
    assert_eq!(
        lambda(&aws, "/2018-10-31/layers/shared/versions/1").json()["LayerVersionArn"],
        arn
    );
    assert_eq!(by_arn(&foreign).status, 403);
    aws.delete_layer(&arn);
    assert_eq!(by_arn(&arn).status, 404);
}

#[test]
fn roles_are_assumed_and_remembered() {
    let aws = FakeAws::start();
    let role = "arn:aws:iam::999999999999:role/reader";
    aws.role(role, "secret-id");
    aws.function("app").account("999999999999").create();
    let auth = authorization(access_key(Key::Valid), REGION);
    let post = |form: &str| {
        ask(
            "POST",
            &format!("{}/", aws.endpoint()),
            &[("Authorization", &auth)],
            form,
        )
    };
    assert!(
        post("Action=GetCallerIdentity&Version=2011-06-15")
            .text()
            .contains("<Account>123456789012</Account>")
    );
    let base = format!("Action=AssumeRole&RoleArn={role}&RoleSessionName=larder-1");
    assert_eq!(post(&base).status, 403);
    let reply = post(&format!("{base}&ExternalId=secret-id"));
    let text = reply.text();
    let key = text
        .split("<AccessKeyId>")
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap();
    assert!(text.contains(SECRET_MARKER));
    assert_eq!(
        lambda_as(&aws, "/2015-03-31/functions/app", key, REGION).status,
        200
    );
    assert_eq!(
        aws.assumed_roles()[1].external_id.as_deref(),
        Some("secret-id")
    );
}
