//! Every way to compute a convolution, and computing it that way.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, Result, anyhow, bail, ensure};
use convgemm::{
    Algorithm, Conv, ConvBuilder, Element, Error, Isa, Lowering, Orientation, Params, Tuning, Workspace,
};

use crate::tally::Tally;

/// An instruction set, an algorithm and what of it is forced.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    isa: Isa,
    algorithm: Algorithm,
    tuning: Tuning,
}

impl Way {
    pub(crate) fn auto(isa: Isa) -> Self {
        Self { isa, algorithm: Algorithm::Auto, tuning: Tuning::default() }
    }

    pub(crate) fn im2col(isa: Isa) -> Self {
        Self { algorithm: Algorithm::Im2col, ..Self::auto(isa) }
    }

    /// The GEMM with each lowering in each orientation, whether it applies or not.
    fn forced(isa: Isa) -> impl Iterator<Item = Self> {
        let lowerings = [Lowering::InPlace, Lowering::Packed, Lowering::Materialised];
        lowerings.into_iter().flat_map(move |lowering| {
            [Orientation::ChannelsInLanes, Orientation::PositionsInLanes].map(|orientation| Self {
                isa,
                algorithm: Algorithm::Gemm,
                tuning: Tuning::default().lowering(lowering).orientation(orientation).parts(3),
            })
        })
    }

    /// All of them.
    pub(crate) fn all(isas: &[Isa]) -> Vec<Self> {
        isas.iter()
            .flat_map(|&isa| {
                [Self::auto(isa)].into_iter().chain(Self::forced(isa)).chain([Self::im2col(isa)])
            })
            .collect()
    }

    /// Whether the result has to have the oracle's bytes.
    pub(crate) fn is_exact(self) -> bool {
        self.isa.is_fused() && self.algorithm != Algorithm::Im2col
    }

    fn is_forced(self) -> bool {
        self.tuning != Tuning::default()
    }

    fn apply<T: Element, const D: usize>(self, builder: ConvBuilder<T, D>) -> ConvBuilder<T, D> {
        builder.isa(self.isa).algorithm(self.algorithm).tuning(self.tuning)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.isa, self.algorithm)?;
        if let (Some(lowering), Some(orientation)) = (self.tuning.lowering, self.tuning.orientation) {
            write!(f, " {lowering:?} {orientation:?}")?;
        }
        Ok(())
    }
}

/// A convolution with its data.
pub(crate) struct Problem<'a, T, const D: usize> {
    pub(crate) params: Params<D>,
    pub(crate) batch: usize,
    pub(crate) extent: [usize; D],
    pub(crate) x: &'a [T],
    pub(crate) weight: &'a [T],
    pub(crate) bias: Option<&'a [T]>,
}

impl<T: Element, const D: usize> Problem<'_, T, D> {
    /// The output; none where what is forced does not apply. Fails where an element was not written.
    pub(crate) fn run(&self, way: Way, workspace: &mut Workspace) -> Result<Option<Vec<T>>> {
        let mut builder = way.apply(Conv::with_params(self.params));
        if let Some(bias) = self.bias {
            builder = builder.bias(bias);
        }
        let conv = builder.build(self.weight)?;
        match conv.plan(self.batch, self.extent) {
            Err(Error::NotApplicable { .. }) if way.is_forced() => return Ok(None),
            plan => plan?,
        };
        // The data are finite: a NaN that is left was not written.
        let mut y = vec![T::from_f64(f64::NAN); conv.geometry(self.batch, self.extent)?.output_len()];
        conv.forward_into(self.x, self.batch, self.extent, &mut y, workspace)?;
        if let Some(index) = y.iter().position(|y| y.to_f64().is_nan()) {
            bail!("output {} is NaN", self.place(index));
        }
        Ok(Some(y))
    }

    /// Runs each of `ways` that applies and gives its output to `check`; fails with all that failed.
    pub(crate) fn run_all(
        &self,
        ways: &[Way],
        tally: &mut Tally,
        mut check: impl FnMut(Way, Vec<T>) -> Result<()>,
    ) -> Result<()> {
        let mut workspace = Workspace::new();
        let mut failures = Vec::new();
        for &way in ways {
            let checked = guarded(|| self.run(way, &mut workspace)).and_then(|y| {
                let Some(y) = y else { return Ok(()) };
                tally.runs += 1;
                check(way, y)
            });
            if let Err(error) = checked {
                failures.push(format!("{way} {}: {error:#}", T::NAME));
            }
        }
        ensure!(failures.is_empty(), failures.join("\n"));
        Ok(())
    }

    /// An element of the output in words: its index and its coordinates [image, channel, spatial…].
    pub(crate) fn place(&self, index: usize) -> String {
        let Ok(extent) = self.params.output_extent(self.extent) else { return format!("[{index}]") };
        let mut rest = index;
        let mut coordinates: Vec<usize> = Vec::with_capacity(D + 2);
        for &size in extent.iter().rev().chain(&[self.params.out_channels]) {
            coordinates.push(rest % size);
            rest /= size;
        }
        coordinates.push(rest);
        coordinates.reverse();
        format!("[{index}] at {coordinates:?}")
    }
}

/// A panic is one more failure and does not end the run.
pub(crate) fn guarded<R>(check: impl FnOnce() -> Result<R>) -> Result<R> {
    catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|_| Err(anyhow!("panicked")))
}

/// The elements of `list` as an array over the `D` axes.
pub(crate) fn axes<E: Copy, const D: usize>(list: &[E]) -> Result<[E; D]> {
    list.try_into().ok().with_context(|| format!("{} numbers for {D} axes", list.len()))
}
