//! `VERIFY.txt`: the commands that check this very bag with stock tools.

use std::fmt::Write as _;

use super::bag::{MANIFEST, SIGNATURE, TAGMANIFEST, TIMESTAMP};

/// Its path in the bag.
pub(crate) const INSTRUCTIONS: &str = "VERIFY.txt";

/// Who signs the bag.
#[derive(Debug, Clone)]
pub(crate) struct Signer {
    /// `ssh-ed25519 AAAA…`: a public key as `authorized_keys` has it, without a comment.
    pub(crate) public_key: String,
    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub(crate) fingerprint: String,
    /// SSHSIG's namespace.
    pub(crate) namespace: &'static str,
}

/// The text, for a bag that is signed by `signer` and time-stamped or not.
pub(crate) fn instructions(signer: Option<&Signer>, stamped: bool) -> String {
    let mut out = format!(
        "How to check this bag without larder\n\
         ====================================\n\
         \n\
         Run these in this directory. Nothing here needs the network.\n\
         \n\
         1. Every file is what it was when the bag was made (GNU coreutils; on macOS: shasum -a 256 -c):\n\
         \n\
         \x20   sha256sum --check --strict --quiet {TAGMANIFEST}\n\
         \x20   sha256sum --check --strict --quiet {MANIFEST}\n\
         \n\
         2. No file is missing and none was added (the Python package bagit):\n\
         \n\
         \x20   bagit.py --validate .\n\
         \n"
    );
    // Writing to a String does not fail.
    let _ = match signer {
        Some(signer) => write!(
            out,
            "3. The bag was signed with the key {}. Get the signer's public key on another way than\n\
             this bag, and compare it with this one before you trust it:\n\
             \n\
             \x20   echo 'signer namespaces=\"{}\" {}' > ../allowed_signers\n\
             \n\
             That line lies beside the bag now, and not in it. Then (OpenSSH):\n\
             \n\
             \x20   ssh-keygen -Y verify -f ../allowed_signers -I signer -n {} \\\n\
             \x20       -s {SIGNATURE} < {TAGMANIFEST}\n\
             \n\
             The signature covers {TAGMANIFEST}, that one {MANIFEST}, and that one\n\
             each file below data/.\n\n",
            signer.fingerprint, signer.namespace, signer.public_key, signer.namespace
        ),
        None => write!(
            out,
            "3. The bag is not signed. Whoever can write to it can change it and its manifests together: compare\n\
             the digest of {TAGMANIFEST} with the one that was noted when it was made:\n\
             \n\
             \x20   sha256sum {TAGMANIFEST}\n\n"
        ),
    };
    if stamped {
        let _ = write!(
            out,
            "4. A time-stamp authority saw the signature at the time that its token says. With the authority's\n\
             certificates in tsa.pem beside the bag (OpenSSL):\n\
             \n\
             \x20   openssl ts -verify -data {SIGNATURE} \\\n\
             \x20       -in {TIMESTAMP} -CAfile ../tsa.pem\n\
             \x20   openssl ts -reply -in {TIMESTAMP} -text\n\n"
        );
    }
    out.push_str(
        "What lies where is told in data/acquisition.jsonl: each call, its request id, and each file's origin.\n\
         What lies below data/quarantine/ is not what AWS states it to be. Never run or unpack it.\n",
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_fit_the_bag() {
        let signer = Signer {
            public_key: "ssh-ed25519 AAAA".to_owned(),
            fingerprint: "SHA256:abc".to_owned(),
            namespace: "larder-bag",
        };
        let text = instructions(Some(&signer), true);
        for part in [
            "-n larder-bag",
            "SHA256:abc",
            "ssh-ed25519 AAAA",
            "openssl ts -verify",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let plain = instructions(None, false);
        assert!(plain.contains("not signed") && !plain.contains("openssl"));
        assert!(plain.lines().all(|line| line.len() <= 120), "{plain}");
    }
}
