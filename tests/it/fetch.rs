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
