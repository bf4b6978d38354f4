"""Times all convolutions of a network by ONNX Runtime in one call, beside the sum of convgemm's layers, in turn.

    cargo build --release --example bench_layers
    python3 benches/peers/python/networks.py --threads 1 --rounds 3

Every convolution is a node with an input and an output of its own, so nothing is fused with it.
"""

import argparse
import math
import tempfile
from pathlib import Path

import clock
import convgemm
import layers as lists
from libraries import onnx_model, onnxruntime

NETWORKS = Path(__file__).resolve().parents[1] / "networks"


def compare(network, arguments, data):
    path = NETWORKS / f"{network}.json"
    _, layers = lists.read(path)
    lists.write_data(layers, data)
    xs, weights = ([lists.read_tensor(layer, tensor, data) for layer in layers] for tensor in ("x", "w"))
    model = onnx_model.of_layers(layers, weights)
    if arguments.export:
        Path(arguments.export, f"{network}.onnx").write_bytes(model)
    shapes = [layer.output_shape for layer in layers]
    sessions = [onnxruntime.bound(model, level, xs, shapes, arguments.threads) for level in onnxruntime.LEVELS]
    theirs, ours = math.inf, {}
    for _ in range(arguments.rounds):
        for name, row in convgemm.rows(path, arguments.threads, arguments.min_time, data).items():
            ours[name] = min(ours.get(name, math.inf), row["min_s"])
        for call, outputs in sessions:
            theirs = min(theirs, clock.fastest(call, arguments.min_time * len(layers)))
            for layer, y in zip(layers, outputs()):
                lists.check(y, lists.read_tensor(layer, "y", data))
    total = sum(ours.values())
    print(f"{network}: {len(layers)} convolutions, {sum(layer.macs for layer in layers) / 1e9:.2f} G multiply-adds, "
          f"{arguments.threads} threads: ONNX Runtime {1e3 * theirs:.2f} ms, convgemm {1e3 * total:.2f} ms, "
          f"ratio {theirs / total:.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=lambda text: text.split(","), default=["resnet50", "mobilenetv2"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--min-time", type=float, default=0.1, help="seconds for each layer and round, at least")
    parser.add_argument("--export", help="writes the ONNX models to this folder")
    arguments = parser.parse_args()
    for network in arguments.networks:
        with tempfile.TemporaryDirectory() as data:
            compare(network, arguments, data)


if __name__ == "__main__":
    main()
