//! `larder fetch` as its users run it.

use larder_testkit::packages;

use crate::harness::Bench;

#[test]
fn a_zip_function_is_fetched_verified_and_unpacked() {
    let bench = Bench::new();
    let tree = packages::node_package();
    let function = bench.aws.function("web").zip(tree.zip()).create();
    let ran = bench.run(&["fetch", "web", "out"]).expect(0);
    assert!(ran.stdout.contains("web"), "{}", ran.stdout);
    assert_eq!(bench.names(), ["out"]);
    let record = bench.record("out");
    assert_eq!(record["status"], "saved");
    assert_eq!(record["package"]["code_sha256"], function.code_sha256());
    assert_eq!(
        std::fs::read(bench.path("out/package.zip")).unwrap(),
        tree.zip()
    );
    let differences = tree.differences(&bench.path("out/code")).unwrap();
    assert!(differences.is_empty(), "{differences:?}");
    assert_eq!(bench.aws.count("GetFunction"), 1);
    assert_eq!(bench.aws.count("GetObject"), 1);
}

#[test]
fn force_replaces_a_tree_that_larder_unpacked_and_no_other() {
    let bench = Bench::new();
    let zip = bench.path("app.zip");
    std::fs::write(&zip, packages::python_package().zip()).unwrap();
    std::fs::create_dir(bench.path("mine")).unwrap();
    std::fs::write(bench.path("mine/notes"), "keep").unwrap();
    bench.run(&["unpack", "app.zip"]).expect(0);
    bench
        .run(&["unpack", "app.zip"])
        .expect(8)
        .says(&["--force"]);
    let tree = packages::node_package();
    std::fs::write(&zip, tree.zip()).unwrap();
    bench.run(&["unpack", "app.zip", "--force"]).expect(0);
    let differences = tree.differences(&bench.path("app")).unwrap();
    assert!(differences.is_empty(), "{differences:?}");
    bench
        .run(&["unpack", "app.zip", "mine", "--force"])
        .expect(8);
    assert_eq!(std::fs::read(bench.path("mine/notes")).unwrap(), b"keep");
    assert_eq!(bench.names(), ["app", "app.zip", "mine"]);
}

#[test]
fn an_update_that_finds_nothing_new_leaves_what_lies_there() {
    let bench = Bench::new();
    let function = bench
        .aws
        .function("web")
        .zip(packages::node_package().zip())
        .create();
    bench.run(&["fetch", "web"]).expect(0);
    std::fs::write(bench.path("web/notes.txt"), "mine").unwrap();
    let ran = bench.run(&["fetch", "web", "--update"]).expect(0);
    assert_eq!(ran.stderr, "");
    assert_eq!(bench.record("web")["status"], "unchanged");
    assert_eq!(std::fs::read(bench.path("web/notes.txt")).unwrap(), b"mine");
    // A new package replaces the directory, and that is said.
    function.update_code(packages::python_package().zip());
    bench
        .run(&["fetch", "web", "--update"])
        .expect(0)
        .says(&["warning: ", "notes.txt"]);
    assert!(bench.path("web/code/index.py").exists());
    assert_eq!(bench.names(), ["web"]);
}
