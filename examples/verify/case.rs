//! Case directories: finding them, reading them, and which operations are checked.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use convgemm::reference::Expected;
use convgemm::{Element, Isa};
use serde::Deserialize;

use crate::tally::{Outcome, Tally};
use crate::{conv_case, gradient_case, transpose_case};

/// A directory's `case.json`.
#[derive(Deserialize)]
pub(crate) struct Case {
    #[serde(skip)]
    dir: PathBuf,
    op: String,
    pub(crate) spatial_rank: usize,
    #[serde(default)]
    pub(crate) attributes: Attributes,
    pub(crate) resolved: Resolved,
    #[serde(default)]
    pub(crate) shape_only: bool,
    tensors: Vec<Tensor>,
    pub(crate) check: Check,
}

/// What the ONNX node says, where the case comes from one.
#[derive(Deserialize, Default)]
pub(crate) struct Attributes {
    pub(crate) auto_pad: Option<String>,
}

/// The parameters with all defaults worked out.
#[derive(Deserialize)]
pub(crate) struct Resolved {
    pub(crate) groups: usize,
    pub(crate) kernel: Vec<usize>,
    pub(crate) strides: Vec<usize>,
    pub(crate) dilations: Vec<usize>,
    /// All axes' begin, then all axes' end.
    pub(crate) pads: Vec<isize>,
    /// Of a transposed convolution.
    #[serde(default)]
    pub(crate) output_padding: Vec<usize>,
}

/// What the expected values allow.
#[derive(Deserialize)]
pub(crate) struct Check {
    /// Integers: every order of summation gives the same.
    pub(crate) exact: bool,
    #[serde(default)]
    pub(crate) rtol: f64,
    #[serde(default)]
    pub(crate) atol: f64,
    /// How wrong the expected values themselves were seen to be.
    #[serde(default)]
    pub(crate) max_abs_err_vs_f64_reference: f64,
}

/// One input or expected output.
#[derive(Deserialize)]
pub(crate) struct Tensor {
    role: String,
    pub(crate) shape: Vec<usize>,
    /// File names by element type.
    files: BTreeMap<String, String>,
}

/// The directories with a `case.json` at or below `dir`, sorted.
pub(crate) fn find(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    collect(dir, &mut found)?;
    ensure!(!found.is_empty(), "there is no case.json in it or below it");
    found.sort();
    Ok(found)
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if dir.join("case.json").exists() {
        found.push(dir.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, found)?;
        }
    }
    Ok(())
}

/// Checks the case in `dir`.
pub(crate) fn check(dir: &Path, isas: &[Isa], tally: &mut Tally) -> Result<Outcome> {
    let case = Case::read(dir)?;
    match case.op.as_str() {
        "Conv" => {
            conv_case::check(&case, isas, tally)?;
            gradient_case::check(&case, isas, tally)?;
            Ok(Outcome::Passed)
        }
        "ConvTranspose" => {
            transpose_case::check(&case, isas, tally)?;
            Ok(Outcome::Passed)
        }
        op @ ("ConvInteger" | "QLinearConv") => Ok(Outcome::Skipped(format!("{op} (integers)"))),
        op => bail!("op is {op:?}, which is not a convolution"),
    }
}

impl Case {
    fn read(dir: &Path) -> Result<Self> {
        let text = fs::read_to_string(dir.join("case.json")).context("cannot read case.json")?;
        let case: Self = serde_json::from_str(&text).context("case.json is not a case")?;
        Ok(Self { dir: dir.to_owned(), ..case })
    }

    /// The tensor with this role, where there is one.
    pub(crate) fn find_tensor(&self, role: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|tensor| tensor.role == role)
    }

    /// The tensor with this role.
    pub(crate) fn tensor(&self, role: &str) -> Result<&Tensor> {
        self.find_tensor(role).with_context(|| format!("there is no tensor with the role {role:?}"))
    }

    /// The values of the tensor with this role.
    pub(crate) fn data<T: Element>(&self, role: &str) -> Result<Vec<T>> {
        Ok(self.values(self.tensor(role)?, T::NAME)?.into_iter().map(T::from_f64).collect())
    }

    /// Whether all tensors with these roles have a file of this element type.
    pub(crate) fn has(&self, roles: &[&str], dtype: &str) -> bool {
        roles.iter().all(|role| self.find_tensor(role).is_some_and(|tensor| tensor.has(dtype)))
    }

    /// Checks a result against the tensor with this role, the error bound and, on instruction sets with fused multiply-add, the oracle's
    /// bytes.
    pub(crate) fn compare<T: Element>(
        &self,
        role: &str,
        isa: Isa,
        result: &[T],
        oracle: impl Fn(usize) -> (T, Expected),
    ) -> Result<()> {
        let tensor = self.tensor(role)?;
        let dtype = if tensor.has("f64") { "f64" } else { "f32" };
        let values = self.values(tensor, dtype)?;
        ensure!(
            values.len() == result.len(),
            "{role} has {} values, expected {}",
            result.len(),
            values.len()
        );
        let rounding = if dtype == "f32" { f64::from(f32::EPSILON) / 2.0 } else { 0.0 };
        for (i, (&y, &value)) in result.iter().zip(&values).enumerate() {
            let (exact, Expected { value: sum, bound, .. }) = oracle(i);
            let check = &self.check;
            let own = check.atol + check.max_abs_err_vs_f64_reference + (check.rtol + rounding) * value.abs();
            let tolerance = if check.exact { 0.0 } else { own + 2.0 * bound };
            let off = (y.to_f64() - value).abs();
            ensure!(off <= tolerance, "{role} [{i}] is {y} on {isa}, expected {value} ± {tolerance:e}");
            let same = y.to_f64().to_bits() == exact.to_f64().to_bits();
            ensure!(
                !isa.is_fused() || same,
                "{role} [{i}] is {y:?} on {isa}, the oracle's bytes are those of {exact:?}"
            );
            let near = (y.to_f64() - sum).abs() <= 2.0 * bound;
            ensure!(near, "{role} [{i}] is {y} on {isa}, the oracle's sum is {sum} ± {bound:e}");
        }
        Ok(())
    }

    /// A tensor's values in the file of this element type, `f32` or `f64`; exact.
    pub(crate) fn values(&self, tensor: &Tensor, dtype: &str) -> Result<Vec<f64>> {
        let name = tensor.files.get(dtype).with_context(|| format!("{} has no {dtype} file", tensor.role))?;
        let bytes = fs::read(self.dir.join(name)).with_context(|| format!("cannot read {name}"))?;
        let values = decode(&bytes, dtype).with_context(|| format!("cannot read {name}"))?;
        let len = tensor.len()?;
        ensure!(values.len() == len, "{name} has {} values, its shape has {len}", values.len());
        Ok(values)
    }
}

impl Tensor {
    /// Whether there is a file of this element type.
    pub(crate) fn has(&self, dtype: &str) -> bool {
        self.files.contains_key(dtype)
    }

    fn len(&self) -> Result<usize> {
        let len = self.shape.iter().try_fold(1, |len: usize, &extent| len.checked_mul(extent));
        len.with_context(|| format!("{} has an impossible shape", self.role))
    }
}

/// Little-endian numbers without a header.
fn decode(bytes: &[u8], dtype: &str) -> Result<Vec<f64>> {
    let (singles, rest) = bytes.as_chunks::<4>();
    let (doubles, double_rest) = bytes.as_chunks::<8>();
    match dtype {
        "f32" if rest.is_empty() => Ok(singles.iter().map(|&b| f32::from_le_bytes(b).into()).collect()),
        "f64" if double_rest.is_empty() => Ok(doubles.iter().map(|&b| f64::from_le_bytes(b)).collect()),
        _ => bail!("{} bytes are not a number of {dtype} values", bytes.len()),
    }
}
