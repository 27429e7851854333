//! All tests that run the `larder` program, in one binary: the AWS crates are linked once.

mod face;
mod fetch;
mod harness;
