//! SSH keys: the wire format (RFC 4251), public keys and their signatures, and who signs: a key file or an agent.

mod agent;
mod key;
mod private;
mod signer;
pub(crate) mod wire;

pub use key::{KeyError, PublicKey};
pub use signer::SigningKey;
