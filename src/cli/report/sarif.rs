//! SARIF 2.1.0: Static Analysis Results Interchange Format (OASIS Standard, 27 March 2020).
//!
//! Rule ids and fingerprints are stable: a system that keeps alerts matches them from run to run. What is accepted is there
//! with a suppression; what is in sync is not, since readers take each result for a finding.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use serde_sarif::sarif::{
    ArtifactLocation, Invocation, Location, LogicalLocation, Message, MultiformatMessageString,
    Notification, PhysicalLocation, PropertyBag, Region, ReportingConfiguration,
    ReportingDescriptor, Result as Finding, ResultKind, ResultLevel, Run, Sarif, Suppression, Tool,
    ToolComponent,
};

use super::wording::{counts, details, fingerprints, place, sentence, title};
use crate::cli::escape;
use crate::drift::{FunctionResult, Report, Status};
use crate::error::Result;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// One kind of finding.
struct Rule {
    status: Status,
    id: &'static str,
    name: &'static str,
    level: ResultLevel,
    short: &'static str,
    help: &'static str,
}

/// Never renamed, and never another meaning.
const RULES: [Rule; 4] = [
    Rule {
        status: Status::Drifted,
        id: "larder-drifted",
        name: "FunctionDrifted",
        level: ResultLevel::Error,
        short: "What Lambda runs is not what is expected.",
        help: "Find out who changed it (CloudTrail: UpdateFunctionCode, UpdateFunctionConfiguration, UpdateAlias). Deploy what is meant, or \
               state what runs as what is meant.",
    },
    Rule {
        status: Status::Missing,
        id: "larder-missing",
        name: "FunctionMissing",
        level: ResultLevel::Error,
        short: "A function, version or alias that is expected is not deployed.",
        help: "Deploy it, or take it out of what is expected.",
    },
    Rule {
        status: Status::Unexpected,
        id: "larder-unexpected",
        name: "FunctionUnexpected",
        level: ResultLevel::Error,
        short: "A function is deployed that is expected nowhere.",
        help: "Find out who made it (CloudTrail: CreateFunction). Remove it, or state it as expected.",
    },
    Rule {
        status: Status::Unknown,
        id: "larder-unknown",
        name: "FunctionUnknown",
        level: ResultLevel::Warning,
        short: "Whether a function is what is expected could not be told.",
        help: "The message says why. It is not in sync until it is checked.",
    },
];

/// The report as a SARIF log with one run.
pub(super) fn render(report: &Report) -> Result<Vec<u8>> {
    let found: Vec<_> = report
        .functions
        .iter()
        .filter_map(|result| Some((result, rule_of(result)?)))
        .collect();
    let results: Vec<&FunctionResult> = found.iter().map(|(result, _)| *result).collect();
    let findings = found
        .iter()
        .zip(fingerprints(&results))
        .map(|((result, rule), fingerprint)| finding(report, result, *rule, fingerprint))
        .collect::<Vec<_>>();
    let notifications = report.warnings.iter().map(|warning| {
        let hint = warning
            .hint
            .as_ref()
            .map(|hint| format!(" ({hint})"))
            .unwrap_or_default();
        Notification::builder()
            .level(json!("warning"))
            .message(message(&format!(
                "{}: {}{hint}",
                warning.subject, warning.message
            )))
            .build()
    });
    let driver = ToolComponent::builder()
        .name("larder")
        .semantic_version(env!("CARGO_PKG_VERSION"))
        .rules(RULES.iter().map(descriptor).collect::<Vec<_>>())
        .build();
    let run = Run::builder()
        .tool(Tool::builder().driver(driver).build())
        .invocations(vec![
            Invocation::builder()
                .execution_successful(true)
                .tool_execution_notifications(notifications.collect::<Vec<_>>())
                .build(),
        ])
        .results(findings)
        .properties(bag([("summary", json!(counts(report)))]))
        .build();
    let log = Sarif::builder()
        .schema(SCHEMA)
        .version(json!("2.1.0"))
        .runs(vec![run])
        .build();
    super::json(&log)
}

/// The rule's index; None for what is no finding.
fn rule_of(result: &FunctionResult) -> Option<usize> {
    let status = result
        .accepted
        .as_ref()
        .map_or(result.status, |accepted| accepted.status);
    RULES.iter().position(|rule| rule.status == status)
}

fn descriptor(rule: &Rule) -> ReportingDescriptor {
    let text = |text: &str| MultiformatMessageString::builder().text(text).build();
    ReportingDescriptor::builder()
        .id(rule.id)
        .name(rule.name)
        .short_description(text(rule.short))
        .full_description(text(rule.short))
        .help(text(rule.help))
        .default_configuration(
            ReportingConfiguration::builder()
                .level(json!(rule.level))
                .build(),
        )
        .build()
}

fn finding(report: &Report, result: &FunctionResult, rule: usize, fingerprint: String) -> Finding {
    let mut text = format!("{}: {}", title(result), sentence(result));
    for line in details(result) {
        text.push('\n');
        text.push_str(&line);
    }
    let level = RULES[rule].level;
    let mut properties = vec![
        ("function", json!(result.function)),
        ("qualifier", json!(result.qualifier)),
        ("status", json!(result.status)),
    ];
    properties.extend(result.alias.as_ref().map(|alias| ("alias", json!(alias))));
    let expected = result
        .expected
        .as_ref()
        .and_then(|e| e.code_sha256.as_ref());
    properties.extend(expected.map(|sha256| ("expectedCodeSha256", json!(sha256))));
    let deployed = result
        .deployed
        .as_ref()
        .and_then(|d| d.code_sha256.as_ref());
    properties.extend(deployed.map(|sha256| ("deployedCodeSha256", json!(sha256))));
    let mut finding = Finding::builder()
        .rule_id(RULES[rule].id)
        .rule_index(i64::try_from(rule).unwrap_or(-1))
        .kind(ResultKind::Fail)
        .level(level)
        .message(message(&text))
        .locations(vec![location(report, result)])
        .partial_fingerprints(BTreeMap::from([(
            "larderFunction/v1".to_owned(),
            fingerprint,
        )]))
        .properties(bag(properties))
        .build();
    if let Some(accepted) = &result.accepted {
        let mut why = accepted.by.clone();
        why.extend(accepted.reason.iter().map(|reason| format!(": {reason}")));
        let suppression = Suppression::builder()
            .kind(json!("external"))
            .status(json!("accepted"))
            .justification(escape::line(&why).into_owned())
            .build();
        finding.suppressions = Some(vec![suppression]);
    }
    finding
}

fn location(report: &Report, result: &FunctionResult) -> Location {
    let logical = LogicalLocation::builder()
        .name(escape::line(result.name()).into_owned())
        .fully_qualified_name(escape::line(&result.function).into_owned())
        .kind("resource")
        .build();
    let mut location = Location::builder().logical_locations(vec![logical]).build();
    if let Some((file, line)) = place(report, result) {
        let mut artifact = ArtifactLocation::builder().uri(uri(file)).build();
        if !file.starts_with('/') {
            artifact.uri_base_id = Some("%SRCROOT%".to_owned());
        }
        // Readers that show code want a line; the first stands for the whole file.
        let region = Region::builder()
            .start_line(i64::from(line.unwrap_or(1)))
            .build();
        location.physical_location = Some(
            PhysicalLocation::builder()
                .artifact_location(artifact)
                .region(region)
                .build(),
        );
    }
    location
}

/// A path as a URI reference (RFC 3986): absolute as `file:`, else relative.
fn uri(path: &str) -> String {
    let mut out = String::new();
    if path.starts_with('/') {
        out.push_str("file://");
    }
    for byte in path.strip_prefix("./").unwrap_or(path).bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            byte => {
                // Writing to a String does not fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// A message's text, in which `[text](link)` would be a link and `{0}` a placeholder (sections 3.11.5 and 3.11.6).
fn message(text: &str) -> Message {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '[' | ']' | '\\' => out.extend(['\\', c]),
            '{' => out.push_str("{{"),
            '}' => out.push_str("}}"),
            c => out.push(c),
        }
    }
    Message::builder().text(out).build()
}

fn bag<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> PropertyBag {
    let entries = entries
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    PropertyBag::builder()
        .additional_properties(entries.collect::<BTreeMap<_, _>>())
        .build()
}
