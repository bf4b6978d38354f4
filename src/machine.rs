//! What there is to know of a core besides its caches.

/// What anything but a multiply-add takes beside one of vectors of `bytes`, against a core on which costs were measured (Zen 4,
/// one of 512 bits a cycle).
pub(crate) fn other(bytes: usize) -> f64 {
    if is_wide(bytes) { 2.0 } else { 1.0 }
}

/// How fast multiply-adds are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Two of less than 512 bits in a cycle.
    Short,
    /// One of 512 bits.
    One,
    /// Two of 512 bits.
    Two,
}

/// That of vectors of `bytes`.
pub(crate) fn pace(bytes: usize) -> Pace {
    match bytes {
        ..64 => Pace::Short,
        _ if is_wide(bytes) => Pace::Two,
        _ => Pace::One,
    }
}

/// Whether two multiply-adds of vectors of `bytes`, and two loads, are done in a cycle where those of 512 bits were measured with one.
pub(crate) fn is_wide(bytes: usize) -> bool {
    bytes >= 64 && two_of_512_bits()
}

/// Zen 4 cuts vectors of 512 bits in halves; later and other server cores do two at a time.
#[cfg(target_arch = "x86_64")]
fn two_of_512_bits() -> bool {
    use std::sync::OnceLock;

    use raw_cpuid::CpuId;

    const FAMILY_OF_ZEN_4: u8 = 0x19;
    static TWO: OnceLock<bool> = OnceLock::new();
    *TWO.get_or_init(|| {
        let cpu = CpuId::new();
        let amd = cpu.get_vendor_info().is_some_and(|vendor| vendor.as_str() == "AuthenticAMD");
        !(amd && cpu.get_feature_info().is_some_and(|info| info.family_id() == FAMILY_OF_ZEN_4))
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn two_of_512_bits() -> bool {
    false
}
