//! A JSON answer as it came, with every field, and the few that larder reads by name.

use serde_json::{Map, Value};

use crate::presigned::PresignedUrl;
use crate::record::Incomplete;

/// The whole JSON object of an answer, in the order it came and with numbers as they were written.
///
/// It is kept instead of the SDK's typed output because that knows only the fields of its own release.
#[derive(Clone, PartialEq)]
pub struct Answer(Map<String, Value>);

/// Parts of an answer that say by an error object that they are missing: where, and under which name.
const SUB_ERRORS: [(&str, &str); 5] = [
    ("/Code/Error", "Code"),
    ("/TagsError", "Tags"),
    ("/Configuration/Environment/Error", "Environment"),
    (
        "/Configuration/ImageConfigResponse/Error",
        "ImageConfigResponse",
    ),
    (
        "/Configuration/RuntimeVersionConfig/Error",
        "RuntimeVersionConfig",
    ),
];

impl Answer {
    /// Reads a body.
    ///
    /// # Errors
    /// It is no JSON object; the text says why and quotes nothing of the body.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(_) => Err("it is JSON, but no object".to_owned()),
            Err(_) if body.is_empty() => Err("it is empty".to_owned()),
            Err(e) => Err(format!(
                "it is no JSON: {:?} error at line {}, column {}",
                e.classify(),
                e.line(),
                e.column()
            )),
        }
    }

    /// An object without fields: what a success without a body says.
    pub(super) fn empty() -> Self {
        Self(Map::new())
    }

    /// An object; None of any other value.
    pub(crate) fn of_value(value: Value) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Self(map)),
            _ => None,
        }
    }

    /// An answer with one list.
    pub(super) fn of_list(field: &str, items: Vec<Value>) -> Self {
        let mut map = Map::new();
        map.insert(field.to_owned(), Value::Array(items));
        Self(map)
    }

    /// The object itself.
    pub(super) fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// One field, taken out.
    pub(super) fn into_field(mut self, field: &str) -> Option<Value> {
        self.0.swap_remove(field)
    }

    /// The value at a JSON pointer such as `/Configuration/CodeSha256`; null counts as absent.
    pub fn get(&self, pointer: &str) -> Option<&Value> {
        let (first, rest) = match pointer.trim_start_matches('/').split_once('/') {
            Some((first, rest)) => (first, format!("/{rest}")),
            None => (pointer.trim_start_matches('/'), String::new()),
        };
        self.0
            .get(first)?
            .pointer(&rest)
            .filter(|value| !value.is_null())
    }

    /// A text at a JSON pointer.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.get(pointer)?.as_str()
    }

    /// A number of bytes at a JSON pointer.
    pub fn size(&self, pointer: &str) -> Option<u64> {
        self.get(pointer)?.as_u64()
    }

    /// Which parts the answer says it lacks, with AWS's code. The messages are sensitive and left out.
    pub fn incomplete(&self) -> Vec<Incomplete> {
        SUB_ERRORS
            .iter()
            .filter_map(|(pointer, field)| {
                let error = self.get(pointer)?;
                let code = error
                    .get("ErrorCode")
                    .and_then(Value::as_str)
                    .unwrap_or("unknown");
                Some(Incomplete {
                    field: (*field).to_owned(),
                    code: code.to_owned(),
                })
            })
            .collect()
    }

    /// The answer as it is recorded: pretty JSON, `Location` with only `versionId` left of its query, and with
    /// `redact_env` each environment variable's value replaced by null.
    pub fn to_recorded_json(&self, redact_env: bool) -> Vec<u8> {
        // A map of JSON values always serializes.
        let mut json = serde_json::to_vec_pretty(&self.recorded(redact_env)).unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// The same on one line.
    pub fn to_recorded_line(&self, redact_env: bool) -> Vec<u8> {
        let mut json = serde_json::to_vec(&self.recorded(redact_env)).unwrap_or_default();
        json.push(b'\n');
        json
    }

    fn recorded(&self, redact_env: bool) -> Value {
        let mut map = self.0.clone();
        for section in ["Code", "Content"] {
            if let Some(Value::Object(code)) = map.get_mut(section)
                && let Some(Value::String(location)) = code.get_mut("Location")
            {
                *location = match PresignedUrl::parse(location) {
                    Ok(url) => url.redacted(),
                    // Not a URL larder understands, so what is secret in it cannot be told either.
                    Err(_) => location
                        .split(['?', '#'])
                        .next()
                        .unwrap_or_default()
                        .to_owned(),
                };
            }
        }
        if redact_env {
            let within = map
                .get_mut("Configuration")
                .and_then(|configuration| configuration.get_mut("Environment"));
            if let Some(environment) = within {
                redact(environment);
            }
            // A configuration by itself, from a list.
            if let Some(environment) = map.get_mut("Environment") {
                redact(environment);
            }
        }
        Value::Object(map)
    }

    /// The SHA-256 of the answer in one certain form: what is recorded, with all keys sorted. Two answers that say the same
    /// have the same, whatever their order. Fields at the top that `left_out` names do not count.
    pub(super) fn fingerprint_without(
        &self,
        redact_env: bool,
        left_out: impl Fn(&str) -> bool,
    ) -> crate::digest::Sha256Digest {
        // What was just written is JSON.
        let recorded = self.to_recorded_json(redact_env);
        let mut value: Value = serde_json::from_slice(&recorded).unwrap_or_default();
        if let Value::Object(map) = &mut value {
            map.retain(|key, _| !left_out(key));
        }
        value.sort_all_objects();
        crate::digest::Sha256Digest::of(value.to_string().as_bytes())
    }
}

/// Replaces the value of each variable by null. What has another shape than it should may hold values anywhere, so that
/// all of it goes.
fn redact(environment: &mut Value) {
    let Value::Object(parts) = environment else {
        *environment = Value::Null;
        return;
    };
    match parts.get_mut("Variables") {
        Some(Value::Object(variables)) => variables.values_mut().for_each(|v| *v = Value::Null),
        Some(other) => *other = Value::Null,
        None => {}
    }
}

/// Names only, because the values hold a signature and environment values.
impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Answer")
            .field(&self.0.keys().collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"Zeta": 1.50, "Big": 123456789012345678901234567890,
        "Configuration": {"FunctionName": "f", "CodeSize": 7, "Environment": {"Variables": {"A": "s3cret", "B": ""},
            "Error": {"ErrorCode": "AccessDenied", "Message": "m"}}, "Nothing": null},
        "Code": {"Location": "https://h/p?versionId=v&X-Amz-Signature=s1gn", "New": {"Field": [1, 2]}},
        "TagsError": {"ErrorCode": "AccessDeniedException", "Message": "m"}}"#;

    #[test]
    fn what_no_sdk_knows_is_kept_as_it_was_written() {
        let json = Answer::parse(BODY.as_bytes())
            .unwrap()
            .to_recorded_json(false);
        let text = String::from_utf8(json).unwrap();
        for part in [
            "1.50",
            "123456789012345678901234567890",
            "\"Field\"",
            "s3cret",
            "versionId=v",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("s1gn"), "{text}");
        assert!(text.find("Zeta") < text.find("Configuration"));
    }

    #[test]
    fn redaction_keeps_the_names() {
        let json = Answer::parse(BODY.as_bytes())
            .unwrap()
            .to_recorded_json(true);
        let value: Value = serde_json::from_slice(&json).unwrap();
        let variables = &value["Configuration"]["Environment"]["Variables"];
        assert_eq!(variables, &serde_json::json!({"A": null, "B": null}));
    }

    #[test]
    fn an_environment_of_another_shape_is_redacted_whole() {
        for environment in [
            r#""s3cret""#,
            r#"["s3cret"]"#,
            r#"{"Variables": "s3cret"}"#,
            r#"{"Variables": ["s3cret"]}"#,
        ] {
            let body = format!(r#"{{"Configuration": {{"Environment": {environment}}}}}"#);
            let json = Answer::parse(body.as_bytes())
                .unwrap()
                .to_recorded_json(true);
            assert!(
                !String::from_utf8(json).unwrap().contains("s3cret"),
                "{environment}"
            );
        }
    }

    #[test]
    fn a_location_that_is_no_web_url_loses_its_query_too() {
        let body = br#"{"Content": {"Location": "s3://b/k?Signature=s1gn#x"}}"#;
        let json = Answer::parse(body).unwrap().to_recorded_json(false);
        assert!(!String::from_utf8(json).unwrap().contains("s1gn"));
    }

    #[test]
    fn sub_errors_are_listed_without_their_messages() {
        let found = Answer::parse(BODY.as_bytes()).unwrap().incomplete();
        let found: Vec<_> = found
            .iter()
            .map(|i| (i.field.as_str(), i.code.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("Tags", "AccessDeniedException"),
                ("Environment", "AccessDenied")
            ]
        );
    }

    #[test]
    fn pointers_reach_values_and_null_is_absent() {
        let answer = Answer::parse(BODY.as_bytes()).unwrap();
        assert_eq!(answer.size("/Configuration/CodeSize"), Some(7));
        assert_eq!(answer.text("/Configuration/FunctionName"), Some("f"));
        assert!(answer.get("/Configuration/Nothing").is_none());
        assert!(answer.get("/Zeta").is_some() && answer.get("/Nope/x").is_none());
    }

    #[test]
    fn a_fingerprint_tells_contents_and_not_order() {
        let of = |body: &str, redact| {
            Answer::parse(body.as_bytes())
                .unwrap()
                .fingerprint_without(redact, |key| key == "State")
        };
        let one = r#"{"a": {"x": 1, "y": [1, 2]}, "Environment": {"Variables": {"A": "1"}}}"#;
        let same = r#"{"State": "Active", "Environment": {"Variables": {"A": "1"}}, "a": {"y": [1, 2], "x": 1}}"#;
        let other = r#"{"Environment": {"Variables": {"A": "2"}}, "a": {"y": [1, 2], "x": 1}}"#;
        assert_eq!(of(one, false), of(same, false));
        assert_ne!(of(one, false), of(other, false));
        assert_eq!(of(one, true), of(other, true));
        assert_ne!(of(one, false), of(&one.replace("[1, 2]", "[2, 1]"), false));
    }

    #[test]
    fn broken_bodies_are_not_quoted() {
        for body in ["", "{", "[]", "<html>s3cret", "{\"a\": \"s3cret", "nul"] {
            let e = Answer::parse(body.as_bytes()).unwrap_err();
            assert!(!e.contains("s3cret"), "{e}");
        }
    }
}
