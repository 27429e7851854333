//! Time stamps (RFC 3161): what an authority says it saw, and when.
