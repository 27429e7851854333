//! All tests that run the `larder` program, in one binary: the AWS crates are linked once.

#![expect(
    unreachable_pub,
    reason = "nothing outside this binary can reach anything in it"
)]

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
mod options;
mod proof;
mod storage;
