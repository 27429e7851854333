//! `GetFunction` and `GetFunctionConfiguration`: one function in full.

use super::answer::{Answer, LambdaError};
use super::call::Call;
use super::clock::lambda_time;
use super::lambda::{find_function, not_found};
use super::world::{Code, FunctionKey, Shared, Stated, Trigger, Version, World, partition};
use serde_json::{Map, Value, json};

pub(crate) fn get_function(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
    let now = shared.clock.now();
    let mut world = shared.world();
    let (function, qualifier) = find_function(&world, call)?;
    let key = function.key.clone();
    let departures = function.departures.clone();
    let (number, version) = function
        .resolve(qualifier.as_deref())
        .ok_or_else(|| not_found("Function not found"))?;
    let code = version.code.clone();
    let configuration = function
        .configuration(&number, qualifier.as_deref())
        .unwrap_or_default();
    let mut body = json!({ "Configuration": configuration });
    // Tags and reserved concurrency belong to the unqualified function.
    if departures.tags_error.is_none() && !function.tags.is_empty() {
        body["Tags"] = json!(function.tags);
    }
    if let (None, Some(reserved)) = (&qualifier, function.concurrency) {
        body["Concurrency"] = json!({ "ReservedConcurrentExecutions": reserved });
    }
    body["Code"] = code_answer(&mut world, &code, call, now);
    if let Some((error, message)) = departures.code_error {
        body["Code"] = json!({ "Error": { "ErrorCode": error, "Message": message } });
    }
    if let Some((error, message)) = departures.tags_error {
        body["TagsError"] = json!({ "ErrorCode": error, "Message": message });
    }
    if let Some(code) = body["Code"].as_object_mut() {
        match departures.location {
            Stated::Presigned => None,
            Stated::Absent => code.remove("Location"),
            Stated::Other(url) => code.insert("Location".into(), json!(url)),
        };
    }
    if let Some((bucket, key, version)) = departures.resolved {
        body["Code"]["ResolvedS3Object"] =
            json!({ "S3Bucket": bucket, "S3Key": key, "S3ObjectVersion": version });
    }
    if let Some(patch) = departures.patch {
        patch.0(&mut body);
    }
    let mut answer = Answer::json(200, &body);
    if let Some(raw) = departures.raw {
        answer.body = raw;
    }
    let swaps = world.functions.get_mut(&key).map(|function| {
        function.take_swaps(|trigger| match trigger {
            Trigger::AfterGetFunction(left) => {
                *left = left.saturating_sub(1);
                *left == 0
            }
            _ => false,
        })
    });
    for zip in swaps.unwrap_or_default() {
        world.update_code(&key, zip, now);
    }
    Ok(answer)
}

fn code_answer(world: &mut World, code: &Code, call: &Call, now: jiff::Timestamp) -> Value {
    match code {
        Code::Zip(package) => json!({
            "RepositoryType": "S3",
            "Location": world.presign(call.base, package, call.region(), now),
        }),
        Code::Image { uri, digest } => json!({
            "RepositoryType": "ECR",
            "ImageUri": uri,
            "ResolvedImageUri": format!("{}@{digest}", repository(uri)),
        }),
        Code::Reference(bucket, key, version) => json!({
            "RepositoryType": "S3",
            "ResolvedS3Object": { "S3Bucket": bucket, "S3Key": key, "S3ObjectVersion": version },
        }),
    }
}

/// An image reference without its tag or digest; a port's colon stays.
fn repository(uri: &str) -> &str {
    let uri = uri.split("@sha256:").next().unwrap_or(uri);
    match uri.rfind(':') {
        Some(colon) if !uri[colon..].contains('/') => &uri[..colon],
        _ => uri,
    }
}

pub(crate) fn get_configuration(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
    let world = shared.world();
    let (function, qualifier) = find_function(&world, call)?;
    let configuration = function
        .resolve(qualifier.as_deref())
        .and_then(|(number, _)| function.configuration(&number, qualifier.as_deref()))
        .unwrap_or_default();
    Ok(Answer::json(200, &Value::Object(configuration)))
}

/// A complete configuration, with a few fields that no SDK knows.
pub(crate) fn configuration(key: &FunctionKey, now: jiff::Timestamp) -> Map<String, Value> {
    let (account, region, name) = key;
    let value = json!({
        "FunctionName": name,
        "FunctionArn": "",
        "Runtime": "python3.13",
        "Role": format!("arn:{}:iam::{account}:role/service-role/{name}-role-a1b2c3d4", partition(region)),
        "Handler": "index.handler",
        "CodeSize": 0,
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "LastModified": lambda_time(now),
        "CodeSha256": "",
        "Version": "$LATEST",
        "TracingConfig": { "Mode": "PassThrough" },
        "RevisionId": super::answer::request_uuid(),
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": { "Size": 512 },
        "SnapStart": { "ApplyOn": "None", "OptimizationStatus": "Off" },
        "RuntimeVersionConfig": {
            "RuntimeVersionArn": format!("arn:{}:lambda:{region}::runtime:0b2a3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f809", partition(region)),
        },
        "LoggingConfig": { "LogFormat": "Text", "LogGroup": format!("/aws/lambda/{name}") },
        "ConfigSha256": super::world::code_sha256(name.as_bytes()),
        "FieldOfTheFuture": { "Since": "2031-01-01", "Values": [1, 2.5, null, true], "BigNumber": 18_446_744_073_709_551_615_u64 },
    });
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Changes a configuration for another kind of package.
pub(crate) fn describe_code(version: &mut Version, code_sha256: &str, size: u64) {
    let configuration = &mut version.configuration;
    configuration.insert("CodeSha256".into(), json!(code_sha256));
    configuration.insert("CodeSize".into(), json!(size));
    if matches!(version.code, Code::Image { .. }) {
        configuration.insert("PackageType".into(), json!("Image"));
        for field in ["Runtime", "Handler", "RuntimeVersionConfig"] {
            configuration.shift_remove(field);
        }
    }
}
