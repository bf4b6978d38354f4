//! Counting what passed, failed and was skipped.

use std::collections::BTreeMap;
use std::fmt;

/// What checking one case or shape came to; an error is a failure.
pub(crate) enum Outcome {
    Passed,
    /// Why.
    Skipped(String),
}

/// Cases and shapes counted, each with all its instruction sets and algorithms as one.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// Convolutions computed and compared.
    pub(crate) runs: usize,
    skipped: BTreeMap<String, usize>,
}

impl Tally {
    /// Counts something that was not checked.
    pub(crate) fn skip(&mut self, why: String) {
        *self.skipped.entry(why).or_default() += 1;
    }

    /// Counts and reports a failure.
    pub(crate) fn fail(&mut self, name: &str, error: &anyhow::Error) {
        self.failed += 1;
        // Causes in lines of their own, without a backtrace.
        println!("FAILED {name}");
        for cause in error.chain() {
            println!("    {}", cause.to_string().replace('\n', "\n    "));
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skipped: usize = self.skipped.values().sum();
        write!(f, "{} passed, {} failed, {skipped} skipped", self.passed, self.failed)?;
        if skipped > 0 {
            let counts: Vec<_> = self.skipped.iter().map(|(why, count)| format!("{why}: {count}")).collect();
            write!(f, " ({})", counts.join(", "))?;
        }
        Ok(())
    }
}
