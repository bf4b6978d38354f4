//! Problem descriptors of oneDNN's benchmark driver benchdnn, `gXmbXicXidXihXiwXocXodXohXowXkdXkhXkwXsdXshXswXpdXphXpwXddXdhXdwXnNAME`.
//!
//! As its documentation and `tests/benchdnn/conv/conv_aux.cpp` have it: `_` is ignored; what is left out is 1 for `g` and the
//! strides, 2 for `mb`, 0 for the paddings and dilations (0 is dense there); an axis that is left out has the values of
//! the one before it (`ih56` is a square), unless all before it are left out too (`iw56` alone is one axis). Without
//! an output extent the padding is that of both sides; with one, the end's follows from it and may be negative.

use anyhow::{Context, Result, bail, ensure};

use super::layer::Layer;

#[derive(Debug, Clone, Copy)]
struct Axis {
    input: usize,
    output: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    pad_begin: usize,
}

/// The layer that a descriptor describes, named as the descriptor says or as it reads.
///
/// # Errors
/// What is not in the grammar, and sizes that do not fit together.
pub(crate) fn parse(text: &str) -> Result<Layer> {
    let (fields, name) = split(text)?;
    let find = |key: &str| fields.iter().rev().find(|(k, _)| *k == key).map(|&(_, value)| value);
    let positive = |key: &str, value: Option<usize>| {
        value.filter(|&value| value > 0).with_context(|| format!("{key} has to be given and over 0"))
    };
    let mut axes: Vec<Axis> = Vec::new();
    for letter in ["d", "h", "w"] {
        let of = |prefix: &str| find(&format!("{prefix}{letter}"));
        let keys = ["i", "o", "k", "s", "p", "d"];
        match axes.last() {
            _ if keys.iter().any(|key| of(key).is_some()) => {
                let get = |key: &str, or| positive(&format!("{key}{letter}"), of(key).or(or));
                let (input, kernel, stride) = (get("i", None)?, get("k", None)?, get("s", Some(1))?);
                axes.push(Axis::new(input, kernel, stride, of("d").unwrap_or(0), of("p"), of("o"))?);
            }
            Some(&before) => axes.push(before),
            None => {}
        }
    }
    ensure!(!axes.is_empty(), "no axis is given: iw and kw, or ih and kh, or id and kd have to be");
    let before_last = |back: usize| axes.len().checked_sub(back + 1).map(|axis| axes[axis].input);
    Ok(Layer {
        name: if name.is_empty() { text.to_owned() } else { name },
        n: find("mb").unwrap_or(2),
        c_in: positive("ic", find("ic"))?,
        d: before_last(2),
        h: before_last(1),
        w: axes[axes.len() - 1].input,
        c_out: positive("oc", find("oc"))?,
        kernel: axes.iter().map(|axis| axis.kernel).collect(),
        stride: axes.iter().map(|axis| axis.stride).collect(),
        padding: axes.iter().map(|axis| axis.pad_begin).collect(),
        padding_end: axes.iter().any(Axis::is_asymmetric).then(|| axes.iter().map(Axis::pad_end).collect()),
        dilation: axes.iter().map(|axis| axis.dilation).collect(),
        groups: positive("g", find("g").or(Some(1)))?,
    })
}

impl Axis {
    /// `dilation` is 0 for a dense kernel.
    fn new(
        input: usize,
        kernel: usize,
        stride: usize,
        dilation: usize,
        pad: Option<usize>,
        output: Option<usize>,
    ) -> Result<Self> {
        let dilation = dilation + 1;
        let window = (kernel - 1) * dilation + 1;
        let (output, pad_begin) = match (output.filter(|&output| output > 0), pad) {
            (Some(output), Some(pad)) => (output, pad),
            (Some(output), None) => (output, ((output - 1) * stride + window).saturating_sub(input) / 2),
            (None, pad) => {
                let pad = pad.unwrap_or(0);
                let rest = (input + 2 * pad).checked_sub(window);
                (rest.context("the kernel is larger than the padded image")? / stride + 1, pad)
            }
        };
        Ok(Self { input, output, kernel, stride, dilation, pad_begin })
    }

    /// Whether as much padding on both sides would give another output.
    fn is_asymmetric(&self) -> bool {
        let left = self.pad_begin as isize - self.pad_end();
        !(0..self.stride as isize).contains(&left)
    }

    /// What is read behind the image, or left of it where negative.
    fn pad_end(&self) -> isize {
        let read = (self.output - 1) * self.stride + (self.kernel - 1) * self.dilation + 1;
        read as isize - (self.input + self.pad_begin) as isize
    }
}

const KEYS: [&str; 22] = [
    "g", "mb", "ic", "id", "ih", "iw", "oc", "od", "oh", "ow", "kd", "kh", "kw", "sd", "sh", "sw", "pd",
    "ph", "pw", "dd", "dh", "dw",
];

/// Most that a value can be, so that sums and products of some do not overflow.
const MOST: usize = 1 << 24;

/// The fields in their order, and the name.
fn split(text: &str) -> Result<(Vec<(&str, usize)>, String)> {
    let mut fields = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if let Some(name) = rest.strip_prefix('n') {
            return Ok((fields, name.trim_matches('"').to_owned()));
        }
        if let Some(behind) = rest.strip_prefix('_') {
            rest = behind;
            continue;
        }
        let Some(key) = KEYS.into_iter().find(|key| rest.starts_with(key)) else {
            bail!("'{rest}' starts with no field of the grammar, which are {}", KEYS.join(", "));
        };
        let behind = &rest[key.len()..];
        let digits = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
        let value = behind[..digits].parse().ok().filter(|&value| value <= MOST);
        fields.push((key, value.with_context(|| format!("{key} needs a number of at most {MOST}"))?));
        rest = &behind[digits..];
    }
    Ok((fields, String::new()))
}
