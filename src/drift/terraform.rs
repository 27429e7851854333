//! Terraform: what a state or a plan means a function to be.
//!
//! Read are `terraform show -json` of a state and of a plan, and the raw state of version 4 (`terraform.tfstate`,
//! `terraform state pull`); `OpenTofu` writes the same. Sources: "JSON Output Format" of the Terraform documentation,
//! the raw state as `internal/states/statefile/version4.go` writes it, and the AWS provider's pages of
//! `aws_lambda_function`, `aws_lambda_alias` and `aws_lambda_layer_version`.
//!
//! A state holds secrets. Of a resource only the attributes named in `intent` are used, of the environment the
//! names alone, and an error quotes nothing but places.

mod intent;
mod resource;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Files, Stated};
use crate::error::{Error, ErrorKind, Result};

/// Which of a resource's hashes says what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TerraformHash {
    /// The first there is of: a configured `code_sha256`, the local `filename`, `source_code_hash`, and the state's
    /// `code_sha256`.
    #[default]
    Auto,
    /// `code_sha256`: what AWS answered at the last apply or refresh. For configurations whose `source_code_hash` is
    /// a hash of sources.
    CodeSha256,
    /// `source_code_hash`, never the local file.
    SourceCodeHash,
}

/// How a state is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TerraformOptions {
    /// `--terraform-hash`.
    pub hash: TerraformHash,
}

/// Reads a state or plan.
///
/// # Errors
/// [`ErrorKind::Usage`]: it is no JSON, not Terraform's, of a version that is not known, encrypted, or without any
/// function or alias of Lambda. What [`Files`] say when it cannot be read.
pub fn read(path: &Path, files: &dyn Files, options: &TerraformOptions) -> Result<Stated> {
    let shown = path.display().to_string();
    let bytes = files.read(path)?;
    let text = text_of(&bytes).map_err(|e| e.about(&shown))?;
    let resources = resources_of(text).map_err(|e| e.about(&shown))?;
    let stated = intent::expectations(&resources, path, files, options);
    if stated.expectations.is_empty() {
        return Err(
            Error::new(ErrorKind::Usage, "there is no aws_lambda_function or aws_lambda_alias in it")
                .about(shown)
                .hint("is it the state of another workspace or component? Data sources and deposed objects do not count"),
        );
    }
    Ok(stated)
}

const SHOW: &str = "give the output of `terraform show -json` (of the state, or of a saved plan), or a raw state of version 4";

fn text_of(bytes: &[u8]) -> Result<&str> {
    let wrong = |message: &str| Error::new(ErrorKind::Usage, message);
    if bytes.starts_with(b"PK\x03\x04") {
        return Err(wrong("this is a plan in Terraform's own form")
            .hint("`terraform show -json PLAN > plan.json` writes it as JSON"));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(wrong("it is written in UTF-16")
            .hint("PowerShell's `>` does that; `| Out-File -Encoding utf8` does not"));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(wrong("it is empty").hint(SHOW));
    }
    std::str::from_utf8(bytes).map_err(|e| {
        let at = e.valid_up_to();
        wrong(&format!("it is no UTF-8 text: byte {at}")).hint(SHOW)
    })
}

/// The fields that tell the forms apart. What lies below them is looked at only where it is needed.
#[derive(Deserialize)]
struct Top<'a> {
    #[serde(borrow)]
    version: Option<&'a RawValue>,
    #[serde(borrow)]
    format_version: Option<&'a RawValue>,
    #[serde(borrow)]
    values: Option<&'a RawValue>,
    #[serde(borrow)]
    planned_values: Option<&'a RawValue>,
    #[serde(borrow)]
    resource_changes: Option<&'a RawValue>,
    #[serde(borrow)]
    configuration: Option<&'a RawValue>,
    #[serde(borrow)]
    resources: Option<&'a RawValue>,
    #[serde(borrow)]
    encrypted_data: Option<&'a RawValue>,
    #[serde(borrow, rename = "@level")]
    log_level: Option<&'a RawValue>,
}

fn resources_of(text: &str) -> Result<Vec<resource::Resource>> {
    let wrong = |message: String| Error::new(ErrorKind::Usage, message);
    let first_line = text.trim_start().lines().next().unwrap_or_default();
    let top: Top<'_> = serde_json::from_str(text).map_err(|e| {
        // Terraform's `-json` of plan and apply is a log: one object a line.
        if first_line.contains("\"@level\"") {
            return log();
        }
        broken(&e).hint(SHOW)
    })?;
    if top.encrypted_data.is_some() {
        return Err(wrong("the state is encrypted".into()).hint(
            "`tofu show -json` or `tofu state pull`, where the key is at hand, gives it in clear",
        ));
    }
    if top.log_level.is_some() {
        return Err(log());
    }
    if let Some(format) = top.format_version {
        let format: String = serde_json::from_str(format.get()).unwrap_or_default();
        if !matches!(format.split('.').next(), Some("0" | "1")) {
            return Err(wrong(format!(
                "format_version is {format:?}; larder reads `terraform show -json` of formats 0 and 1"
            )));
        }
        return match (top.planned_values, top.values) {
            (Some(planned), _) => {
                resource::of_plan(planned, top.resource_changes, top.configuration)
            }
            (None, Some(values)) => resource::of_state(values),
            // An empty state is the version alone.
            (None, None) => Ok(Vec::new()),
        }
        .map_err(|e| broken(&e));
    }
    match (top.version, top.resources) {
        (Some(version), resources) => {
            let version = version.get();
            if version != "4" {
                let short: String = version.chars().take(20).collect();
                return Err(wrong(format!(
                    "it is a state of version {short}; larder reads version 4"
                ))
                .hint("`terraform show -json`, by the Terraform that wrote it, is read too"));
            }
            match resources {
                Some(resources) => resource::of_raw_state(resources).map_err(|e| broken(&e)),
                None => Ok(Vec::new()),
            }
        }
        (None, _) => Err(wrong("this is JSON, and no Terraform state or plan".into()).hint(SHOW)),
    }
}

fn log() -> Error {
    Error::new(ErrorKind::Usage, "this is the log of a Terraform run").hint(SHOW)
}

/// What serde says of a syntax error names a place only. What it says of other data would quote it.
fn broken(error: &serde_json::Error) -> Error {
    if error.is_data() {
        Error::new(
            ErrorKind::Usage,
            "it is not of the form that Terraform writes",
        )
    } else {
        Error::new(ErrorKind::Usage, "it is broken JSON").because(error.to_string())
    }
}

#[cfg(test)]
mod refusals {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;

    fn error_of(bytes: &[u8]) -> Error {
        let files = BTreeMap::from([(PathBuf::from("s.json"), bytes.to_vec())]);
        read(Path::new("s.json"), &files, &TerraformOptions::default()).unwrap_err()
    }

    #[test]
    fn each_bad_input_has_its_own_message() {
        let no_lambda = r#"{"version":4,"resources":[{"mode":"managed","type":"aws_s3_bucket","name":"b",
            "instances":[{"attributes":{"arn":"arn:aws:s3:::b","layers":{"odd":1}}}]}]}"#;
        let data = r#"{"format_version":"1.0","values":{"root_module":{"resources":[{"address":"data.aws_lambda_function.x",
            "mode":"data","type":"aws_lambda_function","name":"x","values":{"function_name":"x"}}]}}}"#;
        for (text, want) in [
            ("", "it is empty"),
            (" \n", "it is empty"),
            ("{\"version\": 4, ", "it is broken JSON"),
            (
                "resource \"aws_lambda_function\" \"x\" {}",
                "it is broken JSON",
            ),
            ("[]", "not of the form that Terraform writes"),
            ("{}", "no Terraform state or plan"),
            (
                r#"{"version": 3, "modules": []}"#,
                "a state of version 3; larder reads version 4",
            ),
            (r#"{"version": 5, "resources": []}"#, "a state of version 5"),
            (r#"{"version": "4"}"#, "a state of version \"4\""),
            (r#"{"format_version": "2.0"}"#, "format_version is \"2.0\""),
            (r#"{"format_version": "1.0"}"#, "no aws_lambda_function"),
            (
                r#"{"version": 4, "resources": []}"#,
                "no aws_lambda_function",
            ),
            (
                r#"{"version": 4, "resources": {"a": 1}}"#,
                "not of the form",
            ),
            (no_lambda, "no aws_lambda_function"),
            (data, "no aws_lambda_function"),
            (
                r#"{"serial":1,"lineage":"x","meta":{},"encrypted_data":"AAAA","encryption_version":"v0"}"#,
                "the state is encrypted",
            ),
            (
                "{\"@level\":\"info\"}\n{\"@level\":\"info\"}\n",
                "the log of a Terraform run",
            ),
            ("{\"@level\":\"info\"}", "the log of a Terraform run"),
            ("PK\x03\x04rest", "a plan in Terraform's own form"),
        ] {
            let error = error_of(text.as_bytes());
            assert_eq!(error.kind(), ErrorKind::Usage, "{text}");
            assert_eq!(error.subject(), Some("s.json"), "{text}");
            assert!(error.message().contains(want), "{text}: {error}");
        }
        assert!(error_of(b"\xff\xfe{\0").message().contains("UTF-16"));
        assert!(
            error_of(b"{\"a\": \"\xc3\"}")
                .message()
                .contains("no UTF-8")
        );
    }

    #[test]
    fn an_error_quotes_no_value() {
        let text = r#"{"version": 4, "resources": [{"mode": {"SECRET": "hunter2"}, "type": 7}]}"#;
        assert!(!format!("{:?}", error_of(text.as_bytes())).contains("hunter2"));
    }
}
