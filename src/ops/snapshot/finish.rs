//! From all that was had to a sealed bag: the log's end, manifests, statement, signature and time stamp.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::{Snapshot, SnapshotOptions, Taken};
use crate::digest::Sha256Digest;
use crate::error::Result;
use crate::evidence::bag::{BAG_INFO, Bag, MANIFEST, Oxum, SIGNATURE, TIMESTAMP, bag_info};
use crate::evidence::dsse::{Envelope, IN_TOTO};
use crate::evidence::log::{Log, now};
use crate::evidence::signature::{NAMESPACE, sign};
use crate::evidence::ssh::SigningKey;
use crate::evidence::statement::{Circumstances, ENVELOPE, STATEMENT, statement};
use crate::evidence::timestamp::Request;
use crate::evidence::{INSTRUCTIONS, Signer, instructions};
use crate::record::Tool;
use crate::task::blocking;

/// Seals the bag. A signature or time stamp that cannot be had leaves a bag without, and the reason in the result:
/// what was taken may not be there to be taken again.
pub(super) async fn seal(
    options: &SnapshotOptions,
    bag: &Bag,
    log: &Log,
    taken: Taken,
    begun: Instant,
) -> Result<Snapshot> {
    let summary = summary(&taken, log, begun);
    log.note("end", summary.clone());
    log.end(bag)?;
    let (oxum, manifest) = bag.close_payload()?;

    let text = statement(
        (MANIFEST, manifest),
        &taken.acquired,
        &Circumstances {
            command: options.command.clone(),
            environment: environment(options, &taken),
            byproducts: summary,
        },
    );
    bag.tag(STATEMENT, &text)?;
    let (mut signer, mut unsealed) = (options.signer.clone(), None);
    if let Some(key) = &signer {
        match envelope(key, text).await {
            Ok(json) => bag.tag(ENVELOPE, &json)?,
            Err(e) => {
                unsealed = Some(e.hint("the bag is kept, unsigned"));
                signer = None;
            }
        }
    }
    let stamped = signer.is_some() && options.tsa_url.is_some();
    let shown = signer.as_ref().map(|key| Signer {
        public_key: key.public_key().to_line(),
        fingerprint: key.public_key().fingerprint(),
        namespace: NAMESPACE,
    });
    bag.tag(
        INSTRUCTIONS,
        instructions(shown.as_ref(), stamped).as_bytes(),
    )?;
    bag.tag(BAG_INFO, &info(options, &taken, oxum))?;
    let sealed = bag.seal()?;
    let tagmanifest = Sha256Digest::of(&sealed);

    let mut signature = None;
    if let Some(key) = signer.clone() {
        match blocking(move || sign(&key, NAMESPACE, &sealed)).await {
            Ok(armor) => {
                bag.loose(SIGNATURE, armor.as_bytes())?;
                signature = Some(armor);
            }
            Err(e) => unsealed = Some(e.hint("the bag is kept, unsigned")),
        }
    }
    let mut has_stamp = false;
    if let (Some(armor), Some(url)) = (&signature, &options.tsa_url) {
        let request = Request::new(Sha256Digest::of(armor.as_bytes()));
        match request.send(&taken.http, url).await {
            Ok(stamp) => {
                bag.loose(TIMESTAMP, &stamp)?;
                has_stamp = true;
            }
            Err(e) => unsealed = Some(e.hint("the bag is kept, signed and without a time stamp")),
        }
    }
    Ok(Snapshot {
        bag: options.bag.clone(),
        tagmanifest,
        signed_by: signature.and(shown).map(|signer| signer.fingerprint),
        stamped: has_stamp,
        oxum,
        caller: taken.caller,
        functions: taken.functions,
        layers: taken.layers,
        bytes_downloaded: taken.bytes,
        elapsed: begun.elapsed(),
        unsealed,
    })
}

async fn envelope(key: &Arc<SigningKey>, payload: Vec<u8>) -> Result<Vec<u8>> {
    let key = Arc::clone(key);
    blocking(move || {
        let envelope = Envelope::sign(IN_TOTO, &payload, &key)?;
        // These types hold nothing that JSON cannot say.
        let mut json = serde_json::to_vec_pretty(&envelope).unwrap_or_default();
        json.push(b'\n');
        Ok(json)
    })
    .await
}

/// How many ended how, and how the clocks compared.
fn summary(taken: &Taken, log: &Log, begun: Instant) -> Value {
    let mut functions: BTreeMap<&str, u64> = BTreeMap::new();
    for function in &taken.functions {
        *functions.entry(function.status.name()).or_default() += 1;
    }
    let mut layers: BTreeMap<&str, u64> = BTreeMap::new();
    for layer in &taken.layers {
        *layers.entry(layer.status.name()).or_default() += 1;
    }
    let versions: usize = taken.functions.iter().map(|f| f.versions.len()).sum();
    let mismatches = taken.functions.iter().filter(|f| f.mismatch).count()
        + taken.layers.iter().filter(|l| l.mismatch).count();
    let changed = taken.functions.iter().filter(|f| f.changed).count();
    json!({"counts": functions, "versions": versions, "layers": layers, "mismatches": mismatches, "changed": changed,
        "bytes_downloaded": taken.bytes, "calls": log.calls(), "clock": log.clock(), "seconds": begun.elapsed().as_secs_f64(),
        "triggers": "partial"})
}

/// Who, when and with what.
fn environment(options: &SnapshotOptions, taken: &Taken) -> Value {
    let tool = Tool::this();
    let caller = taken.caller.as_ref();
    json!({
        "operator": options.operator,
        "case_id": options.case_id,
        "caller": caller.map(|c| json!({"account": c.account, "arn": c.arn, "user_id": c.user_id})),
        "tool": {"name": tool.name, "version": tool.version, "sha256": taken.tool.map(|d| d.hex())},
        "platform": {"os": std::env::consts::OS, "arch": std::env::consts::ARCH},
        "run": taken.run,
        "started_at": taken.started_at,
        "finished_at": now(),
    })
}

fn info(options: &SnapshotOptions, taken: &Taken, oxum: Oxum) -> Vec<u8> {
    let agent = format!("larder {}", env!("CARGO_PKG_VERSION"));
    let (date, oxum) = (now(), oxum.to_string());
    let description = format!(
        "Snapshot of {} AWS Lambda function(s): packages as served, configurations and policies; see VERIFY.txt",
        taken.functions.len()
    );
    let caller = taken.caller.as_ref().map(|caller| caller.arn.clone());
    let mut fields = vec![
        ("Bagging-Date", date.get(..10).unwrap_or(&date)),
        ("Bag-Software-Agent", agent.as_str()),
        ("Payload-Oxum", oxum.as_str()),
        ("External-Description", description.as_str()),
    ];
    if let Some(operator) = &options.operator {
        fields.push(("Contact-Name", operator));
    }
    if let Some(case) = &options.case_id {
        fields.push(("External-Identifier", case));
    }
    if let Some(caller) = &caller {
        fields.push(("Larder-Caller-Arn", caller));
    }
    fields.push(("Larder-Run", &taken.run));
    fields.push(("Larder-Started-At", &taken.started_at));
    fields.push(("Larder-Finished-At", &date));
    bag_info(&fields)
}
