//! From the resources of a template to expectations.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::Template;
use super::intrinsic::{Scope, function};
use crate::drift::{
    Code, Config, Expectation, FileKind, Files, IgnoreRules, Layer, Named, Source, SourceKind,
    Stated, StatedWarning, Target,
};
use crate::function::FunctionRef;

/// How deep stacks may be nested.
const MAX_NESTED: usize = 8;

/// How a tool says where code lies.
pub(in crate::drift) trait Tool {
    /// Whose expectations they are.
    fn kind(&self) -> SourceKind;
    /// The code of a function or a layer.
    fn code(&self, place: &Place<'_>, resource: &Resource<'_>, notes: &mut Vec<String>) -> Code;
    /// The template of a nested stack, or why it cannot be had.
    fn nested(&self, place: &Place<'_>, resource: &Resource<'_>) -> Result<PathBuf, String>;
}

/// A template and where it stands.
pub(in crate::drift) struct Place<'a> {
    /// The template's file, as the report shows it.
    pub(in crate::drift) path: &'a Path,
    pub(in crate::drift) files: &'a dyn Files,
    pub(in crate::drift) scope: Scope<'a>,
    /// The outermost stack, as which the template is deployed.
    pub(in crate::drift) stack: Option<String>,
    /// The region and account that the template is bound to.
    pub(in crate::drift) region: Option<String>,
    pub(in crate::drift) account: Option<String>,
    /// What labels begin with: `Stack/`.
    pub(in crate::drift) label: String,
    /// The logical ids of the nested stacks around it, each with a slash.
    pub(in crate::drift) nest: String,
}

/// One resource.
pub(in crate::drift) struct Resource<'a> {
    pub(in crate::drift) id: &'a str,
    pub(in crate::drift) kind: &'a str,
    pub(in crate::drift) body: &'a Value,
}

const FUNCTIONS: [&str; 2] = ["AWS::Lambda::Function", "AWS::Serverless::Function"];
const LAYERS: [&str; 2] = ["AWS::Lambda::LayerVersion", "AWS::Serverless::LayerVersion"];
const STACKS: [&str; 2] = ["AWS::CloudFormation::Stack", "AWS::Serverless::Application"];
/// Transforms that add no function, or whose result SAM and CDK write out.
const TRANSFORMS: [&str; 5] = [
    "AWS::Serverless-2016-10-31",
    "AWS::LanguageExtensions",
    "AWS::CodeDeployBlueGreen",
    "AWS::CodeDeployHooks",
    "AWS::SecretsManager-2020-07-23",
];

impl<'a> Resource<'a> {
    fn of(id: &'a str, body: &'a Value) -> Self {
        let kind = body.get("Type").and_then(Value::as_str).unwrap_or_default();
        Self { id, kind, body }
    }

    pub(in crate::drift) fn property(&self, name: &str) -> Option<&'a Value> {
        self.body
            .get("Properties")?
            .get(name)
            .filter(|v| !v.is_null())
    }

    pub(in crate::drift) fn metadata(&self, name: &str) -> Option<&'a str> {
        self.body.get("Metadata")?.get(name)?.as_str()
    }

    pub(in crate::drift) fn is_function(&self) -> bool {
        FUNCTIONS.contains(&self.kind)
    }

    pub(in crate::drift) fn is_serverless(&self) -> bool {
        self.kind.starts_with("AWS::Serverless::")
    }
}

impl Place<'_> {
    /// A function's property, from SAM's `Globals` where it has none of its own.
    pub(in crate::drift) fn property<'r>(
        &'r self,
        resource: &Resource<'r>,
        name: &str,
    ) -> Option<&'r Value> {
        let global = || {
            let applies = resource.kind == "AWS::Serverless::Function";
            applies.then(|| self.scope.template.global(name)).flatten()
        };
        resource.property(name).or_else(global)
    }

    /// A local file or directory as code; `what` names the property.
    pub(in crate::drift) fn local(&self, path: PathBuf, what: &str) -> Code {
        match self.files.kind(&path) {
            Some(FileKind::Directory) => Code::Directory {
                path,
                ignore: IgnoreRules::default(),
            },
            Some(FileKind::File) => Code::Zip(path),
            None => Code::CannotTell(format!(
                "{what} is {}, and that is not there",
                path.display()
            )),
        }
    }

    /// An image reference.
    pub(in crate::drift) fn image(&self, uri: &Value, notes: &mut Vec<String>) -> Code {
        let text = match self.scope.text(uri) {
            Ok(text) => text,
            Err(why) => return Code::CannotTell(format!("its ImageUri cannot be told: {why}")),
        };
        rests_on(&text.assumed, "ImageUri", notes);
        let pinned = text.value.split_once("@sha256:");
        Code::Image {
            digest: pinned.and_then(|(_, hex)| crate::digest::Sha256Digest::from_hex(hex).ok()),
            uri: Some(text.value.clone()),
            basis: "ImageUri".into(),
        }
    }
}

/// Notes that a value rests on defaults of parameters.
pub(in crate::drift) fn rests_on(assumed: &BTreeSet<String>, what: &str, notes: &mut Vec<String>) {
    if !assumed.is_empty() {
        let names: Vec<_> = assumed.iter().map(String::as_str).collect();
        notes.push(format!(
            "{what} rests on the default of {}; the stack may have been deployed with another value",
            names.join(", ")
        ));
    }
}

/// Adds what a template states, nested stacks included.
pub(in crate::drift) fn collect(tool: &dyn Tool, place: &Place<'_>, out: &mut Stated) {
    for name in place.scope.template.transforms() {
        if !TRANSFORMS.contains(&name) {
            out.warnings.push(StatedWarning {
                subject: place.path.display().to_string(),
                message: format!(
                    "the transform {name} may add functions, which are not known here"
                ),
                hint: Some("name them on the command line to check them".into()),
            });
        }
    }
    for (id, body) in place.scope.template.resources() {
        let resource = Resource::of(id, body);
        let source = Source::new(tool.kind(), place.path.display().to_string())
            .labelled(format!("{}{}{id}", place.label, place.nest))
            .at_line(place.scope.template.line(id));
        let unknown = |reason: String| {
            let target = unknown_target(place, source.label.as_deref().unwrap_or(id), reason);
            Expectation::of_code(target, source.clone(), Code::Unstated)
        };
        if id.starts_with("Fn::") {
            let what = id.split("::").take(2).collect::<Vec<_>>().join("::");
            out.expectations.push(unknown(format!(
                "resources that {what} makes when the stack is deployed are not known here"
            )));
        } else if resource.is_function() {
            if let Some(expectation) = expectation(tool, place, &resource, source) {
                out.expectations.push(expectation);
            }
        } else if STACKS.contains(&resource.kind)
            && let Err(why) = nested(tool, place, &resource, out)
        {
            let reason = format!("the functions of this nested stack are not known: {why}");
            out.expectations.push(unknown(reason));
        }
    }
}

fn nested(
    tool: &dyn Tool,
    place: &Place<'_>,
    resource: &Resource<'_>,
    out: &mut Stated,
) -> Result<(), String> {
    if condition_of(place, resource) == Presence::No {
        return Ok(());
    }
    let nest = format!("{}{}/", place.nest, resource.id);
    if nest.matches('/').count() > MAX_NESTED {
        return Err(format!("it is nested deeper than {MAX_NESTED} levels"));
    }
    let path = tool.nested(place, resource)?;
    let template = Template::read(&path, place.files).map_err(|e| {
        let causes = e.causes();
        let cause = causes.first().map(|c| format!(": {c}")).unwrap_or_default();
        format!("{e}{cause}")
    })?;
    let mut scope = Scope::new(&template);
    scope.region.clone_from(&place.scope.region);
    scope.account.clone_from(&place.scope.account);
    // Its name is made by CloudFormation.
    scope.stack = None;
    let given = resource.property("Parameters").and_then(Value::as_object);
    for (name, value) in given.into_iter().flatten() {
        scope.given.insert(name.clone(), place.scope.text(value));
    }
    let inner = Place {
        path: &path,
        files: place.files,
        scope,
        stack: place.stack.clone(),
        region: place.region.clone(),
        account: place.account.clone(),
        label: place.label.clone(),
        nest,
    };
    collect(tool, &inner, out);
    Ok(())
}

/// Whether a resource is in the stack.
#[derive(Debug, PartialEq, Eq)]
enum Presence {
    Yes,
    No,
    /// By a condition that the template alone does not decide.
    Perhaps(String),
}

fn condition_of(place: &Place<'_>, resource: &Resource<'_>) -> Presence {
    let Some(name) = resource.body.get("Condition").and_then(Value::as_str) else {
        return Presence::Yes;
    };
    match place.scope.condition(name) {
        Ok((holds, assumed)) if assumed.is_empty() => {
            if holds {
                Presence::Yes
            } else {
                Presence::No
            }
        }
        _ => Presence::Perhaps(name.to_owned()),
    }
}

fn unknown_target(place: &Place<'_>, label: &str, reason: String) -> Target {
    target(
        place,
        Named::Unknown {
            label: label.to_owned(),
            reason,
            cause: None,
        },
    )
}

fn target(place: &Place<'_>, function: Named) -> Target {
    Target {
        function,
        region: place.region.clone(),
        account: place.account.clone(),
        qualifier: None,
    }
}

fn expectation(
    tool: &dyn Tool,
    place: &Place<'_>,
    resource: &Resource<'_>,
    source: Source,
) -> Option<Expectation> {
    let condition = match condition_of(place, resource) {
        Presence::No => return None,
        Presence::Yes => None,
        Presence::Perhaps(name) => Some(name),
    };
    let mut notes = Vec::new();
    let label = source.label.clone().unwrap_or_default();
    let named = named(place, resource, condition, &label, &mut notes);
    let code = tool.code(place, resource, &mut notes);
    let image = matches!(code, Code::Image { .. })
        || place
            .property(resource, "PackageType")
            .and_then(Value::as_str)
            == Some("Image");
    let mut expectation = Expectation::of_code(target(place, named), source, code);
    expectation.state.layers = (!image).then(|| layers(tool, place, resource, &mut notes));
    expectation.state.config = config(place, resource);
    expectation.notes = notes;
    Some(expectation)
}

fn named(
    place: &Place<'_>,
    resource: &Resource<'_>,
    condition: Option<String>,
    label: &str,
    notes: &mut Vec<String>,
) -> Named {
    let in_stack = |condition| Named::Resource {
        stack: place.stack.clone(),
        logical_id: format!("{}{}", place.nest, resource.id),
        condition,
    };
    if condition.is_some() {
        return in_stack(condition);
    }
    let mut assumed = BTreeSet::new();
    let stated = resource.property("FunctionName").map(|name| {
        let chosen = place.scope.chosen(name, &mut assumed)?;
        chosen.map(|name| place.scope.text(name)).transpose()
    });
    match stated {
        None | Some(Ok(None)) => in_stack(None),
        Some(Err(why)) => {
            notes.push(format!("its FunctionName cannot be told: {why}"));
            in_stack(None)
        }
        Some(Ok(Some(text))) => {
            assumed.extend(text.assumed);
            // The stack knows the name itself.
            if !assumed.is_empty() && place.stack.is_some() {
                return in_stack(None);
            }
            rests_on(&assumed, "FunctionName", notes);
            match text.value.parse::<FunctionRef>() {
                Ok(function) => Named::Function(function),
                Err(e) => Named::Unknown {
                    label: label.to_owned(),
                    reason: format!("its FunctionName is no name: {e}"),
                    cause: None,
                },
            }
        }
    }
}

fn layers(
    tool: &dyn Tool,
    place: &Place<'_>,
    resource: &Resource<'_>,
    notes: &mut Vec<String>,
) -> Vec<Layer> {
    // SAM puts the global ones before a function's own.
    let global = (resource.kind == "AWS::Serverless::Function")
        .then(|| place.scope.template.global("Layers"))
        .flatten();
    let mut out = Vec::new();
    for list in [global, resource.property("Layers")].into_iter().flatten() {
        let mut assumed = BTreeSet::new();
        match place.scope.chosen(list, &mut assumed) {
            Ok(None) => {}
            Ok(Some(Value::Array(items))) => {
                out.extend(
                    items
                        .iter()
                        .filter_map(|item| layer(tool, place, item, notes)),
                );
            }
            Ok(Some(_)) => out.push(cannot_tell(
                "Layers",
                "they are not written as a list".into(),
            )),
            Err(why) => out.push(cannot_tell("Layers", why)),
        }
        rests_on(&assumed, "Layers", notes);
    }
    out
}

fn cannot_tell(label: &str, why: String) -> Layer {
    Layer {
        label: label.to_owned(),
        arn: None,
        code: Code::CannotTell(why),
    }
}

/// One entry of `Layers`; None where it is `AWS::NoValue`.
fn layer(
    tool: &dyn Tool,
    place: &Place<'_>,
    item: &Value,
    notes: &mut Vec<String>,
) -> Option<Layer> {
    let mut assumed = BTreeSet::new();
    let item = match place.scope.chosen(item, &mut assumed) {
        Ok(item) => item?,
        Err(why) => return Some(cannot_tell("a layer", why)),
    };
    rests_on(&assumed, "a layer", notes);
    if let Some(("Ref", Value::String(id))) = function(item)
        && let Some(body) = place.scope.template.entry("Resources", id)
    {
        let resource = Resource::of(id, body);
        let code = if LAYERS.contains(&resource.kind) {
            tool.code(place, &resource, notes)
        } else {
            Code::CannotTell(format!("it is the {} {id}", resource.kind))
        };
        return Some(Layer {
            label: id.clone(),
            arn: None,
            code,
        });
    }
    Some(match place.scope.text(item) {
        Ok(text) if text.value.starts_with("arn:") => {
            rests_on(&text.assumed, "a layer", notes);
            Layer {
                label: text.value.clone(),
                arn: Some(text.value),
                code: Code::Unstated,
            }
        }
        Ok(text) => cannot_tell(&text.value, "it is no ARN".into()),
        Err(why) => cannot_tell("a layer", why),
    })
}

/// What the template states of the configuration without resting on anything else.
fn config(place: &Place<'_>, resource: &Resource<'_>) -> Config {
    let text = |name: &str| {
        let text = place.scope.text(place.property(resource, name)?).ok()?;
        text.assumed.is_empty().then_some(text.value)
    };
    let number = |name: &str| text(name).and_then(|text| text.parse().ok());
    let architectures = place
        .property(resource, "Architectures")
        .and_then(Value::as_array);
    Config {
        package_type: text("PackageType"),
        runtime: text("Runtime"),
        handler: text("Handler"),
        architectures: architectures.and_then(|items| {
            let names = items
                .iter()
                .map(|item| item.as_str().map(ToOwned::to_owned));
            names.collect()
        }),
        memory_size: number("MemorySize"),
        timeout: number("Timeout"),
        role: None,
        environment: environment(place, resource),
        ..Config::default()
    }
}

/// The names of the variables, where they are written as a plain mapping.
fn environment(place: &Place<'_>, resource: &Resource<'_>) -> Option<BTreeSet<String>> {
    let global = (resource.kind == "AWS::Serverless::Function")
        .then(|| place.scope.template.global("Environment"))
        .flatten();
    let mut out = BTreeSet::new();
    for block in [global, resource.property("Environment")]
        .into_iter()
        .flatten()
    {
        let variables: &Map<_, _> = block.get("Variables")?.as_object()?;
        if variables
            .keys()
            .any(|name| name == "Ref" || name.starts_with("Fn::"))
        {
            return None;
        }
        out.extend(variables.keys().cloned());
    }
    Some(out)
}
