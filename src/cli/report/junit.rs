//! `JUnit` XML, as Jenkins' xUnit plugin defines it and GitLab, Azure and others read it: a test a function.
//!
//! What differs is a failure, what could not be told an error, what is accepted skipped.

use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};

use super::wording::{counts, details, sentence, title};
use crate::cli::escape;
use crate::drift::{FunctionResult, Report, Status};
use crate::error::{Error, ErrorKind, Result};

/// The report as one suite.
pub(super) fn render(report: &Report) -> Result<Vec<u8>> {
    let mut suite = TestSuite::new("larder check");
    let mut names = std::collections::HashMap::<(String, String), u32>::new();
    for result in &report.functions {
        let (class, mut name) = (class(result), title(result));
        // Readers know a test by its two names.
        let n = names.entry((class.clone(), name.clone())).or_default();
        *n += 1;
        if *n > 1 {
            name = format!("{name} ({n})");
        }
        let mut test = TestCase::new(name, outcome(result));
        test.set_classname(class);
        if result.status.is_good() {
            let lines = details(result);
            if !lines.is_empty() {
                test.set_system_out(lines.join("\n"));
            }
        }
        suite.add_test_case(test);
    }
    let warnings = report.warnings.iter().map(|warning| {
        let hint = warning
            .hint
            .as_ref()
            .map(|hint| format!(" ({hint})"))
            .unwrap_or_default();
        let text = format!("warning: {}: {}{hint}", warning.subject, warning.message);
        format!("{}\n", escape::line(&text))
    });
    suite.set_system_out(format!(
        "{}\n{}",
        counts(report),
        warnings.collect::<String>()
    ));
    let mut junit = Junit::new("larder");
    junit.add_test_suite(suite);
    let text = junit.to_string().map_err(|e| {
        Error::new(ErrorKind::Bug, "the report cannot be written as JUnit XML").because(e)
    })?;
    Ok(text.into_bytes())
}

/// `123456789012.eu-west-1`, in the form of a package's name.
fn class(result: &FunctionResult) -> String {
    let parts: Vec<_> = result.function.split(':').collect();
    match parts[..] {
        ["arn", _, "lambda", region, account, ..] => format!("{account}.{region}"),
        _ => "larder".to_owned(),
    }
}

fn outcome(result: &FunctionResult) -> TestCaseStatus {
    let kind = match result.status {
        Status::InSync | Status::Repackaged => return TestCaseStatus::success(),
        Status::Accepted => {
            let mut skipped = TestCaseStatus::skipped();
            skipped.set_message(sentence(result));
            return skipped;
        }
        Status::Drifted | Status::Missing | Status::Unexpected => NonSuccessKind::Failure,
        Status::Unknown => NonSuccessKind::Error,
    };
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(sentence(result));
    status.set_type(result.status.name());
    let mut text = details(result);
    if let Some(expected) = &result.expected {
        let at = expected
            .line
            .map(|line| format!(":{line}"))
            .unwrap_or_default();
        text.push(escape::line(&format!("expected by {}{at}", expected.source)).into_owned());
    }
    status.set_description(text.join("\n"));
    status
}
