//! The acquisition as an in-toto Statement v1 with a link predicate v0.3: what was taken from where, by whom, with what.
//!
//! <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>,
//! <https://github.com/in-toto/attestation/blob/main/spec/predicates/link.md>

use serde_json::{Value, json};

use crate::digest::Sha256Digest;

/// Its path in the bag.
pub const STATEMENT: &str = "attestations/acquisition.json";
/// The same, signed in a DSSE envelope.
pub const ENVELOPE: &str = "attestations/acquisition.dsse.json";

/// Its `_type`.
pub(crate) const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// Its `predicateType`.
pub(crate) const PREDICATE_TYPE: &str = "https://in-toto.io/attestation/link/v0.3";

/// A package in the bag: what was stated about it, and what it is.
#[derive(Debug, Clone)]
pub struct Acquired {
    /// The function version or layer version.
    pub arn: String,
    /// Where it lies in the bag.
    pub path: String,
    /// Computed over what lies there.
    pub sha256: Sha256Digest,
    /// What AWS states; None where it states nothing that could be read.
    pub claimed: Option<Sha256Digest>,
}

/// What the statement says beside the packages.
#[derive(Debug)]
pub struct Circumstances {
    /// The command line, with what is secret masked.
    pub command: Vec<String>,
    /// Who, when and how: free-form fields of the link predicate.
    pub environment: Value,
    /// How it ended.
    pub byproducts: Value,
}

/// The statement as it is written: pretty JSON with a newline at the end.
pub fn statement(
    manifest: (&str, Sha256Digest),
    acquired: &[Acquired],
    circumstances: &Circumstances,
) -> Vec<u8> {
    let subject = |name: &str, sha256: Sha256Digest| json!({"name": name, "digest": {"sha256": sha256.hex()}});
    // The manifest stands for every payload file, the log among them; packages are named by themselves as well.
    let subjects: Vec<Value> = std::iter::once(subject(manifest.0, manifest.1))
        .chain(acquired.iter().map(|a| subject(&a.path, a.sha256)))
        .collect();
    let materials: Vec<Value> = acquired
        .iter()
        .filter_map(|a| Some(json!({"uri": a.arn, "digest": {"sha256": a.claimed?.hex()}})))
        .collect();
    let statement = json!({
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "name": "acquisition",
            "command": circumstances.command,
            "materials": materials,
            "byproducts": circumstances.byproducts,
            "environment": circumstances.environment,
        },
    });
    // JSON values always serialize.
    let mut text = serde_json::to_vec_pretty(&statement).unwrap_or_default();
    text.push(b'\n');
    text
}

/// A command line with what may be secret masked: the value of `--external-id`, and user, password, query and fragment of
/// every URL.
pub fn masked_command(args: &[String]) -> Vec<String> {
    let mut out = Vec::with_capacity(args.len());
    let mut mask_next = false;
    for arg in args {
        if std::mem::take(&mut mask_next) {
            out.push(MASK.to_owned());
        } else if arg == SECRET_OPTION {
            mask_next = true;
            out.push(arg.clone());
        } else if let Some((option, _)) = arg
            .split_once('=')
            .filter(|(option, _)| *option == SECRET_OPTION)
        {
            out.push(format!("{option}={MASK}"));
        } else {
            out.push(masked_url(arg));
        }
    }
    out
}

const SECRET_OPTION: &str = "--external-id";
const MASK: &str = "***";

fn masked_url(arg: &str) -> String {
    let (option, text) = match arg.split_once('=') {
        Some((option, value)) if option.starts_with("--") => (Some(option), value),
        _ => (None, arg),
    };
    if !text.contains("://") {
        return arg.to_owned();
    }
    let bare = match url::Url::parse(text) {
        Ok(url) => crate::presigned::redacted(&url),
        Err(_) => MASK.to_owned(),
    };
    match option {
        Some(option) => format!("{option}={bare}"),
        None => bare,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_the_command_line_are_masked() {
        let args = [
            "larder",
            "snapshot",
            "f",
            "--external-id",
            "s3cret",
            "--external-id=s3cret",
            "--tsa-url",
            "https://u:s3cret@tsa.example/x?k=s3cret#s3cret",
            "--endpoint-url=http://a:s3cret@h:1/?s3cret",
            "http://s3cret@[",
            "--bag",
            "out=1",
        ];
        let args: Vec<String> = args.into_iter().map(ToOwned::to_owned).collect();
        let masked = masked_command(&args);
        assert!(!masked.join(" ").contains("s3cret"), "{masked:?}");
        assert_eq!(masked[7], "https://tsa.example/x");
        assert_eq!(masked[8], "--endpoint-url=http://h:1/");
        assert_eq!(&masked[10..], ["--bag", "out=1"]);
    }

    #[test]
    fn the_statement_names_the_manifest_and_each_package() {
        let digest = Sha256Digest::of(b"a");
        let acquired = [Acquired {
            arn: "arn:f:1".to_owned(),
            path: "data/f/package.zip".to_owned(),
            sha256: digest,
            claimed: Some(digest),
        }];
        let circumstances = Circumstances {
            command: vec!["larder".to_owned()],
            environment: json!({"operator": "me"}),
            byproducts: json!({"saved": 1}),
        };
        let json: Value =
            serde_json::from_slice(&statement(("m", digest), &acquired, &circumstances)).unwrap();
        assert_eq!(json["_type"], STATEMENT_TYPE);
        assert_eq!(json["predicateType"], PREDICATE_TYPE);
        assert_eq!(json["subject"][0]["name"], "m");
        assert_eq!(json["subject"][1]["digest"]["sha256"], digest.hex());
        assert_eq!(json["predicate"]["materials"][0]["uri"], "arn:f:1");
        assert_eq!(json["predicate"]["environment"]["operator"], "me");
    }
}
