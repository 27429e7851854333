//! Lambda's rest-json API: a table of routes and the handlers of the reads that have a state behind them.
//!
//! Paths and parameters are those of the public service model (`lambda/2015-03-31/service-2.json` in botocore).
//! A further side read is one more line in [`ROUTES`].

use super::answer::{Answer, LambdaError};
use super::call::{Call, account_of, caller_arn};
use super::describe::{get_configuration, get_function};
use super::lists::{get_alias, list_aliases, list_functions, list_versions};
use super::side::side_read;
use super::wire::{Message, decode_path};
use super::world::{FunctionKey, FunctionState, Shared, World, partition};
use super::write;

type Handler = fn(&Shared, &Call) -> Result<Answer, LambdaError>;

struct Route {
    method: &'static str,
    path: &'static str,
    operation: &'static str,
    handler: Handler,
}

/// The path of two operations.
const LAYERS: &str = "2018-10-31/layers";

/// Every operation: path (a star is one segment), its name, handler; a GET unless it changes something.
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
        "2018-10-31/layers/*/versions",
        "ListLayerVersions",
        super::layer::list_layer_versions,
    ),
    // Told apart from the next one by its query.
    route(LAYERS, "ListLayers", super::layer::list_layers),
    route(LAYERS, "GetLayerVersionByArn", super::layer::get_by_arn),
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
    change(
        "POST",
        "2015-03-31/functions",
        "CreateFunction",
        write::create_function,
    ),
    change(
        "PUT",
        "2015-03-31/functions/*/code",
        "UpdateFunctionCode",
        write::update_code,
    ),
    change(
        "PUT",
        "2015-03-31/functions/*/configuration",
        "UpdateFunctionConfiguration",
        write::update_configuration,
    ),
    change(
        "POST",
        "2015-03-31/functions/*/versions",
        "PublishVersion",
        write::publish_version,
    ),
    change(
        "POST",
        "2015-03-31/functions/*/aliases",
        "CreateAlias",
        write::create_alias,
    ),
    change(
        "PUT",
        "2015-03-31/functions/*/aliases/*",
        "UpdateAlias",
        write::update_alias,
    ),
    change(
        "POST",
        "2017-03-31/tags/*",
        "TagResource",
        write::tag_resource,
    ),
    change(
        "PUT",
        "2017-10-31/functions/*/concurrency",
        "PutFunctionConcurrency",
        write::put_concurrency,
    ),
    change(
        "POST",
        "2018-10-31/layers/*/versions",
        "PublishLayerVersion",
        write::publish_layer,
    ),
    change(
        "POST",
        "2015-03-31/event-source-mappings",
        "CreateEventSourceMapping",
        write::create_event_source,
    ),
];

const fn route(path: &'static str, operation: &'static str, handler: Handler) -> Route {
    change("GET", path, operation, handler)
}

const fn change(
    method: &'static str,
    path: &'static str,
    operation: &'static str,
    handler: Handler,
) -> Route {
    Route {
        method,
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
pub(crate) fn find(message: &Message) -> Option<(&'static str, Vec<String>)> {
    matching(message).map(|(route, arguments)| (route.operation, arguments))
}

fn matching(message: &Message) -> Option<(&'static Route, Vec<String>)> {
    let given: Vec<&str> = message.path.trim_matches('/').split('/').collect();
    let finds = message.query_value("find").is_some();
    ROUTES.iter().find_map(|route| {
        if route.path == LAYERS && finds != (route.operation == "GetLayerVersionByArn") {
            return None;
        }
        let wanted: Vec<&str> = route.path.split('/').collect();
        let same = message.method == route.method
            && wanted.len() == given.len()
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
    let Some((route, _)) = matching(call.message) else {
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
        world.settle();
    }
    // A change that is refused is not made. One whose answer alone shall be lost has another fault.
    if call.message.method != "GET"
        && let Some(error) = call.faults.iter().find_map(|fault| match fault {
            super::fault::Fault::Lambda(error) => Some(error),
            _ => None,
        })
    {
        return error.answer();
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
pub(crate) fn find_function<'a>(
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
