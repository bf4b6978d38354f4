//! What examples and benches share: lists of layers, random data, the check against the oracle, timing, the machine's peak.
#![allow(dead_code)]

pub(crate) mod data;
pub(crate) mod layer;
pub(crate) mod peak;
pub(crate) mod timing;
