//! Container images pulled from the embedded AWS's registry: tokens, redirects, faults, lies.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use larder::digest::Sha256Digest;
use larder::image::layout;
use larder_testkit::image::{Family, Image, digest};
use larder_testkit::{Fault, Function, Key, Login, On, S3Error, SECRET_MARKER};
use serde_json::{Value, json};

use crate::harness::{Bench, Ran, finish, holds, write};
use crate::proof::{Failing, contents, each, harmless, planted};

/// What is changed, how, and how many blobs are fetched then.
type Change<'a> = (&'a str, &'a dyn Fn(), usize);
type Arrange = fn(&Bench);

const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

pub fn bytes(seed: u64, size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut data = vec![0_u8; size];
    random.fill(&mut data);
    data
}

/// Five layers: one of them empty, one twice.
pub fn small(family: Family) -> Image {
    let shared = bytes(1, 70_000);
    Image::build(family)
        .layer(shared.clone())
        .layer(bytes(2, 300_000))
        .layer(Vec::new())
        .layer(shared)
        .layer(bytes(3, 10))
        .create()
}

/// Pushes an image, and makes the function `web` of it. Blobs lie on another host than the registry.
pub fn web(bench: &Bench, image: &Image, login: Login) -> Function {
    bench.aws.objects_at(&bench.aws.listen_on("127.0.0.2"));
    let uri = bench.aws.push("team/web", image, login);
    planted(bench, "web")
        .image(&format!("{uri}:v1"), &image.digest)
        .create()
}

/// The image lies at `dir` as it was pushed: all of these manifests, all of these blobs, nothing else.
#[track_caller]
pub fn is_whole(dir: &Path, image: &Image, manifests: &[&str]) {
    let checked = layout::verify(dir, &[], &|| false).unwrap();
    assert_eq!(checked.findings, []);
    let root: Sha256Digest = image.digest.parse().unwrap();
    assert_eq!(checked.roots, [root]);
    let found: BTreeSet<String> = checked
        .manifests
        .iter()
        .map(|d| format!("sha256:{}", d.digest))
        .collect();
    let wanted: BTreeSet<String> = manifests.iter().map(|&d| d.to_owned()).collect();
    assert_eq!(found, wanted);
    for (path, kept) in contents(&dir.join("blobs/sha256")) {
        let name = format!("sha256:{path}");
        let pushed = image
            .blobs
            .get(&name)
            .or(image.manifests.get(&name).map(|(_, b)| b));
        assert_eq!(pushed.map(|b| &b[..]), Some(&kept[..]), "{name}");
    }
}

#[track_caller]
fn pulled(bench: &Bench, arguments: &[&str]) -> Ran {
    let mut all = vec!["fetch", "web", "out", "--pull-image"];
    all.extend(arguments);
    bench.run(&all)
}

#[test]
fn an_image_of_ecr_is_pulled_with_a_token_that_goes_nowhere_else() {
    for family in [Family::Docker, Family::Oci] {
        let bench = Bench::new();
        let image = small(family);
        web(&bench, &image, Login::Ecr);
        let ran = pulled(&bench, &["-vvv"]).expect(0);
        harmless(&ran);
        is_whole(&bench.path("out/image"), &image, &[&image.digest]);
        let record = bench.record("out");
        assert_eq!(record["status"], "image");
        let of_image = &record["image"];
        assert_eq!(of_image["path"], "image");
        assert_eq!(of_image["digest"], image.digest.as_str());
        let manifest = &image.manifests[&image.digest].1;
        assert_eq!(
            of_image["manifests"],
            json!([{"digest": image.digest, "media_type": family.manifest(), "size": manifest.len()}])
        );
        let blobs: usize = image.blobs.values().map(bytes::Bytes::len).sum();
        assert_eq!(of_image["bytes"], blobs + manifest.len());
        assert_eq!(of_image["blobs"], image.blobs.len());
        let location = record["transfer"]["location"].as_str().unwrap();
        assert!(
            location.ends_with(&format!("/v2/team/web/manifests/{}", image.digest)),
            "{location}"
        );
        // One token, one request a blob and one for where it leads; the credential stays with the registry.
        assert_eq!(bench.aws.count("GetAuthorizationToken"), 1);
        assert_eq!(bench.aws.count("GetManifest"), 1);
        assert_eq!(bench.aws.count("GetBlob"), image.blobs.len());
        assert_eq!(bench.aws.count("GetObject"), image.blobs.len());
        for request in bench.aws.requests_of("GetBlob") {
            assert!(
                request
                    .header("authorization")
                    .unwrap()
                    .starts_with("Basic ")
            );
        }
        for request in bench.aws.requests_of("GetObject") {
            assert_eq!(request.header("authorization"), None);
        }
        let call = &bench.aws.requests_of("GetAuthorizationToken")[0];
        assert!(
            call.header("authorization")
                .unwrap()
                .contains("/us-east-1/ecr/aws4_request")
        );
        assert!(bench.aws.most_at_once("GetObject") <= 4);
        assert_eq!(
            holds(bench.dir.path(), SECRET_MARKER, &[]),
            Vec::<std::path::PathBuf>::new()
        );
        assert_eq!(bench.names(), ["out"]);
    }
}

#[test]
fn a_credential_stays_behind_also_where_the_host_is_the_same() {
    let bench = Bench::new();
    let image = small(Family::Oci);
    let uri = bench.aws.push("web", &image, Login::Ecr);
    bench
        .aws
        .function("web")
        .image(&uri, &image.digest)
        .create();
    // The signed URLs are at the registry's own origin, and S3 refuses two credentials at once.
    pulled(&bench, &[]).expect(0);
    is_whole(&bench.path("out/image"), &image, &[&image.digest]);
}

#[test]
fn an_index_is_kept_with_the_image_for_one_platform() {
    let (amd, arm) = (
        Image::build(Family::Oci).layer(bytes(1, 100)).create(),
        Image::build(Family::Oci)
            .architecture("arm64")
            .layer(bytes(2, 100))
            .create(),
    );
    for family in [Family::Oci, Family::Docker] {
        let index = Image::index(family, &[("amd64", &amd), ("arm64", &arm)]);
        for (architecture, arguments, image, platform) in [
            ("x86_64", &[][..], &amd, "linux/amd64"),
            ("arm64", &[], &arm, "linux/arm64"),
            ("arm64", &["--platform", "linux/amd64"], &amd, "linux/amd64"),
        ] {
            let bench = Bench::new();
            let function = web(&bench, &index, Login::Open);
            function.set("Architectures", json!([architecture]));
            pulled(&bench, arguments).expect(0);
            is_whole(
                &bench.path("out/image"),
                &index,
                &[&index.digest, &image.digest],
            );
            let manifests = &bench.record("out")["image"]["manifests"];
            assert_eq!(manifests[0]["digest"], index.digest.as_str());
            assert_eq!(manifests[0]["media_type"], family.index());
            assert_eq!(manifests[1]["digest"], image.digest.as_str());
            assert_eq!(manifests[1]["platform"], platform);
            assert_eq!(bench.aws.count("GetBlob"), 2, "of the other image nothing");
            bench.run(&["fetch", "web", "out", "--update"]).expect(0);
            let manifests = &bench.record("out")["image"]["manifests"];
            assert_eq!(manifests[1]["platform"], platform, "what was chosen stays");
            assert_eq!(bench.aws.count("GetBlob"), 2);
        }
    }
}

#[test]
fn an_update_verifies_what_is_there_and_asks_no_registry() {
    let bench = Bench::new();
    let image = small(Family::Docker);
    let function = web(&bench, &image, Login::Ecr);
    pulled(&bench, &[]).expect(0);
    let inode = |path: &str| std::fs::metadata(bench.path(path)).unwrap().ino();
    let before = inode("out/function.json");
    let asked = || {
        ["GetManifest", "GetBlob", "GetAuthorizationToken"]
            .map(|operation| bench.aws.count(operation))
    };
    let first = asked();
    // The image may be gone from its registry by now.
    bench.aws.delete_image("team/web", &image.digest);
    for arguments in [&["--pull-image", "--update"][..], &["--update"]] {
        let mut all = vec!["fetch", "web", "out"];
        all.extend(arguments);
        let ran = bench.run(&all).expect(0);
        assert!(
            ran.stdout.contains("unchanged") && ran.stdout.contains("verified again"),
            "{}",
            ran.stdout
        );
        assert_eq!(bench.record("out")["status"], "unchanged");
        assert_eq!(asked(), first);
        assert_eq!(
            inode("out/function.json"),
            before,
            "nothing but the record is new"
        );
        is_whole(&bench.path("out/image"), &image, &[&image.digest]);
    }
    // Another answer of Lambda's makes the directory anew, without a byte from the registry.
    function.set("Timeout", json!(77));
    bench.run(&["fetch", "web", "out", "--update"]).expect(0);
    assert_ne!(inode("out/function.json"), before);
    assert_eq!(asked(), first);
    is_whole(&bench.path("out/image"), &image, &[&image.digest]);
    assert_eq!(bench.names(), ["out"]);
}

#[test]
fn an_update_fetches_what_was_changed_or_lost_here() {
    let bench = Bench::new();
    let image = small(Family::Oci);
    web(&bench, &image, Login::Open);
    pulled(&bench, &[]).expect(0);
    let place = bench.path("out/image/blobs/sha256");
    let layers: Vec<_> = image
        .blobs
        .keys()
        .map(|d| d.trim_start_matches("sha256:"))
        .collect();
    let path = |n: usize| place.join(layers[n]);
    let cases: &[Change<'_>] = &[
        ("a changed blob", &|| drop(write(path(0), "changed")), 1),
        ("a lost blob", &|| std::fs::remove_file(path(1)).unwrap(), 1),
        (
            "a link in its place",
            &|| {
                std::fs::remove_file(path(0)).unwrap();
                std::os::unix::fs::symlink("/etc/passwd", path(0)).unwrap();
            },
            1,
        ),
        (
            "a changed manifest",
            &|| {
                drop(write(
                    place.join(image.digest.trim_start_matches("sha256:")),
                    "{}",
                ));
            },
            0,
        ),
        (
            "a changed index",
            &|| drop(write(bench.path("out/image/index.json"), "{}")),
            0,
        ),
        (
            "all of it",
            &|| std::fs::remove_dir_all(bench.path("out/image")).unwrap(),
            layers.len(),
        ),
    ];
    for (name, change, count) in cases {
        change();
        let before = bench.aws.count("GetBlob");
        bench.run(&["fetch", "web", "out", "--update"]).expect(0);
        assert_eq!(bench.aws.count("GetBlob") - before, *count, "{name}");
        is_whole(&bench.path("out/image"), &image, &[&image.digest]);
    }
    // Another image takes only the layers that it has not in common.
    let next = Image::build(Family::Oci)
        .layer(bytes(1, 70_000))
        .layer(bytes(9, 1000))
        .create();
    web(&bench, &next, Login::Open);
    let before = bench.aws.count("GetBlob");
    bench
        .run(&["fetch", "web", "out", "--update", "--pull-image"])
        .expect(0);
    assert_eq!(bench.aws.count("GetBlob") - before, 2);
    assert_eq!(bench.record("out")["status"], "image");
    is_whole(&bench.path("out/image"), &next, &[&next.digest]);
}

#[test]
fn a_broken_blob_goes_on_where_it_stopped() {
    let bench = Bench::new();
    let image = small(Family::Docker);
    web(&bench, &image, Login::Ecr);
    let large = image.blobs.iter().max_by_key(|(_, b)| b.len()).unwrap().0;
    let path = large.trim_start_matches("sha256:").to_owned();
    bench.aws.fault(On::Object.path(&path), Fault::rst(100_000));
    pulled(&bench, &[]).expect(0);
    is_whole(&bench.path("out/image"), &image, &[&image.digest]);
    let gets: Vec<_> = bench
        .aws
        .requests_of("GetObject")
        .into_iter()
        .filter(|r| r.path.contains(&path))
        .collect();
    assert_eq!(gets.len(), 2);
    let range = gets[1].range().unwrap();
    assert!(
        range.starts_with("bytes=") && range != "bytes=0-",
        "{range}"
    );
    let record = bench.record("out");
    assert_eq!(record["transfer"]["resumed"], 1);
    assert_eq!(record["transfer"]["attempts"], 2);
}

#[test]
fn a_large_blob_comes_over_several_connections_where_one_is_slow() {
    let bench = Bench::new();
    let large = bytes(7, 26 << 20);
    let image = Image::build(Family::Oci)
        .layer(large)
        .layer(bytes(8, 100))
        .create();
    web(&bench, &image, Login::Ecr);
    bench.aws.connection_rate(Some(30_000_000));
    pulled(&bench, &[]).expect(0);
    is_whole(&bench.path("out/image"), &image, &[&image.digest]);
    let at_once = bench.aws.most_at_once("GetObject");
    assert!((2..=4).contains(&at_once), "{at_once} connections");
    // Each part was led to by the registry, and only there was the token shown.
    assert_eq!(bench.aws.count("GetObject"), bench.aws.count("GetBlob"));
    assert!(
        bench
            .aws
            .requests_of("GetObject")
            .iter()
            .all(|r| r.header("authorization").is_none())
    );
}

#[test]
fn tokens_and_urls_that_end_are_replaced() {
    let cases: &[(&str, Arrange, usize)] = &[
        (
            "a signed URL that has ended",
            |b| {
                b.aws
                    .fault(On::Object.nth(2), Fault::S3(S3Error::RequestHasExpired));
            },
            1,
        ),
        (
            "a session token in it that has ended",
            |b| b.aws.fault(On::Object, Fault::S3(S3Error::ExpiredToken)),
            1,
        ),
        (
            "a token that ECR calls ended",
            |b| {
                let words = "Your authorization token has expired. Reauthenticate and try again.";
                b.aws.fault(
                    On::Operation("GetBlob").nth(2),
                    Fault::registry(403, "DENIED", words),
                );
            },
            2,
        ),
        (
            "a token that is refused with 401",
            |b| {
                b.aws.fault(
                    On::Operation("GetManifest"),
                    Fault::registry(401, "UNAUTHORIZED", "no"),
                );
            },
            2,
        ),
        // One a use: a token that ends within minutes is not used again.
        (
            "tokens that end at once",
            |b| b.aws.registry_token_lifetime(Duration::from_secs(60)),
            0,
        ),
        (
            "a busy registry",
            |b| {
                b.aws.faults(
                    On::Operation("GetManifest"),
                    [
                        Fault::registry(429, "TOOMANYREQUESTS", "Rate exceeded"),
                        Fault::registry(503, "UNAVAILABLE", "busy"),
                        Fault::rst(10),
                    ],
                );
                b.aws.fault(
                    On::Operation("GetBlob").nth(3),
                    Fault::registry(429, "TOOMANYREQUESTS", "Rate exceeded"),
                );
            },
            1,
        ),
        (
            "a busy service",
            |b| {
                b.aws
                    .fault(On::Operation("GetAuthorizationToken"), Fault::slow_down());
            },
            2,
        ),
        (
            "a manifest that a proxy changed once",
            |b| b.aws.fault(On::Operation("GetManifest"), Fault::flip(5)),
            1,
        ),
        (
            "a blob that a proxy changed once",
            |b| b.aws.fault(On::Object, Fault::flip(0)),
            1,
        ),
    ];
    each(
        cases,
        |case| case.0.to_owned(),
        |(_, arrange, tokens)| {
            let bench = Bench::new();
            let image = small(Family::Docker);
            web(&bench, &image, Login::Ecr);
            arrange(&bench);
            let ran = pulled(&bench, &["-vvv"]).expect(0);
            harmless(&ran);
            is_whole(&bench.path("out/image"), &image, &[&image.digest]);
            let asked = bench.aws.count("GetAuthorizationToken");
            assert!(*tokens == 0 || asked == *tokens, "{asked} tokens");
            assert_eq!(
                holds(bench.dir.path(), SECRET_MARKER, &[]),
                Vec::<std::path::PathBuf>::new()
            );
        },
    );
}

/// A run that must fail, and leave nothing.
fn failing(
    name: &str,
    code: i32,
    kind: &'static str,
    login: Login,
    arrange: fn(&Bench, &Image),
) -> Failing {
    Failing::new(name, code, kind)
        .with(&["--pull-image"])
        .when(move |bench| {
            let image = small(Family::Docker);
            web(bench, &image, login.clone());
            arrange(bench, &image);
        })
}

/// Serves this in place of the image's manifest, under the digest of its own.
fn instead(bench: &Bench, change: impl Fn(&mut Value)) {
    let mut image = small(Family::Oci);
    let (media_type, manifest) = image.manifests.remove(&image.digest).unwrap();
    let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
    change(&mut manifest);
    let manifest = bytes::Bytes::from(manifest.to_string());
    image.digest = digest(&manifest);
    image
        .manifests
        .insert(image.digest.clone(), (media_type, manifest));
    web(bench, &image, Login::Ecr);
}

const MANIFEST: On = On::Operation("GetManifest");
const BLOB: On = On::Operation("GetBlob");

#[test]
#[expect(clippy::too_many_lines, reason = "a table is as long as what it lists")]
fn what_cannot_be_had_or_is_not_the_image_leaves_nothing() {
    let ecr = |name, code, kind, arrange| failing(name, code, kind, Login::Ecr, arrange);
    let cases = vec![
        ecr("deleted", 5, "not_found", |b, i| {
            b.aws.delete_image("team/web", &i.digest);
        })
        .says(&["team/web@sha256:", "MANIFEST_UNKNOWN"])
        .hint("deleted"),
        ecr("deleted, and Lambda knows", 5, "not_found", |b, i| {
            b.aws.delete_image("team/web", &i.digest);
            let f = b
                .aws
                .function("web")
                .image(
                    "123456789012.dkr.ecr.us-east-1.amazonaws.com/team/web:v1",
                    &i.digest,
                )
                .create();
            f.set("StateReasonCode", json!("ImageDeleted"));
        })
        .hint("ImageDeleted"),
        ecr("a layer is gone", 5, "not_found", |b, i| {
            b.aws
                .delete_image("team/web", i.blobs.keys().next().unwrap());
        })
        .says(&["BLOB_UNKNOWN", "part of the image"]),
        ecr(
            "Lambda gives no code, the image being deleted",
            5,
            "not_found",
            |b, _| {
                b.aws
                    .function("web")
                    .code_error("ImageDeleted", "x")
                    .create();
            },
        )
        .hint("deleted"),
        ecr(
            "the policy denies the manifest",
            4,
            "access_denied",
            |b, _| {
                b.aws.fault(
                    MANIFEST.always(),
                    Fault::registry(
                        403,
                        "DENIED",
                        "not authorized to perform: ecr:BatchGetImage",
                    ),
                );
            },
        )
        .says(&["ecr:BatchGetImage"])
        .hint("arn:aws:ecr:us-east-1:123456789012:repository/team/web"),
        ecr("the policy denies a layer", 4, "access_denied", |b, _| {
            b.aws.fault(
                BLOB.always(),
                Fault::registry(
                    403,
                    "DENIED",
                    "not authorized to perform: ecr:GetDownloadUrlForLayer",
                ),
            );
        })
        .hint("ecr:GetDownloadUrlForLayer"),
        ecr("the token is denied", 4, "access_denied", |b, _| {
            b.aws.fault(
                On::Operation("GetAuthorizationToken").always(),
                Fault::access_denied("ecr:GetAuthorizationToken"),
            );
        })
        .hint("ecr:GetAuthorizationToken"),
        ecr("every token is refused", 4, "access_denied", |b, _| {
            b.aws.fault(
                MANIFEST.always(),
                Fault::registry(401, "UNAUTHORIZED", "no"),
            );
        }),
        ecr("S3 denies the layer", 4, "access_denied", |b, _| {
            b.aws
                .fault(On::Object.always(), Fault::S3(S3Error::AccessDenied));
        })
        .hint("starport-layer-bucket"),
        ecr(
            "S3 calls the signature wrong, and repeats it",
            4,
            "access_denied",
            |b, _| {
                b.aws.fault(
                    On::Object.always(),
                    Fault::S3(S3Error::SignatureDoesNotMatch),
                );
            },
        ),
        ecr(
            "signed URLs that have always ended",
            6,
            "url_expired",
            |b, _| {
                b.aws
                    .fault(On::Object.always(), Fault::S3(S3Error::ExpiredToken));
            },
        )
        .hint("clock"),
        ecr("wrong bytes", 1, "mismatch", |b, _| {
            b.aws.fault(On::Object.always(), Fault::flip(3));
        })
        .says(&["blob's SHA-256 is", "manifest states"]),
        ecr("a longer layer", 1, "mismatch", |b, _| {
            b.aws.fault(
                On::Object.always(),
                Fault::Longer {
                    by: 1,
                    honest: true,
                },
            );
        })
        .says(&["manifest states"]),
        ecr("a shorter layer", 1, "mismatch", |b, _| {
            b.aws.fault(
                On::Object.always(),
                Fault::Shorter {
                    by: 1,
                    honest: true,
                },
            );
        })
        .says(&["manifest states"]),
        ecr("HTML for a layer", 1, "mismatch", |b, _| {
            b.aws.fault(On::Object.always(), Fault::html());
        }),
        ecr("a layer that is always cut", 6, "transfer", |b, _| {
            b.aws.fault(
                On::Object.always(),
                Fault::Shorter {
                    by: 1,
                    honest: false,
                },
            );
        }),
        ecr("a layer that stalls", 6, "timeout", |b, _| {
            b.aws.fault(On::Object.always(), Fault::stall(0));
        }),
        ecr("another manifest", 1, "mismatch", |b, _| {
            b.aws.fault(
                MANIFEST.always(),
                Fault::Page {
                    status: 200,
                    content_type: Family::Docker.manifest().to_owned(),
                    body: "{\"schemaVersion\":2}".into(),
                },
            );
        })
        .says(&["manifest whose SHA-256 is", "second answer"]),
        ecr("HTML for the manifest", 1, "mismatch", |b, _| {
            b.aws.fault(MANIFEST.always(), Fault::html());
        }),
        ecr("a manifest with a flipped bit", 1, "mismatch", |b, _| {
            b.aws.fault(MANIFEST.always(), Fault::flip(9));
        }),
        ecr("a manifest that is cut", 6, "transfer", |b, _| {
            b.aws.fault(MANIFEST.always(), Fault::fin(20));
        })
        .says(&["answer broke off"]),
        ecr("a manifest over the limit", 7, "archive_broken", |b, _| {
            b.aws.fault(
                MANIFEST.always(),
                Fault::Page {
                    status: 200,
                    content_type: Family::Docker.manifest().to_owned(),
                    body: vec![b' '; (4 << 20) + 1].into(),
                },
            );
        })
        .says(&["larger than 4194304 bytes"]),
        ecr("another type is announced", 7, "archive_broken", |b, _| {
            b.aws.fault(
                MANIFEST.always(),
                Fault::Header("Content-Type".into(), Family::Docker.index().into()),
            );
        })
        .says(&["announced"]),
        ecr("an unknown type", 7, "archive_broken", |b, _| {
            instead(b, |m| {
                m["mediaType"] = json!("application/vnd.docker.distribution.manifest.v1+prettyjws");
            });
            b.aws
                .fault(MANIFEST.always(), Fault::NoHeader("Content-Type".into()));
        })
        .says(&["prettyjws"]),
        ecr("both an index and an image", 7, "archive_broken", |b, _| {
            instead(b, |m| m["manifests"] = json!([]));
        })
        .says(&["both layers and manifests"]),
        ecr("two sizes for a digest", 1, "mismatch", |b, _| {
            instead(b, |m| m["layers"][3]["size"] = json!(1));
        })
        .says(&["two sizes"]),
        ecr("a wrong size in the manifest", 1, "mismatch", |b, _| {
            instead(b, |m| m["layers"][1]["size"] = json!(7));
        })
        .says(&["manifest states 7"]),
        ecr("a digest of another kind", 7, "archive_broken", |b, _| {
            instead(b, |m| m["layers"][1]["digest"] = json!("sha512:00"));
        })
        .says(&["sha512"]),
        ecr("larger than the disk", 8, "disk_full", |b, _| {
            instead(b, |m| m["layers"][1]["size"] = json!(1_u64 << 60));
        })
        .says(&[
            "the image needs 1073741824 GiB (1152921504606",
            "are free there",
        ])
        .hint("free some space"),
        ecr("sizes beyond counting", 8, "disk_full", |b, _| {
            instead(b, |m| {
                for n in [0, 1, 3] {
                    m["layers"][n]["size"] = json!(u64::MAX);
                }
            });
        }),
        ecr("an index without the platform", 5, "not_found", |b, _| {
            let arm = Image::build(Family::Oci).architecture("arm64").create();
            web(
                b,
                &Image::index(Family::Oci, &[("arm64", &arm)]),
                Login::Ecr,
            );
        })
        .says(&["linux/amd64"])
        .hint("linux/arm64"),
        ecr("indexes without end", 7, "archive_broken", |b, _| {
            let mut image = Image::build(Family::Oci).create();
            for _ in 0..6 {
                image = Image::index(Family::Oci, &[("amd64", &image)]);
            }
            web(b, &image, Login::Ecr);
        })
        .says(&["deep"]),
        ecr(
            "an index that states another size",
            1,
            "mismatch",
            |b, _| {
                let image = Image::build(Family::Oci).create();
                let mut index = Image::index(Family::Oci, &[("amd64", &image)]);
                let (media_type, json) = index.manifests.remove(&index.digest).unwrap();
                let mut json: Value = serde_json::from_slice(&json).unwrap();
                json["manifests"][0]["size"] = json!(3);
                let json = bytes::Bytes::from(json.to_string());
                index.digest = digest(&json);
                index
                    .manifests
                    .insert(index.digest.clone(), (media_type, json));
                web(b, &index, Login::Ecr);
            },
        )
        .says(&["index states 3"]),
        ecr("a registry that always fails", 6, "service", |b, _| {
            b.aws
                .fault(MANIFEST.always(), Fault::registry(500, "X", "y"));
        }),
        ecr("a registry that throttles", 6, "throttled", |b, _| {
            b.aws.fault(
                MANIFEST.always(),
                Fault::registry(429, "TOOMANYREQUESTS", "Rate exceeded"),
            );
        }),
        ecr("blobs that throttle", 6, "throttled", |b, _| {
            b.aws.fault(
                BLOB.always(),
                Fault::registry(429, "TOOMANYREQUESTS", "Rate exceeded"),
            );
        }),
        ecr("a registry that does not answer", 6, "timeout", |b, _| {
            b.aws.fault(MANIFEST.always(), Fault::NoAnswer);
        }),
        ecr("a redirect loop", 6, "transfer", |b, _| {
            b.aws.fault(BLOB.always(), Fault::RedirectLoop);
        })
        .hint("a redirect is followed"),
        ecr(
            "a manifest behind a redirect loop",
            6,
            "transfer",
            |b, _| {
                b.aws.fault(MANIFEST.always(), Fault::RedirectLoop);
            },
        )
        .says(&["leads astray"])
        .hint("a redirect is followed"),
        ecr("nobody listens", 6, "network", |b, i| {
            b.aws
                .function("web")
                .image("127.0.0.1:1/web:v1", &i.digest)
                .create();
        }),
        ecr(
            "a user and password in the name",
            7,
            "archive_broken",
            |b, i| {
                let uri = format!("larder:{SECRET_MARKER}@registry.example/web:v1");
                b.aws.function("web").image(&uri, &i.digest).create();
            },
        )
        .says(&["…@registry.example/web", "names no registry"]),
        ecr("a name that is a path", 7, "archive_broken", |b, i| {
            b.aws
                .function("web")
                .image("registry.example/../web", &i.digest)
                .create();
        })
        .says(&["names no repository"]),
        ecr("a name without a registry", 7, "archive_broken", |b, i| {
            b.aws.function("web").image("web:v1", &i.digest).create();
        })
        .says(&["names no registry"])
        .hint("--pull-image"),
        failing(
            "no login",
            4,
            "access_denied",
            Login::Basic("u:p".into()),
            |_, _| {},
        )
        .hint("docker login"),
        failing(
            "no login for the token",
            4,
            "access_denied",
            Login::Bearer(Some("u:p".into())),
            |_, _| {},
        )
        .hint("skopeo login"),
        failing(
            "a token service that fails",
            6,
            "service",
            Login::Bearer(None),
            |b, _| {
                b.aws.fault(
                    On::Operation("GetToken").always(),
                    Fault::registry(500, "X", "y"),
                );
            },
        ),
        failing(
            "a token service that gives none",
            6,
            "service",
            Login::Bearer(None),
            |b, _| {
                b.aws.fault(
                    On::Operation("GetToken").always(),
                    Fault::json(|json| json["token"] = json!(null)),
                );
            },
        )
        .says(&["no token"]),
        failing(
            "a realm in clear elsewhere",
            6,
            "service",
            Login::Bearer(None),
            |b, _| {
                let challenge = "Bearer realm=\"http://192.0.2.1/token\",service=\"x\"";
                b.aws.fault(
                    MANIFEST.always(),
                    Fault::Header("WWW-Authenticate".into(), challenge.into()),
                );
            },
        )
        .says(&["https"]),
    ];
    each(&cases, |case| case.name.clone(), Failing::check);
}

/// `user:password` in base64.
fn encoded(user: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(user)
}

#[test]
fn a_login_that_cannot_be_used_says_why() {
    let secret = format!("larder:{SECRET_MARKER}");
    let wanted = [
        Login::Basic("larder:right".into()),
        Login::Bearer(Some("larder:right".into())),
    ];
    let mut cases = Vec::new();
    for login in wanted {
        let case = |name: &str, code, kind, file: fn(&Bench, &str)| {
            failing(
                &format!("{login:?}: {name}"),
                code,
                kind,
                login.clone(),
                |_, _| {},
            )
            .when({
                let login = login.clone();
                move |bench| {
                    web(bench, &small(Family::Docker), login.clone());
                    file(bench, bench.aws.endpoint().trim_start_matches("http://"));
                }
            })
            .var("REGISTRY_AUTH_FILE", "auth.json")
        };
        cases.push(
            case("the file is not there", 8, "io", |_, _| {})
                .says(&["cannot be read", "auth.json"])
                .hint("REGISTRY_AUTH_FILE"),
        );
        cases.push(
            case("the file is a directory", 8, "io", |b, _| {
                std::fs::create_dir(b.path("auth.json")).unwrap();
            })
            .says(&["cannot be read", "auth.json"])
            .hint("name another"),
        );
        cases.push(
            case("the file is no JSON", 2, "usage", |b, _| {
                write(b.path("auth.json"), format!("{{\"auths\": {SECRET_MARKER}"));
            })
            .says(&["auth.json is no file of logins", "no JSON"])
            .hint("skopeo login --authfile"),
        );
        cases.push(
            case("the entry is no login", 2, "usage", |b, host| {
                let json = json!({"auths": {host: {"auth": SECRET_MARKER}}});
                write(b.path("auth.json"), json.to_string());
            })
            .says(&["auth.json is no file of logins", "no user and password"]),
        );
        cases.push(
            case("a helper has it", 4, "access_denied", |b, host| {
                let json = json!({"auths": {host: {}}, "credsStore": "desktop"});
                write(b.path("auth.json"), json.to_string());
            })
            .says(&["docker-credential-desktop", "does not run"])
            .hint("skopeo login --authfile"),
        );
        cases.push(
            case(
                "a helper for this registry",
                4,
                "access_denied",
                |b, host| {
                    let json = json!({"credHelpers": {host: "ecr-login"}});
                    write(b.path("auth.json"), json.to_string());
                },
            )
            .says(&["docker-credential-ecr-login"]),
        );
        cases.push(
            case("nothing for this registry", 4, "access_denied", |b, _| {
                write(b.path("auth.json"), json!({"auths": {}}).to_string());
            })
            .says(&["wants a login, and there is none"])
            .hint("docker login"),
        );
        let auth = encoded(&secret);
        cases.push(
            case("a wrong password", 4, "access_denied", |_, _| {})
                .when({
                    let login = login.clone();
                    move |bench| {
                        web(bench, &small(Family::Docker), login.clone());
                        let host = bench.aws.endpoint().trim_start_matches("http://");
                        let json = json!({"auths": {host: {"auth": auth}}});
                        write(bench.path("auth.json"), json.to_string());
                    }
                })
                .says(&["refuses the user and password in auth.json", "401"])
                .hint("log in again"),
        );
    }
    each(&cases, |case| case.name.clone(), Failing::check);
}

#[test]
fn a_login_that_is_not_asked_for_is_not_looked_for() {
    let bench = Bench::new();
    let image = small(Family::Docker);
    web(&bench, &image, Login::Bearer(None));
    write(bench.path("auth.json"), "no JSON");
    // A registry that wants a token may give it to anybody.
    bench
        .run_with(
            &[("REGISTRY_AUTH_FILE", "auth.json")],
            &["fetch", "web", "out", "--pull-image"],
        )
        .expect(0);
    is_whole(&bench.path("out/image"), &image, &[&image.digest]);
}

/// An image for an architecture, unlike any of another seed.
pub fn image_for(architecture: &str, seed: u64) -> Image {
    Image::build(Family::Oci)
        .architecture(architecture)
        .layer(bytes(seed, 100))
        .create()
}

#[test]
fn an_entry_without_a_platform_is_told_by_its_configuration() {
    let (amd, arm) = (image_for("amd64", 1), image_for("arm64", 2));
    let index = Image::index_of(Family::Oci, &[(Value::Null, &amd), (Value::Null, &arm)]);
    let bench = Bench::new();
    let function = web(&bench, &index, Login::Ecr);
    function.set("Architectures", json!(["arm64"]));
    pulled(&bench, &[]).expect(0);
    is_whole(
        &bench.path("out/image"),
        &index,
        &[&index.digest, &arm.digest],
    );
    let manifests = &bench.record("out")["image"]["manifests"];
    assert_eq!(manifests[1]["platform"], "linux/arm64");
    assert_eq!(bench.record("out")["image"]["other_manifests"], 1);
    // What was chosen stays chosen, and no registry is asked.
    let asked = bench.aws.count("GetManifest") + bench.aws.count("GetBlob");
    bench.aws.delete_image("team/web", &amd.digest);
    bench.aws.delete_image("team/web", &index.digest);
    bench.run(&["fetch", "web", "out", "--update"]).expect(0);
    assert_eq!(
        bench.aws.count("GetManifest") + bench.aws.count("GetBlob"),
        asked
    );
    let none = Failing::new("none of them fits", 5, "not_found")
        .with(&["--pull-image", "--platform", "linux/riscv64"])
        .when(move |bench| {
            web(bench, &index, Login::Ecr);
        })
        .says(&["linux/riscv64"])
        .hint("name no platform");
    none.check();
}

#[test]
fn the_only_entry_of_an_index_is_taken_without_a_platform() {
    let bench = Bench::new();
    let image = image_for("amd64", 1);
    let inner = Image::index(
        Family::Docker,
        &[("amd64", &image), ("arm64", &image_for("arm64", 2))],
    );
    let index = Image::index_of(Family::Oci, &[(Value::Null, &inner)]);
    web(&bench, &index, Login::Ecr);
    pulled(&bench, &[]).expect(0);
    let all = [&*index.digest, &inner.digest, &image.digest];
    is_whole(&bench.path("out/image"), &index, &all);
}

#[test]
fn of_two_entries_for_one_platform_both_are_named() {
    let (first, second) = (image_for("amd64", 1), image_for("amd64", 2));
    let linux = json!({"os": "linux", "architecture": "amd64"});
    for platform in [linux, Value::Null] {
        let bench = Bench::new();
        let entries = [(platform.clone(), &first), (platform, &second)];
        let index = Image::index_of(Family::Oci, &entries);
        web(&bench, &index, Login::Ecr);
        pulled(&bench, &[]).expect(0).says(&[
            "2 images for linux/amd64",
            &first.digest,
            &second.digest,
            "the first",
        ]);
        let place = bench.path("out/image");
        is_whole(&place, &index, &[&index.digest, &first.digest]);
    }
    // One image that is named twice is one.
    let bench = Bench::new();
    let index = Image::index(Family::Oci, &[("amd64", &first), ("amd64", &first)]);
    web(&bench, &index, Login::Ecr);
    let ran = pulled(&bench, &[]).expect(0);
    assert!(!ran.stderr.contains("2 images"), "{}", ran.stderr);
}

#[test]
fn what_of_an_index_is_not_kept_is_said() {
    let bench = Bench::new();
    let (amd, arm) = (image_for("amd64", 1), image_for("arm64", 2));
    let linux = |architecture: &str| json!({"os": "linux", "architecture": architecture});
    let unknown = json!({"os": "unknown", "architecture": "unknown"});
    let statement = image_for("unknown", 3);
    let entries = [
        (linux("amd64"), &amd),
        (unknown, &statement),
        (linux("arm64"), &arm),
    ];
    let index = Image::index_of(Family::Oci, &entries);
    let function = web(&bench, &index, Login::Ecr);
    function.set("Architectures", json!(["arm64"]));
    let ran = pulled(&bench, &[]).expect(0);
    let said = "1 of 3 images kept: linux/arm64 (skopeo --override-os linux --override-arch arm64)";
    assert!(ran.stdout.contains(said), "{}", ran.stdout);
    for path in ["out", "out/image"] {
        let ran = bench.run(&["verify", path]).expect(0);
        assert!(ran.stdout.contains("1 of 3 images"), "{}", ran.stdout);
    }
}

#[test]
fn logins_of_docker_and_skopeo_are_used_where_a_registry_asks() {
    let user = "larder:LARDERSECRETMARKERpassword";
    let auth = encoded(user);
    for login in [
        Login::Open,
        Login::Basic(user.into()),
        Login::Bearer(None),
        Login::Bearer(Some(user.into())),
    ] {
        let bench = Bench::new();
        let image = small(Family::Oci);
        web(&bench, &image, login.clone());
        let host = bench.aws.endpoint().trim_start_matches("http://");
        let elsewhere = tempfile::tempdir().unwrap();
        let file = write(
            elsewhere.path().join("config.json"),
            json!({"auths": {host: {"auth": auth}}}).to_string(),
        );
        for (variable, value) in [
            ("REGISTRY_AUTH_FILE", file.to_str().unwrap()),
            ("DOCKER_CONFIG", elsewhere.path().to_str().unwrap()),
        ] {
            let ran = bench
                .run_with(
                    &[(variable, value)],
                    &["fetch", "web", "out", "--pull-image", "--force", "-vvv"],
                )
                .expect(0);
            harmless(&ran);
            assert!(!ran.stderr.contains(&auth), "{}", ran.stderr);
        }
        is_whole(&bench.path("out/image"), &image, &[&image.digest]);
        // The token is got once a run; a login never goes to who does not ask for it.
        let tokens = bench.aws.count("GetToken");
        assert_eq!(
            tokens,
            if matches!(login, Login::Bearer(_)) {
                2
            } else {
                0
            }
        );
        assert_eq!(bench.aws.count("GetAuthorizationToken"), 0);
        if login == Login::Open {
            assert!(
                bench
                    .aws
                    .requests_of("GetManifest")
                    .iter()
                    .all(|r| r.header("authorization").is_none())
            );
        }
        assert!(holds(bench.dir.path(), SECRET_MARKER, &[]).is_empty());
    }
}

#[test]
fn a_redirect_to_another_port_takes_no_credential_along() {
    let bench = Bench::new();
    let image = small(Family::Oci);
    web(&bench, &image, Login::Bearer(None));
    let other = Bench::new();
    other.aws.push("team/web", &image, Login::Open);
    let base = other.aws.endpoint().to_owned();
    bench
        .aws
        .fault(BLOB.always(), Fault::MovedTo { status: 302, base });
    pulled(&bench, &[]).expect(0);
    is_whole(&bench.path("out/image"), &image, &[&image.digest]);
    let led = other.aws.requests_of("GetBlob");
    assert_eq!(led.len(), image.blobs.len());
    assert!(
        led.iter()
            .all(|request| request.header("authorization").is_none())
    );
}

#[test]
fn a_foreign_layer_is_named_and_not_fetched() {
    let bench = Bench::new();
    let layer = bytes(5, 500);
    let url = bench.aws.public_object("windows", "layer", layer.clone());
    let mut image = Image::build(Family::Docker)
        .layer(bytes(1, 100))
        .layer_of(FOREIGN, layer.clone(), &[&url])
        .create();
    image.blobs.remove(&digest(&layer));
    web(&bench, &image, Login::Ecr);
    let ran = pulled(&bench, &[]).expect(0).says(&["foreign", &url]);
    assert!(
        ran.stdout.contains("without 1 foreign layer"),
        "{}",
        ran.stdout
    );
    assert_eq!(
        bench.record("out")["image"]["foreign_layers"],
        json!([{"digest": digest(&layer), "size": 500, "urls": [url]}])
    );
    is_whole(&bench.path("out/image"), &image, &[&image.digest]);
    assert!(
        bench
            .aws
            .requests_of("GetObject")
            .iter()
            .all(|r| !r.path.contains("windows"))
    );
}

#[test]
fn without_the_option_no_registry_is_asked_and_a_zip_has_none() {
    let bench = Bench::new();
    let image = small(Family::Docker);
    web(&bench, &image, Login::Ecr);
    bench.run(&["fetch", "web", "out"]).expect(0);
    assert_eq!(bench.record("out")["image"]["path"], Value::Null);
    assert!(bench.record("out")["image"].get("manifests").is_none());
    assert_eq!(
        bench.aws.count("GetManifest") + bench.aws.count("GetAuthorizationToken"),
        0
    );
    let zip = larder_testkit::packages::python_package().zip();
    bench.aws.function("zip").zip(zip).create();
    bench.run(&["fetch", "zip", "--pull-image"]).expect(0);
    assert!(!bench.path("zip/image").exists());
    bench
        .run(&["fetch", "web", "--pull-image", "--platform", "amd64"])
        .expect(2);
    bench
        .run(&["fetch", "web", "--platform", "linux/amd64"])
        .expect(2);
}

#[test]
fn killed_in_the_middle_a_rerun_just_works() {
    let bench = Bench::new();
    let image = small(Family::Docker);
    web(&bench, &image, Login::Ecr);
    bench.aws.fault(On::Object.times(4), Fault::stall(5));
    let mut child = bench
        .command(&["fetch", "web", "out", "--pull-image"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    assert!(
        bench
            .aws
            .wait_for_bytes("GetObject", 5, Duration::from_secs(30))
    );
    child.kill().unwrap();
    finish(child);
    assert!(!bench.path("out").exists());
    bench.aws.clear_faults();
    pulled(&bench, &[]).expect(0);
    is_whole(&bench.path("out/image"), &image, &[&image.digest]);
    assert_eq!(bench.names(), ["out"]);
}

#[test]
fn an_interrupt_leaves_nothing() {
    let bench = Bench::new();
    web(&bench, &small(Family::Docker), Login::Ecr);
    bench.aws.fault(On::Object.times(4), Fault::stall(5));
    let child = bench
        .command(&["fetch", "web", "out", "--pull-image"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    assert!(
        bench
            .aws
            .wait_for_bytes("GetObject", 5, Duration::from_secs(30))
    );
    std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    finish(child).expect(130);
    assert!(bench.names().is_empty(), "{:?}", bench.names());
}

#[test]
fn progress_tells_of_each_blob_and_of_all() {
    let bench = Bench::new();
    let image = small(Family::Oci);
    web(&bench, &image, Login::Open);
    let ran = pulled(&bench, &["--progress", "always"]).expect(0);
    let count = image.blobs.len();
    let all = format!("{count} of {count})");
    assert!(
        ran.stderr.contains(&format!("{count} blobs")) && ran.stderr.contains(&all),
        "{}",
        ran.stderr
    );
    for digest in image.blobs.keys() {
        assert!(ran.stderr.contains(digest), "{digest}:\n{}", ran.stderr);
    }
    assert!(ran.stderr.contains("pulled 362 KiB"), "{}", ran.stderr);
}

#[test]
fn a_caller_without_a_key_is_told_so() {
    for key in [Key::Expired, Key::Denied, Key::Unrecognized] {
        let bench = Bench::new();
        let image = small(Family::Docker);
        let uri = bench.aws.push("web", &image, Login::Ecr);
        bench
            .aws
            .function("web")
            .image(&uri, &image.digest)
            .create();
        // Lambda answers: it is the token that is refused.
        bench.aws.fault(
            On::Operation("GetAuthorizationToken").always(),
            Fault::Lambda(larder_testkit::LambdaError::new(
                400,
                match key {
                    Key::Expired => "ExpiredTokenException",
                    Key::Denied => "AccessDeniedException",
                    _ => "UnrecognizedClientException",
                },
                "no",
            )),
        );
        pulled(&bench, &[]).expect(4);
        assert!(bench.names().is_empty());
    }
}

/// What is recorded of a pulled image follows from the layout, so that a record edited by hand is found.
#[test]
fn a_record_of_an_image_that_was_edited_is_found_and_the_field_named() {
    let (amd, arm) = (
        small(Family::Oci),
        Image::build(Family::Oci)
            .architecture("arm64")
            .layer(bytes(2, 100))
            .create(),
    );
    let index = Image::index(Family::Oci, &[("amd64", &amd), ("arm64", &arm)]);
    let bench = Bench::new();
    web(&bench, &index, Login::Open);
    pulled(&bench, &[]).expect(0);
    let path = bench.path("out/larder.json");
    let whole: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    bench.run(&["verify", "out"]).expect(0);
    for (pointer, value, word) in [
        ("/package_type", json!("Zip"), "package_type"),
        ("/status", json!("saved"), "status"),
        ("/image/image_uri", json!("x"), "ImageUri"),
        ("/image/resolved_image_uri", json!("x"), "ResolvedImageUri"),
        ("/image/digest", json!(arm.digest), "the image"),
        ("/image/code_sha256", json!("00".repeat(32)), "CodeSha256"),
        ("/image/path", json!("elsewhere"), "elsewhere"),
        ("/image/path", Value::Null, "image"),
        ("/image/blobs", json!(7), "7 blobs"),
        ("/image/bytes", json!(7), "7 bytes"),
        ("/image/bytes", Value::Null, "no bytes"),
        ("/image/manifests", json!([]), "does not state the manifest"),
        (
            "/image/manifests/1",
            json!({"digest": arm.digest, "media_type": "x", "size": 1}),
            "manifest",
        ),
        ("/image/manifests/0/digest", json!("sha256:x"), "digest"),
        ("/image/manifests/0/media_type", json!("x"), "(x, "),
        ("/image/manifests/1/size", json!(7), "7 bytes"),
        (
            "/image/manifests/1/platform",
            json!("linux/arm64"),
            "linux/arm64",
        ),
        (
            "/image/foreign_layers",
            json!([{"digest": amd.digest, "size": 1, "urls": []}]),
            "foreign",
        ),
    ] {
        let mut record = whole.clone();
        match record.pointer_mut(pointer) {
            Some(place) => *place = value.clone(),
            None => record["image"]["foreign_layers"] = value.clone(),
        }
        std::fs::write(&path, record.to_string()).unwrap();
        let ran = bench.run(&["verify", "out", "--output", "json"]).expect(1);
        let findings = ran.json()["paths"][0]["findings"].to_string();
        assert!(
            findings.contains(word)
                && (findings.contains("larder.json") || findings.contains("the record")),
            "{pointer} {value}: {findings}"
        );
    }
}
