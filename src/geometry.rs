//! Shapes: what a convolution is ([`Params`]) and what it does to an image of given extents ([`Geometry`]).
//!
//! All arithmetic is checked here, once, so that nothing after it can overflow.

use std::ops::Range;

use crate::error::{Argument, Channels, Error, Result};

/// How an image is extended (or, where negative, cropped) before the windows slide over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Padding<const D: usize> {
    /// None: windows stay inside the image.
    Valid,
    /// As much as makes the output extent `⌈input / stride⌉`; an odd one goes to the end. ONNX's `SAME_UPPER`,
    /// TensorFlow's `SAME`.
    SameUpper,
    /// As much as makes the output extent `⌈input / stride⌉`; an odd one goes to the beginning. ONNX's
    /// `SAME_LOWER`.
    SameLower,
    /// So many zeros before and behind each axis; a negative number crops.
    Explicit {
        /// Before the first element.
        begin: [isize; D],
        /// Behind the last element.
        end: [isize; D],
    },
}

/// The same number of zeros on both sides of each axis (saturating at `isize::MAX`).
impl<const D: usize> From<[usize; D]> for Padding<D> {
    fn from(both: [usize; D]) -> Self {
        let both = both.map(|p| isize::try_from(p).unwrap_or(isize::MAX));
        Self::Explicit { begin: both, end: both }
    }
}

/// What a convolution over `D` spatial axes (1, 2 or 3) is, without the sizes of an image.
///
/// ```
/// use convgemm::Params;
/// let params = Params::new(3, 64, [7, 7]).stride([2, 2]).padding([3, 3]);
/// assert_eq!(params.output_extent([224, 224]), Ok([112, 112]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Params<const D: usize> {
    /// C_in, over all groups.
    pub in_channels: usize,
    /// C_out, over all groups.
    pub out_channels: usize,
    /// Taps along each axis.
    pub kernel: [usize; D],
    /// Distance between windows along each axis.
    pub stride: [usize; D],
    /// Distance between taps along each axis; 1 is a dense kernel.
    pub dilation: [usize; D],
    /// What is added around the image.
    pub padding: Padding<D>,
    /// Into how many contiguous runs both channel axes are split; `in_channels` of them is depthwise.
    pub groups: usize,
}

impl<const D: usize> Params<D> {
    /// Stride 1, dilation 1, no padding, one group. Nothing is checked yet.
    #[must_use]
    pub const fn new(in_channels: usize, out_channels: usize, kernel: [usize; D]) -> Self {
        const { assert!(D >= 1 && D <= 3, "1, 2 or 3 spatial axes") };
        Self {
            in_channels,
            out_channels,
            kernel,
            stride: [1; D],
            dilation: [1; D],
            padding: Padding::Valid,
            groups: 1,
        }
    }

    /// Sets the distance between windows.
    #[must_use]
    pub const fn stride(mut self, stride: [usize; D]) -> Self {
        self.stride = stride;
        self
    }

    /// Sets the distance between taps.
    #[must_use]
    pub const fn dilation(mut self, dilation: [usize; D]) -> Self {
        self.dilation = dilation;
        self
    }

    /// Sets the padding: an array for the same on both sides, or a [`Padding`].
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Padding<D>>) -> Self {
        self.padding = padding.into();
        self
    }

    /// Sets the padding before the first element of each axis and leaves the one behind (none, where that was set by
    /// [`Padding`]'s names); negative crops.
    #[must_use]
    pub const fn pad_begin(mut self, begin: [isize; D]) -> Self {
        let end = match self.padding {
            Padding::Explicit { end, .. } => end,
            _ => [0; D],
        };
        self.padding = Padding::Explicit { begin, end };
        self
    }

    /// Sets the padding behind the last element of each axis and leaves the one before (none, where that was set by
    /// [`Padding`]'s names); negative crops.
    #[must_use]
    pub const fn pad_end(mut self, end: [isize; D]) -> Self {
        let begin = match self.padding {
            Padding::Explicit { begin, .. } => begin,
            _ => [0; D],
        };
        self.padding = Padding::Explicit { begin, end };
        self
    }

    /// Sets the number of groups.
    #[must_use]
    pub const fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Checks all that can be checked without an image.
    ///
    /// # Errors
    /// A channel count, group count, kernel extent, stride or dilation of 0; groups that do not divide the
    /// channels; a dilated kernel over `isize::MAX`; a weight tensor over `isize::MAX` bytes.
    pub fn validate(&self) -> Result<()> {
        for (channels, actual) in [(Channels::In, self.in_channels), (Channels::Out, self.out_channels)] {
            if actual == 0 {
                return Err(Error::ZeroChannels { channels });
            }
            if self.groups == 0 {
                return Err(Error::ZeroGroups);
            }
            if !actual.is_multiple_of(self.groups) {
                return Err(Error::GroupsDoNotDivide { channels, actual, groups: self.groups });
            }
        }
        for axis in 0..D {
            if self.kernel[axis] == 0 {
                return Err(Error::ZeroKernel { axis });
            }
            if self.stride[axis] == 0 {
                return Err(Error::ZeroStride { axis });
            }
            if self.dilation[axis] == 0 {
                return Err(Error::ZeroDilation { axis });
            }
            self.window(axis)?;
        }
        self.weight_len().map(drop)
    }

    /// The number of weights, `out_channels · in_channels / groups · taps`.
    ///
    /// # Errors
    /// [`Error::TensorTooLarge`] where they have over `isize::MAX` bytes, [`Error::ZeroGroups`].
    pub fn weight_len(&self) -> Result<usize> {
        let per_group = self.in_channels.checked_div(self.groups).ok_or(Error::ZeroGroups)?;
        tensor_len(Argument::Weight, [self.out_channels, per_group].into_iter().chain(self.kernel))
    }

    /// The extents of the output for an input of the extents `input`:
    /// `⌊(input + pad_begin + pad_end − dilation·(kernel−1) − 1) / stride⌋ + 1`.
    ///
    /// # Errors
    /// Those of [`Params::validate`], and a window that does not fit.
    pub fn output_extent(&self, input: [usize; D]) -> Result<[usize; D]> {
        self.validate()?;
        let mut output = [0; D];
        for axis in 0..D {
            output[axis] = self.axis(axis, input[axis])?.output;
        }
        Ok(output)
    }

    /// Everything about this convolution of `batch` images with the extents `input`, checked.
    ///
    /// # Errors
    /// Those of [`Params::output_extent`], and a tensor over `isize::MAX` bytes (at 8 bytes an element).
    pub fn geometry(&self, batch: usize, input: [usize; D]) -> Result<Geometry<D>> {
        self.validate()?;
        let unit = Axis { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, pad_begin: 0 };
        let mut axes = [unit; 3];
        for axis in 0..D {
            axes[3 - D + axis] = self.axis(axis, input[axis])?;
        }
        let shape = Shape {
            batch,
            groups: self.groups,
            in_channels: self.in_channels / self.groups,
            out_channels: self.out_channels / self.groups,
            axes,
        };
        let lens = [
            (Argument::Input, self.in_channels, axes.map(|a| a.input)),
            (Argument::Output, self.out_channels, axes.map(|a| a.output)),
        ];
        for (argument, channels, extents) in lens {
            // One image alone, too: with an empty batch its strides are still computed.
            for images in [1, batch] {
                tensor_len(argument, [images, channels].into_iter().chain(extents))?;
            }
        }
        Ok(Geometry { params: *self, shape })
    }

    /// `dilation · (kernel − 1) + 1`.
    pub(crate) fn window(&self, axis: usize) -> Result<usize> {
        self.dilation[axis]
            .checked_mul(self.kernel[axis] - 1)
            .and_then(|span| span.checked_add(1))
            .filter(|&window| isize::try_from(window).is_ok())
            .ok_or(Error::AxisTooLarge { axis, what: "dilation·(kernel−1)+1" })
    }

    /// Begin and end padding of one axis; `None` where they overflow.
    fn pads(&self, axis: usize, input: usize, window: usize) -> Option<(isize, isize)> {
        let same = || {
            let stride = self.stride[axis] as i128;
            let output = (input as i128 + stride - 1) / stride;
            let total = ((output - 1) * stride + window as i128 - input as i128).max(0);
            Some((isize::try_from(total / 2).ok()?, isize::try_from(total - total / 2).ok()?))
        };
        match self.padding {
            Padding::Valid => Some((0, 0)),
            Padding::SameUpper => same(),
            Padding::SameLower => same().map(|(less, more)| (more, less)),
            Padding::Explicit { begin, end } => Some((begin[axis], end[axis])),
        }
    }

    /// One axis of an image, after [`Params::validate`].
    fn axis(&self, axis: usize, input: usize) -> Result<Axis> {
        let too_large = Error::AxisTooLarge { axis, what: "the padded input" };
        let window = self.window(axis)?;
        let (begin, end) = self.pads(axis, input, window).ok_or(too_large.clone())?;
        // Every coordinate lies in −begin … input + end − 1; both ends, and their distances from the image's
        // ends, have to be an isize.
        let behind = input as i128 + end as i128;
        let padded = isize::try_from(behind + begin as i128).map_err(|_| too_large.clone())?;
        let others = [behind, input as i128, input as i128 + begin as i128, -(begin as i128)];
        if others.into_iter().any(|extent| isize::try_from(extent).is_err()) {
            return Err(too_large);
        }
        if padded < window as isize {
            return Err(Error::WindowDoesNotFit { axis, window, padded });
        }
        let stride = self.stride[axis];
        let output = (padded as usize - window) / stride + 1;
        Ok(Axis {
            input,
            output,
            kernel: self.kernel[axis],
            stride,
            dilation: self.dilation[axis],
            pad_begin: begin,
        })
    }
}

/// The product of `extents`, if that many elements of 8 bytes have at most `isize::MAX` bytes.
pub(crate) fn tensor_len(argument: Argument, extents: impl IntoIterator<Item = usize>) -> Result<usize> {
    extents
        .into_iter()
        .try_fold(1_usize, usize::checked_mul)
        .filter(|&len| len <= isize::MAX as usize / 8)
        .ok_or(Error::TensorTooLarge { argument })
}

/// One spatial axis: window `p` reads, with tap `k`, the coordinate `p·stride + k·dilation − pad_begin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Axis {
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
    pub(crate) pad_begin: isize,
}

impl Axis {
    /// The coordinate of window `p`'s first tap; may lie outside the image.
    pub(crate) fn origin(&self, p: usize) -> isize {
        (p * self.stride) as isize - self.pad_begin
    }

    /// The coordinate that window `p` reads with tap `k`, if it lies inside the image.
    pub(crate) fn read(&self, p: usize, k: usize) -> Option<usize> {
        let at = self.origin(p) + (k * self.dilation) as isize;
        usize::try_from(at).ok().filter(|&at| at < self.input)
    }

    /// The windows that read inside the image with tap `k`.
    pub(crate) fn windows(&self, k: usize) -> Range<usize> {
        self.inside((k * self.dilation) as isize - self.pad_begin, self.output)
    }

    /// The taps with which window `p` reads inside the image.
    pub(crate) fn taps(&self, p: usize) -> Range<usize> {
        self.those_inside(self.origin(p), self.dilation, self.kernel)
    }

    /// Those of `len` coordinates, a stride apart from `start` on, that lie inside the image.
    pub(crate) fn inside(&self, start: isize, len: usize) -> Range<usize> {
        self.those_inside(start, self.stride, len)
    }

    fn those_inside(&self, start: isize, step: usize, len: usize) -> Range<usize> {
        let first_at = |coordinate: isize| match usize::try_from(coordinate - start) {
            // Small problems are made of such divisions.
            Ok(distance) if step == 1 => distance.min(len),
            Ok(distance) => distance.div_ceil(step).min(len),
            Err(_) => 0,
        };
        // At 0 and at the end: the first that lies there or behind.
        first_at(0)..first_at(self.input as isize)
    }

    /// Whether every window of `p` and of `last` (≥ `p`) lies inside the image with every tap.
    pub(crate) fn interior(&self, p: usize, last: usize) -> bool {
        self.origin(p) >= 0
            && self.origin(last) + (((self.kernel - 1) * self.dilation) as isize) < self.input as isize
    }
}

/// A convolution of images of known extents on three spatial axes (leading ones are 1), channels counted per group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) batch: usize,
    pub(crate) groups: usize,
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) axes: [Axis; 3],
}

impl Shape {
    /// Values of one input channel of one image.
    pub(crate) fn in_plane(&self) -> usize {
        // Wrapping: without elements, the other extents may be as large as can be.
        self.axes.iter().fold(1, |product, a| product.wrapping_mul(a.input))
    }

    /// Values of one output channel of one image.
    pub(crate) fn out_plane(&self) -> usize {
        self.axes.iter().map(|a| a.output).product()
    }

    /// Elements of the input.
    pub(crate) fn input_len(&self) -> usize {
        self.batch * self.groups * self.in_channels * self.in_plane()
    }

    /// Elements of the output.
    pub(crate) fn output_len(&self) -> usize {
        self.batch * self.groups * self.out_channels * self.out_plane()
    }

    /// Taps of one kernel plane.
    pub(crate) fn taps(&self) -> usize {
        self.kernel().iter().product()
    }

    /// The kernel's extents.
    pub(crate) fn kernel(&self) -> [usize; 3] {
        self.axes.map(|a| a.kernel)
    }

    /// Terms of one output element, padding included: the k of the GEMM.
    pub(crate) fn k(&self) -> usize {
        self.in_channels * self.taps()
    }

    /// Input strides of the three spatial axes, in elements.
    pub(crate) fn in_strides(&self) -> [usize; 3] {
        // Wrapping, as above; nothing is read of such an image.
        [self.axes[1].input.wrapping_mul(self.axes[2].input), self.axes[2].input, 1]
    }

    /// The output coordinates of a position.
    pub(crate) fn position(&self, p: usize) -> [usize; 3] {
        let [_, h, w] = self.axes.map(|a| a.output);
        [p / (h * w), p / w % h, p % w]
    }

    /// The kernel coordinates of a tap.
    pub(crate) fn tap(&self, t: usize) -> [usize; 3] {
        let [_, h, w] = self.axes.map(|a| a.kernel);
        [t / (h * w), t / w % h, t % w]
    }

    /// The same with all positions in one row: where [`Shape::is_pointwise`].
    pub(crate) fn as_one_row(mut self) -> Self {
        let plane = self.in_plane();
        let [depth, height, width] = &mut self.axes;
        (depth.input, depth.output, height.input, height.output) = (1, 1, 1, 1);
        (width.input, width.output) = (plane, plane);
        self
    }

    /// Whether the im2col matrix of an image is the image itself.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.axes.iter().all(|a| a.kernel == 1 && a.stride == 1 && a.pad_begin == 0 && a.input == a.output)
    }
}

/// 0 divides nothing but 0.
pub(crate) fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A convolution of images of known extents: everything about its sizes, checked once.
///
/// ```
/// use convgemm::Params;
/// let geometry = Params::new(64, 128, [3, 3]).padding([1, 1]).geometry(8, [56, 56])?;
/// assert_eq!(geometry.output_extent(), [56, 56]);
/// assert_eq!(geometry.output_len(), 8 * 128 * 56 * 56);
/// # Ok::<(), convgemm::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Geometry<const D: usize> {
    params: Params<D>,
    pub(crate) shape: Shape,
}

impl<const D: usize> Geometry<D> {
    /// The convolution.
    #[must_use]
    pub fn params(&self) -> &Params<D> {
        &self.params
    }

    /// The number of images.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.shape.batch
    }

    /// The spatial extents of the input.
    #[must_use]
    pub fn input_extent(&self) -> [usize; D] {
        std::array::from_fn(|axis| self.axis(axis).input)
    }

    /// The spatial extents of the output.
    #[must_use]
    pub fn output_extent(&self) -> [usize; D] {
        std::array::from_fn(|axis| self.axis(axis).output)
    }

    /// The padding before the first element of each axis, worked out.
    #[must_use]
    pub fn pad_begin(&self) -> [isize; D] {
        std::array::from_fn(|axis| self.axis(axis).pad_begin)
    }

    /// Elements of the input, `N · C_in · spatial…`.
    #[must_use]
    pub fn input_len(&self) -> usize {
        self.shape.input_len()
    }

    /// Elements of the weights, `C_out · C_in / groups · kernel…`.
    #[must_use]
    pub fn weight_len(&self) -> usize {
        self.params.out_channels * self.shape.k()
    }

    /// Elements of the output, `N · C_out · spatial…`.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.shape.output_len()
    }

    /// Multiplications, those with padding included; FLOPs are twice as many.
    #[must_use]
    pub fn macs(&self) -> u128 {
        self.output_len() as u128 * self.shape.k() as u128
    }

    fn axis(&self, axis: usize) -> Axis {
        self.shape.axes[3 - D + axis]
    }
}
