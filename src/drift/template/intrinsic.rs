//! Intrinsic functions, as far as the template alone decides them.
//!
//! A parameter may have had another value than its default when the stack was deployed. A text that rests on a default
//! says so. What rests on a resource, an import or a parameter without a default cannot be told, and the reason is the
//! error.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Template;

/// How deep intrinsics may lie in each other, conditions included.
const MAX_DEPTH: u32 = 40;
/// The longest text that is made, in bytes: no name or path has a tenth of it.
const MAX_TEXT: usize = 64 << 10;

/// A text, and the parameters whose defaults it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::drift) struct Text {
    pub(in crate::drift) value: String,
    pub(in crate::drift) assumed: BTreeSet<String>,
}

/// Why something cannot be told, as a sentence's end: `it refers to …`.
type Told<T> = Result<T, String>;

/// A template with what is known from around it.
pub(in crate::drift) struct Scope<'a> {
    pub(in crate::drift) template: &'a Template,
    pub(in crate::drift) region: Option<String>,
    pub(in crate::drift) account: Option<String>,
    pub(in crate::drift) stack: Option<String>,
    /// What the stack around a nested one sets its parameters to.
    pub(in crate::drift) given: BTreeMap<String, Told<Text>>,
    depth: Cell<u32>,
}

impl<'a> Scope<'a> {
    pub(in crate::drift) fn new(template: &'a Template) -> Self {
        Self {
            template,
            region: None,
            account: None,
            stack: None,
            given: BTreeMap::new(),
            depth: Cell::new(0),
        }
    }

    /// The text that `value` becomes.
    pub(in crate::drift) fn text(&self, value: &Value) -> Told<Text> {
        self.deeper(|| self.text_here(value))
    }

    /// `value` without `Fn::If` around it; None for `AWS::NoValue`. Parameters whose defaults decide go to `assumed`.
    pub(in crate::drift) fn chosen<'v>(
        &self,
        value: &'v Value,
        assumed: &mut BTreeSet<String>,
    ) -> Told<Option<&'v Value>> {
        match function(value) {
            Some(("Ref", Value::String(name))) if name == "AWS::NoValue" => Ok(None),
            Some(("Fn::If", Value::Array(parts))) => match &parts[..] {
                [Value::String(name), yes, no] => {
                    let (holds, by) = self.condition(name)?;
                    assumed.extend(by);
                    self.deeper(|| self.chosen(if holds { yes } else { no }, assumed))
                }
                _ => Err("its Fn::If is malformed".into()),
            },
            _ => Ok(Some(value)),
        }
    }

    /// Whether the condition holds, and the parameters whose defaults decide it.
    pub(in crate::drift) fn condition(&self, name: &str) -> Told<(bool, BTreeSet<String>)> {
        let Some(rule) = self.template.entry("Conditions", name) else {
            return Err(format!("there is no condition {name}"));
        };
        self.deeper(|| self.rule(rule))
            .map_err(|why| format!("it depends on the condition {name}, and {why}"))
    }

    /// Bounds recursion: a condition may name itself.
    fn deeper<T>(&self, work: impl FnOnce() -> Told<T>) -> Told<T> {
        let depth = self.depth.get();
        if depth >= MAX_DEPTH {
            return Err(format!("it is nested deeper than {MAX_DEPTH} levels"));
        }
        self.depth.set(depth + 1);
        let out = work();
        self.depth.set(depth);
        out
    }

    fn rule(&self, rule: &Value) -> Told<(bool, BTreeSet<String>)> {
        let all = |rules: &[Value]| -> Told<(Vec<bool>, BTreeSet<String>)> {
            let mut assumed = BTreeSet::new();
            let mut out = Vec::new();
            for rule in rules {
                let (holds, by) = self.deeper(|| self.rule(rule))?;
                assumed.extend(by);
                out.push(holds);
            }
            Ok((out, assumed))
        };
        match function(rule) {
            Some(("Condition", Value::String(name))) => self.condition(name),
            Some(("Fn::Equals", Value::Array(sides))) if sides.len() == 2 => {
                let (mut a, b) = (self.text(&sides[0])?, self.text(&sides[1])?);
                a.assumed.extend(b.assumed);
                Ok((a.value == b.value, a.assumed))
            }
            Some(("Fn::And", Value::Array(rules))) => {
                all(rules).map(|(out, by)| (out.iter().all(|holds| *holds), by))
            }
            Some(("Fn::Or", Value::Array(rules))) => {
                all(rules).map(|(out, by)| (out.iter().any(|holds| *holds), by))
            }
            Some(("Fn::Not", Value::Array(rules))) if rules.len() == 1 => {
                all(rules).map(|(out, by)| (!out.iter().any(|holds| *holds), by))
            }
            _ => Err("it is not one that the template alone decides".into()),
        }
    }

    fn text_here(&self, value: &Value) -> Told<Text> {
        let plain = |value: String| Text {
            value,
            assumed: BTreeSet::new(),
        };
        match value {
            Value::String(text) => return Ok(plain(text.clone())),
            Value::Number(number) => return Ok(plain(number.to_string())),
            Value::Bool(flag) => return Ok(plain(flag.to_string())),
            Value::Null | Value::Array(_) => return Err("it is no text".into()),
            Value::Object(_) => {}
        }
        let Some((name, argument)) = function(value) else {
            return Err("it is no text".into());
        };
        match (name, argument) {
            ("Ref", Value::String(name)) => self.reference(name),
            ("Fn::Sub", Value::String(pattern)) => self.sub(pattern, &Map::new()),
            ("Fn::Sub", Value::Array(parts)) => match &parts[..] {
                [Value::String(pattern)] => self.sub(pattern, &Map::new()),
                [Value::String(pattern), Value::Object(names)] => self.sub(pattern, names),
                _ => Err("its Fn::Sub is malformed".into()),
            },
            ("Fn::Join", Value::Array(parts)) => match &parts[..] {
                [Value::String(between), items] => {
                    let items = self.list(items)?;
                    let mut out = Text::default();
                    for (i, item) in items.into_iter().enumerate() {
                        if i > 0 {
                            out.value.push_str(between);
                        }
                        append(&mut out, item)?;
                    }
                    Ok(out)
                }
                _ => Err("its Fn::Join is malformed".into()),
            },
            ("Fn::Select", Value::Array(parts)) => match &parts[..] {
                [index, items] => {
                    let index = self.text(index)?;
                    let number: usize = index
                        .value
                        .parse()
                        .map_err(|_| "its Fn::Select is malformed")?;
                    let mut item = self
                        .list(items)?
                        .into_iter()
                        .nth(number)
                        .ok_or("its Fn::Select has no such item")?;
                    item.assumed.extend(index.assumed);
                    Ok(item)
                }
                _ => Err("its Fn::Select is malformed".into()),
            },
            ("Fn::FindInMap", Value::Array(parts)) => match &parts[..] {
                [map, top, second] => {
                    let keys = [self.text(map)?, self.text(top)?, self.text(second)?];
                    let found = self
                        .template
                        .entry("Mappings", &keys[0].value)
                        .and_then(|m| m.get(&keys[1].value)?.get(&keys[2].value))
                        .ok_or("its Fn::FindInMap finds nothing")?;
                    let mut text = self.text(found)?;
                    text.assumed
                        .extend(keys.into_iter().flat_map(|k| k.assumed));
                    Ok(text)
                }
                _ => Err("its Fn::FindInMap is malformed".into()),
            },
            ("Fn::If", _) => {
                let mut assumed = BTreeSet::new();
                let chosen = self.chosen(value, &mut assumed)?;
                let mut text = self.text(chosen.ok_or("its Fn::If leaves nothing")?)?;
                text.assumed.extend(assumed);
                Ok(text)
            }
            ("Fn::GetAtt", Value::Array(parts)) => {
                let id = parts
                    .first()
                    .and_then(Value::as_str)
                    .unwrap_or("a resource");
                Err(format!("it depends on an attribute of {id} (Fn::GetAtt)"))
            }
            ("Fn::ImportValue", _) => Err("it depends on another stack (Fn::ImportValue)".into()),
            (name, _) => Err(format!("it depends on {name}")),
        }
    }

    fn list(&self, value: &Value) -> Told<Vec<Text>> {
        match (value, function(value)) {
            (Value::Array(items), _) => items.iter().map(|item| self.text(item)).collect(),
            (_, Some(("Fn::Split", Value::Array(parts)))) => match &parts[..] {
                [Value::String(between), text] if !between.is_empty() => {
                    let text = self.text(text)?;
                    let part = |value: &str| Text {
                        value: value.to_owned(),
                        assumed: text.assumed.clone(),
                    };
                    Ok(text.value.split(between.as_str()).map(part).collect())
                }
                _ => Err("its Fn::Split is malformed".into()),
            },
            (_, Some((name, _))) => Err(format!("it depends on {name}")),
            _ => Err("it is no list".into()),
        }
    }

    fn reference(&self, name: &str) -> Told<Text> {
        let known = |value: Option<&str>, what: &str| match value {
            Some(value) => Ok(Text {
                value: value.to_owned(),
                assumed: BTreeSet::new(),
            }),
            None => Err(format!("it depends on {name}, and {what}")),
        };
        let region = self.region.as_deref();
        match name {
            "AWS::Region" => known(region, "the region is not known"),
            "AWS::AccountId" => known(self.account.as_deref(), "the account is not known"),
            "AWS::StackName" => known(self.stack.as_deref(), "the stack is not named (--stack)"),
            "AWS::Partition" => known(region.map(|r| partition(r).0), "the region is not known"),
            "AWS::URLSuffix" => known(region.map(|r| partition(r).1), "the region is not known"),
            _ if name.starts_with("AWS::") => Err(format!("it depends on {name}")),
            _ => self.parameter(name),
        }
    }

    fn parameter(&self, name: &str) -> Told<Text> {
        if let Some(given) = self.given.get(name) {
            return given.clone();
        }
        let Some(parameter) = self.template.entry("Parameters", name) else {
            return Err(format!("it depends on the resource {name} (Ref)"));
        };
        let kind = parameter
            .get("Type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if kind.starts_with("AWS::SSM::") {
            return Err(format!(
                "it depends on {name}, a value of the parameter store"
            ));
        }
        if parameter
            .get("NoEcho")
            .is_some_and(|v| !matches!(v, Value::Bool(false)) && v != "false")
        {
            return Err(format!(
                "it depends on the parameter {name}, which is hidden (NoEcho)"
            ));
        }
        match parameter.get("Default") {
            Some(default @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) => {
                let mut text = self.text(default)?;
                text.assumed.insert(name.to_owned());
                Ok(text)
            }
            _ => Err(format!(
                "it depends on the parameter {name}, which has no default"
            )),
        }
    }

    /// `${Name}`, `${Resource.Attribute}`, and `${!Literal}`.
    fn sub(&self, pattern: &str, names: &Map<String, Value>) -> Told<Text> {
        let mut out = Text::default();
        let mut rest = pattern;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, tail)) = after.split_once('}') else {
                break;
            };
            out.value.push_str(before);
            rest = tail;
            if let Some(literal) = name.strip_prefix('!') {
                out.value.push_str("${");
                out.value.push_str(literal);
                out.value.push('}');
            } else if let Some(value) = names.get(name) {
                append(&mut out, self.text(value)?)?;
            } else if let Some((id, _)) = name.split_once('.') {
                return Err(format!("it depends on an attribute of {id} (Fn::Sub)"));
            } else {
                append(&mut out, self.reference(name.trim())?)?;
            }
        }
        out.value.push_str(rest);
        Ok(out)
    }
}

fn append(out: &mut Text, more: Text) -> Told<()> {
    out.value.push_str(&more.value);
    out.assumed.extend(more.assumed);
    if out.value.len() > MAX_TEXT {
        return Err(format!("it becomes longer than {MAX_TEXT} bytes"));
    }
    Ok(())
}

/// The one entry of an object that may be an intrinsic function.
pub(in crate::drift) fn function(value: &Value) -> Option<(&str, &Value)> {
    let map = value.as_object().filter(|map| map.len() == 1)?;
    let (name, argument) = map.iter().next()?;
    (name == "Ref" || name == "Condition" || name.starts_with("Fn::"))
        .then_some((name.as_str(), argument))
}

/// `AWS::Partition` and `AWS::URLSuffix` of a region.
fn partition(region: &str) -> (&'static str, &'static str) {
    match region {
        _ if region.starts_with("cn-") => ("aws-cn", "amazonaws.com.cn"),
        _ if region.starts_with("us-gov-") => ("aws-us-gov", "amazonaws.com"),
        _ if region.starts_with("eusc-") => ("aws-eusc", "amazonaws.eu"),
        _ if region.starts_with("us-iso-") => ("aws-iso", "c2s.ic.gov"),
        _ if region.starts_with("us-isob-") => ("aws-iso-b", "sc2s.sgov.gov"),
        _ if region.starts_with("eu-isoe-") => ("aws-iso-e", "cloud.adc-e.uk"),
        _ if region.starts_with("us-isof-") => ("aws-iso-f", "csp.hci.ic.gov"),
        _ => ("aws", "amazonaws.com"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    use super::*;

    fn with<T>(template: &str, work: impl FnOnce(&Scope<'_>) -> T) -> T {
        let text = format!("{template}\nResources: {{}}\n");
        let files = BTreeMap::from([(PathBuf::from("t"), text.into_bytes())]);
        let template = Template::read(Path::new("t"), &files).unwrap();
        let mut scope = Scope::new(&template);
        scope.region = Some("cn-north-1".into());
        work(&scope)
    }

    const TEMPLATE: &str = "
Parameters:
  Stage: {Type: String, Default: beta}
  Bare: {Type: String}
  Secret: {Type: String, Default: hunter2, NoEcho: true}
  Stored: {Type: 'AWS::SSM::Parameter::Value<String>', Default: /a/b}
Mappings:
  Names: {beta: {orders: o1}}
Conditions:
  Prod: !Equals [!Ref Stage, prod]
  China: !Equals [!Ref 'AWS::Partition', aws-cn]
  Both: !And [!Condition China, !Not [!Condition Prod]]
  Own: !Or [!Condition Own]
  Gone: !Equals [!Ref Bare, x]";

    #[test]
    fn what_the_template_decides_is_resolved() {
        for (yaml, want, assumed) in [
            ("plain", "plain", ""),
            ("12", "12", ""),
            ("!Ref Stage", "beta", "Stage"),
            (
                "!Sub 'a-${Stage}-${AWS::Region}-${!x}-$'",
                "a-beta-cn-north-1-${x}-$",
                "Stage",
            ),
            (
                "!Sub ['${A}${B}', {A: 1, B: !Ref AWS::URLSuffix}]",
                "1amazonaws.com.cn",
                "",
            ),
            ("!Join ['-', [a, !Ref Stage, b]]", "a-beta-b", "Stage"),
            ("!Select [1, !Split [',', 'p,q']]", "q", ""),
            ("!Select ['0', [x]]", "x", ""),
            ("!FindInMap [Names, !Ref Stage, orders]", "o1", "Stage"),
            ("!If [Prod, p, n]", "n", "Stage"),
            ("!If [China, p, n]", "p", ""),
            ("!If [Both, p, !Ref AWS::NoValue]", "p", "Stage"),
        ] {
            let value = crate::drift::yaml::read(yaml).unwrap().value;
            let text = with(TEMPLATE, |scope| scope.text(&value)).unwrap();
            let by: Vec<_> = text.assumed.into_iter().collect();
            assert_eq!(
                (text.value.as_str(), by.join(",").as_str()),
                (want, assumed),
                "{yaml}"
            );
        }
    }

    #[test]
    fn what_it_does_not_decide_says_why() {
        for (yaml, want) in [
            ("!Ref Bare", "the parameter Bare, which has no default"),
            ("!Ref Secret", "hidden"),
            ("!Ref Stored", "parameter store"),
            ("!Ref Other", "the resource Other"),
            ("!Ref AWS::AccountId", "the account is not known"),
            ("!Sub '${AWS::StackName}-x'", "--stack"),
            ("!Sub '${Queue.Arn}'", "an attribute of Queue"),
            ("!GetAtt Queue.Arn", "an attribute of Queue"),
            ("!ImportValue x", "another stack"),
            ("!If [Own, a, b]", "nested deeper"),
            ("!If [Gone, a, b]", "the condition Gone"),
            ("!If [None, a, b]", "no condition None"),
            ("!Select [5, [a]]", "no such item"),
            ("!FindInMap [Names, prod, orders]", "finds nothing"),
            ("!Base64 x", "Fn::Base64"),
            ("[a]", "no text"),
            ("{a: b}", "no text"),
        ] {
            let value = crate::drift::yaml::read(yaml).unwrap().value;
            let error = with(TEMPLATE, |scope| scope.text(&value)).unwrap_err();
            assert!(error.contains(want), "{yaml}: {error}");
        }
    }

    #[test]
    fn a_text_that_doubles_is_bounded() {
        let pattern = "${A}".repeat(5000);
        let value = serde_json::json!({"Fn::Sub": [pattern, {"A": "0123456789012345"}]});
        let error = with("", |scope| scope.text(&value)).unwrap_err();
        assert!(error.contains("longer than"), "{error}");
    }
}
