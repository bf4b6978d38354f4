//! Results as they are printed.

use std::fmt::Write as _;

use crate::common::run::{LayerResult, Run};

/// Column heads of the table of layers.
pub(crate) fn head(peers: &[&'static str]) -> String {
    peers.iter().fold(format!("{:28} {:9}", "GFLOP/s", "class"), |line, peer| line + &format!(" {peer:>11}"))
}

/// A layer's line of the table.
pub(crate) fn line(layer: &LayerResult, peers: &[&'static str]) -> String {
    cells(format!("{:28} {:9}", layer.name, layer.class), peers, |peer| layer.gflops.get(peer).copied())
}

fn cells(head: String, peers: &[&'static str], value: impl Fn(&str) -> Option<f64>) -> String {
    peers.iter().fold(head, |line, peer| match value(peer) {
        Some(value) => line + &format!(" {value:11.2}"),
        None => line + &format!(" {:>11}", "-"),
    })
}

impl Run {
    /// How many times as fast as each other library convgemm is, by class of layer, over the layers that both compute.
    pub(crate) fn means(&self, peers: &[&'static str]) -> String {
        let mut classes: Vec<_> = self.layers.iter().map(|layer| layer.class.as_str()).collect();
        classes.sort_unstable();
        classes.dedup();
        let mut text = "geometric means, GFLOP/s of the layers that the library computes\n".to_owned();
        for class in &classes {
            let of_peer = |peer: &str| mean(self.of(Some(class)).filter_map(|l| l.gflops.get(peer).copied()));
            let _ = writeln!(text, "{}", cells(format!("{class:38}"), peers, of_peer));
        }
        text += "geometric means, convgemm's speed over the library's, of the layers that both compute\n";
        for class in classes.iter().map(|&class| Some(class)).chain([None]) {
            let of_peer = |peer: &str| {
                let ratio =
                    |layer: &LayerResult| Some(layer.gflops.get("convgemm")? / layer.gflops.get(peer)?);
                mean(self.of(class).filter_map(ratio))
            };
            let _ = writeln!(text, "{}", cells(format!("{:38}", class.unwrap_or("all")), peers, of_peer));
        }
        text
    }

    fn of(&self, class: Option<&str>) -> impl Iterator<Item = &LayerResult> {
        self.layers.iter().filter(move |layer| class.is_none_or(|class| layer.class == class))
    }
}

/// Geometric; of nothing, none.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let logarithms: Vec<f64> = values.map(f64::ln).collect();
    (!logarithms.is_empty()).then(|| (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp())
}
