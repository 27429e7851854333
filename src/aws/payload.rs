//! Signing a request whose body is not in memory.

use aws_runtime::auth::PayloadSigningOverride;
use aws_smithy_types::config_bag::ConfigBag;

/// Has a request signed for a body with this SHA-256, in lower-case hex (AWS Signature Version 4, "Create a canonical
/// request").
pub(crate) fn sign_with_digest(config: &mut ConfigBag, sha256: &str) {
    let digest = PayloadSigningOverride::Precomputed(sha256.to_owned());
    config.interceptor_state().store_put(digest);
}
