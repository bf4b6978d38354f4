//! Cases that others published, see `data/README.md`: every kernel of every instruction set, both element types.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::{Data, Problem, announce, assert_agrees, ways};
use convgemm::{Activation, Element, Padding, Params, Workspace};
use serde::Deserialize;

/// A `case.json`.
#[derive(Deserialize)]
struct Case {
    #[serde(skip)]
    dir: PathBuf,
    op: String,
    spatial_rank: usize,
    resolved: Resolved,
    #[serde(default)]
    shape_only: bool,
    tensors: Vec<Tensor>,
    check: Check,
}

#[derive(Deserialize)]
struct Resolved {
    groups: usize,
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    pads: Vec<isize>,
}

#[derive(Deserialize)]
struct Tensor {
    role: String,
    shape: Vec<usize>,
    files: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Check {
    exact: bool,
    #[serde(default)]
    rtol: f64,
    #[serde(default)]
    atol: f64,
}

fn axes<E: Copy, const D: usize>(list: &[E]) -> [E; D] {
    list.try_into().unwrap_or_else(|_| panic!("{} numbers for {D} axes", list.len()))
}

impl Case {
    fn read(dir: PathBuf) -> Self {
        let text = fs::read_to_string(dir.join("case.json")).unwrap();
        let case: Self = serde_json::from_str(&text).unwrap();
        Self { dir, ..case }
    }

    fn tensor(&self, role: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|tensor| tensor.role == role)
    }

    fn shape(&self, role: &str) -> &[usize] {
        &self.tensor(role).unwrap().shape
    }

    /// All values are stored in `f32`, which `f64` holds exactly.
    fn values<T: Element>(&self, role: &str) -> Option<Vec<T>> {
        let tensor = self.tensor(role)?;
        let bytes = fs::read(self.dir.join(&tensor.files["f32"])).unwrap();
        let values: Vec<_> = bytes
            .as_chunks()
            .0
            .iter()
            .map(|&bytes| T::from_f64(f64::from(f32::from_le_bytes(bytes))))
            .collect();
        assert_eq!(values.len(), tensor.shape.iter().product::<usize>(), "{role} of {}", self.dir.display());
        Some(values)
    }

    fn problem<const D: usize>(&self) -> Problem<D> {
        let (x, weight) = (self.shape("input"), self.shape("weight"));
        let (begin, end) = self.resolved.pads.split_at(D);
        let params = Params::new(x[1], weight[0], axes(&self.resolved.kernel))
            .stride(axes(&self.resolved.strides))
            .dilation(axes(&self.resolved.dilations))
            .padding(Padding::Explicit { begin: axes(begin), end: axes(end) })
            .groups(self.resolved.groups);
        Problem::new(params, x[0], axes(&x[2..]))
    }

    fn check(&self) {
        match self.spatial_rank {
            1 => self.check_rank::<1>(),
            2 => self.check_rank::<2>(),
            3 => self.check_rank::<3>(),
            rank => panic!("spatial_rank is {rank}"),
        }
    }

    fn check_rank<const D: usize>(&self) {
        let problem = self.problem::<D>();
        let extent = problem.params.output_extent(problem.extent).unwrap();
        assert_eq!(extent, self.shape("output")[2..], "{}", self.dir.display());
        if !self.shape_only {
            self.check_values::<f32, D>(&problem);
            self.check_values::<f64, D>(&problem);
        }
    }

    fn check_values<T: Element, const D: usize>(&self, problem: &Problem<D>) {
        let data = Data {
            x: self.values("input").unwrap(),
            weight: self.values("weight").unwrap(),
            bias: self.values("bias").unwrap_or_else(|| vec![T::ZERO; problem.params.out_channels]),
            residual: Vec::new(),
        };
        let expected = self.values::<T>("output").unwrap();
        let oracle = problem.oracle(&data, &Activation::Identity);
        let mut workspace = Workspace::new();
        for way in ways::<T>() {
            let y = problem.run(&data, way, &Activation::Identity, false, &mut workspace);
            assert_eq!(y.len(), expected.len(), "{}", self.dir.display());
            for (index, (y, &expected)) in y.iter().zip(&expected).enumerate() {
                let within = self.tolerance(expected.to_f64(), oracle.bound_at(index));
                assert!(
                    (y.to_f64() - expected.to_f64()).abs() <= within,
                    "{} {way:?}\nat {index}: {y}, not {expected}",
                    self.dir.display()
                );
            }
            assert_agrees(&oracle, &y, way);
        }
    }

    /// None where every sum is exact.
    fn tolerance(&self, expected: f64, bound: f64) -> f64 {
        let Check { exact, rtol, atol } = self.check;
        if exact { 0.0 } else { atol + rtol * expected.abs() + bound }
    }
}

/// Checks every case of a collection; gives how many had values and how many a shape alone.
fn check_collection(name: &str) -> (usize, usize) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let (mut with_values, mut shape_only) = (0, 0);
    for entry in fs::read_dir(dir).unwrap() {
        let case = Case::read(entry.unwrap().path());
        assert_eq!(case.op, "Conv", "{}", case.dir.display());
        case.check();
        *if case.shape_only { &mut shape_only } else { &mut with_values } += 1;
    }
    (with_values, shape_only)
}

#[test]
fn onnx_cases_on_every_isa() {
    announce("onnx_cases");
    assert_eq!(check_collection("onnx"), (14, 0));
}

#[test]
fn textbook_cases_on_every_isa() {
    announce("textbook_cases");
    assert_eq!(check_collection("d2l"), (11, 4));
}
