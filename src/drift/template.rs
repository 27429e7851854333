//! `CloudFormation` templates, as CDK and SAM write them: the functions in one, and what can be told of each.
//!
//! | file | what it knows |
//! |---|---|
//! | `intrinsic` | `Ref`, `Fn::Sub` and so on, as far as the template alone decides them |
//! | `functions` | from resources to expectations; nested stacks |
//!
//! Where the code of a resource lies, CDK and SAM say differently: each is a `Tool`.
//!
//! Sources: "AWS resource and property types reference" of the `CloudFormation` user guide, and the AWS SAM
//! specification.

pub(super) mod functions;
pub(super) mod intrinsic;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value};

use super::{Files, yaml};
use crate::error::{Error, ErrorKind, Result};

/// The largest template that is read, in bytes; `CloudFormation` takes 1 MB.
const MAX_TEMPLATE: usize = 16 << 20;

/// How templates are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TemplateOptions {
    /// `--stack`: of a CDK assembly the stacks to look at, all when empty; of a SAM template the stack it was deployed as.
    pub stacks: Vec<String>,
    /// The region the session asks, for `AWS::Region` where the template is bound to none.
    pub region: Option<String>,
    /// The caller's account, likewise.
    pub account: Option<String>,
}

/// One template.
#[derive(Debug)]
pub(super) struct Template {
    root: Map<String, Value>,
    /// Lines of resources, from 1.
    lines: HashMap<String, u64>,
}

impl Template {
    /// Reads JSON or YAML.
    pub(super) fn read(path: &Path, files: &dyn Files) -> Result<Self> {
        let shown = path.display().to_string();
        let wrong = |message: &str| Error::new(ErrorKind::Usage, message).about(&shown);
        let bytes = files.read(path)?;
        if bytes.len() > MAX_TEMPLATE {
            return Err(wrong(&format!("it is larger than {MAX_TEMPLATE} bytes")));
        }
        let text = std::str::from_utf8(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes))
            .map_err(|_| wrong("it is no UTF-8 text"))?;
        let (value, lines) = if text.trim_start().starts_with('{') {
            // Short YAML may begin with a brace too; what is no JSON gets its chance.
            match serde_json::from_str::<Value>(text) {
                Ok(value) => {
                    let lines = json_lines(text, &value);
                    (value, lines)
                }
                Err(json) => yaml::read(text)
                    .map(|document| (document.value, document.resource_lines))
                    .map_err(|_| wrong("it is broken JSON").because(json.to_string()))?,
            }
        } else {
            let document = yaml::read(text)
                .map_err(|e| wrong("it is no YAML that larder reads").because(e))?;
            (document.value, document.resource_lines)
        };
        match value {
            Value::Object(root) if root.get("Resources").is_some_and(Value::is_object) => {
                Ok(Self { root, lines })
            }
            _ => Err(wrong(
                "it is no CloudFormation template: it has no Resources",
            )),
        }
    }

    /// The resources, in the order of the template.
    fn resources(&self) -> impl Iterator<Item = (&str, &Value)> {
        let resources = self.root.get("Resources").and_then(Value::as_object);
        resources
            .into_iter()
            .flatten()
            .map(|(id, resource)| (id.as_str(), resource))
    }

    /// An entry of one of the other sections: `Parameters`, `Mappings`, `Conditions`.
    fn entry(&self, section: &str, name: &str) -> Option<&Value> {
        self.root.get(section)?.get(name)
    }

    /// A property that SAM's `Globals` give to all functions.
    fn global(&self, property: &str) -> Option<&Value> {
        self.root.get("Globals")?.get("Function")?.get(property)
    }

    /// The names in `Transform`.
    fn transforms(&self) -> Vec<&str> {
        match self.root.get("Transform") {
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => names
                .iter()
                .filter_map(|n| n.as_str().or_else(|| n.get("Name")?.as_str()))
                .collect(),
            Some(other) => other
                .get("Name")
                .and_then(Value::as_str)
                .into_iter()
                .collect(),
            None => Vec::new(),
        }
    }

    fn line(&self, resource: &str) -> Option<u32> {
        self.lines
            .get(resource)
            .and_then(|line| u32::try_from(*line).ok())
    }
}

/// Where in JSON text each resource stands: the first line after `"Resources"` with its id as a key. On one line with
/// everything else, that is line 1.
fn json_lines(text: &str, value: &Value) -> HashMap<String, u64> {
    let ids = value.get("Resources").and_then(Value::as_object);
    let ids: std::collections::HashSet<&str> = ids
        .into_iter()
        .flatten()
        .map(|(id, _)| id.as_str())
        .collect();
    let mut lines = HashMap::new();
    let mut inside = false;
    for (number, line) in (1..).zip(text.lines()) {
        inside |= line.contains("\"Resources\"");
        let key = line
            .trim_start()
            .strip_prefix('"')
            .and_then(|rest| rest.split_once('"'))
            .filter(|(_, after)| after.trim_start().starts_with(':'));
        if let Some((key, _)) = key
            && inside
            && ids.contains(key)
        {
            lines.entry(key.to_owned()).or_insert(number);
        }
    }
    lines
}

/// `relative` from the directory of the file `from`, with `..` taken back as Node and Python do when they join paths.
pub(super) fn beside(from: &Path, relative: &str) -> PathBuf {
    let mut out = PathBuf::new();
    for part in from
        .parent()
        .unwrap_or(Path::new(""))
        .join(relative)
        .components()
    {
        match part {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(out.components().next_back(), Some(Component::Normal(_))) =>
            {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod places {
    use super::*;

    #[test]
    fn paths_are_joined_as_the_tools_do() {
        for (from, relative, want) in [
            ("cdk.out/assembly-B/t.json", "../asset.1", "cdk.out/asset.1"),
            ("template.yaml", "./src", "src"),
            ("a/template.yaml", "../../src", "../src"),
            ("/a/t.yaml", "/b/c", "/b/c"),
            ("../a/t.yaml", "../x", "../x"),
        ] {
            assert_eq!(
                beside(Path::new(from), relative),
                Path::new(want),
                "{from} {relative}"
            );
        }
    }

    #[test]
    fn resources_of_json_have_lines() {
        let text = "{\n \"Parameters\": {\n  \"A\": {}\n },\n \"Resources\": {\n  \"A\": {\n   \"Ref\": \"B\"\n  },\n  \"B\": {}\n }\n}";
        let lines = json_lines(text, &serde_json::from_str(text).unwrap());
        assert_eq!((lines["A"], lines["B"]), (6, 9));
    }
}
