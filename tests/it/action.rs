//! The GitHub Action and the snippets of docs/ci.md: their form, and their scripts run as the runner runs them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use larder_testkit::Tree;
use saphyr_parser::{Event, Parser};
use serde_json::{Map, Value};

use crate::harness::{Bench, Ran, finish, write};

fn root(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(path).expect("a file of the repository")
}

/// YAML as a value; every scalar is a text. Aliases and several documents are not read.
fn yaml(text: &str) -> Value {
    fn node<'a>(first: &Event<'a>, events: &mut dyn Iterator<Item = Event<'a>>) -> Value {
        match first {
            Event::Scalar(text, ..) => Value::String(text.to_string()),
            Event::SequenceStart(..) => {
                let mut list = Vec::new();
                loop {
                    match events.next().expect("an end") {
                        Event::SequenceEnd => return Value::Array(list),
                        event => list.push(node(&event, events)),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut map = Map::new();
                loop {
                    match events.next().expect("an end") {
                        Event::MappingEnd => return Value::Object(map),
                        Event::Scalar(key, ..) => {
                            let first = events.next().expect("a value");
                            let value = node(&first, events);
                            assert!(map.insert(key.to_string(), value).is_none(), "{key} twice");
                        }
                        event => panic!("a key that is no text: {event:?}"),
                    }
                }
            }
            event => panic!("{event:?} was not expected"),
        }
    }
    let mut events = Parser::new_from_str(text)
        .map(|event| event.expect("YAML").0)
        .filter(|e| !matches!(e, Event::StreamStart | Event::DocumentStart(_)));
    let first = events.next().expect("a document");
    node(&first, &mut events)
}

fn action() -> Value {
    yaml(&root("action.yml"))
}

#[track_caller]
fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field}"))
}

#[track_caller]
fn keys(value: &Value) -> BTreeSet<&str> {
    let map = value.as_object().expect("a mapping");
    map.keys().map(String::as_str).collect()
}

/// What stands in `${{ … }}`.
fn expressions(text: &str) -> Vec<&str> {
    let parts = text.split("${{").skip(1);
    parts
        .map(|part| part.split("}}").next().expect("an end").trim())
        .collect()
}

#[test]
fn the_action_has_the_form_that_github_reads() {
    let action = action();
    let top = [
        "author",
        "branding",
        "description",
        "inputs",
        "name",
        "outputs",
        "runs",
    ];
    assert_eq!(keys(&action), BTreeSet::from(top));
    assert_eq!(text(&action["runs"], "using"), "composite");
    assert_eq!(keys(&action["branding"]), BTreeSet::from(["color", "icon"]));
    for (name, input) in action["inputs"].as_object().unwrap() {
        assert_eq!(
            keys(input),
            BTreeSet::from(["default", "description"]),
            "{name}"
        );
        assert!(!text(input, "description").is_empty(), "{name}");
    }
    let inputs = keys(&action["inputs"]);
    let (mut used, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for step in action["runs"]["steps"].as_array().unwrap() {
        let name = text(step, "name");
        let known = ["env", "id", "name", "run", "shell", "working-directory"];
        assert!(keys(step).is_subset(&BTreeSet::from(known)), "{name}");
        assert_eq!(text(step, "shell"), "bash", "{name}");
        // What a caller writes is never part of a script.
        assert_eq!(expressions(text(step, "run")), Vec::<&str>::new(), "{name}");
        ids.extend(step["id"].as_str());
        let environment = step["env"].as_object().unwrap();
        for value in environment.values().chain(step.get("working-directory")) {
            let Value::String(value) = value else {
                panic!("{name}: a variable that is no text");
            };
            for expression in expressions(value) {
                match expression.strip_prefix("inputs.") {
                    Some(input) => assert!(inputs.contains(input), "{name}: {expression}"),
                    None => assert_eq!(expression, "github.action_path", "{name}"),
                }
                used.extend(expression.strip_prefix("inputs."));
            }
        }
        // Each variable is used, and in quotes but for the one that is split into words.
        let script = text(step, "run");
        for variable in environment.keys() {
            assert!(
                script.contains(&format!("${variable}")),
                "{name}: {variable}"
            );
        }
    }
    assert_eq!(used, inputs, "every input is used");
    for output in action["outputs"].as_object().unwrap().values() {
        let [expression] = expressions(text(output, "value"))[..] else {
            panic!("one expression");
        };
        let parts: Vec<&str> = expression.split('.').collect();
        assert_eq!((parts[0], parts[2]), ("steps", "outputs"));
        assert!(ids.contains(parts[1]), "{expression}");
        let steps = action["runs"]["steps"].as_array().unwrap();
        let step = steps.iter().find(|s| s["id"] == parts[1]).unwrap();
        assert!(text(step, "run").contains(&format!("\"{}=", parts[3])));
    }
}

/// Runs a step's script as the runner does, with these inputs.
fn step(bench: &Bench, name: &str, path: &Path, variables: &[(&str, &str)]) -> Ran {
    let action = action();
    let steps = action["runs"]["steps"].as_array().unwrap();
    let step = steps.iter().find(|s| s["name"] == name).expect("the step");
    let script = write(bench.path("step.sh"), text(step, "run"));
    let rest = std::env::var("PATH").unwrap_or_default();
    let child = Command::new("bash")
        .args(["--noprofile", "--norc", "-e", "-o", "pipefail"])
        .arg(script)
        .current_dir(bench.dir.path())
        .env_clear()
        .envs(bench.aws.env())
        .env("HOME", bench.path("home"))
        .env("PATH", format!("{}:{rest}", path.display()))
        .env("GITHUB_STEP_SUMMARY", bench.path("step summary.md"))
        .env("GITHUB_OUTPUT", bench.path("output"))
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("bash");
    finish(child)
}

/// A directory with the program in it and nothing else.
fn with_larder(bench: &Bench) -> PathBuf {
    let dir = bench.path("bin");
    fs::create_dir_all(&dir).unwrap();
    let _ = std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_larder"), dir.join("larder"));
    dir
}

fn check(bench: &Bench, arguments: &str, sarif: &str, json: &str) -> Ran {
    let _ = fs::remove_file(bench.path("output"));
    let bin = with_larder(bench);
    let inputs = [
        ("LARDER_ARGS", arguments),
        ("LARDER_SARIF", sarif),
        ("LARDER_JSON", json),
    ];
    step(bench, "Check", &bin, &inputs)
}

#[test]
fn the_actions_check_reports_and_fails_as_larder_does() {
    let bench = Bench::new();
    let tree = |version: &str| Tree::new().file("index.py", version).zip();
    let function = bench.aws.function("f").zip(tree("1")).create();
    bench.run(&["lock", "f"]).expect(0);
    let exit = || fs::read_to_string(bench.path("output")).unwrap();
    check(&bench, "", "", "").expect(0);
    assert_eq!(exit(), "exit-code=0\n");
    let summary = fs::read_to_string(bench.path("step summary.md")).unwrap();
    assert!(summary.contains("in sync"), "{summary}");
    function.update_code(tree("2"));
    let ran = check(
        &bench,
        "--config --aliases",
        "the drift.sarif",
        "drift.json",
    )
    .expect(1);
    assert_eq!(exit(), "exit-code=1\n");
    assert!(ran.stdout.starts_with("::error"), "{}", ran.stdout);
    let sarif = crate::harness::json(&bench.path("the drift.sarif"));
    assert_eq!(sarif["version"], "2.1.0");
    assert_eq!(
        crate::harness::json(&bench.path("drift.json"))["summary"]["drifted"],
        1
    );
    // What stands in the arguments is neither expanded nor run.
    write(bench.path("a.lock"), "x");
    for hostile in [
        "--lock *.lock",
        "$(touch pwned)",
        "; touch pwned",
        "`touch pwned`",
        "--lock larder.lock && touch pwned",
    ] {
        check(&bench, hostile, "", "").expect(2);
        assert_eq!(exit(), "exit-code=2\n", "{hostile}");
        assert!(!bench.path("pwned").exists(), "{hostile}");
    }
}

#[test]
fn the_action_installs_only_where_larder_is_missing() {
    let bench = Bench::new();
    let stub = bench.path("stub");
    fs::create_dir_all(&stub).unwrap();
    let cargo = write(
        stub.join("cargo"),
        "#!/bin/bash\nprintf '%s\\n' \"$@\" > asked\n",
    );
    Command::new("chmod").arg("+x").arg(cargo).status().unwrap();
    let variables = [("ACTION_PATH", "/a path/larder")];
    step(&bench, "Install larder", &stub, &variables).expect(0);
    let missing = fs::read_to_string(bench.path("asked")).unwrap_or_default();
    // Unless this machine has one on its own path.
    if !missing.is_empty() {
        assert_eq!(missing, "install\n--locked\n--path\n/a path/larder\n");
        fs::remove_file(bench.path("asked")).unwrap();
    }
    fs::copy(env!("CARGO_BIN_EXE_larder"), stub.join("larder")).unwrap();
    step(&bench, "Install larder", &stub, &variables).expect(0);
    assert!(!bench.path("asked").exists());
}

/// The fenced blocks of this language in docs/ci.md.
fn blocks(language: &str) -> Vec<String> {
    let page = root("docs/ci.md");
    let fence = format!("```{language}\n");
    let parts = page.split(&fence).skip(1);
    parts
        .map(|part| part.split("```").next().expect("an end").to_owned())
        .collect()
}

#[test]
fn the_snippets_of_the_documentation_are_what_the_program_takes() {
    let snippets: Vec<Value> = blocks("yaml").iter().map(|text| yaml(text)).collect();
    let [github, gitlab] = &snippets[..] else {
        panic!("two snippets");
    };
    let steps = github["jobs"]["drift"]["steps"].as_array().unwrap();
    let action = action();
    let ours = steps.iter().find(|s| text(s, "uses").contains("/larder@"));
    let with = &ours.expect("the action")["with"];
    assert!(keys(with).is_subset(&keys(&action["inputs"])), "{with}");
    let uploaded = steps.iter().find_map(|s| s["with"]["sarif_file"].as_str());
    assert_eq!(uploaded, with["sarif"].as_str());

    // The commands are run.
    let bench = Bench::new();
    let zip = Tree::new().file("index.py", "1").zip();
    bench.aws.function("f").zip(zip).create();
    bench.run(&["lock", "f"]).expect(0);
    check(&bench, text(with, "args"), text(with, "sarif"), "").expect(0);
    let script = gitlab["drift"]["script"].as_array().unwrap();
    let line = script
        .iter()
        .find_map(|line| line.as_str()?.strip_prefix("larder check "))
        .expect("larder check");
    let mut arguments = vec!["check"];
    arguments.extend(line.split(' '));
    bench.run(&arguments).expect(0);
    let reports = &gitlab["drift"]["artifacts"]["reports"];
    for report in ["codequality", "junit"] {
        assert!(bench.path(text(reports, report)).is_file(), "{report}");
    }

    // The policy has the actions that the text speaks of.
    let [policy] = &blocks("json")[..] else {
        panic!("one policy");
    };
    let policy: Value = serde_json::from_str(policy).expect("JSON");
    let statements = policy["Statement"].as_array().unwrap().iter();
    let actions: BTreeSet<&str> = statements
        .flat_map(|s| match &s["Action"] {
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            one => vec![one.as_str().expect("an action")],
        })
        .collect();
    let page = root("docs/ci.md");
    for action in actions {
        assert!(
            page.contains(&format!("- `{action}` is used"))
                || action == "lambda:GetFunctionConfiguration",
            "{action}"
        );
    }
}
