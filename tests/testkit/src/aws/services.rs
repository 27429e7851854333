//! Services of which a client needs an operation or two, all at POST `/`: STS and EC2 (Query protocol, a form in and XML
//! out), tagging (JSON 1.1, the operation in `X-Amz-Target`).

use super::answer::{Answer, request_uuid};
use super::call::{Call, account_of, refusal};
use super::sts;
use super::wire::Message;
use super::world::Shared;
use serde_json::{Value, json};

/// The JSON operations: target, operation, handler.
const JSON: &[(&str, &str, Handler)] = &[
    (
        "ResourceGroupsTaggingAPI_20170126.GetResources",
        "GetResources",
        get_resources,
    ),
    (
        "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken",
        "GetAuthorizationToken",
        super::registry::authorization_token,
    ),
];

type Handler = fn(&Shared, &Call, &Value) -> Answer;

/// The operation that a request names.
pub(crate) fn operation(message: &Message) -> &'static str {
    match message.header("x-amz-target") {
        Some(target) => JSON
            .iter()
            .find(|(known, _, _)| *known == target)
            .map_or("Unknown", |(_, operation, _)| operation),
        None if sts::field(message, "Action") == "DescribeRegions" => "DescribeRegions",
        None => sts::operation(message),
    }
}

/// Answers a call.
pub(crate) fn answer(shared: &Shared, call: &Call) -> Answer {
    let Some(target) = call.message.header("x-amz-target") else {
        return match call.operation {
            "DescribeRegions" => describe_regions(shared, call),
            _ => sts::answer(shared, call),
        };
    };
    if let Some(error) = refusal(&shared.world(), call) {
        return failure(error.status, &error.code, &error.message);
    }
    let input: Value = serde_json::from_slice(&call.message.body).unwrap_or_default();
    match JSON.iter().find(|(known, _, _)| *known == target) {
        Some((_, _, handler)) => handler(shared, call, &input),
        None => failure(400, "UnknownOperationException", "no such operation"),
    }
}

/// A JSON 1.1 error.
pub(crate) fn failure(status: u16, code: &str, message: &str) -> Answer {
    Answer::new(
        status,
        "application/x-amz-json-1.1",
        json!({ "__type": code, "message": message }).to_string(),
    )
    .header("x-amzn-RequestId", request_uuid())
}

/// A JSON 1.1 success.
pub(crate) fn success(body: &Value) -> Answer {
    Answer::new(200, "application/x-amz-json-1.1", body.to_string())
        .header("x-amzn-RequestId", request_uuid())
}

/// Functions with all the tags asked for, at most two a page: pages are what a client forgets.
fn get_resources(shared: &Shared, call: &Call, input: &Value) -> Answer {
    let world = shared.world();
    let account = account_of(&world, call.access_key());
    let filters = input["TagFilters"].as_array().cloned().unwrap_or_default();
    let meant: Vec<Value> = world
        .functions
        .values()
        .filter(|function| function.key.0 == account && function.key.1 == call.region())
        .filter(|function| {
            filters.iter().all(|filter| {
                let key = filter["Key"].as_str().unwrap_or_default();
                function.tags.get(key).is_some_and(|value| {
                    let values = filter["Values"].as_array();
                    values.is_none_or(|v| v.is_empty() || v.iter().any(|v| v == value))
                })
            })
        })
        .map(|function| json!({ "ResourceARN": function.arn(), "Tags": [] }))
        .collect();
    let start: usize = input["PaginationToken"]
        .as_str()
        .and_then(|token| token.strip_prefix("page-"))
        .and_then(|number| number.parse().ok())
        .unwrap_or_default();
    let page: Vec<Value> = meant.iter().skip(start).take(2).cloned().collect();
    let end = start + page.len();
    let token = if end < meant.len() {
        format!("page-{end}")
    } else {
        String::new()
    };
    success(&json!({ "ResourceTagMappingList": page, "PaginationToken": token }))
}

fn describe_regions(shared: &Shared, call: &Call) -> Answer {
    let world = shared.world();
    if let Some(error) = refusal(&world, call) {
        let code = match error.code.as_str() {
            "AccessDeniedException" => "UnauthorizedOperation",
            _ => "AuthFailure",
        };
        return Answer::new(
            error.status,
            "text/xml",
            format!(
                "<Response><Errors><Error><Code>{code}</Code><Message>no</Message></Error></Errors><RequestID>{}</RequestID></Response>",
                request_uuid()
            ),
        );
    }
    let item = |name: &String| {
        format!(
            "<item><regionName>{name}</regionName><regionEndpoint>ec2.{name}.amazonaws.com</regionEndpoint><optInStatus>opt-in-not-required</optInStatus></item>"
        )
    };
    let items: Vec<String> = world.regions.iter().map(item).collect();
    let items = items.concat();
    Answer::new(
        200,
        "text/xml",
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<DescribeRegionsResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>{}</requestId><regionInfo>{items}</regionInfo></DescribeRegionsResponse>",
            request_uuid()
        ),
    )
}
