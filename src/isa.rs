//! Instruction sets: the only place that asks the CPU what it can do.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The environment variable that forces an instruction set wherever the builder does not.
pub const ISA_VARIABLE: &str = "CONVGEMM_ISA";

/// An instruction set that kernels are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Isa {
    /// The `wide` crate with what the whole build enables; on every machine.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512F and VL.
    Avx512,
    /// AArch64's Advanced SIMD.
    Neon,
}

impl Isa {
    const ALL: [Self; 4] = [Self::Portable, Self::Avx2, Self::Avx512, Self::Neon];

    /// The instruction sets of this machine, best first.
    ///
    /// ```
    /// assert!(convgemm::Isa::available().contains(&convgemm::Isa::Portable));
    /// ```
    #[must_use]
    pub fn available() -> Vec<Self> {
        Self::best_first().collect()
    }

    fn best_first() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().rev().filter(|isa| isa.is_available())
    }

    /// `"portable"`, `"avx2"`, `"avx512"` or `"neon"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
        }
    }

    /// Whether this machine has it.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                // The AVX-512 kernels may use AVX2 for narrow vectors.
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && Self::Avx2.is_available()
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[allow(unreachable_patterns, reason = "on an architecture that has them all")]
            _ => false,
        }
    }

    /// Whether its multiply-adds round once, so that the bytes of results are those of the oracle and of every
    /// other fused instruction set.
    #[must_use]
    pub const fn is_fused(self) -> bool {
        let portable_is =
            cfg!(any(all(target_arch = "x86_64", target_feature = "fma"), target_arch = "aarch64"));
        portable_is || !matches!(self, Self::Portable)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|isa| isa.name() == name)
            .ok_or_else(|| Error::UnknownIsa { name: name.to_owned() })
    }
}

/// An instruction set that this machine was seen to have: the proof that the kernels' `unsafe` rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Available(Isa);

impl Available {
    pub(crate) fn new(isa: Isa) -> Result<Self> {
        if isa.is_available() { Ok(Self(isa)) } else { Err(Error::IsaUnavailable { isa: isa.name() }) }
    }

    /// `forced`, else what `CONVGEMM_ISA` names, else the best. None falls back to another.
    pub(crate) fn choose(forced: Option<Isa>) -> Result<Self> {
        if let Some(isa) = forced {
            return Self::new(isa);
        }
        match std::env::var_os(ISA_VARIABLE) {
            Some(name) if !name.is_empty() => Self::new(name.to_string_lossy().parse()?),
            _ => Ok(Self(Isa::best_first().next().unwrap_or(Isa::Portable))),
        }
    }

    pub(crate) fn isa(self) -> Isa {
        self.0
    }
}
