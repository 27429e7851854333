//! All tests that run the `larder` program, in one binary: the AWS crates are linked once.

#![allow(
    unreachable_pub,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "nothing outside this binary can reach anything in it, and a test may panic and print"
)]

mod action;
mod api;
mod backup;
mod backup_images;
mod bad_input;
mod check;
mod contract;
mod crash;
mod custody;
mod expectations;
mod face;
mod faults;
mod fetch;
mod harness;
mod images;
mod interrupt;
mod layers;
mod leak;
mod list;
mod lock;
mod moto;
mod options;
mod pacing;
mod parallel;
mod proof;
mod registry;
mod reports;
mod restore;
mod signature;
mod snapshot;
mod storage;
mod store;
mod tsa;
mod verify;
