//! Loops that are written out, and the tables of what is instantiated.

/// Repeats a body for `$i` in `0..$end` (or from 1 on), `$end` ≤ 20, with `$i` a constant each time, so that arrays indexed with it stay in
/// registers: the compiler keeps a `for` over bodies of this size, and the arrays in memory.
macro_rules! unroll {
    ($i:ident in 1..$end:expr => $body:expr) => {
        const { assert!($end <= 20) };
        unroll!(@ $i, $end, $body; 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
    };
    ($i:ident in 0..$end:expr => $body:expr) => {
        const { assert!($end <= 20) };
        unroll!(@ $i, $end, $body; 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
    };
    (@ $i:ident, $end:expr, $body:expr; $($n:literal)+) => {
        $(if $n < $end {
            let $i = $n;
            $body;
        })+
    };
}
pub(super) use unroll;

/// Defines a module with a [`KernelSet`](super::KernelSet), and modules in it, which the compiler works on side by side. `channel` lists
/// positions and, in ascending order, vectors of channels; `position` lists vectors of positions and, in ascending powers of two from 1,
/// channels.
macro_rules! kernel_set {
    (#[$feature:meta] $set:ident: $isa:expr, $vector:ty, $activate:path;
     channel { $($positions:literal x [$($cname:ident: $cvectors:literal),+]),+ }
     position { $($pvectors:literal x [$($pname:ident: $rows:literal),+]),+ }
     $(planes $plane_vector:ident {
         $($plane:ident: $kernel:literal / $stride:literal, $plane_rows:literal x $plane_cols:literal),+
     })+
     $(one { $($one:ident: $one_kernel:literal / $one_stride:literal, $one_rows:literal),+ })?
     $(any { $($any:ident: $any_rows:literal x $any_cols:literal),+ })?
     strips $strips:ident: $strip_vectors:literal windows $windows:ident depthwise $depthwise:ident
     rows $rows_fn:ident outer $outer:ident lanewise $lanewise:ident square $square:ident winograd $to_points:ident $from_points:ident $weights_to_points:ident
     finish $finish:ident) => {
        pub(crate) mod $set {
            use super::*;

            mod channel {
                $($(
                    #[$feature]
                    pub(super) unsafe fn $cname(tiles: &crate::kernel::ChannelTiles<'_, <$vector as crate::simd::Vector>::Elem>) {
                        // Not inlined: the loop over tiles would keep constants of the transposition in registers, which the sums need.
                        #[allow(unused_attributes, reason = "the portable set's attribute is the same")]
                        #[inline(never)]
                        #[$feature]
                        unsafe fn tile(
                            tiles: &crate::kernel::ChannelTiles<'_, <$vector as crate::simd::Vector>::Elem>,
                            first_row: usize,
                        ) {
                            // SAFETY: the caller's obligations are the same.
                            unsafe { crate::kernel::channel_lanes::tile::<$vector, $positions, $cvectors>(tiles, first_row) }
                        }
                        let rows = $cvectors * <$vector as crate::simd::Vector>::LANES;
                        for first_row in (0..tiles.destination.rows).step_by(rows) {
                            // SAFETY: the caller's obligations are the same.
                            unsafe { tile(tiles, first_row) }
                        }
                    }
                )+)+
            }
            mod position {
                $($(
                    #[$feature]
                    pub(super) unsafe fn $pname(tiles: &crate::kernel::PositionTiles<'_, <$vector as crate::simd::Vector>::Elem>) {
                        // SAFETY: the caller's obligations are the same.
                        unsafe { crate::kernel::position_lanes::run::<$vector, $rows, $pvectors>(tiles) }
                    }
                )+)+
            }
            mod planes {
                use super::*;

                $($(
                    #[$feature]
                    pub(super) unsafe fn $plane(
                        planes: &crate::kernel::Planes<'_, <$vector as crate::simd::Vector>::Elem>,
                        images: &crate::kernel::Images,
                    ) {
                        // SAFETY: the caller's obligations are the same.
                        unsafe { crate::kernel::planes::run::<$plane_vector, $kernel, $stride, $plane_rows, $plane_cols, false>(planes, images) }
                    }
                )+)+
                $($(
                    #[$feature]
                    pub(super) unsafe fn $one(
                        planes: &crate::kernel::Planes<'_, <$vector as crate::simd::Vector>::Elem>,
                        images: &crate::kernel::Images,
                    ) {
                        // SAFETY: the caller's obligations are the same.
                        unsafe { crate::kernel::planes::run::<$vector, $one_kernel, $one_stride, $one_rows, 1, true>(planes, images) }
                    }
                )+)?
                $($(
                    #[$feature]
                    pub(super) unsafe fn $any(
                        planes: &crate::kernel::Planes<'_, <$vector as crate::simd::Vector>::Elem>,
                        images: &crate::kernel::Images,
                    ) {
                        // SAFETY: the caller's obligations are the same.
                        unsafe { crate::kernel::planes_any::run::<$vector, $any_rows, $any_cols>(planes, images) }
                    }
                )+)?
            }
            #[$feature]
            unsafe fn $strips(
                planes: &crate::kernel::Planes<'_, <$vector as crate::simd::Vector>::Elem>,
                strips: &crate::kernel::Strips<'_>,
            ) {
                // SAFETY: the caller's obligations are the same.
                unsafe { crate::kernel::strips::run::<$vector, $strip_vectors>(planes, strips) }
            }
            #[$feature]
            unsafe fn $windows(windows: &crate::kernel::Windows<'_, <$vector as crate::simd::Vector>::Elem>) {
                // SAFETY: the caller's obligations are the same.
                unsafe { crate::kernel::windows::run::<$vector>(windows) }
            }
            #[$feature]
            unsafe fn $depthwise(tiles: &crate::kernel::Depthwise<'_, <$vector as crate::simd::Vector>::Elem>) {
                // SAFETY: the caller's obligations are the same.
                unsafe { crate::kernel::depthwise::run::<$vector>(tiles) }
            }
            #[$feature]
            unsafe fn $rows_fn(
                rows: &crate::kernel::Rows<<$vector as crate::simd::Vector>::Elem>,
                to: *mut <$vector as crate::simd::Vector>::Elem,
            ) {
                // SAFETY: the caller's obligations are the same.
                unsafe { crate::kernel::rows::copy::<$vector>(rows, to) }
            }
            #[$feature]
            unsafe fn $outer(outer: &crate::kernel::Outer<'_, <$vector as crate::simd::Vector>::Elem>) {
                // SAFETY: the caller's obligations are the same.
                unsafe { crate::kernel::outer::run::<$vector>(outer) }
            }
            #[$feature]
            unsafe fn $lanewise(products: &crate::kernel::Lanewise<'_, <$vector as crate::simd::Vector>::Elem>) {
                // SAFETY: the caller's obligations are the same.
                unsafe { crate::kernel::lanewise::run::<$vector>(products) }
            }
            #[$feature]
            unsafe fn $square(square: &crate::kernel::Square<'_, <$vector as crate::simd::Vector>::Elem>) {
                // SAFETY: the caller's obligations are the same.
                unsafe { crate::kernel::square::run::<$vector>(square) }
            }
            #[$feature]
            unsafe fn $to_points(inputs: &crate::kernel::PointInputs<<$vector as crate::simd::Vector>::Elem>) {
                // SAFETY: the caller's obligations are the same.
                unsafe { crate::kernel::winograd::to_points::<$vector>(inputs) }
            }
            #[$feature]
            unsafe fn $from_points(outputs: &crate::kernel::PointOutputs<'_, <$vector as crate::simd::Vector>::Elem>) {
                // SAFETY: the caller's obligations are the same.
                unsafe { crate::kernel::winograd::from_points::<$vector>(outputs) }
            }
            #[$feature]
            unsafe fn $weights_to_points(weights: &crate::kernel::PointWeights<'_, <$vector as crate::simd::Vector>::Elem>) {
                // SAFETY: the caller's obligations are the same.
                unsafe { crate::kernel::winograd::weights_to_points::<$vector>(weights) }
            }
            #[$feature]
            unsafe fn $finish(
                sums: *const <$vector as crate::simd::Vector>::Elem,
                first_row: usize,
                rows: usize,
                first_col: usize,
                destination: &crate::kernel::Destination<'_, <$vector as crate::simd::Vector>::Elem>,
            ) {
                // SAFETY: the caller's obligations are the same.
                unsafe {
                    crate::kernel::finish::epilogue::<$vector>(sums, first_row, rows, first_col, destination, $activate);
                }
            }
            pub(crate) static SET: crate::kernel::KernelSet<<$vector as crate::simd::Vector>::Elem> = crate::kernel::KernelSet {
                isa: $isa,
                lanes: <$vector as crate::simd::Vector>::LANES,
                channel: &[$(crate::kernel::ChannelFamily {
                    positions: $positions,
                    by_vectors: &[$(crate::kernel::ChannelKernel { name: stringify!($cname), run: channel::$cname }),+],
                }),+],
                position: &[$(crate::kernel::PositionFamily {
                    vectors: $pvectors,
                    by_log2_rows: &[$(crate::kernel::PositionKernel { name: stringify!($pname), run: position::$pname }),+],
                }),+],
                planes: &[$($(crate::kernel::PlaneKernel {
                    name: stringify!($plane),
                    kernel: Some($kernel),
                    stride: $stride,
                    rows: $plane_rows,
                    lanes: <$plane_vector as crate::simd::Vector>::LANES,
                    vectors: $plane_cols,
                    columns: crate::kernel::planes::columns::<$plane_vector, $kernel, $stride, $plane_cols, false>(),
                    apart: true,
                    loads: crate::kernel::planes::loads::<$plane_vector, $kernel, $stride, $plane_cols, false>(),
                    resident: crate::kernel::planes::resident::<$plane_vector, $kernel, $stride, $plane_rows, $plane_cols, false>(),
                    run: planes::$plane,
                }),+),+,
                $($(crate::kernel::PlaneKernel {
                    name: stringify!($one),
                    kernel: Some($one_kernel),
                    stride: $one_stride,
                    rows: $one_rows,
                    lanes: <$vector as crate::simd::Vector>::LANES,
                    vectors: 1,
                    columns: crate::kernel::planes::columns::<$vector, $one_kernel, $one_stride, 1, true>(),
                    apart: false,
                    loads: crate::kernel::planes::loads::<$vector, $one_kernel, $one_stride, 1, true>(),
                    resident: crate::kernel::planes::resident::<$vector, $one_kernel, $one_stride, $one_rows, 1, true>(),
                    run: planes::$one,
                },)+)?
                $($(crate::kernel::PlaneKernel {
                    name: stringify!($any),
                    kernel: None,
                    stride: 1,
                    rows: $any_rows,
                    lanes: <$vector as crate::simd::Vector>::LANES,
                    vectors: $any_cols,
                    columns: $any_cols * <$vector as crate::simd::Vector>::LANES,
                    apart: true,
                    loads: $any_cols,
                    resident: false,
                    run: planes::$any,
                }),+)?],
                strips: crate::kernel::StripKernel {
                    name: stringify!($strips),
                    vectors: $strip_vectors,
                    run: $strips,
                },
                windows: crate::kernel::WindowKernel { name: stringify!($windows), run: $windows },
                depthwise: crate::kernel::DepthwiseKernel {
                    name: stringify!($depthwise),
                    positions: crate::kernel::depthwise::most::<$vector>(),
                    run: $depthwise,
                },
                rows: $rows_fn,
                outer: $outer,
                lanewise: $lanewise,
                square: $square,
                to_points: $to_points,
                from_points: $from_points,
                weights_to_points: $weights_to_points,
                shuffled: <$vector as crate::simd::Vector>::SHUFFLED,
                hides_copies: <$vector as crate::simd::Vector>::HIDES_COPIES,
                finish: $finish,
            };
        }
    };
}
pub(super) use kernel_set;
