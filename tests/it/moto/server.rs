//! moto, running: what larder is pointed at, and boto3 to set it up.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::venv::Venv;
use crate::harness::{self, Ran};

/// The account that moto takes a caller for.
pub const ACCOUNT: &str = "123456789012";
/// The region of the tests unless they say otherwise.
pub const REGION: &str = "us-east-1";
/// The longest that a server may take to start.
const START: Duration = Duration::from_mins(1);
/// The proxy's CA, in its directory.
const CA: &str = "ca.crt";

/// Environment variables.
pub type Variables = Vec<(String, String)>;

/// How larder gets to moto.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `moto_server`: a plain endpoint in `AWS_ENDPOINT_URL`.
    Endpoint,
    /// `moto_proxy`: AWS's own host names over TLS, with `HTTPS_PROXY` and `AWS_CA_BUNDLE`.
    Proxy,
}

/// A moto that runs until the test process ends: see `tests/moto/serve.py`.
pub struct Moto {
    pub mode: Mode,
    /// `HOST:PORT`.
    address: String,
    dir: PathBuf,
    boto3: Mutex<Pipe>,
    /// Its standard input is open as long as this process lives.
    _server: Child,
}

/// A child that answers each line with a line.
struct Pipe {
    _child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Moto {
    /// The server of this mode, started on first use; None where `LARDER_SKIP` leaves moto out.
    pub fn get(mode: Mode) -> Option<&'static Self> {
        static SERVERS: [OnceLock<Result<Moto, String>>; 2] = [const { OnceLock::new() }; 2];
        let venv = Venv::get()?;
        let server = SERVERS[usize::from(mode == Mode::Proxy)].get_or_init(|| start(venv, mode));
        Some(server.as_ref().unwrap_or_else(|why| panic!("{why}")))
    }

    /// Both servers, to run the same test against each; none where moto is left out.
    pub fn both() -> Vec<&'static Self> {
        if Venv::get().is_none() {
            return Vec::new();
        }
        [Mode::Endpoint, Mode::Proxy]
            .into_iter()
            .filter_map(Self::get)
            .collect()
    }

    /// The variables that say where moto is, and nothing else.
    pub fn place(&self) -> Variables {
        place(self.mode, &self.address, &self.dir)
    }

    /// The variables with which a program reaches moto: where it is, credentials, and the region.
    pub fn env(&self) -> Variables {
        with_credentials(self.place())
    }

    /// `http://HOST:PORT`: the endpoint, or the proxy.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The CA that the proxy's certificates are signed with.
    pub fn ca_bundle(&self) -> PathBuf {
        self.dir.join(CA)
    }

    /// What the server wrote: a line for each request.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).expect("moto's log")
    }

    /// Runs `larder ARGUMENTS` in `dir` against it.
    pub fn larder(&self, dir: &Path, arguments: &[&str]) -> Ran {
        eprintln!("{:?}: larder {}", self.mode, arguments.join(" "));
        harness::run(harness::bare(dir).envs(self.env()).args(arguments))
    }

    /// Calls an operation through boto3, as the account [`ACCOUNT`] in [`REGION`].
    #[track_caller]
    pub fn call(&self, service: &str, operation: &str, arguments: Value) -> Value {
        self.client(service).call(operation, arguments)
    }

    /// A client of its own, for other credentials.
    pub fn client(&self, service: &str) -> Client<'_> {
        Client {
            moto: self,
            service: service.to_owned(),
            credentials: json!({}),
        }
    }

    /// The keys of a role in `account`, as STS gives them.
    pub fn assume(&self, account: &str) -> Value {
        let arguments = json!({"RoleArn": format!("arn:aws:iam::{account}:role/reader"), "RoleSessionName": "tests"});
        self.call("sts", "assume_role", arguments)["Credentials"].clone()
    }
}

/// boto3's client of a service.
pub struct Client<'a> {
    moto: &'a Moto,
    service: String,
    credentials: Value,
}

impl Client<'_> {
    /// Credentials as STS gives them.
    pub fn credentials(mut self, sts: &Value) -> Self {
        self.credentials = json!({
            "aws_access_key_id": sts["AccessKeyId"],
            "aws_secret_access_key": sts["SecretAccessKey"],
            "aws_session_token": sts["SessionToken"],
        });
        self
    }

    /// The answer; a refusal fails the test.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "`json!` in its place reads better without a borrow"
    )]
    #[track_caller]
    pub fn call(&self, operation: &str, arguments: Value) -> Value {
        match self.try_call(operation, &arguments) {
            Ok(answer) => answer,
            Err(refused) => panic!("boto3: {} {operation}: {refused}", self.service),
        }
    }

    /// The answer, or the refusal: `CODE: MESSAGE`.
    pub fn try_call(&self, operation: &str, arguments: &Value) -> Result<Value, String> {
        let asked = json!({
            "service": self.service,
            "region": REGION,
            "credentials": self.credentials,
            "operation": operation,
            "arguments": arguments,
        });
        let said = self
            .moto
            .boto3
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .ask(&asked);
        match said.get("error") {
            None => Ok(said["answer"].clone()),
            Some(error) => Err(format!("{}: {}", error["code"], error["message"])),
        }
    }
}

impl Pipe {
    fn ask(&mut self, line: &Value) -> Value {
        let mut answer = String::new();
        writeln!(self.to, "{line}")
            .and_then(|()| self.from.read_line(&mut answer))
            .expect("control.py answers");
        serde_json::from_str(&answer)
            .unwrap_or_else(|e| panic!("control.py answers {answer:?}: {e}"))
    }
}

fn start(venv: &Venv, mode: Mode) -> Result<Moto, String> {
    let what = match mode {
        Mode::Endpoint => "server",
        Mode::Proxy => "proxy",
    };
    if mode == Mode::Proxy {
        // moto_proxy signs its certificates with it.
        Command::new("openssl").arg("version").output().map_err(|e| {
            format!("moto_proxy needs openssl (Debian: apt-get install openssl), or LARDER_SKIP=moto: {e}")
        })?;
    }
    let dir =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("moto-{what}-{}", std::process::id()));
    let io = |e: std::io::Error| format!("{}: {e}", dir.display());
    if dir.exists() {
        fs::remove_dir_all(&dir).map_err(io)?;
    }
    fs::create_dir_all(&dir).map_err(io)?;
    let log = File::create(dir.join("log")).map_err(io)?;
    let mut server = clean(venv.script("serve.py"))
        .arg(what)
        .arg(&dir)
        // Image functions are looked up in moto's ECR, as in AWS.
        .env("MOTO_LAMBDA_STUB_ECR", "false")
        .stdin(Stdio::piped())
        .stdout(log.try_clone().map_err(io)?)
        .stderr(log)
        .spawn()
        .map_err(io)?;
    let address = wait_for_address(&mut server, &dir.join("log"))?;

    let mut control = clean(venv.script("control.py"));
    control
        .envs(with_credentials(place(mode, &address, &dir)))
        .env("AWS_MAX_ATTEMPTS", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = control.spawn().map_err(io)?;
    let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("control.py has no pipes".to_owned());
    };
    Ok(Moto {
        mode,
        address,
        dir,
        boto3: Mutex::new(Pipe {
            to,
            from: BufReader::new(from),
            _child: child,
        }),
        _server: server,
    })
}

fn place(mode: Mode, address: &str, dir: &Path) -> Variables {
    let url = format!("http://{address}");
    let variables = match mode {
        Mode::Endpoint => vec![("AWS_ENDPOINT_URL", url)],
        Mode::Proxy => vec![
            ("HTTPS_PROXY", url),
            ("AWS_CA_BUNDLE", dir.join(CA).display().to_string()),
        ],
    };
    variables
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn with_credentials(mut variables: Variables) -> Variables {
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
        ("AWS_REGION", REGION),
        ("AWS_DEFAULT_REGION", REGION),
    ] {
        variables.push((name.to_owned(), value.to_owned()));
    }
    variables
}

/// Nothing of this machine's environment but where programs are; output comes at once.
fn clean(mut command: Command) -> Command {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("PYTHONUNBUFFERED", "1");
    command
}

/// moto says where it listens: ` * Running on http://127.0.0.1:41223`, `Serving HTTP Proxy on 127.0.0.1:41224 ...`.
fn wait_for_address(server: &mut Child, log: &Path) -> Result<String, String> {
    let began = Instant::now();
    loop {
        let text = fs::read_to_string(log).unwrap_or_default();
        let whole_lines = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        for line in
            whole_lines.filter(|line| line.contains("Running on") || line.contains("Serving"))
        {
            if let Some(at) = line.find("127.0.0.1:") {
                let address = line[at..].split_whitespace().next().unwrap_or_default();
                return Ok(address.to_owned());
            }
        }
        if let Ok(Some(status)) = server.try_wait() {
            return Err(format!("moto ended at once ({status}):\n{text}"));
        }
        if began.elapsed() > START {
            let _ = server.kill();
            return Err(format!("moto did not start within {START:?}:\n{text}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
