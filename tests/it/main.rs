//! All tests that run the `larder` program, in one binary: the AWS crates are linked once.

mod fetch;
mod harness;
