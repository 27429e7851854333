//! The reads beside a function's code: what a test set for them, else what AWS says of a thing not set.

use super::answer::{Answer, LambdaError};
use super::call::Call;
use super::lambda::{find_function, not_found};
use super::world::Shared;
use serde_json::json;

/// A read with no state of its own: what the test set for it, else what AWS says of a thing not set.
pub(crate) fn side_read(shared: &Shared, call: &Call) -> Result<Answer, LambdaError> {
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
