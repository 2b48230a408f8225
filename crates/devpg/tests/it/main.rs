//! Real clusters, with the PostgreSQL that is installed here. Each test has a data directory of its own.
//!
//! `support.rs` has what they share; what happens after crashes and kills is in `crash.rs`, the rest in `life.rs`.

#![expect(clippy::unwrap_used, reason = "the helpers of the tests are tests too")]

mod crash;
mod life;
mod support;
