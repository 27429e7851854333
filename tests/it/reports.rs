//! `larder check --report`: each form as a CI system gets it. What the forms say is held to their schemas in the unit tests.

use larder_testkit::Tree;
use serde_json::Value;

use crate::harness::{Bench, Ran, json, names};

/// A function that drifted from `dist`, with names that try to break out of a report.
fn drifted() -> Bench {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("dist")).unwrap();
    std::fs::write(bench.path("dist/app.py"), "VERSION = 1\n").unwrap();
    let evil = "a|b<script>\x1b[31m%0A::error::[x](http).py";
    let zip = Tree::new()
        .file("app.py", "API_KEY = 'planted-secret'\n")
        .file(evil, "x")
        .zip();
    bench
        .aws
        .function("orders")
        .zip(zip)
        .env("TOKEN", "planted-secret")
        .create();
    bench
}

fn check(bench: &Bench, arguments: &[&str]) -> Ran {
    let mut all = vec!["check", "orders", "--expect", "dist", "--diff"];
    all.extend(arguments);
    bench.run(&all)
}

#[test]
fn several_reports_come_from_one_run() {
    let bench = drifted();
    std::fs::create_dir(bench.path("out")).unwrap();
    let forms = [
        "sarif", "junit", "github", "markdown", "gitlab", "json", "text",
    ];
    let wanted: Vec<String> = forms
        .iter()
        .map(|form| format!("{form}=out/{form}"))
        .collect();
    let mut arguments = Vec::new();
    for form in &wanted {
        arguments.extend(["--report", form]);
    }
    arguments.extend(["--report", "text"]);
    let ran = check(&bench, &arguments).expect(1);
    assert!(
        ran.stdout.contains("orders") && ran.stdout.contains("app.py"),
        "{}",
        ran.stdout
    );
    let mut sorted = forms.to_vec();
    sorted.sort_unstable();
    assert_eq!(
        names(&bench.path("out")),
        sorted,
        "files, and nothing beside them"
    );
    for form in forms {
        let text = std::fs::read_to_string(bench.path("out").join(form)).unwrap();
        assert!(text.contains("orders"), "{form}: {text}");
        assert!(!text.contains('\x1b'), "{form}: {text}");
        assert!(!text.contains("planted-secret"), "{form}: {text}");
    }
    assert!(!ran.stdout.contains("planted-secret"));
    assert_eq!(bench.aws.count("GetFunction"), 1);
    let sarif = json(&bench.path("out/sarif"));
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "larder-drifted");
    let print = result["partialFingerprints"].clone();
    // Another change of the same function is the same alert.
    bench
        .aws
        .function("orders")
        .zip(Tree::new().file("app.py", "other\n").zip())
        .create();
    check(&bench, &["--report", "sarif=out/sarif"]).expect(1);
    assert_eq!(
        json(&bench.path("out/sarif"))["runs"][0]["results"][0]["partialFingerprints"],
        print
    );
    let gitlab = json(&bench.path("out/gitlab"));
    assert_eq!(gitlab[0]["check_name"], "larder-drifted");
}

#[test]
fn one_report_takes_the_place_of_the_output() {
    let bench = drifted();
    let ran = check(&bench, &["--output", "json", "--report", "sarif"]).expect(1);
    assert_eq!(ran.json()["version"], "2.1.0");
    let ran = check(&bench, &["--report", "github"]).expect(1);
    let commands: Vec<_> = ran.stdout.lines().filter(|l| l.starts_with("::")).collect();
    assert_eq!(commands.len(), 1, "{}", ran.stdout);
    assert!(commands[0].starts_with("::error "), "{}", ran.stdout);
    let ran = check(&bench, &["--report", "gitlab"]).expect(1);
    let findings: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(findings.as_array().map(Vec::len), Some(1));
    bench
        .run(&[
            "check", "orders", "--expect", "dist", "--report", "text", "--report", "json",
        ])
        .expect(2);
    bench
        .run(&[
            "check", "orders", "--expect", "dist", "--report", "sarif=x", "--report", "json=x",
        ])
        .expect(2);
    bench
        .run(&["check", "orders", "--expect", "dist", "--report", "xml"])
        .expect(2)
        .says(&["sarif", "junit"]);
}

#[test]
fn what_is_in_sync_is_no_finding() {
    let bench = Bench::new();
    let tree = Tree::new().file("app.py", "VERSION = 1\n");
    std::fs::create_dir(bench.path("dist")).unwrap();
    std::fs::write(bench.path("dist/app.py"), "VERSION = 1\n").unwrap();
    bench.aws.function("orders").zip(tree.zip()).create();
    let arguments = [
        "--report", "sarif=s", "--report", "gitlab=g", "--report", "junit=j", "--report", "github",
    ];
    let ran = check(&bench, &arguments).expect(0);
    assert!(!ran.stdout.contains("::"), "{}", ran.stdout);
    assert_eq!(
        json(&bench.path("s"))["runs"][0]["results"],
        serde_json::json!([])
    );
    assert_eq!(json(&bench.path("g")), serde_json::json!([]));
    let junit = std::fs::read_to_string(bench.path("j")).unwrap();
    assert!(
        junit.contains("tests=\"1\"") && !junit.contains("<failure"),
        "{junit}"
    );
}

#[test]
fn a_summary_of_a_step_is_added_to_what_is_there() {
    let bench = drifted();
    let summary = bench.path("summary.md");
    std::fs::write(&summary, "# before\n").unwrap();
    let path = summary.to_str().unwrap();
    let report = format!("markdown={path}");
    let arguments = ["check", "orders", "--expect", "dist", "--report", &report];
    bench
        .run_with(&[("GITHUB_STEP_SUMMARY", path)], &arguments)
        .expect(1);
    let text = std::fs::read_to_string(&summary).unwrap();
    assert!(
        text.starts_with("# before\n## larder check: drift\n"),
        "{text}"
    );
    // Any other file is replaced.
    bench.run(&arguments).expect(1);
    let text = std::fs::read_to_string(&summary).unwrap();
    assert!(text.starts_with("## larder check: drift\n"), "{text}");
}
