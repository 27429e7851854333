//! All tests that run the `larder` program, in one binary: the AWS crates are linked once.

mod bad_input;
mod fetch;
mod harness;
mod options;
mod proof;
