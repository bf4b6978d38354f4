//! What was measured, as it is kept in files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub(crate) use crate::common::run::{LayerResult, Run};

/// The name that this crate's own figures have.
pub(crate) const OWN: &str = "convgemm";

/// What the machine's caches and memory deliver, for each number of threads that was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) isa: String,
    pub(crate) bandwidths: Vec<Bandwidth>,
}

/// Of reading, all threads together, in GB/s.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bandwidth {
    pub(crate) threads: usize,
    pub(crate) memory: f64,
    pub(crate) l2: f64,
}

/// One call of this program: a run for each number of threads, ascending.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) machine: Machine,
    pub(crate) runs: Vec<Run>,
}

impl LayerResult {
    pub(crate) fn own(&self) -> f64 {
        self.gflops[OWN]
    }

    /// Floating-point operations for each byte of the tensors.
    pub(crate) fn intensity(&self) -> f64 {
        2.0 * self.macs as f64 / self.bytes as f64
    }
}

impl Run {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let run: Self = read_json(path)?;
        run.validate().with_context(|| format!("the results of {}", path.display()))?;
        Ok(run)
    }

    /// Every library of the run but this one, in alphabetical order.
    pub(crate) fn others(&self) -> BTreeSet<&str> {
        let names = self.layers.iter().flat_map(|layer| layer.gflops.keys());
        names.map(String::as_str).filter(|&name| name != OWN).collect()
    }

    fn validate(&self) -> Result<()> {
        ensure!(self.threads > 0, "threads is 0");
        ensure!(self.peak_gflops > 0.0, "peak_gflops is {}", self.peak_gflops);
        ensure!(!self.layers.is_empty(), "there are no layers");
        let mut names = BTreeSet::new();
        for layer in &self.layers {
            let name = &layer.name;
            ensure!(names.insert(name), "layer {name} is there twice");
            ensure!(layer.macs > 0 && layer.bytes > 0, "layer {name} has no macs or no bytes");
            ensure!(layer.gflops.contains_key(OWN), "layer {name} has no figure of {OWN}");
            for (library, &gflops) in &layer.gflops {
                ensure!(gflops > 0.0, "layer {name}: {library} has {gflops} GFLOP/s");
            }
        }
        Ok(())
    }
}

impl Session {
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        write_json(&folder.join(MACHINE), &self.machine)?;
        self.runs.iter().try_for_each(|run| write_json(&folder.join(run_file(run.threads)), run))
    }

    /// What `write` wrote.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let machine: Machine = read_json(&folder.join(MACHINE))?;
        let mut runs = Vec::new();
        for bandwidth in &machine.bandwidths {
            let file = run_file(bandwidth.threads);
            let run = Run::read(&folder.join(&file))?;
            let same = (&run.cpu, &run.isa, run.threads) == (&machine.cpu, &machine.isa, bandwidth.threads);
            ensure!(same, "{file} and {MACHINE} are of different machines or numbers of threads");
            runs.push(run);
        }
        ensure!(!runs.is_empty(), "{MACHINE} names no run");
        Ok(Self { machine, runs })
    }
}

const MACHINE: &str = "machine.json";

fn run_file(threads: usize) -> String {
    format!("{OWN}.t{threads}.json")
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("the JSON of {}", path.display()))
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// How far a layer's results are off, as the example `accuracy` writes it.
#[derive(Debug, Deserialize)]
pub(crate) struct Errors {
    pub(crate) in_channels: usize,
    pub(crate) kernel: usize,
    /// 0 for the exact family.
    pub(crate) tile: usize,
    pub(crate) max: f64,
    /// It belongs to the layers that differ in their input channels alone.
    pub(crate) series: bool,
}

impl Errors {
    pub(crate) fn read(path: &Path) -> Result<Vec<Self>> {
        read_json(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"cpu": "a CPU", "isa": "avx512", "threads": 1, "peak_gflops": 265.1, "layers": [
        {"name": "l", "class": "dense", "macs": 1000, "bytes": 500, "scratch_bytes": 789, "im2col_bytes": 999,
         "gflops": {"convgemm": 250.1, "torch": 125.0, "candle": 20.2}}]}"#;

    fn parse(text: &str) -> Result<Run> {
        let run: Run = serde_json::from_str(text)?;
        run.validate()?;
        Ok(run)
    }

    #[test]
    fn reads_the_format_of_other_programs() {
        let run = parse(TEXT).unwrap();
        assert_eq!(run.others().into_iter().collect::<Vec<_>>(), ["candle", "torch"]);
        assert_eq!((run.layers[0].own(), run.layers[0].intensity()), (250.1, 4.0));
        assert_eq!(parse(&serde_json::to_string(&run).unwrap()).unwrap(), run);
    }

    #[test]
    fn refuses_what_cannot_be_drawn() {
        for (from, to, problem) in [
            ("\"convgemm\": 250.1, ", "", "no figure of convgemm"),
            ("20.2", "0.0", "candle has 0 GFLOP/s"),
            ("\"threads\": 1", "\"threads\": 0", "threads is 0"),
            ("\"bytes\": 500, ", "", "missing field `bytes`"),
            ("265.1", "-1.0", "peak_gflops is -1"),
        ] {
            let error = parse(&TEXT.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn a_session_is_read_as_it_was_written_and_not_mixed() {
        let folder = std::env::temp_dir().join(format!("convgemm-report-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let run = parse(TEXT).unwrap();
        let bandwidth = Bandwidth { threads: 1, memory: 20.0, l2: 100.0 };
        let machine = Machine { cpu: run.cpu.clone(), isa: run.isa.clone(), bandwidths: vec![bandwidth] };
        Session { machine, runs: vec![run.clone()] }.write(&folder).unwrap();
        let session = Session::read(&folder).unwrap();
        assert_eq!((session.machine.bandwidths[0], &session.runs[..]), (bandwidth, &[run][..]));

        write_json(&folder.join(run_file(1)), &Run { cpu: "another".to_owned(), ..session.runs[0].clone() })
            .unwrap();
        let error = Session::read(&folder).unwrap_err().to_string();
        fs::remove_dir_all(&folder).unwrap();
        assert!(error.contains("different machines"), "{error}");
    }
}
