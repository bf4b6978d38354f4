//! What examples and benches share: lists of layers, random data, the check against the oracle, timing, results as files hold them, the machine's peak.
#![allow(dead_code)]

pub(crate) mod data;
pub(crate) mod layer;
pub(crate) mod peak;
pub(crate) mod run;
pub(crate) mod timing;
