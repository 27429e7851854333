//! YAML templates as JSON values: `CloudFormation`'s short forms (`!Ref`, `!Sub`, …) become their long ones.
//!
//! The parser gives events; the tree is built here, so that its size and depth are bounded, an anchor cannot
//! be multiplied without end, and the line of each resource is known.
//!
//! Source: "Intrinsic function reference" and "`CloudFormation` template formats" of the `CloudFormation` user guide;
//! YAML 1.2, and of 1.1 what templates use (merge keys).

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Value};

/// The most nodes of a document, with those that aliases repeat. `CloudFormation` itself takes 1 MB.
const MAX_NODES: usize = 200_000;
/// The deepest nesting.
const MAX_DEPTH: usize = 100;

/// A document and where its resources stand.
#[derive(Debug)]
pub(super) struct Document {
    /// The content.
    pub(super) value: Value,
    /// Lines, from 1, of the keys of the top-level mapping `Resources`.
    pub(super) resource_lines: HashMap<String, u64>,
}

/// Why a text is no YAML that larder reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum YamlError {
    #[error("line {line}: {message}")]
    Broken { line: usize, message: String },
    #[error("line {line}: it is nested deeper than {MAX_DEPTH} levels")]
    TooDeep { line: usize },
    #[error("line {line}: it has more than {MAX_NODES} values")]
    TooLarge { line: usize },
    #[error("line {line}: the key {key:?} stands there twice")]
    Twice { line: usize, key: String },
    #[error("line {line}: a key that is no text")]
    Key { line: usize },
    #[error("line {line}: an alias to something that is not complete yet")]
    Alias { line: usize },
    #[error("line {line}: a second document")]
    SecondDocument { line: usize },
    #[error("it is empty")]
    Empty,
}

/// Reads one document.
pub(super) fn read(text: &str) -> Result<Document, YamlError> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| YamlError::Broken {
            line: e.marker().line(),
            message: e.info().to_owned(),
        })?;
        builder.take(event, span.start.line())?;
    }
    builder.finish()
}

/// A collection that is not complete yet.
enum Open {
    Sequence(Vec<Value>),
    Mapping {
        entries: Map<String, Value>,
        key: Option<String>,
        /// What merge keys bring; it yields to the mapping's own.
        merged: Map<String, Value>,
    },
}

struct Frame {
    open: Open,
    anchor: usize,
    function: Option<String>,
}

#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    /// Complete nodes with an anchor, and how many nodes each has.
    anchors: HashMap<usize, (Value, usize)>,
    nodes: usize,
    root: Option<Value>,
    resource_lines: HashMap<String, u64>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), YamlError> {
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(YamlError::SecondDocument { line })
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, line)?;
                let key = matches!(
                    self.stack.last().map(|f| &f.open),
                    Some(Open::Mapping { key: None, .. })
                );
                if key {
                    return self.key(&text, line);
                }
                let value = scalar(&text, style, tag.as_deref());
                self.complete(value, anchor, line)
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(Open::Sequence(Vec::new()), anchor, tag.as_deref(), line)
            }
            Event::MappingStart(anchor, tag) => {
                let open = Open::Mapping {
                    entries: Map::new(),
                    key: None,
                    merged: Map::new(),
                };
                self.open(open, anchor, tag.as_deref(), line)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(frame) = self.stack.pop() else {
                    return Ok(());
                };
                let value = match frame.open {
                    Open::Sequence(items) => Value::Array(items),
                    Open::Mapping {
                        mut entries,
                        merged,
                        ..
                    } => {
                        for (key, value) in merged {
                            entries.entry(key).or_insert(value);
                        }
                        Value::Object(entries)
                    }
                };
                let value = match frame.function {
                    Some(name) => long_form(&name, value),
                    None => value,
                };
                self.complete(value, frame.anchor, line)
            }
            Event::Alias(anchor) => {
                let Some((value, nodes)) = self.anchors.get(&anchor).cloned() else {
                    return Err(YamlError::Alias { line });
                };
                self.count(nodes, line)?;
                let key = matches!(
                    self.stack.last().map(|f| &f.open),
                    Some(Open::Mapping { key: None, .. })
                );
                match (key, value) {
                    (true, Value::String(text)) => self.key(&text, line),
                    (true, _) => Err(YamlError::Key { line }),
                    (false, value) => self.complete(value, 0, line),
                }
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self, nodes: usize, line: usize) -> Result<(), YamlError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(YamlError::TooLarge { line });
        }
        Ok(())
    }

    fn open(
        &mut self,
        open: Open,
        anchor: usize,
        tag: Option<&Tag>,
        line: usize,
    ) -> Result<(), YamlError> {
        if let Some(Open::Mapping { key: None, .. }) = self.stack.last().map(|f| &f.open) {
            return Err(YamlError::Key { line });
        }
        if self.stack.len() >= MAX_DEPTH {
            return Err(YamlError::TooDeep { line });
        }
        self.count(1, line)?;
        self.stack.push(Frame {
            open,
            anchor,
            function: tag.and_then(function_of),
        });
        Ok(())
    }

    fn key(&mut self, text: &str, line: usize) -> Result<(), YamlError> {
        let in_resources = matches!(
            &self.stack[..],
            [Frame { open: Open::Mapping { key: Some(outer), .. }, .. }, _] if outer == "Resources"
        );
        if in_resources {
            self.resource_lines.insert(text.to_owned(), line as u64);
        }
        if let Some(Frame {
            open: Open::Mapping { entries, key, .. },
            ..
        }) = self.stack.last_mut()
        {
            if entries.contains_key(text) {
                return Err(YamlError::Twice {
                    line,
                    key: text.to_owned(),
                });
            }
            *key = Some(text.to_owned());
        }
        Ok(())
    }

    fn complete(&mut self, value: Value, anchor: usize, line: usize) -> Result<(), YamlError> {
        if anchor > 0 {
            let nodes = size(&value);
            // What is kept for aliases is a copy, and counts like one.
            self.count(nodes, line)?;
            self.anchors.insert(anchor, (value.clone(), nodes));
        }
        match self.stack.last_mut().map(|f| &mut f.open) {
            None => self.root = Some(value),
            Some(Open::Sequence(items)) => items.push(value),
            Some(Open::Mapping {
                entries,
                key,
                merged,
            }) => match (key.take(), value) {
                (Some(key), Value::Object(more)) if key == "<<" => merged.extend(more),
                (Some(key), Value::Array(more)) if key == "<<" => {
                    for (key, value) in more
                        .into_iter()
                        .rev()
                        .filter_map(|v| match v {
                            Value::Object(map) => Some(map),
                            _ => None,
                        })
                        .flatten()
                    {
                        merged.insert(key, value);
                    }
                }
                (Some(key), value) => {
                    entries.insert(key, value);
                }
                (None, _) => return Err(YamlError::Key { line }),
            },
        }
        Ok(())
    }

    fn finish(self) -> Result<Document, YamlError> {
        Ok(Document {
            value: self.root.ok_or(YamlError::Empty)?,
            resource_lines: self.resource_lines,
        })
    }
}

/// How many values there are in `value`, itself included.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(map) => map.values().map(size).sum(),
        _ => 0,
    }
}

/// `Sub` of `!Sub`. Tags of the core schema (`!!str`) name no function.
fn function_of(tag: &Tag) -> Option<String> {
    (tag.handle == "!" && !tag.suffix.is_empty()).then(|| tag.suffix.clone())
}

/// `!Ref x` as `{"Ref": "x"}`, `!Sub x` as `{"Fn::Sub": "x"}`.
fn long_form(name: &str, value: Value) -> Value {
    let (name, value) = match (name, value) {
        ("Ref" | "Condition", value) => (name.to_owned(), value),
        // The attribute itself may have dots; the resource's id has none.
        ("GetAtt", Value::String(text)) => {
            let (id, attribute) = text.split_once('.').unwrap_or((&text, ""));
            ("Fn::GetAtt".to_owned(), serde_json::json!([id, attribute]))
        }
        (name, value) => (format!("Fn::{name}"), value),
    };
    Value::Object(Map::from_iter([(name, value)]))
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    if let Some(name) = tag.and_then(function_of) {
        return long_form(&name, Value::String(text.to_owned()));
    }
    let string = || Value::String(text.to_owned());
    if style != ScalarStyle::Plain || tag.is_some() {
        return string();
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        // A number with a zero in front is an account's or a version's, and a text.
        _ if text == "0" || !text.starts_with('0') => {
            text.parse::<u64>().map_or_else(|_| string(), Value::from)
        }
        _ => string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(text: &str) -> Value {
        read(text).unwrap().value
    }

    #[test]
    fn short_forms_are_long_ones() {
        let text = "
a: !Ref Table
b: !Sub 'x-${Stage}'
c: !GetAtt Fn.Outputs.Arn
d: !Join ['-', [a, !Ref B]]
e: !If
  - IsProd
  - !Sub [ 'a${x}', {x: !Select [0, !Split [',', 'p,q']]} ]
  - !Ref AWS::NoValue
f: !Condition Prod
g: !!str 12
h: !GetAtt [A, Arn]
i: !Odd {x: 1}
";
        assert_eq!(
            value(text),
            json!({
                "a": {"Ref": "Table"},
                "b": {"Fn::Sub": "x-${Stage}"},
                "c": {"Fn::GetAtt": ["Fn", "Outputs.Arn"]},
                "d": {"Fn::Join": ["-", ["a", {"Ref": "B"}]]},
                "e": {"Fn::If": ["IsProd",
                    {"Fn::Sub": ["a${x}", {"x": {"Fn::Select": [0, {"Fn::Split": [",", "p,q"]}]}}]},
                    {"Ref": "AWS::NoValue"}]},
                "f": {"Condition": "Prod"},
                "g": "12",
                "h": {"Fn::GetAtt": ["A", "Arn"]},
                "i": {"Fn::Odd": {"x": 1}},
            })
        );
    }

    #[test]
    fn scalars_are_what_they_look_like() {
        assert_eq!(
            value("[1, 0, 012345678901, '1', true, \"true\", null, ~, -1, 1.5, a b, 2010-09-09]"),
            json!([
                1,
                0,
                "012345678901",
                "1",
                true,
                "true",
                null,
                null,
                "-1",
                "1.5",
                "a b",
                "2010-09-09"
            ])
        );
    }

    #[test]
    fn anchors_and_merge_keys_are_filled_in() {
        let text = "base: &b {Runtime: python3.12, Timeout: 3}\nf:\n  <<: *b\n  Timeout: 5\ng: *b\n\
                    h:\n  <<: [{x: 1}, {x: 2, y: 2}]\n";
        let value = value(text);
        assert_eq!(value["f"], json!({"Timeout": 5, "Runtime": "python3.12"}));
        assert_eq!(value["g"]["Timeout"], 3);
        assert_eq!(value["h"], json!({"x": 1, "y": 2}));
    }

    #[test]
    fn lines_of_resources_are_known() {
        let text = "Globals: {}\nResources:\n  A:\n    Type: X\n  'B':\n    Type: Y\n";
        let lines = read(text).unwrap().resource_lines;
        assert_eq!((lines["A"], lines["B"], lines.len()), (3, 5, 2));
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        let laughs = (0..12).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, i| {
            let item = format!("*a{i},");
            format!("{text}a{0}: &a{0} [{1}]\n", i + 1, item.repeat(9))
        });
        for (text, want) in [
            ("", "it is empty"),
            ("a: [", "line "),
            ("a: 1\na: 2\n", "line 2: the key \"a\" stands there twice"),
            ("[x]: 1\n", "no text"),
            ("a: &a [*a]\n", "not complete"),
            ("a: 1\n---\nb: 1\n", "second document"),
            (&"[".repeat(101), "nested deeper than 100"),
            (&laughs, "more than 200000 values"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(want), "{text:.40}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a:\\-\\[\\]{}!&*\n \"'#|>,?%<~]{0,200}") {
            let _ = read(&text);
        }
    }
}
