//! All tests that run the `larder` program, in one binary: the AWS crates are linked once.

#![allow(
    unreachable_pub,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "nothing outside this binary can reach anything in it, and a test may panic and print"
)]

mod api;
mod backup;
mod bad_input;
mod contract;
mod crash;
mod face;
mod faults;
mod fetch;
mod harness;
mod interrupt;
mod layers;
mod leak;
mod list;
mod moto;
mod options;
mod parallel;
mod proof;
mod storage;
