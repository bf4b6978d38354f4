//! The plan of an input gradient: of its phases, and of the blocks that are computed of all of them together.

use super::{Accuracy, Algorithm, Given, Orientation, PART_COST, Plan, Tuning, parts};
use crate::caches::LINE;
use crate::element::Element;
use crate::error::Result;
use crate::geometry::{Axis, Shape};
use crate::kernel::KernelSet;
use crate::pack::buffer::lines_for;
use crate::pack::weights::Read;
use crate::phases::{Phase, phases};

/// What the phases of a block may fill: they are read again at once, to be put in place.
const BLOCK_BYTES: usize = 256 << 10;

/// Channels of a block of the GEMM's, at most: a few tiles.
const BLOCK_CHANNELS: usize = 64;

/// Fewest blocks of work that is worth sharing.
const FEWEST_BLOCKS: usize = 16;

/// What is asked of an input gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Manner {
    /// It is added to what is there.
    pub(crate) add: bool,
    pub(crate) accuracy: Accuracy,
}

/// How an input gradient is computed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum InputPlan {
    /// At a stride of 1: as one convolution.
    Whole(Box<Plan>),
    Phased(Box<Phased>),
}

impl InputPlan {
    /// For a convolution of `shape`, of which the input has elements.
    ///
    /// # Errors
    /// Those of [`Plan::new`].
    pub(crate) fn new<T: Element>(shape: Shape, set: &'static KernelSet<T>, manner: Manner) -> Result<Self> {
        if shape.axes.iter().any(|axis| axis.stride > 1) {
            return Ok(Self::Phased(Box::new(Phased::new(shape, phases(&shape), set)?)));
        }
        let (_, whole) = phases(&shape).next().expect("an input with elements");
        Self::whole(whole.shape, set, manner)
    }

    /// What is read of the weights of the phase `index`; none where nothing is.
    pub(crate) fn reads(&self, index: usize) -> Option<Read> {
        let plan = match self {
            Self::Whole(plan) => &**plan,
            Self::Phased(phased) => &phased.phases.iter().find(|planned| planned.weights == index)?.plan,
        };
        Some(if plan.algorithm() == Algorithm::Direct { Read::Given } else { Read::Panels })
    }

    /// A convolution of `shape`.
    ///
    /// # Errors
    /// Those of [`Plan::new`].
    pub(crate) fn whole<T: Element>(
        shape: Shape,
        set: &'static KernelSet<T>,
        manner: Manner,
    ) -> Result<Self> {
        let Manner { add, accuracy } = manner;
        let plan = Plan::choose(shape, set, (Algorithm::Auto, accuracy), Tuning::default(), Given::EachCall)?;
        if !add || plan.winograd.is_some() || plan.blocking.is_one(shape.in_channels, shape.kernel()) {
            return Ok(Self::Whole(Box::new(plan)));
        }
        // Blocks of k go on from what the output holds, which must not be lost: so it is computed elsewhere, as the only phase.
        let axes = shape.axes.map(|axis| Axis { input: axis.output, stride: 1, ..axis });
        let gradient = Shape { in_channels: shape.out_channels, axes, ..shape };
        let phase = (0, Phase { first: [0; 3], shape });
        Ok(Self::Phased(Box::new(Phased::new(gradient, [phase], set)?)))
    }
}

/// A phase and how it is computed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Planned {
    /// The index of its weights.
    pub(crate) weights: usize,
    pub(crate) phase: Phase,
    pub(crate) plan: Plan,
}

/// A part of the input gradient: so many channels, and rows and columns of each phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) channels: usize,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

/// What an input gradient of a convolution at a stride over 1 will run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Phased {
    /// The convolution.
    pub(crate) shape: Shape,
    /// Those that the image has elements of.
    pub(crate) phases: Vec<Planned>,
    /// Rows of planes that the channels of a block are of; 1 where they are counted through all groups.
    pub(crate) groups: usize,
    pub(crate) channels: usize,
    /// Depths, rows and columns of the largest phase.
    pub(crate) extents: [usize; 3],
    pub(crate) block: Block,
}

impl Phased {
    /// For `phases` of the input of a convolution of `shape`.
    ///
    /// # Errors
    /// Those of [`Plan::new`].
    fn new<T: Element>(
        shape: Shape,
        phases: impl IntoIterator<Item = (usize, Phase)>,
        set: &'static KernelSet<T>,
    ) -> Result<Self> {
        let extents = shape.axes.map(|axis| axis.input.div_ceil(axis.stride).max(1));
        let phases: Vec<_> = phases.into_iter().collect();
        let width: usize = phases.iter().map(|(_, phase)| phase.shape.axes[2].output).sum();
        let row = width.max(1).saturating_mul(size_of::<T>());
        // Of longer rows a part is computed at a time, which direct tiles can't do.
        let algorithm = if row > BLOCK_BYTES { Algorithm::Gemm } else { Algorithm::Auto };
        let tuning = Tuning { in_blocks: true, ..Tuning::default() };
        let planned = |(weights, phase): (usize, Phase)| {
            Ok(Planned { weights, phase, plan: Plan::new(phase.shape, set, algorithm, tuning)? })
        };
        let phases = phases.into_iter().map(planned).collect::<Result<Vec<_>>>()?;
        let direct = phases.iter().all(|planned| planned.plan.algorithm() == Algorithm::Direct);
        let (groups, channels) =
            if direct { (1, shape.groups * shape.in_channels) } else { (shape.groups, shape.in_channels) };
        let in_lanes = |planned: &Planned| planned.plan.orientation() == Some(Orientation::ChannelsInLanes);
        let step = if direct && phases.iter().any(in_lanes) { set.lanes } else { 1 };
        let mut plan = Self {
            shape,
            phases,
            groups,
            channels,
            extents,
            block: Block { channels: 1, rows: 1, cols: extents[2] },
        };
        plan.block = if direct {
            // Direct tiles take whole planes, and vectors of them where channels are in the lanes.
            let plane = row.saturating_mul(extents[1]);
            let channels = (BLOCK_BYTES / plane.max(1) / step * step).max(step).min(channels);
            Block { channels, rows: (BLOCK_BYTES / (channels * row)).clamp(1, extents[1]), cols: extents[2] }
        } else {
            // Those of the GEMM begin with a vector of channels; with fewer than two a tile waits for its loads.
            let most = (BLOCK_BYTES / row / set.lanes * set.lanes).clamp(2 * set.lanes, BLOCK_CHANNELS);
            let channels = most.min(channels);
            let bytes = row.saturating_mul(channels);
            let cols = (extents[2] / bytes.div_ceil(BLOCK_BYTES)).max(1);
            Block { channels, rows: (BLOCK_BYTES / bytes).clamp(1, extents[1]), cols }
        };
        while plan.work() > FEWEST_BLOCKS as f64 * PART_COST && plan.blocks() < FEWEST_BLOCKS {
            if direct && plan.block.channels > step {
                plan.block.channels = plan.block.channels.div_ceil(2).next_multiple_of(step);
            } else if plan.block.rows > 1 {
                plan.block.rows = plan.block.rows.div_ceil(2);
            } else {
                break;
            }
        }
        Ok(plan)
    }

    /// Blocks along (images, groups, channels, depths, rows, columns).
    pub(crate) fn grid(&self) -> [usize; 6] {
        let [depth, height, width] = self.extents;
        let Block { channels, rows, cols } = self.block;
        [
            self.shape.batch,
            self.groups,
            self.channels.div_ceil(channels),
            depth,
            height.div_ceil(rows),
            width.div_ceil(cols),
        ]
    }

    pub(crate) fn blocks(&self) -> usize {
        // Each block has an element of the input, which exists.
        self.grid().iter().product()
    }

    /// Estimated, in multiply-adds of vectors.
    pub(crate) fn work(&self) -> f64 {
        let images = (self.shape.batch * self.shape.groups) as f64;
        self.phases.iter().map(|planned| planned.plan.cost * images).sum()
    }

    /// Into how many parts the blocks are cut for `threads` threads.
    pub(crate) fn parts(&self, threads: usize) -> usize {
        parts(self.work(), threads, None).clamp(1, self.blocks().max(1))
    }

    /// Elements of a phase in a block, at most.
    pub(crate) fn phase_len(&self, planned: &Planned) -> usize {
        let Block { channels, rows, cols } = self.block;
        channels * rows * cols.min(planned.phase.shape.axes[2].output)
    }

    /// Scratch for each part, in bytes.
    pub(crate) fn scratch_bytes<T>(&self) -> usize {
        let most = self.phases.iter().map(|planned| planned.plan.scratch_bytes()).max();
        lines_for::<T>(self.buffer_len()) * LINE + most.unwrap_or(0)
    }

    /// Elements of all phases of a block, at most.
    pub(crate) fn buffer_len(&self) -> usize {
        self.phases.iter().map(|planned| self.phase_len(planned)).sum()
    }
}
