//! The samples in `testdata/terraform`, made by hand from the documented formats.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{TerraformHash, TerraformOptions, read};
use crate::digest::Sha256Digest;
use crate::drift::{Code, Expectation, Named, Stated};

const RAW: &[u8] = include_bytes!("../../../testdata/terraform/raw-v4.tfstate");
const SHOWN: &[u8] = include_bytes!("../../../testdata/terraform/show-state.json");
const PLAN: &[u8] = include_bytes!("../../../testdata/terraform/show-plan.json");

fn stated(bytes: &[u8], others: &[&str], hash: TerraformHash) -> Stated {
    let mut files = BTreeMap::from([(PathBuf::from("infra/s.json"), bytes.to_vec())]);
    files.extend(others.iter().map(|path| (path.into(), Vec::new())));
    read(
        Path::new("infra/s.json"),
        &files,
        &TerraformOptions { hash },
    )
    .unwrap()
}

fn by_label<'a>(stated: &'a Stated, label: &str) -> &'a Expectation {
    let found = stated
        .expectations
        .iter()
        .find(|e| e.source.label.as_deref() == Some(label));
    found.unwrap_or_else(|| panic!("no {label} in {:#?}", stated.expectations))
}

/// What was hashed, and which value that is.
fn basis(expectation: &Expectation) -> (Option<Sha256Digest>, &str) {
    match &expectation.state.code {
        Code::Digest { sha256, basis, .. } => (Some(*sha256), basis),
        Code::Image { digest, basis, .. } => (*digest, basis),
        Code::Zip(path) => (None, path.to_str().unwrap()),
        Code::CannotTell(reason) => (None, reason),
        other => panic!("{other:?}"),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "compared with what may be absent")]
fn sha(text: &str) -> Option<Sha256Digest> {
    Some(Sha256Digest::of(text.as_bytes()))
}

#[test]
fn both_forms_of_a_state_say_the_same() {
    let raw = stated(RAW, &[], TerraformHash::Auto);
    let shown = stated(SHOWN, &[], TerraformHash::Auto);
    let labels = |s: &Stated| {
        let mut labels: Vec<_> = s
            .expectations
            .iter()
            .filter_map(|e| e.source.label.clone())
            .collect();
        labels.sort();
        labels
    };
    assert_eq!(
        labels(&raw),
        [
            "aws_lambda_alias.blue",
            "aws_lambda_function.hashed_sources",
            "aws_lambda_function.no_hash",
            "aws_lambda_function.odd_hash",
            "aws_lambda_function.old_provider",
            "aws_lambda_function.orders",
            r#"module.images["a.b"].aws_lambda_function.tagged"#,
            r#"module.images["a.b"].aws_lambda_function.thumbs"#,
            r#"module.jobs.module.workers[0].aws_lambda_function.worker["a"]"#,
            r#"module.jobs.module.workers[0].aws_lambda_function.worker["b"]"#,
        ],
        "data sources and deposed objects are left out"
    );
    assert_eq!(labels(&raw), labels(&shown));
    for expectation in &raw.expectations {
        let label = expectation.source.label.as_deref().unwrap();
        assert_eq!(expectation, by_label(&shown, label), "{label}");
    }
}

#[test]
fn the_order_of_intent_is_kept_and_said() {
    let cases = [
        // hash, label, local files, what is taken
        (
            TerraformHash::Auto,
            "orders",
            &["infra/dist/orders.zip"][..],
            None,
            "infra/dist/orders.zip",
        ),
        (
            TerraformHash::Auto,
            "orders",
            &["dist/orders.zip"],
            None,
            "dist/orders.zip",
        ),
        (
            TerraformHash::Auto,
            "orders",
            &[],
            sha("orders zip"),
            "source_code_hash",
        ),
        (
            TerraformHash::SourceCodeHash,
            "orders",
            &["dist/orders.zip"],
            sha("orders zip"),
            "source_code_hash",
        ),
        (
            TerraformHash::CodeSha256,
            "orders",
            &["dist/orders.zip"],
            sha("orders zip"),
            "code_sha256 of the state, as of the last refresh",
        ),
        (
            TerraformHash::Auto,
            "hashed_sources",
            &[],
            sha("the sources"),
            "source_code_hash",
        ),
        (
            TerraformHash::CodeSha256,
            "hashed_sources",
            &[],
            sha("hashed-sources zip"),
            "code_sha256 of the state, as of the last refresh",
        ),
        (
            TerraformHash::Auto,
            "no_hash",
            &[],
            sha("no-hash zip"),
            "code_sha256 of the state, as of the last refresh",
        ),
        (
            TerraformHash::SourceCodeHash,
            "no_hash",
            &[],
            None,
            "there is no usable source_code_hash in it",
        ),
        (
            TerraformHash::Auto,
            "odd_hash",
            &[],
            sha("odd-hash zip"),
            "code_sha256 of the state, as of the last refresh",
        ),
        (
            TerraformHash::Auto,
            "old_provider",
            &[],
            None,
            "there is no usable source_code_hash or code_sha256 in it",
        ),
        (
            TerraformHash::CodeSha256,
            "old_provider",
            &[],
            None,
            "there is no usable code_sha256 in it (the AWS provider writes it since version 5.51)",
        ),
    ];
    for (hash, name, files, sha256, want) in cases {
        let stated = stated(RAW, files, hash);
        let expectation = by_label(&stated, &format!("aws_lambda_function.{name}"));
        assert_eq!(basis(expectation), (sha256, want), "{name} {hash:?}");
    }
}

#[test]
fn a_file_that_is_not_here_is_named_with_where_it_was_looked_for() {
    let missing = stated(RAW, &[], TerraformHash::Auto);
    assert_eq!(
        by_label(&missing, "aws_lambda_function.orders").notes,
        [
            "filename dist/orders.zip is not here (tried infra/dist/orders.zip and dist/orders.zip); the next value in the state is used"
        ]
    );
    let found = stated(RAW, &["infra/dist/orders.zip"], TerraformHash::Auto);
    assert_eq!(
        by_label(&found, "aws_lambda_function.orders").notes,
        [
            "compared with filename dist/orders.zip, taken from the directory of the Terraform file: infra/dist/orders.zip"
        ]
    );
}

#[test]
fn a_hash_that_may_be_of_sources_is_explained_where_it_differs() {
    let stated = stated(RAW, &[], TerraformHash::Auto);
    let instead = |name: &str| match &by_label(&stated, &format!("aws_lambda_function.{name}"))
        .state
        .code
    {
        Code::Digest { instead, .. } => instead.clone(),
        other => panic!("{other:?}"),
    };
    let [(sha256, note)] = &instead("hashed_sources")[..] else {
        panic!("one explanation");
    };
    assert_eq!(Some(*sha256), sha("hashed-sources zip"));
    assert!(
        note.contains("hash of sources") && note.contains("--terraform-hash code_sha256"),
        "{note}"
    );
    assert_eq!(instead("orders"), []);
    let odd = by_label(&stated, "aws_lambda_function.odd_hash");
    assert!(
        odd.notes[0].contains("not the SHA-256 of a package"),
        "{:?}",
        odd.notes
    );
}

#[test]
fn images_are_pinned_by_their_uri_before_anything_else() {
    let auto = stated(RAW, &[], TerraformHash::Auto);
    let image = |stated: &Stated, name: &str| {
        let label = format!(r#"module.images["a.b"].aws_lambda_function.{name}"#);
        let expectation = by_label(stated, &label);
        let (digest, basis) = basis(expectation);
        (digest, basis.to_owned(), expectation.state.layers.clone())
    };
    assert_eq!(
        image(&auto, "thumbs"),
        (sha("thumbs"), "image_uri".into(), None)
    );
    assert_eq!(
        image(&auto, "tagged"),
        (sha("tagged"), "source_code_hash".into(), None)
    );
    let refreshed = stated(RAW, &[], TerraformHash::CodeSha256);
    assert_eq!(image(&refreshed, "tagged").0, sha("tagged now"));
}

#[test]
fn target_layers_configuration_and_aliases_are_read() {
    let stated = stated(RAW, &[], TerraformHash::Auto);
    let orders = by_label(&stated, "aws_lambda_function.orders");
    assert_eq!(orders.target.region.as_deref(), Some("eu-west-1"));
    assert_eq!(orders.target.account.as_deref(), Some("123456789012"));
    assert!(matches!(&orders.target.function, Named::Function(f) if f.name() == "orders"));
    assert_eq!(orders.target.qualifier, None);

    let layers = orders.state.layers.as_deref().unwrap();
    let arn = "arn:aws:lambda:eu-west-1:123456789012:layer:shared:4";
    assert_eq!(layers[0].arn.as_deref(), Some(arn));
    assert!(
        matches!(&layers[0].code, Code::Digest { sha256, .. } if Some(*sha256) == sha("shared layer"))
    );
    assert_eq!(
        by_label(&stated, "aws_lambda_function.no_hash")
            .state
            .layers,
        Some(vec![])
    );

    let config = &orders.state.config;
    let names: Vec<_> = config.environment.iter().flatten().collect();
    assert_eq!(names, ["API_KEY", "TABLE"]);
    assert_eq!((config.memory_size, config.timeout), (Some(256), Some(10)));
    assert_eq!(config.runtime.as_deref(), Some("python3.12"));
    assert_eq!(
        config.role.as_deref(),
        Some("arn:aws:iam::123456789012:role/orders")
    );
    assert!(!format!("{stated:?}").contains("planted-secret"));

    let [live] = &orders.aliases[..] else {
        panic!("{:?}", orders.aliases)
    };
    assert_eq!((live.name.as_str(), live.version.as_str()), ("live", "7"));
    assert_eq!(live.weights, BTreeMap::from([("6".to_owned(), 0.1)]));
    // What version 6 should be, nobody knows; 7 was published from the state's code.
    assert_eq!(live.versions.keys().collect::<Vec<_>>(), ["7"]);
    assert_eq!(live.versions["7"].code, orders.state.code);
    assert_eq!(
        live.source.as_ref().unwrap().label.as_deref(),
        Some("aws_lambda_alias.live")
    );
    assert!(!orders.aliases_complete);

    let stray = by_label(&stated, "aws_lambda_alias.blue");
    assert!(matches!(&stray.target.function, Named::Function(f) if f.name() == "elsewhere"));
    assert_eq!(stray.target.qualifier, None);
    assert_eq!(stray.state.code, Code::Unstated);
    assert_eq!(
        (
            stray.aliases[0].version.as_str(),
            stray.aliases[0].versions.len()
        ),
        ("3", 0)
    );
}

#[test]
fn a_plan_says_what_is_meant_and_what_nobody_knows_yet() {
    let plan = stated(PLAN, &["infra/dist/orders.zip"], TerraformHash::Auto);
    assert_eq!(
        plan.expectations.len(),
        5,
        "what is removed is not expected"
    );
    for (i, text) in [(0, "pinned 0"), (1, "pinned 1")] {
        let pinned = by_label(
            &plan,
            &format!("module.pinned.aws_lambda_function.this[{i}]"),
        );
        assert_eq!(
            basis(pinned),
            (sha(text), "code_sha256 of the configuration")
        );
    }
    let orders = by_label(&plan, "aws_lambda_function.orders");
    assert_eq!(basis(orders), (None, "infra/dist/orders.zip"));
    assert!(orders.aliases.is_empty());
    assert!(
        orders
            .notes
            .iter()
            .any(|n| n.contains("the alias live is not compared")),
        "{:?}",
        orders.notes
    );

    let fresh = by_label(&plan, "aws_lambda_function.fresh");
    assert_eq!(basis(fresh), (sha("fresh zip"), "source_code_hash"));
    assert_eq!(fresh.target.region.as_deref(), Some("eu-west-1"));

    let built = by_label(&plan, "aws_lambda_function.built");
    assert_eq!(
        basis(built),
        (
            None,
            "source_code_hash or code_sha256 is known after apply only"
        )
    );
    let layers = built.state.layers.as_deref().unwrap();
    assert!(
        matches!(layers, [l] if matches!(l.code, Code::CannotTell(_))),
        "{layers:?}"
    );
    let names: Vec<_> = built.state.config.environment.iter().flatten().collect();
    assert_eq!(names, ["MODE", "TOKEN"]);
}

/// Every cut of a sample is an error, and every change of one byte is an error or something else than a panic.
#[test]
fn broken_samples_are_refused_and_never_panic() {
    for sample in [RAW, SHOWN, PLAN] {
        for cut in (0..sample.trim_ascii_end().len()).step_by(97) {
            let files = BTreeMap::from([(PathBuf::from("s"), sample[..cut].to_vec())]);
            let outcome = read(Path::new("s"), &files, &TerraformOptions::default());
            assert!(outcome.is_err(), "cut at {cut}");
        }
        let mut random = fastrand::Rng::with_seed(4);
        for _ in 0..300 {
            let mut bytes = sample.to_vec();
            for _ in 0..random.usize(1..5) {
                let at = random.usize(..bytes.len());
                bytes[at] = b"\"{}[],:0ntx\\"[random.usize(..12)];
            }
            let files = BTreeMap::from([(PathBuf::from("s"), bytes)]);
            let _ = read(Path::new("s"), &files, &TerraformOptions::default());
        }
    }
}

#[test]
fn nesting_is_bounded() {
    let depth = 100_000;
    let text = format!(
        r#"{{"format_version":"1.0","values":{{"root_module":{}{}}}}}"#,
        r#"{"child_modules":["#.repeat(depth),
        "]}".repeat(depth)
    );
    let files = BTreeMap::from([(PathBuf::from("s"), text.into_bytes())]);
    let error = read(Path::new("s"), &files, &TerraformOptions::default()).unwrap_err();
    assert_eq!(error.kind(), crate::error::ErrorKind::Usage);
}
