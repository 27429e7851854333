//! The Lambda resources of a state or plan, whatever form it has.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A managed object that exists or is planned.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Resource {
    /// `module.api["eu"].aws_lambda_function.this[0]`.
    pub(super) address: String,
    pub(super) kind: Kind,
    pub(super) attributes: Map<String, Value>,
    /// In a plan, the attributes that are known after apply only: `true`, or a tree of such.
    pub(super) unknown: Map<String, Value>,
    /// Whether the configuration sets `code_sha256`; known from a plan alone.
    pub(super) code_sha256_configured: bool,
    /// A plan, or a state that is as of the last refresh.
    pub(super) planned: bool,
}

/// The types that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Function,
    Alias,
    LayerVersion,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        match name {
            "aws_lambda_function" => Some(Self::Function),
            "aws_lambda_alias" => Some(Self::Alias),
            "aws_lambda_layer_version" => Some(Self::LayerVersion),
            _ => None,
        }
    }
}

/// A resource as `show -json` has it.
#[derive(Deserialize)]
struct Shown<'a> {
    #[serde(default)]
    address: String,
    #[serde(default)]
    mode: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    deposed_key: Option<String>,
    #[serde(borrow)]
    values: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Module<'a> {
    #[serde(default, borrow)]
    resources: Vec<Shown<'a>>,
    #[serde(default, borrow)]
    child_modules: Vec<Module<'a>>,
}

#[derive(Deserialize)]
struct Values<'a> {
    #[serde(default, borrow)]
    root_module: Module<'a>,
}

/// `values` of a state.
pub(super) fn of_state(values: &RawValue) -> serde_json::Result<Vec<Resource>> {
    let mut out = Vec::new();
    let values: Values<'_> = serde_json::from_str(values.get())?;
    collect(values.root_module, &mut out)?;
    Ok(out)
}

fn collect(module: Module<'_>, out: &mut Vec<Resource>) -> serde_json::Result<()> {
    for shown in module.resources {
        let Some(kind) = Kind::of(&shown.kind) else {
            continue;
        };
        if shown.mode != "managed" || shown.deposed_key.is_some() {
            continue;
        }
        out.push(Resource::of(shown.address, kind, object(shown.values)?));
    }
    for child in module.child_modules {
        collect(child, out)?;
    }
    Ok(())
}

/// An object; null and absent are an empty one.
fn object(raw: Option<&RawValue>) -> serde_json::Result<Map<String, Value>> {
    let object: Option<Map<_, _>> = raw.map_or(Ok(None), |raw| serde_json::from_str(raw.get()))?;
    Ok(object.unwrap_or_default())
}

#[derive(Deserialize)]
struct ResourceChange<'a> {
    #[serde(default)]
    address: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    deposed: Option<String>,
    #[serde(borrow)]
    change: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(borrow)]
    after_unknown: Option<&'a RawValue>,
}

/// A plan: what is planned, what of it is unknown yet, and what the configuration sets.
pub(super) fn of_plan(
    planned: &RawValue,
    changes: Option<&RawValue>,
    configuration: Option<&RawValue>,
) -> serde_json::Result<Vec<Resource>> {
    let mut resources = of_state(planned)?;
    let mut unknown = BTreeMap::new();
    if let Some(changes) = changes {
        let changes: Vec<ResourceChange<'_>> = serde_json::from_str(changes.get())?;
        for change in changes {
            if Kind::of(&change.kind).is_none() || change.deposed.is_some() {
                continue;
            }
            if let Some(detail) = change.change {
                let detail: Change<'_> = serde_json::from_str(detail.get())?;
                // `false` stands there for an object that is removed.
                if let Ok(tree) = object(detail.after_unknown) {
                    unknown.insert(change.address, tree);
                }
            }
        }
    }
    let configured = match configuration {
        Some(configuration) => {
            let configuration: Configuration<'_> = serde_json::from_str(configuration.get())?;
            let mut out = BTreeSet::new();
            configured_hashes(configuration.root_module, "", &mut out);
            out
        }
        None => BTreeSet::new(),
    };
    for resource in &mut resources {
        resource.planned = true;
        resource.code_sha256_configured = configured.contains(&without_indexes(&resource.address));
        resource.unknown = unknown.remove(&resource.address).unwrap_or_default();
    }
    Ok(resources)
}

#[derive(Deserialize)]
struct Configuration<'a> {
    #[serde(default, borrow)]
    root_module: ConfigModule<'a>,
}

#[derive(Deserialize, Default)]
struct ConfigModule<'a> {
    #[serde(default, borrow)]
    resources: Vec<ConfigResource<'a>>,
    #[serde(default, borrow)]
    module_calls: BTreeMap<String, ModuleCall<'a>>,
}

#[derive(Deserialize)]
struct ModuleCall<'a> {
    #[serde(default, borrow)]
    module: ConfigModule<'a>,
}

#[derive(Deserialize)]
struct ConfigResource<'a> {
    #[serde(default)]
    address: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default, borrow)]
    expressions: BTreeMap<String, &'a RawValue>,
}

/// The addresses, without indexes, of the functions and layers whose configuration sets `code_sha256`.
fn configured_hashes(module: ConfigModule<'_>, prefix: &str, out: &mut BTreeSet<String>) {
    for resource in module.resources {
        if Kind::of(&resource.kind).is_some() && resource.expressions.contains_key("code_sha256") {
            out.insert(format!("{prefix}{}", resource.address));
        }
    }
    for (name, call) in module.module_calls {
        configured_hashes(call.module, &format!("{prefix}module.{name}."), out);
    }
}

/// `module.a.aws_lambda_function.b` of `module.a["x"].aws_lambda_function.b[0]`.
fn without_indexes(address: &str) -> String {
    let mut out = String::with_capacity(address.len());
    let (mut depth, mut quoted) = (0_u32, false);
    let mut chars = address.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => {
                chars.next();
            }
            '"' if depth > 0 => quoted = !quoted,
            '[' if !quoted => depth += 1,
            ']' if !quoted => depth = depth.saturating_sub(1),
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

#[derive(Deserialize)]
struct RawResource<'a> {
    #[serde(default)]
    module: Option<String>,
    #[serde(default)]
    mode: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default, borrow)]
    instances: Vec<RawInstance<'a>>,
}

#[derive(Deserialize)]
struct RawInstance<'a> {
    #[serde(borrow)]
    index_key: Option<&'a RawValue>,
    #[serde(default)]
    deposed: Option<String>,
    #[serde(borrow)]
    attributes: Option<&'a RawValue>,
    /// What Terraform 0.11 wrote, kept by later ones until the object is refreshed: each attribute a text, lists by `name.#` and
    /// `name.0`.
    #[serde(default)]
    attributes_flat: Option<BTreeMap<String, String>>,
}

/// `resources` of a raw state of version 4.
pub(super) fn of_raw_state(resources: &RawValue) -> serde_json::Result<Vec<Resource>> {
    let resources: Vec<RawResource<'_>> = serde_json::from_str(resources.get())?;
    let mut out = Vec::new();
    for resource in resources {
        let Some(kind) = Kind::of(&resource.kind) else {
            continue;
        };
        if resource.mode != "managed" {
            continue;
        }
        for instance in resource.instances {
            if instance.deposed.is_some_and(|key| !key.is_empty()) {
                continue;
            }
            let module = resource.module.as_deref();
            let prefix = module.map(|m| format!("{m}.")).unwrap_or_default();
            // The key is JSON already: a number, or a text in quotes.
            let index = instance.index_key.filter(|key| key.get() != "null");
            let index = index.map(|key| format!("[{}]", key.get()));
            let address = format!(
                "{prefix}{}.{}{}",
                resource.kind,
                resource.name,
                index.unwrap_or_default()
            );
            let attributes = match (instance.attributes, instance.attributes_flat) {
                (None, Some(flat)) => nested(flat),
                (attributes, _) => object(attributes)?,
            };
            out.push(Resource::of(address, kind, attributes));
        }
    }
    Ok(out)
}

/// Attributes as later versions of Terraform write them, from the flat form: texts, and lists of texts.
fn nested(flat: BTreeMap<String, String>) -> Map<String, Value> {
    let mut out = Map::new();
    for (name, count) in &flat {
        let Some(name) = name.strip_suffix(".#").filter(|name| !name.contains('.')) else {
            continue;
        };
        let count: usize = count.parse().unwrap_or_default();
        let item = |at: usize| flat.get(&format!("{name}.{at}"));
        let items: Option<Vec<Value>> = (0..count.min(flat.len()))
            .map(|at| Some(Value::String(item(at)?.clone())))
            .collect();
        // Blocks and sets have other keys, and nothing that is read here.
        out.extend(items.map(|items| (name.to_owned(), Value::Array(items))));
    }
    let plain = flat.into_iter().filter(|(name, _)| !name.contains('.'));
    out.extend(plain.map(|(name, text)| (name, Value::String(text))));
    out
}

impl Resource {
    /// One of a state; a plan knows more of it.
    fn of(address: String, kind: Kind, attributes: Map<String, Value>) -> Self {
        Self {
            address,
            kind,
            attributes,
            unknown: Map::new(),
            code_sha256_configured: false,
            planned: false,
        }
    }

    /// A text that is set; providers write `""` for what is not.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let text = self.attributes.get(name)?.as_str()?;
        (!text.is_empty()).then_some(text)
    }

    /// Whether the attribute, or a part of it, is known after apply only.
    pub(super) fn is_unknown(&self, name: &str) -> bool {
        fn any(value: &Value) -> bool {
            match value {
                Value::Bool(unknown) => *unknown,
                Value::Array(items) => items.iter().any(any),
                Value::Object(map) => map.values().any(any),
                _ => false,
            }
        }
        self.unknown.get(name).is_some_and(any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_of_terraform_0_11_are_read() {
        let raw = r#"[{"mode":"managed","type":"aws_lambda_function","name":"a","provider":"provider.aws","instances":[
            {"schema_version":0,"attributes_flat":{"arn":"arn:aws:lambda:eu-west-1:123456789012:function:a","function_name":"a",
             "layers.#":"2","layers.0":"l:1","layers.1":"l:2","environment.#":"1","environment.0.variables.%":"0","tags.%":"0"}}]}]"#;
        let raw: &RawValue = serde_json::from_str(raw).unwrap();
        let resources = of_raw_state(raw).unwrap();
        assert_eq!(resources[0].address, "aws_lambda_function.a");
        assert_eq!(resources[0].text("function_name"), Some("a"));
        let layers = &resources[0].attributes["layers"];
        assert_eq!(*layers, serde_json::json!(["l:1", "l:2"]));
        assert!(!resources[0].attributes.contains_key("environment"));
    }

    #[test]
    fn indexes_are_left_out_of_an_address() {
        for (address, want) in [
            ("aws_lambda_function.a", "aws_lambda_function.a"),
            ("aws_lambda_function.a[0]", "aws_lambda_function.a"),
            (
                r#"module.m["a.b[\"c\"]"].module.n[1].aws_lambda_function.a["x]"]"#,
                "module.m.module.n.aws_lambda_function.a",
            ),
        ] {
            assert_eq!(without_indexes(address), want);
        }
    }
}
