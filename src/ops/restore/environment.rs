//! The values of environment variables where the backup has none, or others are wanted.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fields::Fields;
use crate::error::{Error, ErrorKind, Result};

/// Names and values from `--env-from`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

/// Names only.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Environment {
    /// Reads a JSON object of texts, or lines `NAME=VALUE`; empty lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// It is neither. No error quotes a value.
    pub fn parse(bytes: &[u8], subject: &str) -> Result<Self> {
        let wrong = |message: String| Error::new(ErrorKind::Usage, message).about(subject);
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("is no UTF-8".to_owned()))?;
        if text.trim_start().starts_with('{') {
            let map: Map<String, Value> = serde_json::from_str(text).map_err(|e| {
                wrong(format!(
                    "is no JSON object: line {}, column {}",
                    e.line(),
                    e.column()
                ))
            })?;
            let each = map.into_iter().map(|(name, value)| match value {
                Value::String(value) => Ok((name, value)),
                _ => Err(wrong(format!("the value of {name} is no text"))),
            });
            return Ok(Self(each.collect::<Result<_>>()?));
        }
        let lines = text.lines().enumerate();
        let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let each = lines.map(|(number, line)| match line.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                Ok((name.trim().to_owned(), value.to_owned()))
            }
            _ => Err(wrong(format!("line {} is no NAME=VALUE", number + 1))),
        });
        Ok(Self(each.collect::<Result<_>>()?))
    }

    /// Gives the variables in `fields` their values, and answers the names of those that have none.
    pub(super) fn fill(&self, fields: &mut Fields) -> Vec<String> {
        let variables = fields.get_mut("Environment");
        let variables = variables.and_then(|e| e["Variables"].as_object_mut());
        let mut missing = Vec::new();
        for (name, value) in variables.into_iter().flatten() {
            match self.0.get(name) {
                Some(given) => *value = Value::String(given.clone()),
                None if value.is_null() => missing.push(name.clone()),
                None => {}
            }
        }
        missing
    }

    /// The whole of it as a field, for a backup that could not see the variables.
    pub(super) fn whole(&self) -> Value {
        serde_json::json!({ "Variables": self.0 })
    }

    /// The names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_are_read() {
        let json = Environment::parse(br#" {"A": "x=y", "B": ""}"#, "f").unwrap();
        let lines = Environment::parse(b"# c\n\nA=x=y\nB=\n", "f").unwrap();
        assert_eq!(json, lines);
        for broken in ["{\"A\": s3cret", "{\"A\": 1}", "s3cret", "=s3cret", "{"] {
            let e = Environment::parse(broken.as_bytes(), "f").unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Usage);
            assert!(!e.sentence().contains("s3cret"), "{e:?}");
        }
        assert!(!format!("{json:?}").contains('x'));
    }

    #[test]
    fn what_has_no_value_is_named() {
        let mut fields = Fields::new();
        let variables = json!({"Variables": {"A": null, "B": null, "C": "kept"}});
        fields.insert("Environment".to_owned(), variables);
        let given = Environment::parse(b"A=1\n", "f").unwrap();
        assert_eq!(given.fill(&mut fields), ["B"]);
        assert_eq!(
            fields["Environment"]["Variables"],
            json!({"A": "1", "B": null, "C": "kept"})
        );
    }
}
