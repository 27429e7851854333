//! Any bytes: the header reader neither panics nor takes long, and refuses in words that are safe to show.
#![no_main]

use larder_fuzz::{limits, package};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Err(error) = larder::unpack::plan(&package(input), &limits(0)) {
        let text = error.to_string();
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
});
