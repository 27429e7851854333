//! Every place that credentials come from, as far as moto plays along. The function lies in an account that only a role
//! leads to: what was fetched shows whose credentials were used.

#![allow(clippy::too_many_lines, reason = "a table is as long as what it lists")]

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::machine::Machine;
use super::packages::{self, Package};
use super::server::{ACCOUNT, Mode, Moto, REGION, Variables};
use super::venv::Venv;
use crate::harness::{self, Ran, json as read_json, names, write};

/// The account of the function.
const OTHER: &str = "111122223333";
const ROLE: &str = "arn:aws:iam::111122223333:role/reader";

/// One way to say who is asking.
#[derive(Default)]
struct Source {
    name: &'static str,
    /// `~/.aws/config`.
    config: String,
    /// `~/.aws/credentials`.
    shared: String,
    variables: Vec<(&'static str, String)>,
    arguments: Vec<&'static str>,
    /// Whether the environment holds the keys of [`ACCOUNT`].
    keys: bool,
}

impl Source {
    fn fetch(&self, moto: &Moto, function: &str, dir: &Path) -> Ran {
        let (config, shared) = (dir.join("config"), dir.join("credentials"));
        write(config.clone(), &self.config);
        write(shared.clone(), &self.shared);
        let mut command = harness::bare(dir);
        command
            .envs(moto.place())
            .env("AWS_CONFIG_FILE", config)
            .env("AWS_SHARED_CREDENTIALS_FILE", shared)
            .env("AWS_REGION", REGION);
        if self.keys {
            command
                .env("AWS_ACCESS_KEY_ID", "testing")
                .env("AWS_SECRET_ACCESS_KEY", "testing");
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
            .args(["fetch", function, "out", "--max-attempts", "2"])
            .args(&self.arguments);
        harness::run(&mut command)
    }
}

/// Creates a function in the other account, and gives the keys that lead there.
fn deploy(moto: &Moto, name: &str, package: &Package) -> Value {
    let keys = moto.assume(OTHER);
    let role = Moto::role_in(OTHER, &moto.client("iam").credentials(&keys));
    let arguments = json!({
        "FunctionName": name,
        "Runtime": package.runtime,
        "Handler": package.handler,
        "Role": role,
        "Code": {"ZipFile": {"$file": package.zip}},
    });
    let lambda = moto.client("lambda").credentials(&keys);
    lambda.call("create_function", arguments);
    let function = lambda.call("get_function", json!({"FunctionName": name}));
    moto.put_at(function["Code"]["Location"].as_str().unwrap(), &package.zip);
    keys
}

fn sources(keys: &Value, dir: &Path) -> Vec<Source> {
    let text = |name: &str| keys[name].as_str().unwrap().to_owned();
    let session = format!(
        "aws_access_key_id = {}\naws_secret_access_key = {}\naws_session_token = {}\n",
        text("AccessKeyId"),
        text("SecretAccessKey"),
        text("SessionToken")
    );
    let of_account = "aws_access_key_id = testing\naws_secret_access_key = testing\n";
    let token = write(dir.join("token"), "a web identity's token")
        .display()
        .to_string();
    let process = json!({
        "Version": 1,
        "AccessKeyId": keys["AccessKeyId"],
        "SecretAccessKey": keys["SecretAccessKey"],
        "SessionToken": keys["SessionToken"],
        "Expiration": "2099-01-01T00:00:00Z",
    });
    let process = write(dir.join("keys.json"), process.to_string())
        .display()
        .to_string();
    let reader = format!("[profile reader]\nrole_arn = {ROLE}\n");
    vec![
        Source {
            name: "--role-arn",
            arguments: vec!["--role-arn", ROLE],
            keys: true,
            ..Source::default()
        },
        Source {
            name: "--role-arn with --external-id",
            arguments: vec!["--role-arn", ROLE, "--external-id", "larder-7"],
            keys: true,
            ..Source::default()
        },
        Source {
            name: "a session's keys in the environment",
            variables: vec![
                ("AWS_ACCESS_KEY_ID", text("AccessKeyId")),
                ("AWS_SECRET_ACCESS_KEY", text("SecretAccessKey")),
                ("AWS_SESSION_TOKEN", text("SessionToken")),
            ],
            ..Source::default()
        },
        Source {
            name: "the default profile of the credentials file",
            shared: format!("[default]\n{session}"),
            ..Source::default()
        },
        Source {
            name: "--profile with keys in the configuration file",
            config: format!("[profile reader]\n{session}"),
            arguments: vec!["--profile", "reader"],
            ..Source::default()
        },
        Source {
            name: "AWS_PROFILE with a role and source_profile",
            config: format!("{reader}source_profile = base\n"),
            shared: format!("[base]\n{of_account}"),
            variables: vec![("AWS_PROFILE", "reader".to_owned())],
            ..Source::default()
        },
        Source {
            name: "--profile before AWS_PROFILE",
            config: format!("{reader}source_profile = base\n"),
            shared: format!("[base]\n{of_account}"),
            variables: vec![("AWS_PROFILE", "base".to_owned())],
            arguments: vec!["--profile", "reader"],
            ..Source::default()
        },
        Source {
            name: "--profile before keys in the environment",
            config: format!("{reader}source_profile = base\n"),
            shared: format!("[base]\n{of_account}"),
            arguments: vec!["--profile", "reader"],
            keys: true,
            ..Source::default()
        },
        Source {
            name: "a role by way of another role",
            config: format!(
                "{reader}source_profile = hub\n[profile hub]\nrole_arn = arn:aws:iam::444455556666:role/hub\nsource_profile = base\n"
            ),
            shared: format!("[base]\n{of_account}"),
            arguments: vec!["--profile", "reader"],
            ..Source::default()
        },
        Source {
            name: "a role with credential_source",
            config: format!("{reader}credential_source = Environment\n"),
            arguments: vec!["--profile", "reader"],
            keys: true,
            ..Source::default()
        },
        Source {
            name: "--role-arn with a profile's keys",
            shared: format!("[base]\n{of_account}"),
            arguments: vec!["--profile", "base", "--role-arn", ROLE],
            ..Source::default()
        },
        Source {
            name: "credential_process",
            config: format!("[default]\ncredential_process = cat \"{process}\"\n"),
            ..Source::default()
        },
        Source {
            name: "a web identity in the environment",
            variables: vec![
                ("AWS_WEB_IDENTITY_TOKEN_FILE", token.clone()),
                ("AWS_ROLE_ARN", ROLE.to_owned()),
                ("AWS_ROLE_SESSION_NAME", "pod".to_owned()),
            ],
            ..Source::default()
        },
        Source {
            name: "a web identity in the profile",
            config: format!("{reader}web_identity_token_file = {token}\nrole_session_name = pod\n"),
            arguments: vec!["--profile", "reader"],
            ..Source::default()
        },
    ]
}

#[test]
fn every_source_of_credentials_leads_to_the_function() {
    let Some(venv) = Venv::get() else { return };
    let dir = tempfile::tempdir().unwrap();
    let package = packages::small(venv, dir.path(), "shared");
    for moto in Moto::both() {
        let keys = deploy(moto, "by-keys", &package);
        for source in sources(&keys, dir.path()) {
            eprintln!("{:?}: {}", moto.mode, source.name);
            let run = tempfile::tempdir().unwrap();
            source.fetch(moto, "by-keys", run.path()).expect(0);
            let record = read_json(&run.path().join("out/larder.json"));
            assert_eq!(record["function"]["account"], OTHER);
            assert_eq!(package.differences(&run.path().join("out/code")), [""; 0]);
        }
    }
}

/// Containers, instances and single sign-on: the machine's part is ours, what the keys open is moto's.
#[test]
fn credentials_that_the_machine_gives() {
    let (Some(venv), Some(moto)) = (Venv::get(), Moto::get(Mode::Endpoint)) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let package = packages::small(venv, dir.path(), "machine");
    let keys = deploy(moto, "by-machine", &package);
    let end = "2099-01-01T00:00:00Z";
    let container = json!({
        "AccessKeyId": keys["AccessKeyId"], "SecretAccessKey": keys["SecretAccessKey"], "Token": keys["SessionToken"],
        "Expiration": end, "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": end,
    });
    let portal = json!({"roleCredentials": {
        "accessKeyId": keys["AccessKeyId"], "secretAccessKey": keys["SecretAccessKey"],
        "sessionToken": keys["SessionToken"], "expiration": 4_070_908_800_000_u64,
    }});
    let answer = |path: &str, body: &str| (path.to_owned(), body.to_owned());
    let instance = "GET /latest/meta-data/iam/security-credentials/";
    let machine = Machine::start(vec![
        answer("GET /container", &container.to_string()),
        answer("PUT /latest/api/token", "metadata-token"),
        answer("GET /latest/meta-data/placement/region", REGION),
        answer(instance, "reader"),
        answer(&format!("{instance}reader"), &container.to_string()),
        answer(
            "GET /federation/credentials?role_name=reader&account_id=111122223333",
            &portal.to_string(),
        ),
    ]);
    let sso = format!(
        "[default]\nsso_session = corp\nsso_account_id = {OTHER}\nsso_role_name = reader\n\
         [sso-session corp]\nsso_region = {REGION}\nsso_start_url = https://corp.invalid/start\n"
    );
    let token = write(dir.path().join("container-token"), "container-token")
        .display()
        .to_string();
    let variable = |name, value: &str| (name, value.to_owned());
    for (source, asked) in [
        (
            Source {
                name: "a container",
                variables: vec![
                    (
                        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                        format!("{}/container", machine.url()),
                    ),
                    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token),
                ],
                ..Source::default()
            },
            "container-token",
        ),
        (
            Source {
                name: "an instance",
                variables: vec![
                    ("AWS_EC2_METADATA_SERVICE_ENDPOINT", machine.url()),
                    variable("AWS_EC2_METADATA_DISABLED", "false"),
                ],
                ..Source::default()
            },
            "metadata-token",
        ),
        (
            Source {
                name: "a profile without keys on an instance",
                config: "[profile plain]\noutput = json\n".to_owned(),
                variables: vec![
                    ("AWS_EC2_METADATA_SERVICE_ENDPOINT", machine.url()),
                    variable("AWS_EC2_METADATA_DISABLED", "false"),
                ],
                arguments: vec!["--profile", "plain"],
                ..Source::default()
            },
            "metadata-token",
        ),
        (
            Source {
                name: "single sign-on",
                config: sso,
                variables: vec![("AWS_ENDPOINT_URL_SSO", machine.url())],
                ..Source::default()
            },
            "sso-token",
        ),
    ] {
        eprintln!("{}", source.name);
        let run = tempfile::tempdir().unwrap();
        // What `aws sso login` leaves: the file is named for the session, by its SHA-1.
        let cache = run.path().join("no-home/.aws/sso/cache");
        std::fs::create_dir_all(&cache).unwrap();
        let login = json!({"accessToken": "sso-token", "expiresAt": end, "region": REGION, "startUrl": "https://corp.invalid/start"});
        write(
            cache.join("ee0bfd2552fbd840c02cc48b6e823320543c450f.json"),
            login.to_string(),
        );
        let before = machine.asked().len();
        let ran = source.fetch(moto, "by-machine", run.path()).expect(0);
        let record = read_json(&run.path().join("out/larder.json"));
        assert_eq!(record["function"]["account"], OTHER);
        let heads = machine.asked()[before..].join("\n");
        assert!(heads.contains(asked), "{heads}");
        assert!(!ran.stderr.contains("token"), "{}", ran.stderr);
    }
}

#[test]
fn credentials_that_lead_elsewhere_or_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    for moto in Moto::both() {
        for (source, code, says) in [
            (
                Source {
                    name: "the account's own keys",
                    keys: true,
                    ..Source::default()
                },
                5,
                &["not found"][..],
            ),
            (
                Source {
                    name: "none",
                    ..Source::default()
                },
                4,
                &["no AWS credentials", "AWS_PROFILE"],
            ),
            (
                Source {
                    name: "a profile that is not there",
                    arguments: vec!["--profile", "nobody"],
                    ..Source::default()
                },
                2,
                &["nobody"],
            ),
            (
                Source {
                    name: "a credential_process that fails",
                    config: "[default]\ncredential_process = false\n".to_owned(),
                    ..Source::default()
                },
                4,
                &["error:", "hint:"],
            ),
            (
                Source {
                    name: "a credential_process that answers nonsense",
                    config: "[default]\ncredential_process = echo secret-nonsense\n".to_owned(),
                    ..Source::default()
                },
                4,
                &["error:", "hint:"],
            ),
            (
                Source {
                    name: "a profile whose source is missing",
                    config: format!("[profile reader]\nrole_arn = {ROLE}\nsource_profile = gone\n"),
                    arguments: vec!["--profile", "reader"],
                    ..Source::default()
                },
                4,
                &["gone"],
            ),
            (
                Source {
                    name: "a token file that is not there",
                    variables: vec![
                        (
                            "AWS_WEB_IDENTITY_TOKEN_FILE",
                            "/nonexistent/token".to_owned(),
                        ),
                        ("AWS_ROLE_ARN", ROLE.to_owned()),
                    ],
                    ..Source::default()
                },
                4,
                &["error:", "hint:"],
            ),
        ] {
            eprintln!("{:?}: {}", moto.mode, source.name);
            let run = tempfile::tempdir_in(dir.path()).unwrap();
            let ran = source
                .fetch(moto, "by-nobody", run.path())
                .expect(code)
                .says(says);
            assert!(!ran.stderr.contains("secret-nonsense"), "{}", ran.stderr);
            assert_eq!(names(run.path()), ["config", "credentials"]);
        }
    }
}

/// Where the calls go may stand in the profile too.
#[test]
fn endpoints_and_region_from_the_profile() {
    let (Some(venv), Some(moto)) = (Venv::get(), Moto::get(Mode::Endpoint)) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let package = packages::small(venv, dir.path(), "configured");
    moto.deploy("configured", &package);
    let (url, nowhere) = (moto.url(), "http://127.0.0.1:9");
    let no_variables = Variables::new();
    for (name, config, variables, arguments) in [
        (
            "endpoint_url",
            format!("[default]\nregion = {REGION}\nendpoint_url = {url}\n"),
            no_variables.clone(),
            &[][..],
        ),
        (
            "a services section",
            format!(
                "[default]\nregion = {REGION}\nservices = local\n[services local]\nlambda =\n  endpoint_url = {url}\ns3 =\n  endpoint_url = {url}\n"
            ),
            no_variables.clone(),
            &[],
        ),
        (
            "variables of each service before those of the profile",
            format!("[default]\nregion = {REGION}\nendpoint_url = {nowhere}\n"),
            vec![
                ("AWS_ENDPOINT_URL_LAMBDA".to_owned(), url.clone()),
                ("AWS_ENDPOINT_URL_S3".to_owned(), url.clone()),
            ],
            &[],
        ),
        (
            "--endpoint-url before the variables; it is Lambda's alone",
            format!("[default]\nregion = {REGION}\n"),
            vec![
                ("AWS_ENDPOINT_URL_LAMBDA".to_owned(), nowhere.to_owned()),
                ("AWS_ENDPOINT_URL".to_owned(), url.clone()),
            ],
            &["--endpoint-url", &url],
        ),
        (
            "--region before the profile's",
            format!("[default]\nregion = eu-west-1\nendpoint_url = {url}\n"),
            no_variables.clone(),
            &["--region", REGION],
        ),
    ] {
        eprintln!("{name}");
        let run = tempfile::tempdir().unwrap();
        let config = write(run.path().join("config"), config);
        let mut command: Command = harness::bare(run.path());
        command
            .envs([
                ("AWS_ACCESS_KEY_ID", "testing"),
                ("AWS_SECRET_ACCESS_KEY", "testing"),
            ])
            .env("AWS_CONFIG_FILE", config)
            .envs(variables)
            .args(["fetch", "configured", "out", "--max-attempts", "2"])
            .args(arguments);
        harness::run(&mut command).expect(0);
        let record = read_json(&run.path().join("out/larder.json"));
        assert_eq!(
            (
                &record["function"]["region"],
                &record["function"]["account"]
            ),
            (&json!(REGION), &json!(ACCOUNT))
        );
        assert_eq!(package.differences(&run.path().join("out/code")), [""; 0]);
    }
}
