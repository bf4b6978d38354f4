//! What stacked layers see of the image (chapter 7.2), and images with one axis or three.

use anyhow::{Result, ensure};
use convgemm::{Conv3d, Params, Workspace, conv1d, conv2d, conv3d, output_extents, receptive_field};

use crate::plane::{Plane, by_crate_with, corr2d, list, same, show};

/// Layers one after the other see more than each of them.
pub(crate) fn receptive_fields() -> Result<()> {
    println!(
        "  One pixel of the image after the other is changed. 1: it changes the output in the middle.\n"
    );
    let layer = |taps| Params::new(1, 1, [taps; 2]);
    let two = seen("two 2×2 layers", &[layer(2); 2], [5, 5], 3, 1)?;
    let three = seen("two 3×3 layers", &[layer(3); 2], [7, 7], 5, 1)?;
    let strided = seen("3×3 with stride 2, then 3×3", &[layer(3).stride([2, 2]), layer(3)], [11, 11], 7, 2)?;
    println!();
    show(&[("two 2×2", &two), ("two 3×3", &three), ("3×3 stride 2, 3×3", &strided)]);
    println!("  Two 3×3 layers see what one 5×5 layer sees, with 18 weights in place of 25.");
    Ok(())
}

/// Checks the crate's answer and, by experiment, the field of each output; gives that of the middle one.
fn seen(name: &str, layers: &[Params<2>], extent: [usize; 2], size: usize, stride: usize) -> Result<Plane> {
    let field = receptive_field(layers)?;
    same(&format!("{name}: {size}×{size}"), (field.size, field.stride), ([size; 2], [stride; 2]))?;
    let image = Plane::ramp(extent, 0);
    let before = run(layers, &image)?;
    same("    the chain's last extent", Some(&before.extent), output_extents(layers, extent)?.last())?;
    let [rows, columns] = before.extent;
    // For each output a map of the pixels that change it.
    let mut maps = vec![Plane::from_fn(extent, |_, _| 0.0); rows * columns];
    for pixel in 0..image.values.len() {
        let mut changed = image.clone();
        changed.values[pixel] += 1.0;
        let after = run(layers, &changed)?;
        for (output, map) in maps.iter_mut().enumerate() {
            if after.values[output] != before.values[output] {
                map.values[pixel] = 1.0;
            }
        }
    }
    for (output, map) in maps.iter().enumerate() {
        let [top, left] = [output / columns * stride, output % columns * stride];
        let inside = |i, j| (top..top + size).contains(&i) && (left..left + size).contains(&j);
        let expected = Plane::from_fn(extent, |i, j| if inside(i, j) { 1.0 } else { 0.0 });
        ensure!(*map == expected, "{name}: output {output} sees {map:?}");
    }
    println!("  ok      seen by each of the {} outputs", maps.len());
    Ok(maps.swap_remove(rows / 2 * columns + columns / 2))
}

/// Kernels of ones: no pixel that a window sees cancels another.
fn run(layers: &[Params<2>], image: &Plane) -> Result<Plane> {
    layers.iter().try_fold(image.clone(), |image, layer| {
        by_crate_with(layer, &image, &Plane::from_fn(layer.kernel, |_, _| 1.0))
    })
}

/// The same with other numbers of axes.
pub(crate) fn one_and_three_axes() -> Result<()> {
    one_axis()?;
    three_axes()
}

fn one_axis() -> Result<()> {
    let workspace = &mut Workspace::new();
    let signal: Vec<f32> = (0..7).map(|x| x as f32).collect();
    println!("  One axis: signal {}, kernel [1, 2]: 1·x + 2·(x + 1).", list(&signal));
    let y = conv1d(&Params::new(1, 1, [2]), &signal, 1, [7], &[1., 2.], None, workspace)?;
    same("conv1d", &y, &vec![2., 5., 8., 11., 14., 17.])?;

    // Three channels: the signal, + 1, + 2.
    let x = Plane::from_fn([3, 7], |channel, at| (channel + at) as f32);
    let kernel = Plane::new([3, 2], &[1., 2., 3., 4., -1., -3.]);
    println!();
    show(&[("three channels", &x), ("kernel [1, 3, 2]", &kernel)]);
    let y = conv1d(&Params::new(3, 1, [2]), &x.values, 1, [7], &kernel.values, None, workspace)?;
    same("conv1d, channels added", &y, &vec![2., 8., 14., 20., 26., 32.])?;
    let as_image = conv2d(&Params::new(1, 1, [3, 2]), &x.values, 1, [3, 7], &kernel.values, None, workspace)?;
    same("conv2d, channels as rows that the kernel covers at once", &as_image, &y)?;
    same("by hand", &corr2d(&x, &kernel).values, &y)
}

fn three_axes() -> Result<()> {
    let volume: Vec<f32> = (0..27).map(|x| x as f32).collect();
    let taps: Vec<f32> = (1..=8).map(|x| x as f32).collect();
    let params = Params::new(1, 1, [2, 2, 2]);
    println!(
        "\n  Three axes: the volume 3×3×3 holds 0 … 26, the kernel 2×2×2 holds 1 … 8. The first window reads"
    );
    println!(
        "  0, 1, 3, 4, 9, 10, 12, 13: 0 + 2 + 9 + 16 + 45 + 60 + 84 + 104 = 320. The taps' sum is 36; one step"
    );
    println!(
        "  along the last axis adds 1 to all that is read, so 36 to the result; along the others 3·36 and 9·36.\n"
    );
    let y = conv3d(&params, &volume, 1, [3, 3, 3], &taps, None, &mut Workspace::new())?;
    show(&[("front", &Plane::new([2, 2], &y[..4])), ("back", &Plane::new([2, 2], &y[4..]))]);
    same("conv3d", &y, &vec![320., 356., 428., 464., 644., 680., 752., 788.])?;
    let layer = Conv3d::with_params(params).bias(&[-320.]).build(&taps)?;
    let y = layer.forward(&volume, 1, [3, 3, 3])?;
    same("Conv3d with bias −320", y, vec![0., 36., 108., 144., 324., 360., 432., 468.])
}
