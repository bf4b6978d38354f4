//! What examples and benches share: layers and which of them to run, random data, the check against the oracle, timing, results as files hold them, the machine's peak.
#![allow(dead_code)]

pub(crate) mod chosen;
pub(crate) mod data;
pub(crate) mod descriptor;
pub(crate) mod layer;
pub(crate) mod peak;
pub(crate) mod run;
pub(crate) mod timing;
