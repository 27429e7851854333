//! What the backup has beside the code and the configuration: event sources, policies and the rest of `backup --config full`.

use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::store::{Entry, Manifest, Store, Subject, Titled as _};

/// The fields of a mapping that CreateEventSourceMapping takes too (Lambda API reference).
const INPUT: &[&str] = &[
    "EventSourceArn",
    "BatchSize",
    "FilterCriteria",
    "KMSKeyArn",
    "MetricsConfig",
    "LoggingConfig",
    "ScalingConfig",
    "MaximumBatchingWindowInSeconds",
    "ParallelizationFactor",
    "StartingPosition",
    "StartingPositionTimestamp",
    "DestinationConfig",
    "MaximumRecordAgeInSeconds",
    "BisectBatchOnFunctionError",
    "MaximumRetryAttempts",
    "TumblingWindowInSeconds",
    "Topics",
    "Queues",
    "SourceAccessConfigurations",
    "SelfManagedEventSource",
    "FunctionResponseTypes",
    "AmazonManagedKafkaEventSourceConfig",
    "SelfManagedKafkaEventSourceConfig",
    "DocumentDBEventSourceConfig",
    "ProvisionedPollerConfig",
];

/// What was read beside GetFunction.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// Whether anything was: `backup --config full`.
    pub(super) read: bool,
    /// The operations that found something, but for event sources.
    pub(super) found: Vec<String>,
    /// The operations that were denied or failed: nobody knows what they would have found.
    pub(super) untold: Vec<String>,
    /// Whether event source mappings could be read.
    pub(super) sources_read: bool,
    /// The event source mappings of the function.
    pub(super) sources: Vec<Value>,
}

impl Beside {
    /// Reads what the run has of the function with this ARN, which has no version at its end.
    pub(super) async fn read(store: &Store, entries: &[Entry], arn: &str) -> Result<Self> {
        let mut beside = Self::default();
        let place: Vec<&str> = arn.split(':').take(5).collect();
        let region = format!("{}:event-source-mapping", place.join(":"));
        for entry in entries.iter().filter(|e| e.subject == Subject::Config) {
            let of_region = *entry.arn == *region;
            if !of_region && !is_of(&entry.arn, arn) {
                continue;
            }
            beside.read = true;
            let manifest = store.document(&entry.descriptor()).await?;
            let manifest = Manifest::from_json(&manifest, &entry.arn)?;
            let document = json_of(&store.document(&manifest.config).await?, &entry.arn)?;
            let reads = document["Reads"].as_array().into_iter().flatten();
            for read in reads {
                let operation = read["Operation"].as_str().unwrap_or_default();
                match read["Result"].as_str() {
                    Some("found") => beside.sources_read |= of_region,
                    Some("not_set") => {
                        beside.sources_read |= of_region;
                        continue;
                    }
                    // Of what a server does not know there is nothing.
                    Some("not_applicable" | "unknown") => continue,
                    _ if of_region || beside.untold.iter().any(|one| one == operation) => continue,
                    _ => {
                        beside.untold.push(operation.to_owned());
                        continue;
                    }
                }
                if !of_region {
                    // AWS has an answer for these even where nobody set anything.
                    if !beside.found.iter().any(|found| found == operation) {
                        beside.found.push(operation.to_owned());
                    }
                    continue;
                }
                let file = read["File"].as_str().unwrap_or_default();
                let Some(file) = manifest.titled(file) else {
                    return Err(
                        Error::new(ErrorKind::Mismatch, "the manifest lacks an answer")
                            .about(&*entry.arn),
                    );
                };
                let answer = json_of(&store.document(file).await?, &entry.arn)?;
                let all = answer["EventSourceMappings"].as_array().cloned();
                let own = all.unwrap_or_default().into_iter().filter(|mapping| {
                    let of = mapping["FunctionArn"].as_str();
                    of.is_some_and(|of| is_of(of, arn))
                });
                beside.sources.extend(own);
            }
        }
        Ok(beside)
    }
}

fn json_of(bytes: &[u8], arn: &str) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|e| {
        Error::new(ErrorKind::Mismatch, "is no JSON")
            .about(arn)
            .because(e)
    })
}

/// Whether an ARN is the function's, or that of a version or alias of it.
fn is_of(arn: &str, function: &str) -> bool {
    arn.strip_prefix(function)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

/// Where a mapping leads: to the function, or to a version or alias of it.
pub(super) fn qualifier(mapping: &Value) -> Option<&str> {
    mapping["FunctionArn"].as_str()?.split(':').nth(7)
}

/// What it reads from, in words.
pub(super) fn source(mapping: &Value) -> String {
    match mapping["EventSourceArn"].as_str() {
        Some(arn) => arn.to_owned(),
        None => "a self-managed source".to_owned(),
    }
}

/// Whether two mappings read the same.
pub(super) fn same_source(a: &Value, b: &Value) -> bool {
    [
        "EventSourceArn",
        "SelfManagedEventSource",
        "Topics",
        "Queues",
    ]
    .iter()
    .all(|field| a[*field] == b[*field])
}

/// CreateEventSourceMapping's input for `function`, disabled.
pub(super) fn input(mapping: &Value, function: &str) -> Map<String, Value> {
    let fields = mapping.as_object().into_iter().flatten();
    let mut input: Map<String, Value> = fields
        .filter(|(name, value)| INPUT.contains(&name.as_str()) && !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    input.insert("FunctionName".to_owned(), json!(function));
    input.insert("Enabled".to_owned(), json!(false));
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_made_disabled_and_only_of_what_can_be_given() {
        let mapping = json!({"UUID": "u", "State": "Enabled", "BatchSize": 10, "EventSourceArn": "arn:q",
            "FunctionArn": "arn:aws:lambda:r:1:function:f:live", "FilterCriteria": null});
        let input = Value::Object(input(&mapping, "f:live"));
        assert_eq!(
            input,
            json!({"BatchSize": 10, "EventSourceArn": "arn:q", "FunctionName": "f:live", "Enabled": false})
        );
        assert_eq!(qualifier(&mapping), Some("live"));
        assert!(is_of("arn:f:live", "arn:f") && !is_of("arn:f2", "arn:f"));
    }
}
