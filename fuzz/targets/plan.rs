//! Archives that are nearly right: a plan is made or refused, and a plan keeps the limits.
#![no_main]

use larder_fuzz::{CEILING, archive, limits, package};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let bytes = archive(input);
    match larder::unpack::plan(&package(&bytes), &limits(input.len() as u8)) {
        Ok(plan) => assert!(plan.bytes() <= CEILING),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }
});
