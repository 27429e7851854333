//! Lambda's rest-json API: a table of routes and the handlers of the reads that have a state behind them.
//!
//! Paths and parameters are those of the public service model (`lambda/2015-03-31/service-2.json` in botocore).
//! A further side read is one more line in [`ROUTES`].

use super::answer::{Answer, LambdaError};
use super::call::{Call, account_of, caller_arn};
use super::clock::lambda_time;
use super::wire::decode_path;
use super::world::{Code, FunctionKey, FunctionState, Shared, Trigger, Version, World, partition};
use serde_json::{Map, Value, json};

type Handler = fn(&Shared, &Call) -> Result<Answer, LambdaError>;

struct Route {
    path: &'static str,
    operation: &'static str,
    handler: Handler,
}

/// Every read: path (a star is one segment), operation, handler. All are GET.
const ROUTES: &[Route] = &[
    route("2015-03-31/functions", "ListFunctions", list_functions),
    route("2015-03-31/functions/*", "GetFunction", get_function),
    route(
        "2015-03-31/functions/*/configuration",
        "GetFunctionConfiguration",
        get_configuration,
    ),
    route(
        "2015-03-31/functions/*/versions",
        "ListVersionsByFunction",
        list_versions,
    ),
    route(
        "2015-03-31/functions/*/aliases",
        "ListAliases",
        list_aliases,
    ),
    route("2015-03-31/functions/*/aliases/*", "GetAlias", get_alias),
    route(
        "2018-10-31/layers/*/versions/*",
        "GetLayerVersion",
        super::layer::get_by_number,
    ),
    route(
        "2018-10-31/layers",
        "GetLayerVersionByArn",
        super::layer::get_by_arn,
    ),
    route("2015-03-31/functions/*/policy", "GetPolicy", side_read),
    route(
        "2015-03-31/event-source-mappings",
        "ListEventSourceMappings",
        side_read,
    ),
    route(
        "2016-08-19/account-settings",
        "GetAccountSettings",
        side_read,
    ),
    route("2017-03-31/tags/*", "ListTags", side_read),
    route(
        "2019-09-25/functions/*/event-invoke-config/list",
        "ListFunctionEventInvokeConfigs",
        side_read,
    ),
    route(
        "2019-09-30/functions/*/concurrency",
        "GetFunctionConcurrency",
        side_read,
    ),
    route(
        "2019-09-30/functions/*/provisioned-concurrency",
        "ListProvisionedConcurrencyConfigs",
        side_read,
    ),
    route(
        "2020-06-30/functions/*/code-signing-config",
        "GetFunctionCodeSigningConfig",
        side_read,
    ),
    route(
        "2021-07-20/functions/*/runtime-management-config",
        "GetRuntimeManagementConfig",
        side_read,
    ),
    route(
        "2021-10-31/functions/*/url",
        "GetFunctionUrlConfig",
        side_read,
    ),
    route(
        "2021-10-31/functions/*/urls",
        "ListFunctionUrlConfigs",
        side_read,
    ),
    route(
        "2024-08-31/functions/*/recursion-config",
        "GetFunctionRecursionConfig",
        side_read,
    ),
    route(
        "2025-11-30/functions/*/function-scaling-config",
        "GetFunctionScalingConfig",
        side_read,
    ),
];

const fn route(path: &'static str, operation: &'static str, handler: Handler) -> Route {
    Route {
        path,
        operation,
        handler,
    }
}

/// Whether a path is Lambda's: it starts with the date of an API version.
pub(crate) fn owns(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or("");
    let bytes = first.as_bytes();
    bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

/// The operation and its decoded arguments.
pub(crate) fn find(method: &str, path: &str) -> Option<(&'static str, Vec<String>)> {
    matching(method, path).map(|(route, arguments)| (route.operation, arguments))
}

fn matching(method: &str, path: &str) -> Option<(&'static Route, Vec<String>)> {
    if method != "GET" {
        return None;
    }
    let given: Vec<&str> = path.trim_matches('/').split('/').collect();
    ROUTES.iter().find_map(|route| {
        let wanted: Vec<&str> = route.path.split('/').collect();
        let same = wanted.len() == given.len()
            && wanted
                .iter()
                .zip(&given)
                .all(|(wanted, given)| *wanted == "*" || wanted == given);
        same.then(|| {
            let arguments = wanted
                .iter()
                .zip(&given)
                .filter(|(wanted, _)| **wanted == "*")
                .map(|(_, given)| decode_path(given))
                .collect();
            (route, arguments)
        })
    })
}

/// Answers a call to Lambda.
pub(crate) fn answer(shared: &Shared, call: &Call) -> Answer {
    let Some((route, _)) = matching(&call.message.method, &call.message.path) else {
        return LambdaError::new(
            404,
            "UnknownOperationException",
            format!("no route for {} {}", call.message.method, call.message.path),
        )
        .answer();
    };
    {
        let mut world = shared.world();
        if let Some(refusal) = super::call::refusal(&world, call) {
            return refusal.answer();
        }
        if let Some(limit) = &mut world.call_limit
            && !limit.take()
        {
            return LambdaError {
                retry_after: Some(1),
                reason: Some("CallerRateLimitExceeded".into()),
                ..LambdaError::new(429, "TooManyRequestsException", "Rate exceeded")
            }
            .answer();
        }
    }
    (route.handler)(shared, call).unwrap_or_else(|error| error.answer())
}

/// A `FunctionName` taken apart: the key, the qualifier in the name, and the region when it is a full ARN.
pub(crate) struct Named {
    pub key: FunctionKey,
    pub qualifier: Option<String>,
}

/// Understands every form of `FunctionName`, with AWS's own refusals.
pub(crate) fn name(world: &World, call: &Call, given: &str) -> Result<Named, LambdaError> {
    let region = call.region().to_owned();
    let own = account_of(world, call.access_key());
    let invalid = || {
        LambdaError::new(
            400,
            "ValidationException",
            format!(
                "1 validation error detected: Value '{given}' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{{2}}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{{1}}:)?(\\d{{12}}:)?(function:)?([a-zA-Z0-9-_\\.]+)(:(\\$LATEST(\\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
            ),
        )
    };
    if given.is_empty() || given.len() > 256 {
        return Err(invalid());
    }
    let parts: Vec<&str> = given.split(':').collect();
    let (account, name, qualifier) = match parts[..] {
        [
            "arn",
            _,
            "lambda",
            stated,
            account,
            "function",
            ref rest @ ..,
        ] if rest.len() <= 2 => {
            if stated != region {
                return Err(LambdaError::new(
                    404,
                    "ResourceNotFoundException",
                    format!(
                        "Functions from '{stated}' are not reachable in this region ('{region}')"
                    ),
                ));
            }
            (account, rest.first().copied(), rest.get(1).copied())
        }
        [account, "function", ref rest @ ..] if rest.len() <= 2 => {
            (account, rest.first().copied(), rest.get(1).copied())
        }
        ["function", ref rest @ ..] if rest.len() <= 2 => {
            (own.as_str(), rest.first().copied(), rest.get(1).copied())
        }
        [name] => (own.as_str(), Some(name), None),
        [name, qualifier] => (own.as_str(), Some(name), Some(qualifier)),
        _ => return Err(invalid()),
    };
    let name = name.filter(|name| !name.is_empty()).ok_or_else(invalid)?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !name.bytes().all(legal) || (parts.len() == 1 && name.len() > 64 && !name.contains('.')) {
        return Err(invalid());
    }
    Ok(Named {
        key: (account.to_owned(), region, name.to_owned()),
        qualifier: qualifier.map(str::to_owned),
    })
}

/// The function that a call names, and the qualifier in force.
fn find_function<'a>(
    world: &'a World,
    call: &Call,
) -> Result<(&'a FunctionState, Option<String>), LambdaError> {
    let named = name(world, call, call.argument(0))?;
    let asked = call.message.query_value("Qualifier");
    if let (Some(derived), Some(asked)) = (&named.qualifier, &asked)
        && derived != asked
    {
        return Err(LambdaError::new(
            400,
            "InvalidParameterValueException",
            "The derived qualifier from the function name does not match the specified qualifier.",
        ));
    }
    let qualifier = asked.or(named.qualifier);
    let (account, region, name) = &named.key;
    let mut arn = format!(
        "arn:{}:lambda:{region}:{account}:function:{name}",
        partition(region)
    );
    if let Some(qualifier) = &qualifier {
        arn = format!("{arn}:{qualifier}");
    }
    if *account != account_of(world, call.access_key()) {
        return Err(LambdaError::new(
            403,
            "AccessDeniedException",
            format!(
                "User: {} is not authorized to perform: lambda:{} on resource: {arn} because no resource-based policy allows the lambda:{} action",
                caller_arn(world, call.access_key()),
                call.operation,
                call.operation
            ),
        ));
    }
    let function = world
        .functions
        .get(&named.key)
        .filter(|function| function.resolve(qualifier.as_deref()).is_some())
        .ok_or_else(|| not_found(&format!("Function not found: {arn}")))?;
    Ok((function, qualifier))
}

pub(crate) fn not_found(message: &str) -> LambdaError {
    LambdaError::new(404, "ResourceNotFoundException", message)
}

fn get_function(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
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
    if let (Some(location), Some(code)) = (departures.location, body["Code"].as_object_mut()) {
        match location {
            Some(url) => code.insert("Location".into(), json!(url)),
            None => code.remove("Location"),
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
    let uri = uri.split('@').next().unwrap_or(uri);
    match uri.rfind(':') {
        Some(colon) if !uri[colon..].contains('/') => &uri[..colon],
        _ => uri,
    }
}

fn get_configuration(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
    let world = shared.world();
    let (function, qualifier) = find_function(&world, call)?;
    let configuration = function
        .resolve(qualifier.as_deref())
        .and_then(|(number, _)| function.configuration(&number, qualifier.as_deref()))
        .unwrap_or_default();
    Ok(Answer::json(200, &Value::Object(configuration)))
}

/// A configuration as the list operations give it: without state and runtime version.
fn listed(mut configuration: Map<String, Value>) -> Value {
    configuration.retain(|key, _| {
        !key.starts_with("State")
            && !key.starts_with("LastUpdateStatus")
            && key != "RuntimeVersionConfig"
    });
    Value::Object(configuration)
}

fn all_versions(function: &FunctionState) -> Vec<Value> {
    let published = function.published.keys().map(u64::to_string);
    std::iter::once("$LATEST".to_owned())
        .chain(published)
        .filter_map(|number| function.configuration(&number, Some(&number)))
        .map(listed)
        .collect()
}

fn list_functions(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
    let world = shared.world();
    let account = account_of(&world, call.access_key());
    let all = call.message.query_value("FunctionVersion").as_deref() == Some("ALL");
    let master = call.message.query_value("MasterRegion").filter(|_| all);
    let mut items = Vec::new();
    for function in world.functions.values() {
        if function.key.0 != account || function.key.1 != call.region() {
            continue;
        }
        // Replicas of Lambda@Edge are seen only by who asks for them.
        let shown = match (&function.master_region, master.as_deref()) {
            (None, None | Some("ALL")) | (Some(_), Some("ALL")) => true,
            (Some(region), Some(asked)) => region == asked,
            _ => false,
        };
        if !shown {
            continue;
        }
        if all {
            items.extend(all_versions(function));
        } else {
            items.extend(function.configuration("$LATEST", None).map(listed));
        }
    }
    page(call, "Functions", items)
}

fn list_versions(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
    let world = shared.world();
    let (function, _) = find_function(&world, call)?;
    page(call, "Versions", all_versions(function))
}

fn list_aliases(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
    let world = shared.world();
    let (function, _) = find_function(&world, call)?;
    let wanted = call.message.query_value("FunctionVersion");
    let items = function
        .aliases
        .iter()
        .filter(|(_, alias)| {
            wanted
                .as_ref()
                .is_none_or(|wanted| *wanted == alias.version)
        })
        .map(|(name, _)| alias_answer(function, name))
        .collect();
    page(call, "Aliases", items)
}

fn alias_answer(function: &FunctionState, name: &str) -> Value {
    let Some(alias) = function.aliases.get(name) else {
        return Value::Null;
    };
    let mut answer = json!({
        "AliasArn": format!("{}:{name}", function.arn()),
        "Name": name,
        "FunctionVersion": alias.version,
        "Description": "",
        "RevisionId": super::answer::request_uuid(),
    });
    if !alias.weights.is_empty() {
        answer["RoutingConfig"] = json!({ "AdditionalVersionWeights": alias.weights });
    }
    answer
}

fn get_alias(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
    let world = shared.world();
    let (function, _) = find_function(&world, call)?;
    let name = call.argument(1);
    if function.aliases.contains_key(name) {
        Ok(Answer::json(200, &alias_answer(function, name)))
    } else {
        Err(not_found(&format!(
            "Cannot find alias arn: {}:{name}",
            function.arn()
        )))
    }
}

/// One page of a list: at most 50 items, whatever `MaxItems` says; `Marker` is opaque to the client.
fn page(call: &Call, field: &str, items: Vec<Value>) -> Result<Answer, LambdaError> {
    let size = match call
        .message
        .query_value("MaxItems")
        .map(|text| text.parse::<usize>())
    {
        None => 50,
        Some(Ok(size @ 1..=10_000)) => size.min(50),
        Some(_) => {
            return Err(LambdaError::new(
                400,
                "ValidationException",
                "1 validation error detected: Value at 'maxItems' failed to satisfy constraint",
            ));
        }
    };
    let start = match call.message.query_value("Marker") {
        None => 0,
        Some(marker) => marker
            .strip_prefix("testkit/")
            .and_then(|number| number.trim_end_matches('=').parse::<usize>().ok())
            .ok_or_else(|| {
                LambdaError::new(400, "InvalidParameterValueException", "Invalid marker")
            })?,
    };
    let total = items.len();
    let items: Vec<Value> = items.into_iter().skip(start).take(size).collect();
    let end = start + items.len();
    let mut body = Map::new();
    body.insert(field.to_owned(), Value::Array(items));
    // The characters that need encoding in a query are there on purpose.
    body.insert(
        "NextMarker".into(),
        if end < total {
            json!(format!("testkit/{end}=="))
        } else {
            Value::Null
        },
    );
    Ok(Answer::json(200, &Value::Object(body)))
}

/// A read with no state of its own: what the test set for it, else what AWS says of a thing not set.
fn side_read(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
    let world = shared.world();
    let of_function = call.message.path.contains("/functions/");
    let arn = if of_function {
        find_function(&world, call)?.0.arn()
    } else {
        call.argument(0).to_owned()
    };
    let qualifier = call.message.query_value("Qualifier").unwrap_or_default();
    let set = world
        .sides
        .get(&(call.operation.to_owned(), arn.clone(), qualifier));
    if let Some(value) = set {
        return Ok(Answer::json(200, value));
    }
    let unset = match call.operation {
        "GetPolicy" | "GetFunctionUrlConfig" => {
            return Err(not_found("The resource you requested does not exist."));
        }
        "ListEventSourceMappings" => json!({ "EventSourceMappings": [] }),
        "ListFunctionEventInvokeConfigs" => json!({ "FunctionEventInvokeConfigs": [] }),
        "ListProvisionedConcurrencyConfigs" => json!({ "ProvisionedConcurrencyConfigs": [] }),
        "ListFunctionUrlConfigs" => json!({ "FunctionUrlConfigs": [] }),
        "GetRuntimeManagementConfig" => json!({ "UpdateRuntimeOn": "Auto", "FunctionArn": arn }),
        "GetFunctionRecursionConfig" => json!({ "RecursiveLoop": "Terminate" }),
        "GetAccountSettings" => json!({
            "AccountLimit": { "TotalCodeSize": 322_122_547_200_u64, "CodeSizeUnzipped": 262_144_000, "CodeSizeZipped": 52_428_800, "ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 1000 },
            "AccountUsage": { "TotalCodeSize": 0, "FunctionCount": world.functions.len() },
        }),
        "ListTags" => {
            let tags = world
                .functions
                .values()
                .find(|function| function.arn() == arn)
                .map(|function| &function.tags);
            json!({ "Tags": tags })
        }
        _ => json!({}),
    };
    Ok(Answer::json(200, &unset))
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
