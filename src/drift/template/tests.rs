//! Assemblies and built templates as the tools wrote them (`testdata/cdk`, `testdata/sam`), and what they do not have.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::drift::{Code, Disk, Expectation, Named, Stated, TemplateOptions, cdk, sam};
use crate::error::{Error, ErrorKind};

const CDK: &str = "testdata/cdk/cdk.out";
const SAM: &str = "testdata/sam/.aws-sam/build/template.yaml";

fn options(stacks: &[&str]) -> TemplateOptions {
    TemplateOptions {
        stacks: stacks.iter().map(ToString::to_string).collect(),
        region: Some("us-east-1".into()),
        account: None,
    }
}

/// Label to what stands for the name, and the code.
fn seen(stated: &Stated) -> BTreeMap<String, (String, String)> {
    let all = stated.expectations.iter().map(|e| {
        let name = match &e.target.function {
            Named::Function(function) => function.as_typed().to_owned(),
            Named::Resource {
                stack,
                logical_id,
                condition,
            } => {
                let stack = stack.as_deref().unwrap_or("?");
                let condition = condition
                    .as_ref()
                    .map(|c| format!(" if {c}"))
                    .unwrap_or_default();
                format!("{stack}:{logical_id}{condition}")
            }
            Named::Unknown { label, reason, .. } => format!("{label} unknown: {reason}"),
        };
        (e.source.label.clone().unwrap(), (name, code(&e.state.code)))
    });
    all.collect()
}

fn code(code: &Code) -> String {
    let asset = |path: &Path| {
        let text = path.display().to_string();
        // The first digits of an asset's hash are enough.
        match text.find("asset.") {
            Some(at) => format!("{}…", &text[..at + 11]),
            None => text,
        }
    };
    match code {
        Code::Directory { path, .. } => format!("directory {}", asset(path)),
        Code::Zip(path) => format!("zip {}", asset(path)),
        Code::Image { uri, digest, .. } => format!(
            "image {}{}",
            uri.as_deref().unwrap_or_default(),
            if digest.is_some() { " pinned" } else { "" }
        ),
        Code::CannotTell(why) => format!("? {why}"),
        other => format!("{other:?}"),
    }
}

fn one<'a>(stated: &'a Stated, label: &str) -> &'a Expectation {
    let found = stated
        .expectations
        .iter()
        .find(|e| e.source.label.as_deref() == Some(label));
    found.unwrap_or_else(|| panic!("no {label} in {:?}", seen(stated).keys()))
}

fn table(rows: &[(&str, &str, &str)]) -> BTreeMap<String, (String, String)> {
    let row = |(label, name, code): &(&str, &str, &str)| {
        (
            (*label).to_owned(),
            ((*name).to_owned(), (*code).to_owned()),
        )
    };
    rows.iter().map(row).collect()
}

#[test]
fn an_assembly_with_a_nested_stack_is_read() {
    let stated = cdk::read(Path::new(CDK), &Disk, &options(&["OrdersStack"])).unwrap();
    let image = "image 123456789012.dkr.ecr.eu-west-1.amazonaws.com/cdk-hnb659fds-container-assets-123456789012-eu-west-1:c8253fd59d12b46c71ce621ce98ba139561cc320482a4daef07ba88f543cd4a1";
    assert_eq!(
        seen(&stated),
        table(&[
            (
                "OrdersStack/OrdersA9B65338",
                "orders",
                "directory testdata/cdk/cdk.out/asset.61e3e…"
            ),
            (
                "OrdersStack/ReadyD457FD7E",
                "OrdersStack:ReadyD457FD7E",
                "zip testdata/cdk/cdk.out/asset.feb29…"
            ),
            (
                "OrdersStack/Inline6CF80F9D",
                "OrdersStack:Inline6CF80F9D",
                "? its code is written inline in the template"
            ),
            (
                "OrdersStack/FromBucket6AEC0055",
                "OrdersStack:FromBucket6AEC0055",
                "? its code is the object builds/app.zip, which is no asset of the assembly"
            ),
            (
                "OrdersStack/Image9D742C96",
                "OrdersStack:Image9D742C96",
                image
            ),
            (
                "OrdersStack/InnerNestedStackInnerNestedStackResource745E041B/Nested0E007A7E",
                "OrdersStack:InnerNestedStackInnerNestedStackResource745E041B/Nested0E007A7E",
                "directory testdata/cdk/cdk.out/asset.71967…"
            ),
        ])
    );
    let orders = one(&stated, "OrdersStack/OrdersA9B65338");
    assert_eq!(
        orders.source.path,
        "testdata/cdk/cdk.out/OrdersStack.template.json"
    );
    let text = std::fs::read_to_string(&orders.source.path).unwrap();
    let line = text.lines().nth(orders.source.line.unwrap() as usize - 1);
    assert_eq!(line, Some("  \"OrdersA9B65338\": {"));
    assert_eq!(orders.target.region.as_deref(), Some("eu-west-1"));
    assert_eq!(orders.target.account.as_deref(), Some("123456789012"));
    let layers = orders.state.layers.as_deref().unwrap();
    assert_eq!(
        (
            layers.len(),
            layers[0].label.as_str(),
            layers[0].arn.as_deref()
        ),
        (1, "SharedDACC02AA", None)
    );
    assert_eq!(
        code(&layers[0].code),
        "directory testdata/cdk/cdk.out/asset.9ad9a…"
    );
    assert_eq!(orders.state.config.memory_size, Some(256));
    let names: Vec<_> = orders.state.config.environment.iter().flatten().collect();
    assert_eq!(names, ["SECRET", "TABLE"]);
    assert!(!format!("{stated:?}").contains("planted-secret"));
    let image = one(&stated, "OrdersStack/Image9D742C96");
    assert!(
        image.notes[0].contains("built while the app is deployed"),
        "{:?}",
        image.notes
    );
    assert_eq!(image.state.layers, None);
}

#[test]
fn stages_are_assemblies_in_the_assembly() {
    let all = cdk::read(Path::new(CDK), &Disk, &options(&[])).unwrap();
    assert_eq!(all.expectations.len(), 16);
    // By the stack's name, and by the name that `cdk list` shows.
    for name in ["Prod-Orders", "Prod/Orders", "ProdOrders525171E2"] {
        let stated = cdk::read(Path::new(CDK), &Disk, &options(&[name])).unwrap();
        assert_eq!(stated.expectations.len(), 5, "{name}");
        let orders = one(&stated, "Prod-Orders/OrdersA9B65338");
        assert_eq!(
            code(&orders.state.code),
            "directory testdata/cdk/cdk.out/asset.61e3e…"
        );
        // This stage is bound to no account and region.
        assert_eq!(
            (&orders.target.region, &orders.target.account),
            (&None, &None)
        );
        assert!(matches!(&orders.target.function, Named::Function(f) if f.name() == "orders-prod"));
    }
    let error = cdk::read(Path::new(CDK), &Disk, &options(&["OrdersStack", "Other"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.message().contains("no stack \"Other\""), "{error}");
    assert!(
        error
            .hint_text()
            .unwrap()
            .contains("OrdersStack, Beta-Orders, Prod-Orders"),
        "{error:?}"
    );
}

#[test]
fn a_built_template_is_read() {
    let root = "testdata/sam/.aws-sam/build";
    let stated = sam::read(Path::new(SAM), &Disk, &options(&[])).unwrap();
    assert_eq!(
        seen(&stated),
        table(&[
            (
                "OrdersFunction",
                "orders-beta",
                &format!("directory {root}/OrdersFunction")
            ),
            (
                "WorkerFunction",
                "?:WorkerFunction",
                &format!("directory {root}/WorkerFunction")
            ),
            (
                "InlineFunction",
                "?:InlineFunction",
                "? its code is written inline in the template"
            ),
            (
                "PlainFunction",
                "plain",
                &format!("directory {root}/PlainFunction")
            ),
            (
                "BucketFunction",
                "?:BucketFunction",
                "? its CodeUri is s3://artifacts-bucket/builds/app.zip, which is not read"
            ),
            (
                "OptionalFunction",
                "?:OptionalFunction if IsProd",
                &format!("directory {root}/OptionalFunction")
            ),
            (
                "ChildApplication/ChildFunction",
                "given-child",
                &format!("directory {root}/ChildApplication/ChildFunction")
            ),
        ])
    );
    let orders = one(&stated, "OrdersFunction");
    assert!(
        orders
            .notes
            .iter()
            .any(|n| n.contains("FunctionName rests on the default of Stage")),
        "{:?}",
        orders.notes
    );
    let text = std::fs::read_to_string(SAM).unwrap();
    let line = text.lines().nth(orders.source.line.unwrap() as usize - 1);
    assert_eq!(line, Some("  OrdersFunction:"));
    let layers = |label: &str| -> Vec<_> {
        let layers = one(&stated, label).state.layers.as_deref().unwrap();
        layers
            .iter()
            .map(|l| (l.label.clone(), code(&l.code)))
            .collect()
    };
    let shared = (
        "SharedLayer".to_owned(),
        "directory testdata/sam/shared".to_owned(),
    );
    let tools = (
        "ToolsLayer".to_owned(),
        format!("directory {root}/ToolsLayer"),
    );
    let arn = "arn:aws:lambda:eu-west-1:123456789012:layer:tools:3".to_owned();
    assert_eq!(layers("OrdersFunction"), std::slice::from_ref(&shared));
    assert_eq!(
        layers("WorkerFunction"),
        [shared, (arn, "Unstated".into()), tools]
    );
    assert_eq!(
        layers("PlainFunction"),
        [],
        "Globals are for functions of SAM"
    );
    let worker = &one(&stated, "WorkerFunction").state.config;
    assert_eq!(worker.runtime.as_deref(), Some("nodejs20.x"));
    assert_eq!(worker.memory_size, Some(256), "from Globals");
    assert!(!format!("{stated:?}").contains("planted-secret"));
}

#[test]
fn with_a_stack_the_stack_names_what_rests_on_parameters() {
    let stated = sam::read(Path::new(SAM), &Disk, &options(&["orders-prod"])).unwrap();
    let seen = seen(&stated);
    assert_eq!(seen["OrdersFunction"].0, "orders-prod:OrdersFunction");
    assert_eq!(seen["PlainFunction"].0, "plain");
    assert_eq!(
        seen["OptionalFunction"].0,
        "orders-prod:OptionalFunction if IsProd"
    );
    assert_eq!(seen["ChildApplication/ChildFunction"].0, "given-child");
    let two = sam::read(Path::new(SAM), &Disk, &options(&["a", "b"])).unwrap_err();
    assert!(two.message().contains("--stack once"), "{two}");
}

#[test]
fn the_short_form_says_the_same_as_what_sam_makes_of_it() {
    let source = sam::read(
        Path::new("testdata/sam/template.yaml"),
        &Disk,
        &options(&[]),
    )
    .unwrap();
    let built = sam::read(
        Path::new("testdata/sam/.aws-sam/build"),
        &Disk,
        &options(&[]),
    )
    .unwrap();
    let names = |stated: &Stated| -> Vec<_> {
        seen(stated)
            .into_iter()
            .map(|(label, (name, _))| (label, name))
            .collect()
    };
    assert_eq!(names(&source), names(&built));
    let worker = one(&source, "WorkerFunction");
    assert_eq!(code(&worker.state.code), "directory testdata/sam/worker");
}

fn of_yaml(template: &str) -> crate::error::Result<Stated> {
    let files = BTreeMap::from([
        (PathBuf::from("t.yaml"), template.as_bytes().to_vec()),
        (PathBuf::from("src/app.py"), Vec::new()),
        (PathBuf::from("app.zip"), Vec::new()),
    ]);
    sam::read(Path::new("t.yaml"), &files, &options(&[]))
}

#[test]
fn what_cannot_be_told_is_never_fine() {
    let text = "
Transform: [AWS::Serverless-2016-10-31, OurMacro]
Parameters: {Dir: {Type: String}, Known: {Type: String, Default: src}}
Conditions: {C: !Equals [!Ref Dir, x], No: !Equals [a, b], Yes: !Equals [a, a]}
Resources:
  Fn::ForEach::Workers: [Name, [A], {W: {Type: AWS::Serverless::Function}}]
  Unset: {Type: AWS::Serverless::Function, Properties: {CodeUri: !Ref Dir}}
  Chosen: {Type: AWS::Serverless::Function, Properties: {CodeUri: !If [C, src, app.zip]}}
  Default: {Type: AWS::Serverless::Function, Properties: {CodeUri: !Ref Known}}
  Missing: {Type: AWS::Serverless::Function, Properties: {CodeUri: nowhere}}
  Bare: {Type: AWS::Serverless::Function, Properties: {}}
  Empty: {Type: AWS::Serverless::Function}
  Unbuilt: {Type: AWS::Serverless::Function, Properties: {PackageType: Image}}
  Zip: {Type: AWS::Serverless::Function, Properties: {CodeUri: app.zip, FunctionName: !ImportValue x}}
  Local: {Type: AWS::Serverless::Function, Properties: {PackageType: Image, ImageUri: 'local:latest'}}
  Pushed: {Type: AWS::Serverless::Function, Properties: {PackageType: Image, ImageUri: !Sub '1.dkr.ecr.${AWS::Region}.amazonaws.com/r@sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'}}
  Bucket: {Type: AWS::Lambda::Function, Properties: {Code: {S3Bucket: b, S3Key: k}}}
  Inline: {Type: AWS::Lambda::Function, Properties: {Code: {ZipFile: 'x'}, FunctionName: 'no name!'}}
  Left: {Type: AWS::Serverless::Function, Condition: No, Properties: {CodeUri: src}}
  Kept: {Type: AWS::Serverless::Function, Condition: Yes, Properties: {CodeUri: src, FunctionName: kept}}
  Repository: {Type: AWS::Serverless::Application, Properties: {Location: {ApplicationId: a, SemanticVersion: 1.0.0}}}
  Elsewhere: {Type: AWS::CloudFormation::Stack, Properties: {TemplateURL: 'https://b/t.json'}}
  Gone: {Type: AWS::Serverless::Application, Properties: {Location: gone.yaml}}
";
    let stated = of_yaml(text).unwrap();
    let cannot = |why: &str| format!("? {why}");
    let want = [
        ("Fn::ForEach::Workers", "Fn::ForEach::Workers unknown: resources that Fn::ForEach makes when the stack is deployed are not known here", "Unstated".to_owned()),
        ("Unset", "?:Unset", cannot("its CodeUri cannot be told: it depends on the parameter Dir, which has no default")),
        ("Chosen", "?:Chosen", cannot("its CodeUri cannot be told: it depends on the condition C, and it depends on the parameter Dir, which has no default")),
        ("Default", "?:Default", "directory src".into()),
        ("Missing", "?:Missing", cannot("its CodeUri is nowhere, and that is not there")),
        ("Bare", "?:Bare", cannot("it has no CodeUri")),
        ("Empty", "?:Empty", cannot("it has no CodeUri")),
        ("Unbuilt", "?:Unbuilt", cannot("it has no ImageUri")),
        ("Zip", "?:Zip", "zip app.zip".into()),
        ("Local", "?:Local", cannot("local:latest is an image on the machine that built it")),
        ("Pushed", "?:Pushed", "image 1.dkr.ecr.us-east-1.amazonaws.com/r@sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad pinned".into()),
        ("Bucket", "?:Bucket", cannot("its Code is an object of S3, which is not read")),
        ("Inline", "Inline unknown: its FunctionName is no name: the name holds ' '; allowed are letters, digits, '-', '_' and '.'", cannot("its code is written inline in the template")),
        ("Kept", "kept", "directory src".into()),
        ("Repository", "Repository unknown: the functions of this nested stack are not known: it is an application of the Serverless Application Repository", "Unstated".into()),
        ("Elsewhere", "Elsewhere unknown: the functions of this nested stack are not known: its TemplateURL is https://b/t.json, which is not read", "Unstated".into()),
        ("Gone", "Gone unknown: the functions of this nested stack are not known: gone.yaml: does not exist", "Unstated".into()),
    ];
    let want: Vec<_> = want.iter().map(|(a, b, c)| (*a, *b, c.as_str())).collect();
    assert_eq!(seen(&stated), table(&want));
    assert!(
        stated.warnings[0].message.contains("OurMacro"),
        "{:?}",
        stated.warnings
    );
    assert!(one(&stated, "Default").notes[0].contains("CodeUri rests on the default of Known"));
    assert!(one(&stated, "Zip").notes[0].contains("another stack"));
}

#[test]
fn layers_that_cannot_be_told_say_so() {
    let text = "
Parameters: {L: {Type: CommaDelimitedList}}
Resources:
  Table: {Type: AWS::DynamoDB::Table}
  F:
    Type: AWS::Lambda::Function
    Properties:
      Code: src
      Layers: [!Ref Table, !ImportValue x, !Ref AWS::NoValue, plain, !Sub 'arn:aws:lambda:${AWS::Region}:1:layer:a:1']
  G: {Type: AWS::Lambda::Function, Properties: {Code: src, Layers: !Ref L}}
";
    let stated = of_yaml(text).unwrap();
    let layers = |label: &str| -> Vec<_> {
        let layers = one(&stated, label).state.layers.as_deref().unwrap();
        layers
            .iter()
            .map(|l| (l.label.clone(), code(&l.code)))
            .collect()
    };
    let row = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        layers("F"),
        [
            row("Table", "? it is the AWS::DynamoDB::Table Table"),
            row("a layer", "? it depends on another stack (Fn::ImportValue)"),
            row("plain", "? it is no ARN"),
            row("arn:aws:lambda:us-east-1:1:layer:a:1", "Unstated"),
        ]
    );
    assert_eq!(
        layers("G"),
        [row("Layers", "? they are not written as a list")]
    );
}

#[test]
fn broken_input_is_refused_as_a_whole() {
    let cdk_of = |files: &[(&str, &str)]| -> Error {
        let files: BTreeMap<_, _> = files
            .iter()
            .map(|(p, t)| (PathBuf::from(p), t.as_bytes().to_vec()))
            .collect();
        cdk::read(Path::new("out"), &files, &options(&[])).unwrap_err()
    };
    let stack = r#"{"artifacts":{"S":{"type":"aws:cloudformation:stack","properties":{"templateFile":"t.json"}}}}"#;
    for (files, want) in [
        (&[("out/x", "")][..], "no manifest.json"),
        (&[("out/manifest.json", "{")], "broken JSON"),
        (&[("out/manifest.json", "[]")], "no JSON object"),
        (
            &[("out/manifest.json", "{}")],
            "no manifest of a cloud assembly",
        ),
        (
            &[("out/manifest.json", r#"{"artifacts":{}}"#)],
            "no Lambda function",
        ),
        (
            &[(
                "out/manifest.json",
                r#"{"artifacts":{"S":{"type":"aws:cloudformation:stack"}}}"#,
            )],
            "has no templateFile",
        ),
        (&[("out/manifest.json", stack)], "does not exist"),
        (
            &[("out/manifest.json", stack), ("out/t.json", "{")],
            "broken JSON",
        ),
        (
            &[("out/manifest.json", stack), ("out/t.json", "{}")],
            "no CloudFormation template",
        ),
        (
            &[(
                "out/manifest.json",
                r#"{"artifacts":{"A":{"type":"cdk:cloud-assembly","properties":{"directoryName":"."}}}}"#,
            )],
            "nested deeper than",
        ),
    ] {
        let error = cdk_of(files);
        assert!(error.to_string().contains(want), "{want}: {error}");
    }
    for (text, want) in [
        ("", "no YAML that larder reads"),
        ("a: [", "no YAML that larder reads"),
        ("- a", "no CloudFormation template"),
        ("Resources: {}", "no Lambda function"),
        ("{\"Resources\": ", "broken JSON"),
    ] {
        let error = of_yaml(text).unwrap_err();
        assert!(error.to_string().contains(want), "{text}: {error}");
    }
    // A stack that contains itself.
    let endless =
        "Resources: {Me: {Type: AWS::Serverless::Application, Properties: {Location: t.yaml}}}";
    let stated = of_yaml(endless).unwrap();
    assert!(
        format!("{stated:?}").contains("nested deeper than 8"),
        "{stated:?}"
    );
}

#[test]
fn changed_samples_never_panic() {
    let mut random = fastrand::Rng::with_seed(5);
    let mut files: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    let names = [
        "manifest.json",
        "OrdersStack.template.json",
        "OrdersStack.assets.json",
        "OrdersStackInner950FAD30.nested.template.json",
    ];
    for name in names {
        files.insert(
            Path::new("c").join(name),
            std::fs::read(Path::new(CDK).join(name)).unwrap(),
        );
    }
    let template = std::fs::read("testdata/sam/template.yaml").unwrap();
    for _ in 0..300 {
        let mut change = |bytes: &mut Vec<u8>| {
            for _ in 0..random.usize(1..6) {
                let at = random.usize(..bytes.len());
                bytes[at] = b"\"{}[],:!&*- 0ntx\\\n"[random.usize(..18)];
            }
        };
        let mut changed = files.clone();
        for bytes in changed.values_mut() {
            change(bytes);
        }
        let _ = cdk::read(Path::new("c"), &changed, &options(&[]));
        let mut changed = template.clone();
        change(&mut changed);
        let changed = BTreeMap::from([(PathBuf::from("t"), changed)]);
        let _ = sam::read(Path::new("t"), &changed, &options(&[]));
    }
}
