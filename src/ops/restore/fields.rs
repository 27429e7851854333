//! The fields of a function's configuration: which can be written back, how, and how two configurations differ.
//!
//! Names are those of GetFunction's `Configuration`, and of CreateFunction's and UpdateFunctionConfiguration's input (Lambda
//! API reference). Values are JSON as it came, so that what no SDK knows within a field survives.

use serde_json::{Map, Value, json};

/// A configuration as the input of CreateFunction takes it, without code and tags.
pub(super) type Fields = Map<String, Value>;

/// A field that can be written back.
struct Field {
    name: &'static str,
    /// What UpdateFunctionConfiguration takes to empty it, as JSON; None where it always has a value, so that one that the
    /// backup lacks is left alone.
    empty: Option<&'static str>,
    /// Whether an existing function can be given another.
    update: bool,
}

const fn field(name: &'static str, empty: Option<&'static str>) -> Field {
    Field {
        name,
        empty,
        update: true,
    }
}

const FIELDS: &[Field] = &[
    field("Role", None),
    field("Runtime", None),
    field("Handler", None),
    field("Description", Some("\"\"")),
    field("Timeout", None),
    field("MemorySize", None),
    field("EphemeralStorage", None),
    field("Environment", Some("{\"Variables\":{}}")),
    field("KMSKeyArn", Some("\"\"")),
    field("Layers", Some("[]")),
    field(
        "VpcConfig",
        Some("{\"SubnetIds\":[],\"SecurityGroupIds\":[]}"),
    ),
    field("FileSystemConfigs", Some("[]")),
    field("DeadLetterConfig", Some("{\"TargetArn\":\"\"}")),
    field("TracingConfig", None),
    field("LoggingConfig", None),
    field("SnapStart", Some("{\"ApplyOn\":\"None\"}")),
    field("ImageConfig", Some("{}")),
    field("DurableConfig", None),
    field("CapacityProviderConfig", None),
    field("RuntimeConfig", None),
    field("AcceleratorConfig", None),
    Field {
        name: "TenancyConfig",
        empty: None,
        update: false,
    },
];

/// Fields of an answer that follow from others, or that are written back in another way.
const OTHERS: &[&str] = &[
    "FunctionName",
    "FunctionArn",
    "Version",
    "RevisionId",
    "LastModified",
    "CodeSha256",
    "CodeSize",
    "ConfigSha256",
    "PackageType",
    "Architectures",
    "ImageConfigResponse",
    "S3ObjectStorageMode",
    "State",
    "StateReason",
    "StateReasonCode",
    "LastUpdateStatus",
    "LastUpdateStatusReason",
    "LastUpdateStatusReasonCode",
    // Which patch of the runtime it is, AWS chooses.
    "RuntimeVersionConfig",
    "MasterArn",
    "SigningProfileVersionArn",
    "SigningJobArn",
];

/// What of `configuration`, an answer's, can be written back. Empty values are left out: they are the same as none.
pub(super) fn of_configuration(configuration: &Value) -> Fields {
    let mut out = Fields::new();
    for field in FIELDS {
        let value = match field.name {
            "ImageConfig" => &configuration["ImageConfigResponse"]["ImageConfig"],
            name => &configuration[name],
        };
        let value = match field.name {
            "Layers" => Value::Array(
                (value.as_array().into_iter().flatten())
                    .map(|layer| layer["Arn"].clone())
                    .collect(),
            ),
            "SnapStart" if value["ApplyOn"] == "None" => Value::Null,
            "SnapStart" => without(value, "OptimizationStatus"),
            "VpcConfig" if is_empty(&value["SubnetIds"]) => Value::Null,
            "VpcConfig" => without(value, "VpcId"),
            "Environment" => match &value["Variables"] {
                variables if is_empty(variables) => Value::Null,
                variables => json!({ "Variables": variables }),
            },
            "DeadLetterConfig" if is_empty(&value["TargetArn"]) => Value::Null,
            _ => value.clone(),
        };
        if !is_empty(&value) {
            out.insert(field.name.to_owned(), value);
        }
    }
    out
}

fn without(value: &Value, name: &str) -> Value {
    let mut value = value.clone();
    if let Value::Object(map) = &mut value {
        map.shift_remove(name);
    }
    value
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Fields of an answer that larder does not know, and so cannot write back.
pub(super) fn unknown(configuration: &Value) -> Vec<String> {
    let names = configuration.as_object().into_iter().flatten();
    names
        .filter(|(name, value)| {
            !is_empty(value)
                && !OTHERS.contains(&name.as_str())
                && !FIELDS.iter().any(|field| field.name == name.as_str())
        })
        .map(|(name, _)| name.clone())
        .collect()
}

/// A field that is not as it should be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Difference {
    name: &'static str,
    is: Option<Value>,
    /// None empties it.
    shall: Option<Value>,
}

/// What must change so that `is` becomes `shall`. The second list names what no update can change.
pub(super) fn differences(is: &Fields, shall: &Fields) -> (Vec<Difference>, Vec<&'static str>) {
    let (mut changes, mut fixed) = (Vec::new(), Vec::new());
    for field in FIELDS {
        let (is, shall) = (is.get(field.name), shall.get(field.name));
        if is == shall || (shall.is_none() && field.empty.is_none()) {
            continue;
        }
        if field.update {
            changes.push(Difference {
                name: field.name,
                is: is.cloned(),
                shall: shall.cloned(),
            });
        } else {
            fixed.push(field.name);
        }
    }
    (changes, fixed)
}

/// UpdateFunctionConfiguration's input for these.
pub(super) fn update(changes: &[Difference]) -> Fields {
    let value = |change: &Difference| {
        change.shall.clone().or_else(|| {
            let field = FIELDS.iter().find(|field| field.name == change.name)?;
            serde_json::from_str(field.empty?).ok()
        })
    };
    let each = changes.iter();
    each.filter_map(|change| Some((change.name.to_owned(), value(change)?)))
        .collect()
}

impl Difference {
    /// The field's name.
    #[cfg(test)]
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// The change in a few words. Of environment variables only names are told.
    pub(super) fn words(&self) -> String {
        let name = self.name;
        if name == "Environment" {
            return format!("Environment ({})", self.variables());
        }
        let short = |value: &Option<Value>| {
            let text = match value {
                None => "none".to_owned(),
                Some(Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
            };
            (text.chars().count() <= 60).then_some(text)
        };
        match (short(&self.is), short(&self.shall)) {
            (Some(is), Some(shall)) => format!("{name} {is} → {shall}"),
            (None, Some(shall)) => format!("{name} → {shall}"),
            _ => name.to_owned(),
        }
    }

    fn variables(&self) -> String {
        let of = |value: &Option<Value>| -> Map<String, Value> {
            let map = value.as_ref().and_then(|v| v["Variables"].as_object());
            map.cloned().unwrap_or_default()
        };
        let (is, shall) = (of(&self.is), of(&self.shall));
        let added = shall.keys().filter(|key| !is.contains_key(*key));
        let changed = shall
            .iter()
            .filter(|(key, value)| is.get(*key).is_some_and(|old| old != *value));
        let removed = is.keys().filter(|key| !shall.contains_key(*key));
        let each = added
            .map(|key| format!("{key} added"))
            .chain(changed.map(|(key, _)| format!("{key} changed")))
            .chain(removed.map(|key| format!("{key} removed")));
        each.collect::<Vec<_>>().join(", ")
    }
}

/// Which fields are not as they shall be, of those that an update can change.
pub(super) fn amiss(is: &Fields, shall: &Fields) -> Vec<&'static str> {
    let (changes, _) = differences(is, shall);
    let amiss = changes
        .iter()
        .filter(|change| match (&change.is, &change.shall) {
            (Some(is), Some(shall)) => !agrees(change.name, is, shall),
            _ => true,
        });
    amiss.map(|change| change.name).collect()
}

/// Whether the configuration is as it shall be: what shall be empty is, and all else is as it was written.
pub(super) fn holds(is: &Fields, shall: &Fields) -> bool {
    amiss(is, shall).is_empty()
}

/// Whether Lambda states what was written. It may add members that were not written, and order what has no order.
fn agrees(name: &str, is: &Value, shall: &Value) -> bool {
    match (name, is, shall) {
        // Another variable is another environment.
        ("Environment", ..) => is == shall,
        ("SubnetIds" | "SecurityGroupIds", Value::Array(is), Value::Array(shall)) => {
            is.len() == shall.len() && shall.iter().all(|item| is.contains(item))
        }
        (_, Value::Object(is), Value::Object(shall)) => shall.iter().all(|(name, shall)| {
            let is = is.get(name).unwrap_or(&Value::Null);
            (is_empty(is) && is_empty(shall)) || agrees(name, is, shall)
        }),
        _ => is == shall,
    }
}

/// Whether all but the fields in `written` is the same.
pub(super) fn same_beside(is: &Fields, before: &Fields, written: &Fields) -> bool {
    let mut names = is.keys().chain(before.keys());
    names.all(|name| written.contains_key(name) || is.get(name) == before.get(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration() -> Value {
        json!({
            "FunctionName": "f", "Role": "arn:aws:iam::123456789012:role/r", "Description": "", "MemorySize": 128,
            "Environment": {"Variables": {"A": "s3cret", "B": "2"}},
            "Layers": [{"Arn": "arn:l:1", "CodeSize": 7}],
            "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
            "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": [], "VpcId": ""},
            "ImageConfigResponse": {"ImageConfig": {"Command": ["x"]}},
            "FieldOfTheFuture": {"x": 1}, "State": "Active",
        })
    }

    #[test]
    fn an_answer_becomes_an_input() {
        let fields = of_configuration(&configuration());
        assert_eq!(
            Value::Object(fields),
            json!({
                "Role": "arn:aws:iam::123456789012:role/r", "MemorySize": 128,
                "Environment": {"Variables": {"A": "s3cret", "B": "2"}}, "Layers": ["arn:l:1"],
                "ImageConfig": {"Command": ["x"]},
            })
        );
        assert_eq!(unknown(&configuration()), ["FieldOfTheFuture"]);
    }

    #[test]
    fn differences_name_what_changes_and_no_value_of_the_environment() {
        let shall = of_configuration(&configuration());
        let mut is = shall.clone();
        assert_eq!(differences(&is, &shall), (vec![], vec![]));
        is.insert("MemorySize".to_owned(), json!(256));
        is.insert("Description".to_owned(), json!("new"));
        is.insert("TracingConfig".to_owned(), json!({"Mode": "Active"}));
        is.insert(
            "Environment".to_owned(),
            json!({"Variables": {"A": "other", "C": "3"}}),
        );
        is.insert(
            "TenancyConfig".to_owned(),
            json!({"TenantIsolationMode": "PER_TENANT"}),
        );
        let (changes, fixed) = differences(&is, &shall);
        let names: Vec<_> = changes.iter().map(Difference::name).collect();
        assert_eq!(names, ["Description", "MemorySize", "Environment"]);
        let words: Vec<_> = changes.iter().map(Difference::words).collect();
        assert_eq!(
            words,
            [
                "Description new → none",
                "MemorySize 256 → 128",
                "Environment (B added, A changed, C removed)"
            ]
        );
        assert!(fixed.is_empty());
        let input = update(&changes);
        assert_eq!(input["Description"], "");
        assert_eq!(input["Environment"]["Variables"]["A"], "s3cret");
        let (_, fixed) = differences(&shall, &is);
        assert_eq!(fixed, ["TenancyConfig"]);
    }

    #[test]
    fn what_was_emptied_holds_when_it_is_gone_and_not_before() {
        let configuration = |value: Value| of_configuration(&value);
        let full = configuration(json!({
            "MemorySize": 128, "Description": "d", "Layers": [{"Arn": "arn:l:1"}],
            "Environment": {"Variables": {"A": "1"}}, "KMSKeyArn": "k",
            "VpcConfig": {"SubnetIds": ["s"], "SecurityGroupIds": ["g"], "VpcId": "v"},
            "DeadLetterConfig": {"TargetArn": "q"}, "SnapStart": {"ApplyOn": "PublishedVersions"},
            "FileSystemConfigs": [{"Arn": "fs"}],
        }));
        let shall = configuration(json!({"MemorySize": 128}));
        // As Lambda answers for what is empty.
        let emptied = configuration(json!({
            "MemorySize": 128, "Description": "", "Layers": [], "Environment": {"Variables": {}},
            "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": [], "VpcId": ""},
            "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"}, "KMSKeyArn": null,
        }));
        assert!(holds(&emptied, &shall));
        for name in full.keys().filter(|name| *name != "MemorySize") {
            let mut is = emptied.clone();
            is.insert(name.clone(), full[name].clone());
            assert_eq!(amiss(&is, &shall), [name.as_str()]);
        }
        // And what was written is not there yet.
        assert!(!holds(&emptied, &full));
        assert!(holds(&full, &full));
    }

    #[test]
    fn what_lambda_adds_or_orders_is_no_difference() {
        let of = |name: &str, value: Value| Fields::from_iter([(name.to_owned(), value)]);
        let one = |name: &str, is: Value, shall: Value| holds(&of(name, is), &of(name, shall));
        let vpc = |subnets: Value| json!({"SubnetIds": subnets, "SecurityGroupIds": ["g"]});
        let mut more = vpc(json!(["b", "a"]));
        more["Ipv6AllowedForDualStack"] = json!(false);
        assert!(one("VpcConfig", more, vpc(json!(["a", "b"]))));
        assert!(!one(
            "VpcConfig",
            vpc(json!(["a", "c"])),
            vpc(json!(["a", "b"]))
        ));
        assert!(!one("Layers", json!(["b", "a"]), json!(["a", "b"])));
        let environment = |names: Value| json!({ "Variables": names });
        let (two, own) = (json!({"A": "1", "B": "2"}), json!({"A": "1"}));
        assert!(!one("Environment", environment(two), environment(own)));
    }

    #[test]
    fn only_what_was_written_may_have_changed() {
        let before = configuration();
        let mut after = configuration();
        after["MemorySize"] = json!(256);
        let (before, mut after) = (of_configuration(&before), of_configuration(&after));
        let written = Fields::from_iter([("MemorySize".to_owned(), json!(256))]);
        assert!(same_beside(&after, &before, &written));
        assert!(!same_beside(&after, &before, &Fields::new()));
        after.shift_remove("Layers");
        assert!(!same_beside(&after, &before, &written));
    }
}
