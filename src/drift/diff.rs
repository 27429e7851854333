//! Unified diffs of text files, for people: bounded, and without what may be a secret.

use std::time::Duration;

use similar::TextDiff;

/// The largest file that is compared line by line, in bytes.
pub const MAX_FILE: u64 = 1 << 20;
/// The longest diff of one file, in bytes.
const MAX_DIFF: usize = 16 << 10;
/// How many bytes of diffs one report has.
pub const MAX_REPORT: usize = 256 << 10;
/// The longest line that is shown, in characters.
const MAX_LINE: usize = 240;
/// How long two files are compared at the most; what comes out then is right, and perhaps longer than it must be.
const PATIENCE: Duration = Duration::from_millis(500);

/// What stands for a line that may hold a secret.
const HIDDEN: &str = "[line left out: it may hold a secret]";

/// What must not be shown: the values of environment variables, wherever they stand.
#[derive(Clone, Default)]
pub struct Secrets(Vec<String>);

/// Nothing of it is ever shown.
impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

impl Secrets {
    /// These values; short ones (`1`, `prod`) are no secrets, and stand everywhere.
    pub fn new(values: impl IntoIterator<Item = String>) -> Self {
        Self(values.into_iter().filter(|v| v.len() >= 6).collect())
    }

    fn in_line(&self, line: &str) -> bool {
        self.0.iter().any(|value| line.contains(value)) || looks_secret(line)
    }
}

/// The diff from `expected` to `deployed`, or in brackets why there is none. None of either side is there as if it were empty.
/// Takes what it uses off `budget`.
pub fn unified(
    path: &str,
    expected: Option<&[u8]>,
    deployed: Option<&[u8]>,
    secrets: &Secrets,
    budget: &mut usize,
) -> String {
    if is_secret_file(path) {
        return "[left out: a file of this name may hold secrets]".to_owned();
    }
    let text = |bytes: Option<&[u8]>| -> Option<String> {
        let bytes = bytes.unwrap_or_default();
        let text = std::str::from_utf8(bytes).ok()?;
        (!text.contains('\0')).then(|| text.to_owned())
    };
    let (Some(expected), Some(deployed)) = (text(expected), text(deployed)) else {
        return "[left out: not text]".to_owned();
    };
    if [&expected, &deployed]
        .iter()
        .any(|t| t.contains("PRIVATE KEY-----"))
    {
        return "[left out: it holds a private key]".to_owned();
    }
    let diff = TextDiff::configure()
        .timeout(PATIENCE)
        .diff_lines(&expected, &deployed);
    let mut out = String::new();
    let limit = MAX_DIFF.min(*budget);
    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        let mut part = format!("{}\n", hunk.header());
        // How many more lines may go on with a value that a line before them begins.
        let mut within = 0_u8;
        for change in hunk.iter_changes() {
            let line = change.value().trim_end_matches(['\n', '\r']);
            part.push_str(&change.tag().to_string());
            let hidden = within > 0 || secrets.in_line(line);
            within = if begins_secret(line) {
                3
            } else {
                within.saturating_sub(1)
            };
            if hidden {
                part.push_str(HIDDEN);
            } else {
                part.extend(line.chars().take(MAX_LINE));
                if line.chars().nth(MAX_LINE).is_some() {
                    part.push('…');
                }
            }
            part.push('\n');
            if change.missing_newline() {
                part.push_str("\\ No newline at end of file\n");
            }
        }
        if out.len() + part.len() > limit {
            // Whole lines of what still fits.
            let room = limit - out.len();
            let end = part
                .char_indices()
                .take_while(|(at, c)| at + c.len_utf8() <= room)
                .filter(|(_, c)| *c == '\n')
                .last()
                .map_or(0, |(at, _)| at + 1);
            out.push_str(&part[..end]);
            out.push_str("[the rest of the diff is left out]\n");
            break;
        }
        out.push_str(&part);
    }
    *budget = budget.saturating_sub(out.len());
    if out.is_empty() {
        // Texts that differ in nothing but what lines end with.
        out.push_str("[left out: it differs in line ends alone]");
    }
    out
}

/// Files that hold secrets by their name.
fn is_secret_file(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let name = path.rsplit('/').next().unwrap_or(&path);
    let extension = name.rsplit_once('.').map_or("", |(_, e)| e);
    name == ".env"
        || name.starts_with(".env.")
        || matches!(
            name,
            ".npmrc"
                | ".pypirc"
                | ".netrc"
                | "_netrc"
                | ".pgpass"
                | ".htpasswd"
                | ".dockercfg"
                | ".git-credentials"
                | "credentials"
                | "credentials.json"
                | "credentials.csv"
                | "id_rsa"
                | "id_dsa"
                | "id_ecdsa"
                | "id_ed25519"
                | "service-account.json"
        )
        || matches!(
            extension,
            "env"
                | "pem"
                | "key"
                | "p12"
                | "pfx"
                | "jks"
                | "keystore"
                | "kdbx"
                | "ppk"
                | "asc"
                | "gpg"
                | "tfvars"
                | "tfstate"
        )
        || name.contains("secret")
        || name.contains("password")
}

/// Names to which a value is given that is no one's business.
const SECRET_NAMES: [&str; 17] = [
    "pass",
    "pwd",
    "dsn",
    "webhook",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "apikey",
    "api-key",
    "access_key",
    "accesskey",
    "private_key",
    "privatekey",
    "credential",
    "authorization",
    "connectionstring",
];

/// What keys and tokens of well-known services begin with, and how many more characters of theirs follow at least.
const SECRET_BEGINNINGS: [(&str, usize); 16] = [
    ("AKIA", 16),
    ("ASIA", 16),
    ("ghp_", 30),
    ("gho_", 30),
    ("ghs_", 30),
    ("github_pat_", 30),
    ("glpat-", 20),
    ("xoxb-", 10),
    ("xoxp-", 10),
    ("xoxa-", 10),
    ("sk_live_", 10),
    ("rk_live_", 10),
    ("sk-", 30),
    ("AIza", 30),
    ("eyJhbGciOi", 10),
    ("npm_", 30),
];

fn looks_secret(line: &str) -> bool {
    for (beginning, more) in SECRET_BEGINNINGS {
        for (at, _) in line.match_indices(beginning) {
            let tail = line[at + beginning.len()..]
                .bytes()
                .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
                .count();
            if tail >= more {
                return true;
            }
        }
    }
    // user:password@host in a URL.
    if let Some((_, rest)) = line.split_once("://") {
        let authority = rest
            .split(['/', ' ', '"', '\'', '?'])
            .next()
            .unwrap_or_default();
        if authority.contains('@') && authority.contains(':') {
            return true;
        }
    }
    line.contains("hooks.slack.com/")
        || looks_random(line)
        || assigned(line, |value| value.len() >= 4)
}

/// Whether a line gives a secret's name a value that only begins there: `password = (`, `credentials:`.
fn begins_secret(line: &str) -> bool {
    assigned(line, |value| {
        value.len() < 4 && !value.ends_with([';', ','])
    })
}

/// A run of characters as keys and hashes are: 32 or more with digits, and either hexadecimal or in both cases.
fn looks_random(line: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    line.split(|c| !part(c)).any(|run| {
        let has = |test: fn(&u8) -> bool| run.as_bytes().iter().any(test);
        run.len() >= 32
            && has(u8::is_ascii_digit)
            && (run.bytes().all(|b| b.is_ascii_hexdigit())
                || has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase))
    })
}

/// Whether the line assigns something to a name of a secret, and `judge` says so of the value.
fn assigned(line: &str, judge: impl Fn(&str) -> bool) -> bool {
    let lower = line.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|name| {
        lower.match_indices(name).any(|(at, _)| {
            // What follows the name, its own end and quotes passed over, is an assignment of something.
            let rest = lower[at + name.len()..]
                .trim_start_matches(|c: char| {
                    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '"' | '\'' | ']')
                })
                .trim_start();
            let value = rest
                .strip_prefix(":=")
                .or_else(|| rest.strip_prefix("=>"))
                .or_else(|| rest.strip_prefix(['=', ':']));
            value.is_some_and(|value| judge(value.trim()))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(path: &str, a: &[u8], b: &[u8]) -> String {
        unified(
            path,
            Some(a),
            Some(b),
            &Secrets::new(["s3cretvalue".to_owned()]),
            &mut 100_000,
        )
    }

    #[test]
    fn text_is_shown_as_a_unified_diff() {
        assert_eq!(
            diff("a.py", b"1\n2\n3\n", b"1\nx\n3\n"),
            "@@ -1,3 +1,3 @@\n 1\n-2\n+x\n 3\n"
        );
        assert!(diff("a.py", b"1", b"2").contains("No newline"));
        let added = unified("a", None, Some(b"x\n"), &Secrets::default(), &mut 1000);
        assert!(added.contains("+x"), "{added}");
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        for line in [
            "password = \"hunter22\"",
            "  \"apiKey\": \"abcdefgh\",",
            "const DB_PASSWORD = 'hunter22';",
            "Authorization: Bearer abcdefgh",
            "key = \"AKIAIOSFODNN7EXAMPLE\"",
            "url = 'postgres://user:pass@host/db'",
            "x = 's3cretvalue'",
            "t = ghp_0123456789abcdefghijklmnopqrstuvwxyz",
            "token := \"abcdefgh\"",
            "PGPASS=hunter3",
            "pwd = 'hunter5'",
            "DB_PASS = \"hunter6\"",
            "dsn = \"Server=x;Uid=sa;Pwd=hunter7;\"",
            "x = \"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\"",
            "t = 0123456789abcdef0123456789abcdef01234567",
            "u = 'https://hooks.slack.com/services/T0/B0/x'",
        ] {
            let out = diff("a.py", b"1\n", format!("1\n{line}\n").as_bytes());
            assert!(
                out.contains(HIDDEN) && !out.contains(line.trim()),
                "{line}: {out}"
            );
        }
        for begun in ["password = (", "k = 1\nsecret: |", "credentials:"] {
            let text = format!("1\n{begun}\n  hunter8\n");
            let out = diff("a.py", b"1\n", text.as_bytes());
            assert!(!out.contains("hunter8"), "{out}");
        }
        for line in [
            "return tokens",
            "pass",
            "def password(x):",
            "import secrets",
            "x = 1",
            "http://host/a@b",
        ] {
            let out = diff("a.py", b"1\n", format!("1\n{line}\n").as_bytes());
            assert!(out.contains(line), "{line}: {out}");
        }
        for path in [
            ".env",
            "config/.env.prod",
            "x/id_rsa",
            "a.pem",
            "my-secrets.yml",
            "a/.npmrc",
        ] {
            let out = diff(path, b"a\n", b"b\n");
            assert!(out.starts_with("[left out"), "{path}: {out}");
        }
        let key = b"-----BEGIN RSA PRIVATE KEY-----\nabc\n";
        assert!(diff("a", b"", key).starts_with("[left out"));
        let secrets = Secrets::new(["s3cretvalue".to_owned()]);
        assert!(!format!("{secrets:?}").contains("s3cret"));
    }

    #[test]
    fn binaries_and_long_diffs_are_left_out() {
        assert!(diff("a.so", b"\x7fELF\0", b"\x7fELF\0x").contains("not text"));
        assert!(diff("a.txt", b"\xff", b"a").contains("not text"));
        let long: Vec<String> = (0..20_000).map(|i| format!("line {i}\n")).collect();
        let long = long.concat();
        let out = diff("a.txt", b"", long.as_bytes());
        assert!(
            out.len() <= MAX_DIFF + 100 && out.contains("left out"),
            "{}",
            out.len()
        );
        let line = "y".repeat(100_000);
        assert!(diff("a.min.js", b"", line.as_bytes()).len() < 1000);
        let mut budget = 10;
        let out = unified(
            "a",
            Some(b"a\n"),
            Some(b"b\n"),
            &Secrets::default(),
            &mut budget,
        );
        assert!(out.contains("left out") && out.len() < 60, "{out}");
    }
}
