//! The list operations and their pages.

use super::answer::{Answer, LambdaError};
use super::call::{Call, account_of};
use super::lambda::{find_function, not_found};
use super::world::{FunctionState, Shared};
use serde_json::{Map, Value, json};

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

pub(crate) fn list_functions(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
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

pub(crate) fn list_versions(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
    let world = shared.world();
    let (function, _) = find_function(&world, call)?;
    page(call, "Versions", all_versions(function))
}

pub(crate) fn list_aliases(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
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

pub(crate) fn alias_answer(function: &FunctionState, name: &str) -> Value {
    let Some(alias) = function.aliases.get(name) else {
        return Value::Null;
    };
    let mut answer = json!({
        "AliasArn": format!("{}:{name}", function.arn()),
        "Name": name,
        "FunctionVersion": alias.version,
        "Description": alias.description,
        "RevisionId": alias.revision,
    });
    if !alias.weights.is_empty() {
        answer["RoutingConfig"] = json!({ "AdditionalVersionWeights": alias.weights });
    }
    answer
}

pub(crate) fn get_alias(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
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
pub(crate) fn page(call: &Call, field: &str, items: Vec<Value>) -> Result<Answer, LambdaError> {
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
