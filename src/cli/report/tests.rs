//! Each format against its schema, or its grammar, with texts that try to break out of it.

use quick_xml::events::Event;
use serde_json::Value;

use super::wording::fingerprints;
use super::{github, gitlab, junit, markdown, sarif};
use crate::drift::{
    Accepted, Change, ChangeKind, ConfigChange, Deployed, Expected, FunctionResult, LayerResult,
    LayerStatus, Report, ReportWarning, Status,
};
use crate::error::{ErrorKind, Result};

/// What an archive or AWS could say.
const NASTY: &str =
    "a|b`c`\x1b[31m]]></x>&%0A::error::<script>\n::warning::x\u{202e}{0}[t](http://h),d:e\0";

fn arn(name: &str) -> String {
    format!("arn:aws:lambda:eu-west-1:123456789012:function:{name}")
}

fn expected(file: Option<&str>, line: Option<u32>) -> Expected {
    Expected {
        source: file
            .unwrap_or("fShbYd8jsRsrAYMO3p04WXXWjdx3c/ZrScNvrE//fS4=")
            .to_owned(),
        file: file.map(ToOwned::to_owned),
        line,
        code_sha256: Some("fShbYd8jsRsrAYMO3p04WXXWjdx3c/ZrScNvrE//fS4=".into()),
        ..Expected::default()
    }
}

fn deployed(version: &str) -> Deployed {
    Deployed {
        version: Some(version.to_owned()),
        code_sha256: Some("ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=".into()),
        ..Deployed::default()
    }
}

fn report() -> Report {
    let change = |path: &str, change| Change {
        path: path.to_owned(),
        change,
        expected_sha256: None,
        deployed_sha256: None,
        diff: Some("-the secret line\n+another".into()),
    };
    let mut drifted = FunctionResult::new(arn("orders"), "$LATEST", Status::Drifted);
    drifted.reason = Some(format!("2 files differ {NASTY}"));
    drifted.expected = Some(expected(Some("./infra dir/état.json"), Some(7)));
    drifted.deployed = Some(deployed("$LATEST"));
    drifted.changes = vec![
        change("index.py", ChangeKind::Modified),
        change(NASTY, ChangeKind::Added),
    ];
    drifted
        .changes
        .extend((0..60).map(|i| change(&format!("f{i}"), ChangeKind::Removed)));
    drifted.changes_left_out = 5;
    drifted.layers = vec![LayerResult {
        status: LayerStatus::Drifted,
        expected: Some("arn:aws:lambda:eu-west-1:1:layer:a:1".into()),
        deployed: Some("arn:aws:lambda:eu-west-1:1:layer:a:2".into()),
        expected_sha256: None,
        deployed_sha256: None,
        reason: Some("another version".into()),
        cause: None,
        changes: vec![],
    }];
    drifted.config = vec![ConfigChange {
        field: "timeout".into(),
        expected: 3.into(),
        deployed: 5.into(),
    }];
    drifted.notes = vec!["compared with source_code_hash".into()];
    let of_alias = |version: &str| {
        let mut result = FunctionResult::new(arn("orders"), "live", Status::Drifted);
        result.alias = Some("live".into());
        result.expected = Some(expected(Some("./infra dir/état.json"), None));
        result.deployed = Some(deployed(version));
        result
    };
    let mut accepted = FunctionResult::new(arn("known"), "$LATEST", Status::Accepted);
    accepted.accepted = Some(Accepted {
        status: Status::Drifted,
        by: "accept.toml:3".into(),
        reason: Some(NASTY.into()),
        until: Some("2026-12-31".into()),
    });
    let mut unknown = FunctionResult::new(
        "module.a.aws_lambda_function.x[\"k\"]",
        "$LATEST",
        Status::Unknown,
    );
    unknown.reason = Some("its code is written inline".into());
    unknown.cause = Some(ErrorKind::AccessDenied);
    unknown.expected = Some(expected(Some("/abs/template.yaml"), Some(3)));
    let mut in_sync = FunctionResult::new(arn("fine"), "$LATEST", Status::InSync);
    in_sync.expected = Some(expected(Some("./infra dir/état.json"), Some(1)));
    let functions = vec![
        drifted,
        of_alias("7"),
        of_alias("8"),
        accepted,
        unknown,
        in_sync,
        FunctionResult::new(arn("again"), "$LATEST", Status::Repackaged),
        FunctionResult::new(arn("gone"), "5", Status::Missing),
        FunctionResult::new(arn("stray"), "$LATEST", Status::Unexpected),
    ];
    let warning = ReportWarning {
        subject: "accept.toml:9".into(),
        message: format!("expired {NASTY}"),
        hint: Some("remove it".into()),
    };
    Report::new(functions, vec![warning])
}

fn rendered(render: fn(&Report) -> Result<Vec<u8>>, report: &Report) -> String {
    let text = String::from_utf8(render(report).unwrap()).unwrap();
    // None of the formats has any use for what acts on a terminal.
    let unsafe_char = text
        .chars()
        .find(|c| c.is_control() && *c != '\n' || *c == '\u{202e}');
    assert_eq!(unsafe_char, None, "{text}");
    assert!(!text.contains("the secret line"), "diffs are for people");
    text
}

fn valid(schema: &str, text: &str) -> Value {
    // A pattern in SARIF's schema has a bracket too many, which ECMA 262 forgives and this validator does not.
    let schema = schema.replace("{2}]?$", r"{2}\\]?$");
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let value: Value = serde_json::from_str(text).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(&value)
        .map(|e| format!("{} at {}", e, e.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}\n{text}");
    value
}

const SARIF: &str = include_str!("../../../testdata/schemas/sarif-2.1.0.json");

#[test]
fn sarif_keeps_its_schema() {
    let report = report();
    let log = valid(SARIF, &rendered(sarif::render, &report));
    let run = &log["runs"][0];
    let rules: Vec<_> = run["tool"]["driver"]["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["id"].as_str().unwrap())
        .collect();
    assert_eq!(
        rules,
        [
            "larder-drifted",
            "larder-missing",
            "larder-unexpected",
            "larder-unknown"
        ]
    );
    let results = run["results"].as_array().unwrap();
    // Three of orders, and known, module.a…, gone, stray; what is in sync is no finding.
    assert_eq!(results.len(), 7);
    let mut seen = std::collections::BTreeSet::new();
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(result["ruleId"], rules[index]);
        assert!(
            seen.insert(result["partialFingerprints"]["larderFunction/v1"].to_string()),
            "{result}"
        );
        assert!(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].is_string());
    }
    let of = |name: &str| {
        results
            .iter()
            .find(|r| {
                r["properties"]["function"]
                    .as_str()
                    .unwrap()
                    .ends_with(name)
            })
            .unwrap()
    };
    let place = |name: &str| of(name)["locations"][0]["physicalLocation"].clone();
    let uri = "infra%20dir/%C3%A9tat.json";
    assert_eq!(place(":orders")["artifactLocation"]["uri"], uri);
    assert_eq!(
        place(":orders")["artifactLocation"]["uriBaseId"],
        "%SRCROOT%"
    );
    assert_eq!(place(":orders")["region"]["startLine"], 7);
    assert_eq!(
        place(":stray")["artifactLocation"]["uri"],
        uri,
        "where it should be declared"
    );
    assert_eq!(
        place("x[\"k\"]")["artifactLocation"]["uri"],
        "file:///abs/template.yaml"
    );
    assert_eq!(of("x[\"k\"]")["level"], "warning");
    assert_eq!(of(":known")["suppressions"][0]["kind"], "external");
    assert_eq!(of(":known")["ruleId"], "larder-drifted");
    assert!(of(":orders").get("suppressions").is_none());
    let text = of(":orders")["message"]["text"].as_str().unwrap();
    assert!(
        text.contains("and 17 more files") && text.contains("timeout: expected 3, deployed 5"),
        "{text}"
    );
    assert!(
        text.contains(r"\[t\](http") && text.contains("{{0}}"),
        "{text}"
    );
    let note = run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]
        .as_str()
        .unwrap();
    assert!(note.starts_with("accept.toml:9: expired"), "{note}");
    valid(
        SARIF,
        &rendered(sarif::render, &Report::new(vec![], vec![])),
    );
}

#[test]
fn fingerprints_do_not_depend_on_what_is_deployed() {
    let of = |report: &Report| -> Vec<String> {
        fingerprints(&report.functions.iter().collect::<Vec<_>>())
    };
    let before = report();
    let mut after = report();
    for result in &mut after.functions {
        result.reason = Some("another reason".into());
        if let Some(deployed) = &mut result.deployed {
            deployed.code_sha256 = None;
        }
    }
    assert_eq!(of(&before), of(&after));
}

#[test]
fn gitlab_keeps_its_format() {
    const SCHEMA: &str = include_str!("../../../testdata/schemas/gitlab-code-quality.json");
    let findings = valid(SCHEMA, &rendered(gitlab::render, &report()));
    let findings = findings.as_array().unwrap();
    assert_eq!(
        findings.len(),
        6,
        "what is accepted or in sync is no finding"
    );
    let prints: std::collections::BTreeSet<_> =
        findings.iter().map(|f| f["fingerprint"].as_str()).collect();
    assert_eq!(prints.len(), 6);
    assert_eq!(
        valid(
            SCHEMA,
            &rendered(gitlab::render, &Report::new(vec![], vec![]))
        ),
        serde_json::json!([])
    );
    let lone = Report::new(
        vec![FunctionResult::new("f", "$LATEST", Status::Unexpected)],
        vec![],
    );
    let lone = valid(SCHEMA, &rendered(gitlab::render, &lone));
    assert_eq!(lone[0]["location"]["path"], "larder.lock");
}

/// An element with its parents, its attributes, and its text.
type Element = (String, Vec<(String, String)>, String);

fn elements(text: &str) -> Vec<Element> {
    let mut reader = quick_xml::Reader::from_str(text);
    let (mut open, mut out) = (Vec::<usize>::new(), Vec::<Element>::new());
    loop {
        let event = reader.read_event().unwrap();
        let start = match &event {
            Event::Start(start) | Event::Empty(start) => Some(start),
            _ => None,
        };
        if let Some(start) = start {
            let name = String::from_utf8(start.name().0.to_vec()).unwrap();
            let path = open
                .last()
                .map_or(name.clone(), |at| format!("{}/{name}", out[*at].0));
            let attributes = start.attributes().map(|a| {
                let a = a.unwrap();
                let value = quick_xml::escape::unescape(std::str::from_utf8(&a.value).unwrap())
                    .unwrap()
                    .into_owned();
                (String::from_utf8(a.key.0.to_vec()).unwrap(), value)
            });
            out.push((path, attributes.collect(), String::new()));
            if matches!(event, Event::Start(_)) {
                open.push(out.len() - 1);
            }
            continue;
        }
        match event {
            Event::End(_) => {
                open.pop();
            }
            Event::Text(text) => {
                if let Some(at) = open.last() {
                    out[*at].2.push_str(&text.decode().unwrap());
                }
            }
            Event::CData(text) => {
                let at = *open.last().unwrap();
                out[at].2.push_str(&text.decode().unwrap());
            }
            Event::Eof => return out,
            _ => {}
        }
    }
}

/// The elements and attributes of Jenkins' `junit-10.xsd`, as far as they are used.
#[test]
fn junit_keeps_its_structure() {
    let report = report();
    let text = rendered(junit::render, &report);
    let elements = elements(&text);
    let allowed: &[(&str, &[&str])] = &[
        // `skipped` is not in that schema; pytest and nextest write it too, and readers pass over it.
        (
            "testsuites",
            &["name", "tests", "failures", "errors", "skipped"],
        ),
        (
            "testsuites/testsuite",
            &["name", "tests", "disabled", "skipped", "errors", "failures"],
        ),
        ("testsuites/testsuite/testcase", &["name", "classname"]),
        (
            "testsuites/testsuite/testcase/failure",
            &["message", "type"],
        ),
        ("testsuites/testsuite/testcase/error", &["message", "type"]),
        ("testsuites/testsuite/testcase/skipped", &["message"]),
        ("testsuites/testsuite/testcase/system-out", &[]),
        ("testsuites/testsuite/system-out", &[]),
    ];
    for (path, attributes, _) in &elements {
        let (_, names) = allowed
            .iter()
            .find(|(known, _)| known == path)
            .unwrap_or_else(|| panic!("{path}\n{text}"));
        for (name, _) in attributes {
            assert!(names.contains(&name.as_str()), "{path} {name}");
        }
    }
    let count = |path: &str| elements.iter().filter(|(p, ..)| p.ends_with(path)).count();
    assert_eq!(
        (
            count("/testcase"),
            count("/failure"),
            count("/error"),
            count("/skipped")
        ),
        (9, 5, 1, 1)
    );
    let suite: std::collections::BTreeMap<_, _> = elements[1].1.iter().cloned().collect();
    let stated = ["tests", "failures", "errors", "skipped"]
        .map(|name| suite.get(name).cloned().unwrap_or_default());
    assert_eq!(stated, ["9", "5", "1", "1"]);
    let mut names = std::collections::BTreeSet::new();
    for (_, attributes, _) in elements.iter().filter(|(p, ..)| p.ends_with("/testcase")) {
        assert!(names.insert(attributes.clone()), "{attributes:?} twice");
    }
    let all = format!("{elements:?}");
    assert!(
        all.contains("modified: index.py") && all.contains("123456789012.eu-west-1"),
        "{all}"
    );
    assert!(
        all.contains("<script>"),
        "escaped in the file, whole in the text"
    );
}

#[test]
fn github_has_one_annotation_a_function() {
    let text = rendered(|r| Ok(github::render(r)), &report());
    let lines: Vec<_> = text.lines().collect();
    let commands: Vec<_> = lines.iter().filter(|l| l.starts_with("::")).collect();
    assert_eq!(
        commands.len(),
        lines.len() - 1,
        "nothing breaks out of its line: {text}"
    );
    assert_eq!(commands.len(), 5, "{text}");
    let pattern = regex_lite::Regex::new(r"^::(error|warning) ((file|line|title)=[^:,\r\n]*)(,(file|line|title)=[^:,\r\n]*)*::[^\r\n]+$").unwrap();
    for command in &commands {
        assert!(pattern.is_match(command), "{command}");
    }
    let orders = commands
        .iter()
        .find(|c| c.contains("title=orders%3A drifted"))
        .unwrap();
    assert!(
        orders.starts_with("::error file=infra dir/état.json,line=7,"),
        "{orders}"
    );
    assert!(orders.contains("%0Amodified: index.py%0A"), "{orders}");
    assert!(
        orders.contains("orders (alias live, version 7)"),
        "{orders}"
    );
    assert!(orders.contains("%250A::error::"), "{orders}");
    assert!(
        commands
            .iter()
            .any(|c| c.starts_with("::warning") && c.contains("aws_lambda_function")),
        "{text}"
    );
    assert!(!text.contains("title=fine") && !text.contains("title=known"));
    assert_eq!(
        lines.last(),
        Some(
            &"larder check: 9 checked: 1 in sync, 1 repackaged, 3 drifted, 1 missing, 1 unexpected, 1 unknown, 1 accepted"
        )
    );
}

#[test]
fn markdown_has_a_table_and_no_html_of_others() {
    let text = rendered(|r| Ok(markdown::render(r)), &report());
    assert!(
        text.starts_with("## larder check: drift\n\n9 checked: "),
        "{text}"
    );
    let rows: Vec<_> = text.lines().filter(|l| l.starts_with("| **")).collect();
    assert_eq!(rows.len(), 6, "{text}");
    let bars = regex_lite::Regex::new(r"(^|[^\\])\|").unwrap();
    for row in rows {
        assert_eq!(bars.find_iter(row).count(), 4, "{row}");
    }
    let tags = regex_lite::Regex::new("<[^>]*>").unwrap();
    for tag in tags.find_iter(&text) {
        assert!(
            ["<details>", "</details>", "<summary>", "</summary>"].contains(&tag.as_str()),
            "{}",
            tag.as_str()
        );
    }
    assert!(!text.contains("](http"), "{text}");
    let unknown = FunctionResult::new("f", "$LATEST", Status::Unknown);
    let text = rendered(
        |r| Ok(markdown::render(r)),
        &Report::new(vec![unknown], vec![]),
    );
    assert!(
        text.starts_with("## larder check: could not tell\n"),
        "{text}"
    );
    let many =
        (0..40_000).map(|i| FunctionResult::new(arn(&format!("f{i}")), "$LATEST", Status::Missing));
    let text = rendered(
        |r| Ok(markdown::render(r)),
        &Report::new(many.collect(), vec![]),
    );
    assert!(
        text.len() < 1 << 20 && text.contains("more, which would not fit here"),
        "{}",
        text.len()
    );
}
