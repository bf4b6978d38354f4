//! A plan in words.

use std::fmt;

use super::Plan;
use crate::pack::bands::Bands;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = &self.shape;
        writeln!(
            f,
            "GEMM       m = {} channels, n = {} positions, k = {} terms, × {} groups × {} images",
            s.out_channels,
            s.out_plane(),
            s.k(),
            s.groups,
            s.batch
        )?;
        writeln!(f, "algorithm  {:?}, im2col matrix {:?}", self.algorithm, self.lowering)?;
        write!(f, "kernel     {} ({}, {}", self.kernel, self.isa, self.dtype)?;
        let [height, width] = self.extents;
        match (self.orientation(), &self.winograd) {
            (Some(orientation), _) => {
                writeln!(f, ", {orientation:?}): tile of {height} channels × {width} positions")?;
            }
            (None, Some(winograd)) => writeln!(f, "): {winograd}")?,
            (None, None) => writeln!(f, ")")?,
        }
        writeln!(
            f,
            "blocking   {} of {} input channels, {} of {} taps",
            self.blocking.channels,
            s.in_channels,
            self.blocking.tap_count(),
            s.taps()
        )?;
        if let Some(Bands { rows, cols, joined }) = self.bands {
            match joined {
                Some(most) if most < rows.saturating_mul(cols) => {
                    writeln!(f, "bands      of {most} output positions in {rows} rows of {cols}")?;
                }
                _ => writeln!(f, "bands      of {rows} × {cols} output positions")?,
            }
        }
        if self.tiling.is_some() || self.winograd.is_some() {
            writeln!(f, "why        least estimated cost: {:.3e} vector multiply-adds", self.cost)?;
        } else {
            writeln!(f, "why        asked for")?;
        }
        if let Some(error) = self.relative_error() {
            writeln!(f, "error      about {error:.0e} of the largest output (f32)")?;
        }
        writeln!(f, "scratch    {} bytes", self.scratch_bytes)?;
        write!(f, "work       {} FLOPs", self.flops())
    }
}
