//! What tiles read, in place and from what was packed, is the materialised im2col matrix. Weights of one 1 among zeros make an output a row
//! of it, and a gradient of one 1 makes a weight's gradient a column, so that every value can be seen to have come from its place.
#![no_main]

use arbitrary::Arbitrary;
use convgemm::{
    BackwardOptions, Element, Error, Geometry, Parallelism, backward_input, backward_weight, col2im, im2col,
};
use convgemm_fuzz::{Kind, Numbers, Shape, WayInput, assert_same_bytes, dispatch, isa, with_workspace};
use libfuzzer_sys::fuzz_target;

/// Terms of a problem, at most.
const MOST_MACS: usize = 1 << 16;

#[derive(Debug, Arbitrary)]
struct Input {
    shape: Shape,
    seed: u64,
    way: WayInput,
    serial: bool,
}

fuzz_target!(|input: Input| dispatch!(input.shape, check(&input)));

/// An image and its matrix, `[N, groups, k, positions]`.
struct Matrix<T, const D: usize> {
    geometry: Geometry<D>,
    x: Vec<T>,
    columns: Vec<T>,
    k: usize,
    positions: usize,
}

fn check<T: Element, const D: usize>(input: &Input) {
    let Some(geometry) = input.shape.geometry::<D>(MOST_MACS) else { return };
    let mut numbers = Numbers { state: input.seed, kind: Kind::Reals };
    let x: Vec<T> = numbers.weights(geometry.input_len());
    let mut columns = vec![T::from_f64(f64::NAN); geometry.columns_len().unwrap()];
    im2col(&geometry, &x, &mut columns).unwrap();
    let k = geometry.weight_len() / geometry.params().out_channels;
    let positions = geometry.output_extent().iter().product();
    let matrix = Matrix { geometry, x, columns, k, positions };
    matrix.check_rows(input, &mut numbers);
    matrix.check_columns(input, &mut numbers);
    matrix.check_scattered(input, &mut numbers);
}

impl<T: Element, const D: usize> Matrix<T, D> {
    /// For each group and output channel of it any number below `len`.
    fn choices(&self, numbers: &mut Numbers, len: usize) -> Vec<usize> {
        (0..self.geometry.params().out_channels).map(|_| numbers.next() as usize % len).collect()
    }

    fn options(&self, input: &Input) -> BackwardOptions {
        let options = BackwardOptions::new().isa(isa(input.way.isa));
        if input.serial { options.parallelism(Parallelism::Serial) } else { options }
    }

    /// An output channel whose weight is 1 for a row of the matrix is that row.
    fn check_rows(&self, input: &Input, numbers: &mut Numbers) {
        let params = *self.geometry.params();
        let rows = self.choices(numbers, self.k);
        let mut weight = vec![T::ZERO; self.geometry.weight_len()];
        rows.iter().enumerate().for_each(|(channel, row)| weight[channel * self.k + row] = T::from_f64(1.0));
        let conv = input.way.way::<T>().builder(params).build(&weight).unwrap();
        let mut y = vec![T::from_f64(f64::NAN); self.geometry.output_len()];
        let (batch, extent) = (self.geometry.batch(), self.geometry.input_extent());
        match with_workspace(|workspace| conv.forward_into(&self.x, batch, extent, &mut y, workspace)) {
            Err(Error::NotApplicable { .. }) => return,
            result => result.unwrap(),
        }
        for (plane, y) in y.chunks_exact(self.positions).enumerate() {
            let (image, channel) = (plane / params.out_channels, plane % params.out_channels);
            let group = image * params.groups + channel / (params.out_channels / params.groups);
            let row = &self.columns[(group * self.k + rows[channel]) * self.positions..][..self.positions];
            assert_same_bytes(y, row, &(&conv, plane, rows[channel]));
        }
    }

    /// The gradient of the weights of an output channel whose gradient is 1 at a position of an image is that column.
    fn check_columns(&self, input: &Input, numbers: &mut Numbers) {
        let params = *self.geometry.params();
        if self.geometry.batch() == 0 {
            return;
        }
        let places = self.choices(numbers, self.geometry.batch() * self.positions);
        let mut dy = vec![T::ZERO; self.geometry.output_len()];
        for (channel, place) in places.iter().enumerate() {
            let plane = place / self.positions * params.out_channels + channel;
            dy[plane * self.positions + place % self.positions] = T::from_f64(1.0);
        }
        let mut dw = vec![T::from_f64(f64::NAN); self.geometry.weight_len()];
        let options = self.options(input);
        with_workspace(|workspace| {
            backward_weight(&self.geometry, &self.x, &dy, &options, &mut dw, workspace)
        })
        .unwrap();
        for (channel, dw) in dw.chunks_exact(self.k).enumerate() {
            let (image, position) = (places[channel] / self.positions, places[channel] % self.positions);
            let group = image * params.groups + channel / (params.out_channels / params.groups);
            let rows = self.columns[group * self.k * self.positions..].iter().skip(position);
            let column: Vec<T> = rows.step_by(self.positions).take(self.k).copied().collect();
            assert_same_bytes(dw, &column, &(&self.geometry, channel, position));
        }
    }

    /// The gradient of the input, where that of the output is 1 at one position of one channel, is that channel's weights, put back.
    fn check_scattered(&self, input: &Input, numbers: &mut Numbers) {
        let (params, len) = (*self.geometry.params(), self.geometry.output_len());
        if len == 0 {
            return;
        }
        let weight: Vec<T> = numbers.weights(self.geometry.weight_len());
        let at = numbers.next() as usize % len;
        let mut dy = vec![T::ZERO; len];
        dy[at] = T::from_f64(1.0);
        let mut dx = vec![T::from_f64(f64::NAN); self.x.len()];
        let options = self.options(input);
        with_workspace(|workspace| {
            backward_input(&self.geometry, &dy, &weight, &options, &mut dx, workspace)
        })
        .unwrap();

        let (plane, position) = (at / self.positions, at % self.positions);
        let (image, channel) = (plane / params.out_channels, plane % params.out_channels);
        let group = image * params.groups + channel / (params.out_channels / params.groups);
        let mut columns = vec![T::ZERO; self.columns.len()];
        for row in 0..self.k {
            columns[(group * self.k + row) * self.positions + position] = weight[channel * self.k + row];
        }
        let mut expected = vec![T::ZERO; self.x.len()];
        col2im(&self.geometry, &columns, &mut expected).unwrap();
        assert_same_bytes(&dx, &expected, &(&self.geometry, at));
    }
}
