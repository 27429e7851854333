//! The whole way, into a directory among canaries. Input is an archive when it looks like one, otherwise what one is made
//! from.
#![no_main]

use larder_fuzz::{Site, archive, limits, package};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let made;
    let bytes = if input.starts_with(b"PK") {
        input
    } else {
        made = archive(input);
        &made
    };
    let site = Site::new();
    let result = site.unpack(&package(bytes), &limits(input.len() as u8));
    site.inspect(result.as_ref().ok());
});
