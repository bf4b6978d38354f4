//! Chapter 7.4: several channels in and out, and kernels of one tap.

use anyhow::Result;
use convgemm::{Params, Workspace, conv2d};

use crate::plane::{Plane, corr2d, list, same, show};

/// One kernel for each pair of an output and an input channel; sums go over the input channels.
pub(crate) fn several_channels() -> Result<()> {
    let channels = [Plane::ramp([3, 3], 0), Plane::ramp([3, 3], 1)];
    let taps = [Plane::ramp([2, 2], 0), Plane::ramp([2, 2], 1)];
    let parts = [corr2d(&channels[0], &taps[0]), corr2d(&channels[1], &taps[1])];
    let sum = parts[0].plus(&parts[1]);
    for c in [0, 1] {
        let captions = [format!("X channel {c}"), format!("K channel {c}"), "their result".into()];
        show(&[(&captions[0], &channels[c]), (&captions[1], &taps[c]), (&captions[2], &parts[c])]);
    }
    show(&[("the sum", &sum)]);
    same("a result for each channel, added", &sum, &Plane::new([2, 2], &[56., 72., 104., 120.]))?;

    let x = join(&channels);
    let kernel = join(&taps);
    let workspace = &mut Workspace::new();
    let y = conv2d(&Params::new(2, 1, [2, 2]), &x, 1, [3, 3], &kernel, None, workspace)?;
    same("conv2d, input [1, 2, 3, 3], weight [1, 2, 2, 2]", &y, &sum.values)?;

    // K, K + 1, K + 2.
    let weight: Vec<f32> = (0..3).flat_map(|o| kernel.iter().map(move |k| k + o as f32)).collect();
    let y = conv2d(&Params::new(2, 3, [2, 2]), &x, 1, [3, 3], &weight, None, workspace)?;
    let outputs: Vec<Plane> = y.chunks(4).map(|plane| Plane::new([2, 2], plane)).collect();
    println!();
    show(&[("by K", &outputs[0]), ("by K + 1", &outputs[1]), ("by K + 2", &outputs[2])]);
    let expected = [56., 72., 104., 120., 76., 100., 148., 172., 96., 128., 192., 224.];
    same("conv2d, weight [3, 2, 2, 2], output [1, 3, 2, 2]", y.as_slice(), &expected)
}

/// Planes one after the other: the layout of channels.
fn join(planes: &[Plane]) -> Vec<f32> {
    planes.iter().flat_map(|plane| plane.values.iter().copied()).collect()
}

/// No neighbours: only the channels of each position are mixed.
pub(crate) fn one_by_one() -> Result<()> {
    // A plane is a row: [channels, positions].
    let x = Plane::ramp([3, 9], 0);
    let weight = Plane::new([2, 3], &[1., 2., 3., -1., 0., 1.]);
    let params = Params::new(3, 2, [1, 1]);
    let y = conv2d(&params, &x.values, 1, [3, 3], &weight.values, None, &mut Workspace::new())?;
    let y = Plane::new([2, 9], &y);
    show(&[("weight [2, 3]", &weight), ("image [3, 3·3], a channel in each row", &x)]);
    show(&[("result [2, 3·3]", &y)]);
    same("the matrix product weight · image", &y, &weight.times(&x))?;
    for position in 0..9 {
        let pixel: Vec<f32> = (0..3).map(|channel| x.at(channel, position)).collect();
        let outputs = [y.at(0, position), y.at(1, position)];
        let what = format!("the dense layer at position {position}: {} → {}", list(&pixel), list(&outputs));
        same(&what, dense(&weight, &pixel), outputs.to_vec())?;
    }
    Ok(())
}

/// A fully connected layer without bias.
fn dense(weight: &Plane, x: &[f32]) -> Vec<f32> {
    weight.values.chunks(x.len()).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
}
