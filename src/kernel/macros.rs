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

/// Defines a static [`KernelSet`]: `channel` lists positions and, in ascending order, vectors of channels;
/// `position` lists vectors of positions and, in ascending powers of two from 1, channels.
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
        $($(
            #[$feature]
            unsafe fn $cname(tiles: &super::ChannelTiles<'_, <$vector as crate::simd::Vector>::Elem>) {
                // Not inlined: the loop over tiles would keep constants of the transposition in registers, which the sums need.
                #[allow(unused_attributes, reason = "the portable set's attribute is the same")]
                #[inline(never)]
                #[$feature]
                unsafe fn tile(
                    tiles: &super::ChannelTiles<'_, <$vector as crate::simd::Vector>::Elem>,
                    first_row: usize,
                ) {
                    // SAFETY: the caller's obligations are the same.
                    unsafe { super::channel_lanes::tile::<$vector, $positions, $cvectors>(tiles, first_row) }
                }
                let rows = $cvectors * <$vector as crate::simd::Vector>::LANES;
                for first_row in (0..tiles.destination.rows).step_by(rows) {
                    // SAFETY: the caller's obligations are the same.
                    unsafe { tile(tiles, first_row) }
                }
            }
        )+)+
        $($(
            #[$feature]
            unsafe fn $pname(tiles: &super::PositionTiles<'_, <$vector as crate::simd::Vector>::Elem>) {
                // SAFETY: the caller's obligations are the same.
                unsafe { super::position_lanes::run::<$vector, $rows, $pvectors>(tiles) }
            }
        )+)+
        $($(
            #[$feature]
            unsafe fn $plane(
                planes: &super::Planes<'_, <$vector as crate::simd::Vector>::Elem>,
                images: &super::Images,
            ) {
                // SAFETY: the caller's obligations are the same.
                unsafe { super::planes::run::<$plane_vector, $kernel, $stride, $plane_rows, $plane_cols, false>(planes, images) }
            }
        )+)+
        $($(
            #[$feature]
            unsafe fn $one(
                planes: &super::Planes<'_, <$vector as crate::simd::Vector>::Elem>,
                images: &super::Images,
            ) {
                // SAFETY: the caller's obligations are the same.
                unsafe { super::planes::run::<$vector, $one_kernel, $one_stride, $one_rows, 1, true>(planes, images) }
            }
        )+)?
        $($(
            #[$feature]
            unsafe fn $any(
                planes: &super::Planes<'_, <$vector as crate::simd::Vector>::Elem>,
                images: &super::Images,
            ) {
                // SAFETY: the caller's obligations are the same.
                unsafe { super::planes_any::run::<$vector, $any_rows, $any_cols>(planes, images) }
            }
        )+)?
        #[$feature]
        unsafe fn $strips(
            planes: &super::Planes<'_, <$vector as crate::simd::Vector>::Elem>,
            strips: &super::Strips<'_>,
        ) {
            // SAFETY: the caller's obligations are the same.
            unsafe { super::strips::run::<$vector, $strip_vectors>(planes, strips) }
        }
        #[$feature]
        unsafe fn $windows(windows: &super::Windows<'_, <$vector as crate::simd::Vector>::Elem>) {
            // SAFETY: the caller's obligations are the same.
            unsafe { super::windows::run::<$vector>(windows) }
        }
        #[$feature]
        unsafe fn $depthwise(tiles: &super::Depthwise<'_, <$vector as crate::simd::Vector>::Elem>) {
            // SAFETY: the caller's obligations are the same.
            unsafe { super::depthwise::run::<$vector>(tiles) }
        }
        #[$feature]
        unsafe fn $rows_fn(
            rows: &super::Rows<<$vector as crate::simd::Vector>::Elem>,
            to: *mut <$vector as crate::simd::Vector>::Elem,
        ) {
            // SAFETY: the caller's obligations are the same.
            unsafe { super::rows::copy::<$vector>(rows, to) }
        }
        #[$feature]
        unsafe fn $outer(outer: &super::Outer<'_, <$vector as crate::simd::Vector>::Elem>) {
            // SAFETY: the caller's obligations are the same.
            unsafe { super::outer::run::<$vector>(outer) }
        }
        #[$feature]
        unsafe fn $lanewise(products: &super::Lanewise<'_, <$vector as crate::simd::Vector>::Elem>) {
            // SAFETY: the caller's obligations are the same.
            unsafe { super::lanewise::run::<$vector>(products) }
        }
        #[$feature]
        unsafe fn $square(square: &super::Square<'_, <$vector as crate::simd::Vector>::Elem>) {
            // SAFETY: the caller's obligations are the same.
            unsafe { super::square::run::<$vector>(square) }
        }
        #[$feature]
        unsafe fn $to_points(inputs: &super::PointInputs<<$vector as crate::simd::Vector>::Elem>) {
            // SAFETY: the caller's obligations are the same.
            unsafe { super::winograd::to_points::<$vector>(inputs) }
        }
        #[$feature]
        unsafe fn $from_points(outputs: &super::PointOutputs<'_, <$vector as crate::simd::Vector>::Elem>) {
            // SAFETY: the caller's obligations are the same.
            unsafe { super::winograd::from_points::<$vector>(outputs) }
        }
        #[$feature]
        unsafe fn $weights_to_points(weights: &super::PointWeights<'_, <$vector as crate::simd::Vector>::Elem>) {
            // SAFETY: the caller's obligations are the same.
            unsafe { super::winograd::weights_to_points::<$vector>(weights) }
        }
        #[$feature]
        unsafe fn $finish(
            sums: *const <$vector as crate::simd::Vector>::Elem,
            first_row: usize,
            rows: usize,
            first_col: usize,
            destination: &super::Destination<'_, <$vector as crate::simd::Vector>::Elem>,
        ) {
            // SAFETY: the caller's obligations are the same.
            unsafe {
                super::finish::epilogue::<$vector>(sums, first_row, rows, first_col, destination, $activate);
            }
        }
        pub(crate) static $set: super::KernelSet<<$vector as crate::simd::Vector>::Elem> = super::KernelSet {
            isa: $isa,
            lanes: <$vector as crate::simd::Vector>::LANES,
            channel: &[$(super::ChannelFamily {
                positions: $positions,
                by_vectors: &[$(super::ChannelKernel { name: stringify!($cname), run: $cname }),+],
            }),+],
            position: &[$(super::PositionFamily {
                vectors: $pvectors,
                by_log2_rows: &[$(super::PositionKernel { name: stringify!($pname), run: $pname }),+],
            }),+],
            planes: &[$($(super::PlaneKernel {
                name: stringify!($plane),
                kernel: Some($kernel),
                stride: $stride,
                rows: $plane_rows,
                lanes: <$plane_vector as crate::simd::Vector>::LANES,
                vectors: $plane_cols,
                columns: super::planes::columns::<$plane_vector, $kernel, $stride, $plane_cols, false>(),
                apart: true,
                loads: super::planes::loads::<$plane_vector, $kernel, $stride, $plane_cols, false>(),
                resident: super::planes::resident::<$plane_vector, $kernel, $stride, $plane_rows, $plane_cols, false>(),
                run: $plane,
            }),+),+,
            $($(super::PlaneKernel {
                name: stringify!($one),
                kernel: Some($one_kernel),
                stride: $one_stride,
                rows: $one_rows,
                lanes: <$vector as crate::simd::Vector>::LANES,
                vectors: 1,
                columns: super::planes::columns::<$vector, $one_kernel, $one_stride, 1, true>(),
                apart: false,
                loads: super::planes::loads::<$vector, $one_kernel, $one_stride, 1, true>(),
                resident: super::planes::resident::<$vector, $one_kernel, $one_stride, $one_rows, 1, true>(),
                run: $one,
            },)+)?
            $($(super::PlaneKernel {
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
                run: $any,
            }),+)?],
            strips: super::StripKernel {
                name: stringify!($strips),
                vectors: $strip_vectors,
                run: $strips,
            },
            windows: super::WindowKernel { name: stringify!($windows), run: $windows },
            depthwise: super::DepthwiseKernel {
                name: stringify!($depthwise),
                positions: super::depthwise::most::<$vector>(),
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
    };
}
pub(super) use kernel_set;
