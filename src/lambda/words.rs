//! The words of a failure: the SDK's chain of causes and a server's message, made fit to be shown.

use std::error::Error as StdError;

/// How many characters of a server's words are shown.
const MAX_WORDS: usize = 500;

/// What the SDK's layers say of themselves: only what they hold tells a user anything.
const SHELLS: [&str; 6] = [
    "dispatch failure",
    "service error",
    "response error",
    "unhandled error",
    "io error",
    "an error occurred while loading credentials",
];

/// What the SDK says of a source of credentials that nobody has set up.
const NOT_ENABLED: &str = "the credential provider was not enabled";

/// An error and its causes as one line. Neighbours that repeat each other are said once.
pub(super) fn causes(error: &dyn StdError) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(e) = next {
        let text = e.to_string();
        let said = texts.last().is_some_and(|last| last.contains(&text));
        // The last word is kept whatever it is.
        if !said && (e.source().is_none() || !SHELLS.contains(&text.as_str())) {
            texts.push(text);
        }
        next = e.source();
    }
    let text = texts.join(": ").replace(NOT_ENABLED, "not set up");
    shortened(without_signed_material(&text))
}

/// A server's words, which can be as long as its answer, cut to what a message can hold.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_WORDS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A message about a signature can quote the request that was signed, session token and all.
pub(super) fn without_signed_material(message: &str) -> &str {
    [
        "The Canonical String",
        "The String-to-Sign",
        "Canonical String",
    ]
    .iter()
    .filter_map(|marker| message.find(marker))
    .min()
    .map_or(message, |at| message[..at].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};

    #[test]
    fn layers_that_say_nothing_are_left_out() {
        let wrapped =
            |outer: &str, inner: Error| Error::new(ErrorKind::Network, outer).because(inner);
        let refused = Error::new(ErrorKind::Network, "connection refused");
        let error = wrapped("dispatch failure", wrapped("io error", refused));
        assert_eq!(causes(&error), "connection refused");
        let alone = Error::new(ErrorKind::Network, "dispatch failure");
        assert_eq!(causes(&alone), "dispatch failure");
        let twice = wrapped(
            "no DNS: no such host",
            Error::new(ErrorKind::Network, "no such host"),
        );
        assert_eq!(causes(&twice), "no DNS: no such host");
    }
}
