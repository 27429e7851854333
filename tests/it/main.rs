//! All tests that run the `larder` program, in one binary: the AWS crates are linked once.

#![allow(
    unreachable_pub,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "nothing outside this binary can reach anything in it, and a test may panic and print"
)]

mod bad_input;
mod contract;
mod face;
mod fetch;
mod harness;
mod layers;
mod options;
mod proof;
mod storage;
