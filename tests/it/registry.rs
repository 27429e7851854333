//! Container images pulled from Debian's `docker-registry` on loopback, where skopeo pushed them; what larder keeps is read
//! again by skopeo.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use larder::digest::Sha256Digest;
use larder::image::layout;
use larder_testkit::image::{Family, Image};
use serde_json::{Value, json};

use crate::harness::{Bench, json as read_json, tool, write};
use crate::proof::contents;

/// What is changed, in which blob, how, and the exit code then.
type Change<'a> = (&'a str, &'a str, &'a dyn Fn(&Path), i32);

/// How long the registry may take to start.
const SOON: Duration = Duration::from_secs(20);

/// A registry on loopback, until it is dropped.
struct Registry {
    child: Child,
    port: u16,
    skopeo: PathBuf,
    dir: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    /// Starts one, with these further lines in its configuration. None where `LARDER_SKIP` leaves out a tool that is needed.
    fn start(further: &str) -> Option<Self> {
        let program = tool("docker-registry", "docker-registry")?;
        let skopeo = tool("skopeo", "skopeo")?;
        let dir = tempfile::tempdir().unwrap();
        // The port may be taken in the moment between; then the next one is tried.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            let configuration = write(
                dir.path().join("registry.yml"),
                format!(
                    "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"127.0.0.1:{port}\"}}\n{further}",
                    dir.path().join("data").display()
                ),
            );
            let mut child = Command::new(&program)
                .arg("serve")
                .arg(configuration)
                .env_clear()
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            if answers(port, &mut child) {
                return Some(Self {
                    child,
                    port,
                    skopeo,
                    dir,
                });
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("docker-registry does not start");
    }

    /// Pushes an image with skopeo, all of an index; answers its name.
    fn push(&self, repository: &str, image: &Image) -> String {
        let from = self.dir.path().join("push");
        let _ = fs::remove_dir_all(&from);
        image.write_layout(&from).unwrap();
        let name = format!("127.0.0.1:{}/{repository}", self.port);
        self.skopeo(&[
            "copy",
            "--all",
            "--preserve-digests",
            "--dest-tls-verify=false",
            &format!("oci:{}", from.display()),
            &format!("docker://{name}:v1"),
        ]);
        name
    }

    /// Runs skopeo, which must succeed; answers what it says.
    #[track_caller]
    fn skopeo(&self, arguments: &[&str]) -> String {
        let ran = Command::new(&self.skopeo)
            .arg("--insecure-policy")
            .args(arguments)
            .env("HOME", self.dir.path())
            .env_remove("REGISTRY_AUTH_FILE")
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "skopeo {arguments:?}: {errors}");
        String::from_utf8(ran.stdout).unwrap()
    }

    /// The manifest that skopeo finds in the registry.
    fn raw(&self, name: &str) -> String {
        let name = format!("docker://{name}:v1");
        self.skopeo(&["inspect", "--raw", "--tls-verify=false", &name])
    }
}

fn answers(port: u16, child: &mut Child) -> bool {
    let since = Instant::now();
    while since.elapsed() < SOON && matches!(child.try_wait(), Ok(None)) {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            let mut answer = String::new();
            let request = b"GET /v2/ HTTP/1.0\r\nHost: localhost\r\n\r\n";
            if stream.write_all(request).is_ok()
                && stream.read_to_string(&mut answer).is_ok()
                && answer.contains("registry/2.0")
            {
                return true;
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// A layer as tools make them: a tar with one file, compressed by gzip.
fn layer(seed: u64, size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut data = vec![0_u8; size];
    random.fill(&mut data);
    let name = format!("f{seed}");
    let mut tar = vec![0_u8; 512];
    tar[..name.len()].copy_from_slice(name.as_bytes());
    tar[100..108].copy_from_slice(b"0000644\0");
    tar[108..116].copy_from_slice(b"0000000\0");
    tar[116..124].copy_from_slice(b"0000000\0");
    tar[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    tar[136..148].copy_from_slice(b"00000000000\0");
    tar[148..156].copy_from_slice(b"        ");
    tar[156] = b'0';
    tar[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = tar.iter().map(|byte| u32::from(*byte)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend(data);
    tar.resize(tar.len().div_ceil(512) * 512 + 1024, 0);
    gzip(&tar)
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(data).unwrap();
    gzip.finish().unwrap()
}

/// Makes a function of what was pushed, and pulls it.
fn pulled(bench: &Bench, name: &str, image: &Image, arguments: &[&str]) -> Value {
    bench
        .aws
        .function("web")
        .image(&format!("{name}:v1"), &image.digest)
        .create();
    let mut all = vec!["fetch", "web", "out", "--pull-image", "--force"];
    all.extend(arguments);
    bench.run(&all).expect(0);
    bench.record("out")
}

/// skopeo reads the layout at `out/image`, finds the digest there, and copies all blobs.
#[track_caller]
fn skopeo_accepts(registry: &Registry, bench: &Bench, image: &Image, architecture: &str) {
    let dir = bench.path("out/image");
    let checked = layout::verify(&dir, &[], &|| false).unwrap();
    assert_eq!(checked.findings, []);
    let root: Sha256Digest = image.digest.parse().unwrap();
    assert_eq!(checked.roots, [root]);
    let oci = format!("oci:{}", dir.display());
    let raw = registry.skopeo(&["inspect", "--raw", &oci]);
    assert_eq!(raw.as_bytes(), &image.manifests[&image.digest].1[..]);
    let choose = format!("--override-arch={architecture}");
    let inspected: Value =
        serde_json::from_str(&registry.skopeo(&[&choose, "inspect", &oci])).unwrap();
    assert_eq!(inspected["Digest"], image.digest.as_str());
    assert_eq!(inspected["Architecture"], architecture);
    let copy = bench.path("copy");
    let _ = fs::remove_dir_all(&copy);
    registry.skopeo(&[&choose, "copy", &oci, &format!("dir:{}", copy.display())]);
    // A copy holds configuration and layers under the hex of their digests.
    let mut count = 0;
    for (name, bytes) in contents(&copy) {
        if let Ok(digest) = Sha256Digest::from_hex(&name) {
            assert_eq!(Sha256Digest::of(&bytes), digest);
            count += 1;
        }
    }
    assert!(count > 0, "nothing was copied");
}

#[test]
fn images_of_both_families_are_what_the_registry_holds() {
    let Some(registry) = Registry::start("") else {
        return;
    };
    let shared = layer(1, 50_000);
    for family in [Family::Docker, Family::Oci] {
        let image = Image::build(family)
            .layer(shared.clone())
            .layer(layer(2, 200_000))
            .layer(gzip(&[0; 1024])) // a tar without any entry
            .layer(shared.clone())
            .create();
        let name = registry.push(&format!("team/{family:?}").to_lowercase(), &image);
        let bench = Bench::new();
        let record = pulled(&bench, &name, &image, &[]);
        assert_eq!(record["status"], "image");
        assert_eq!(
            record["image"]["manifests"][0]["media_type"],
            family.manifest()
        );
        assert_eq!(record["image"]["blobs"], 4);
        let manifest = bench
            .path("out/image/blobs/sha256")
            .join(&image.digest[7..]);
        assert_eq!(fs::read_to_string(manifest).unwrap(), registry.raw(&name));
        skopeo_accepts(&registry, &bench, &image, "amd64");
    }
}

#[test]
fn an_index_is_kept_with_one_of_its_images() {
    let Some(registry) = Registry::start("") else {
        return;
    };
    for family in [Family::Oci, Family::Docker] {
        let of = |architecture: &str, seed| {
            let image = Image::build(family).architecture(architecture);
            image
                .layer(layer(1, 5000))
                .layer(layer(seed, 20_000))
                .create()
        };
        let (amd, arm) = (of("amd64", 2), of("arm64", 3));
        let index = Image::index(family, &[("amd64", &amd), ("arm64", &arm)]);
        let name = registry.push(&format!("index-{family:?}").to_lowercase(), &index);
        let bench = Bench::new();
        for (arguments, architecture, image) in [
            (&[][..], "amd64", &amd),
            (&["--platform", "linux/arm64"], "arm64", &arm),
        ] {
            let record = pulled(&bench, &name, &index, arguments);
            let manifests = &record["image"]["manifests"];
            assert_eq!(manifests[0]["digest"], index.digest.as_str());
            assert_eq!(manifests[1]["digest"], image.digest.as_str());
            assert_eq!(record["image"]["blobs"], 3);
            skopeo_accepts(&registry, &bench, &index, architecture);
        }
    }
}

#[test]
fn a_check_asks_for_the_image_of_an_index_and_for_what_a_tag_names() {
    let Some(registry) = Registry::start("") else {
        return;
    };
    for family in [Family::Oci, Family::Docker] {
        let of = |architecture: &str, seed| {
            let image = Image::build(family).architecture(architecture);
            image.layer(layer(seed, 2000)).create()
        };
        let (amd, arm, newer) = (of("amd64", 2), of("arm64", 3), of("amd64", 4));
        let index = Image::index(family, &[("amd64", &amd), ("arm64", &arm)]);
        let name = registry.push(&format!("check-{family:?}").to_lowercase(), &index);
        let bench = Bench::new();
        let check = |arguments: &[&str]| {
            let mut all = vec!["check", "web", "--output", "json"];
            all.extend(arguments);
            bench.run(&all)
        };
        for (deployed, code) in [(&amd, 0), (&arm, 1)] {
            bench
                .aws
                .function("web")
                .image(&format!("{name}:v1"), &deployed.digest)
                .create();
            let ran = check(&["--expect", &index.digest]).expect(code);
            let result = &ran.json()["functions"][0];
            let text = format!("{}{}", result["reason"], result["notes"]);
            assert!(text.contains("an index"), "{text}");
        }
        // The tag is moved in the real registry.
        bench
            .aws
            .function("web")
            .image(&format!("{name}:v1"), &amd.digest)
            .create();
        let moved = |ran: &crate::harness::Ran| ran.stdout.contains("has moved");
        let arguments = ["--expect", &index.digest, "--resolve-tags"];
        assert!(!moved(&check(&arguments).expect(0)));
        registry.push(&format!("check-{family:?}").to_lowercase(), &newer);
        let ran = check(&arguments).expect(0);
        assert!(moved(&ran), "{}", ran.stdout);
        assert!(ran.stdout.contains(&newer.digest), "{}", ran.stdout);
    }
}

#[test]
fn twenty_layers_come_and_an_update_asks_for_none_of_them_again() {
    let Some(registry) = Registry::start("") else {
        return;
    };
    let image = (0..20).fold(Image::build(Family::Docker), |image, seed| {
        image.layer(layer(
            seed,
            100_000 * usize::try_from(1 + seed % 4).unwrap(),
        ))
    });
    let image = image.create();
    let name = registry.push("twenty", &image);
    let bench = Bench::new();
    let record = pulled(&bench, &name, &image, &[]);
    assert_eq!(record["image"]["blobs"], 21);
    assert_eq!(record["transfer"]["requests"], 22);
    skopeo_accepts(&registry, &bench, &image, "amd64");
    drop(registry);
    // The registry is gone, and everything is here.
    let ran = bench
        .run(&["fetch", "web", "out", "--update", "--pull-image"])
        .expect(0);
    assert!(ran.stdout.contains("unchanged"), "{}", ran.stdout);
}

#[test]
fn a_large_blob_comes_in_parts_where_connections_are_slow_or_not() {
    let Some(registry) = Registry::start("") else {
        return;
    };
    // Two layers from which on a probe decides, which this registry answers with ranges.
    let image = Image::build(Family::Oci)
        .layer(layer(1, 26 << 20))
        .layer(layer(2, 30 << 20))
        .create();
    let name = registry.push("large", &image);
    let bench = Bench::new();
    let record = pulled(&bench, &name, &image, &[]);
    assert!(
        record["transfer"]["requests"].as_u64().unwrap() >= 6,
        "{}",
        record["transfer"]
    );
    skopeo_accepts(&registry, &bench, &image, "amd64");
}

#[test]
fn a_registry_that_lies_about_its_storage_is_caught() {
    let Some(registry) = Registry::start("") else {
        return;
    };
    let image = Image::build(Family::Docker)
        .layer(layer(1, 30_000))
        .layer(layer(2, 40_000))
        .create();
    let name = registry.push("lies", &image);
    let bench = Bench::new();
    bench
        .aws
        .function("web")
        .image(&format!("{name}:v1"), &image.digest)
        .create();
    let data = |digest: &str| {
        let hex = &digest[7..];
        let place = format!(
            "data/docker/registry/v2/blobs/sha256/{}/{hex}/data",
            &hex[..2]
        );
        registry.dir.path().join(place)
    };
    let largest = image.blobs.iter().max_by_key(|(_, b)| b.len()).unwrap().0;
    let cases: &[Change<'_>] = &[
        (
            "a flipped byte",
            largest,
            &|path| {
                let mut bytes = fs::read(path).unwrap();
                bytes[100] ^= 1;
                fs::write(path, bytes).unwrap();
            },
            1,
        ),
        (
            "a shorter blob",
            largest,
            &|path| {
                let bytes = fs::read(path).unwrap();
                fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
            },
            1,
        ),
        (
            "a lost blob",
            largest,
            &|path| fs::remove_file(path).unwrap(),
            5,
        ),
        (
            "another manifest",
            &image.digest,
            &|path| {
                let mut manifest = read_json(path);
                manifest["annotations"] = json!({"a": "b"});
                fs::write(path, manifest.to_string()).unwrap();
            },
            1,
        ),
    ];
    for (name, digest, change, code) in cases {
        let path = data(digest);
        let kept = fs::read(&path).unwrap();
        change(&path);
        let ran = bench.run(&["fetch", "web", "out", "--pull-image", "--max-attempts", "2"]);
        assert!(ran.code == *code, "{name}: {ran:?}");
        assert!(bench.names().is_empty(), "{name}: {:?}", bench.names());
        fs::write(&path, kept).unwrap();
    }
    bench
        .run(&["fetch", "web", "out", "--pull-image"])
        .expect(0);
}

#[test]
fn skopeo_reads_an_image_out_of_a_store() {
    let Some(registry) = Registry::start("") else {
        return;
    };
    let image = Image::build(Family::Docker)
        .layer(layer(1, 30_000))
        .layer(layer(2, 40_000))
        .create();
    let name = registry.push("kept", &image);
    let bench = Bench::new();
    bench
        .aws
        .function("web")
        .image(&format!("{name}:v1"), &image.digest)
        .create();
    bench
        .run(&["backup", "--store", "store", "--all", "--pull-image"])
        .expect(0);
    // As docs/store.md has it: a layout of its own over the same blobs.
    let blobs = contents(&bench.path("store/blobs/sha256"));
    let record = blobs
        .values()
        .filter_map(|bytes| serde_json::from_slice::<Value>(bytes).ok())
        .find(|json| json["image"]["path"] == "image")
        .unwrap();
    let root = &record["image"]["manifests"][0];
    let root =
        json!({"mediaType": root["media_type"], "digest": root["digest"], "size": root["size"]});
    let dir = bench.path("layout");
    fs::create_dir(&dir).unwrap();
    fs::copy(bench.path("store/oci-layout"), dir.join("oci-layout")).unwrap();
    std::os::unix::fs::symlink(bench.path("store/blobs"), dir.join("blobs")).unwrap();
    let index = json!({"schemaVersion": 2, "manifests": [root]});
    write(dir.join("index.json"), index.to_string());
    let oci = format!("oci:{}", dir.display());
    let raw = registry.skopeo(&["inspect", "--raw", &oci]);
    assert_eq!(raw, registry.raw(&name));
    let copy = bench.path("copy");
    registry.skopeo(&["copy", &oci, &format!("dir:{}", copy.display())]);
    assert_eq!(contents(&copy).len(), image.blobs.len() + 2);
}
