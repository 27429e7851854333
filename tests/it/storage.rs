//! Functions whose code Lambda keeps no copy of (`S3ObjectStorageMode=REFERENCE`).

use larder_testkit::{Fault, On, S3Error, packages};

use crate::harness::Bench;

#[test]
fn the_object_is_read_with_the_callers_own_credentials() {
    let bench = Bench::new();
    let zip = packages::node_package().zip();
    bench
        .aws
        .function("f")
        .reference("our-code", "apps/the app.zip", zip.clone())
        .create();
    bench.run(&["fetch", "f"]).expect(0);
    assert_eq!(std::fs::read(bench.path("f/package.zip")).unwrap(), zip);
    let record = bench.record("f");
    let location = record["transfer"]["location"].as_str().unwrap();
    assert!(
        location.contains("/our-code/apps/the%20app.zip?versionId="),
        "{location}"
    );
    assert!(!location.contains("X-Amz"), "{location}");
    let get = &bench.aws.requests_of("GetObject")[0];
    assert!(get.query_value("versionId").is_some());
    assert!(
        get.query_value("X-Amz-Credential")
            .is_some_and(|c| c.contains("us-east-1/s3"))
    );
}

#[test]
fn a_denial_names_the_action_on_the_object() {
    let bench = Bench::new();
    let zip = packages::node_package().zip();
    bench
        .aws
        .function("f")
        .reference("our-code", "app.zip", zip)
        .create();
    bench
        .aws
        .fault(On::Object.always(), Fault::S3(S3Error::AccessDenied));
    bench
        .run(&["fetch", "f"])
        .expect(4)
        .says(&["s3:GetObjectVersion", "our-code/app.zip"]);
    assert!(bench.names().is_empty(), "{:?}", bench.names());
}

#[test]
fn a_broken_transfer_goes_on_where_it_stopped() {
    let bench = Bench::new();
    let zip = packages::zip_of_size(600_000, 3);
    bench
        .aws
        .function("f")
        .reference("our-code", "app.zip", zip.clone())
        .create();
    bench.aws.fault(On::Object, Fault::fin(200_000));
    bench.run(&["fetch", "f"]).expect(0);
    assert_eq!(std::fs::read(bench.path("f/package.zip")).unwrap(), zip);
    assert_eq!(bench.record("f")["transfer"]["resumed"], 1);
}
