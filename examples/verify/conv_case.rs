//! Cases of forward convolution.

use anyhow::{Context, Result, bail, ensure};
use convgemm::reference::Oracle;
use convgemm::{Element, Isa, Padding, Params};

use crate::case::{Case, Tensor};
use crate::tally::Tally;
use crate::way::{Problem, Way, axes};

/// Checks the output's shape, then its values in each element type that there are files for.
pub(crate) fn check(case: &Case, isas: &[Isa], tally: &mut Tally) -> Result<()> {
    match case.spatial_rank {
        1 => check_rank::<1>(case, isas, tally),
        2 => check_rank::<2>(case, isas, tally),
        3 => check_rank::<3>(case, isas, tally),
        rank => bail!("spatial_rank is {rank}, it has to be 1, 2 or 3"),
    }
}

fn check_rank<const D: usize>(case: &Case, isas: &[Isa], tally: &mut Tally) -> Result<()> {
    let sizes = Sizes::<D>::of(case)?;
    sizes.check_output(&case.tensor("output")?.shape)?;
    if let Some(name) = &case.attributes.auto_pad {
        sizes.check_auto_pad(name)?;
    }
    if case.shape_only {
        return Ok(());
    }
    let inputs = Inputs::of(case)?;
    let (single, double) = (inputs.have("f32"), inputs.have("f64"));
    ensure!(single || double, "not all inputs have a file of the same element type, f32 or f64");
    if single {
        check_values::<f32, D>(case, &sizes, &inputs, isas, tally)?;
    }
    if double {
        check_values::<f64, D>(case, &sizes, &inputs, isas, tally)?;
    }
    Ok(())
}

/// The convolution of a case, without its data.
pub(crate) struct Sizes<const D: usize> {
    pub(crate) params: Params<D>,
    pub(crate) batch: usize,
    pub(crate) extent: [usize; D],
}

impl<const D: usize> Sizes<D> {
    pub(crate) fn of(case: &Case) -> Result<Self> {
        let (input, weight) = (case.tensor("input")?, case.tensor("weight")?);
        let [&[batch, in_channels, ref extent @ ..], &[out_channels, _, ..]] =
            [input.shape.as_slice(), weight.shape.as_slice()]
        else {
            bail!("input and weight have to have at least two axes");
        };
        let resolved = &case.resolved;
        let (begin, end) = resolved.pads.split_at_checked(D).context("pads are too few")?;
        let params = Params::new(in_channels, out_channels, axes(&resolved.kernel)?)
            .stride(axes(&resolved.strides)?)
            .dilation(axes(&resolved.dilations)?)
            .padding(Padding::Explicit { begin: axes(begin)?, end: axes(end)? })
            .groups(resolved.groups);
        Ok(Self { params, batch, extent: axes(extent)? })
    }

    fn check_output(&self, expected: &[usize]) -> Result<()> {
        let extent = self.params.output_extent(self.extent)?;
        let actual = [&[self.batch, self.params.out_channels], extent.as_slice()].concat();
        ensure!(actual == expected, "the output's shape is {actual:?}, expected {expected:?}");
        Ok(())
    }

    /// Padding that is worked out from its name has to be the case's.
    fn check_auto_pad(&self, name: &str) -> Result<()> {
        let padding = match name {
            "NOTSET" => return Ok(()),
            "VALID" => Padding::Valid,
            "SAME_UPPER" => Padding::SameUpper,
            "SAME_LOWER" => Padding::SameLower,
            _ => bail!("auto_pad is {name:?}"),
        };
        let named = self.params.padding(padding).geometry(self.batch, self.extent)?;
        let resolved = self.params.geometry(self.batch, self.extent)?;
        let sizes = [named, resolved].map(|geometry| (geometry.pad_begin(), geometry.output_extent()));
        let [named, resolved] = &sizes;
        ensure!(named == resolved, "{name} gives (pad_begin, output) {named:?}, expected {resolved:?}");
        Ok(())
    }
}

struct Inputs<'a> {
    x: &'a Tensor,
    weight: &'a Tensor,
    bias: Option<&'a Tensor>,
}

impl<'a> Inputs<'a> {
    fn of(case: &'a Case) -> Result<Self> {
        let (x, weight) = (case.tensor("input")?, case.tensor("weight")?);
        Ok(Self { x, weight, bias: case.find_tensor("bias") })
    }

    fn have(&self, dtype: &str) -> bool {
        [Some(self.x), Some(self.weight), self.bias].into_iter().flatten().all(|tensor| tensor.has(dtype))
    }
}

fn check_values<T: Element, const D: usize>(
    case: &Case,
    sizes: &Sizes<D>,
    inputs: &Inputs<'_>,
    isas: &[Isa],
    tally: &mut Tally,
) -> Result<()> {
    let read = |tensor| -> Result<Vec<T>> {
        Ok(case.values(tensor, T::NAME)?.into_iter().map(T::from_f64).collect())
    };
    let (x, weight) = (read(inputs.x)?, read(inputs.weight)?);
    let bias = inputs.bias.map(read).transpose()?;
    let &Sizes { params, batch, extent } = sizes;
    let mut oracle = Oracle::new(&params, batch, extent, &x, &weight)?;
    if let Some(bias) = &bias {
        oracle = oracle.bias(bias)?;
    }
    let expected = Expected::new(case, &oracle)?;
    let problem = Problem { params, batch, extent, x: &x, weight: &weight, bias: bias.as_deref() };
    problem.run_all(&Way::all(isas), tally, |way, y| {
        y.iter().enumerate().try_for_each(|(index, &y)| {
            expected.check(index, y, way).with_context(|| format!("output {}", problem.place(index)))
        })
    })
}

/// What every element of the output has to be.
struct Expected<T> {
    /// The case's values, and how far from them a result may be.
    values: Vec<f64>,
    tolerances: Vec<f64>,
    /// The bytes of the exact family.
    oracle: Vec<T>,
    /// The sums in double precision, and how far from them a result may be.
    sums: Vec<f64>,
    bounds: Vec<f64>,
}

impl<T: Element> Expected<T> {
    fn new<const D: usize>(case: &Case, oracle: &Oracle<'_, T, D>) -> Result<Self> {
        let output = case.tensor("output")?;
        let dtype = if output.has("f64") { "f64" } else { "f32" };
        let values = case.values(output, dtype)?;
        let bounds: Vec<_> = (0..values.len()).map(|index| oracle.bound_at(index)).collect();
        let rounding = if dtype == "f32" { f64::from(f32::EPSILON) / 2.0 } else { 0.0 };
        let check = &case.check;
        let tolerance = |(value, bound): (&f64, &f64)| {
            let own = check.atol + check.max_abs_err_vs_f64_reference + (check.rtol + rounding) * value.abs();
            if check.exact { 0.0 } else { own + bound }
        };
        let tolerances = values.iter().zip(&bounds).map(tolerance).collect();
        Ok(Self { tolerances, oracle: oracle.output(), sums: oracle.output_f64(), values, bounds })
    }

    fn check(&self, index: usize, y: T, way: Way) -> Result<()> {
        let (expected, tolerance) = (self.values[index], self.tolerances[index]);
        let off = (y.to_f64() - expected).abs();
        ensure!(off <= tolerance, "is {y}, expected {expected} ± {tolerance:e}");
        let oracle = self.oracle[index];
        if way.is_exact() {
            let same = y.to_f64().to_bits() == oracle.to_f64().to_bits();
            ensure!(same, "is {y:?}, the oracle's bytes are those of {oracle:?}");
        } else {
            // Twice: in f64 the sum that it is compared with is rounded, too.
            let (sum, bound) = (self.sums[index], 2.0 * self.bounds[index]);
            ensure!((y.to_f64() - sum).abs() <= bound, "is {y}, the oracle's sum is {sum} ± {bound:e}");
        }
        Ok(())
    }
}
