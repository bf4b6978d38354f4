"""Times all convolutions of a network by ONNX Runtime in one call and by convgemm, in turn.

    cargo build --release --example bench_layers && (cd benches/peers && cargo build --release)
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
    theirs, ours, ours_in_one_pass = math.inf, {}, math.inf
    time = arguments.min_time * len(layers)
    for _ in range(arguments.rounds):
        for name, row in convgemm.rows(path, arguments.threads, arguments.min_time, data).items():
            ours[name] = min(ours.get(name, math.inf), row["min_s"])
        ours_in_one_pass = min(ours_in_one_pass, convgemm.pass_seconds(path, arguments.threads, time))
        for call, outputs in sessions:
            theirs = min(theirs, clock.fastest(call, time))
            for layer, y in zip(layers, outputs()):
                lists.check(y, lists.read_tensor(layer, "y", data))
    total = sum(ours.values())
    macs = sum(layer.macs for layer in layers)
    print(f"{network}: {len(layers)} convolutions, {macs / 1e9:.2f} G multiply-adds, {arguments.threads} threads\n"
          f"  ONNX Runtime, one call       {1e3 * theirs:8.2f} ms\n"
          f"  convgemm, one pass           {1e3 * ours_in_one_pass:8.2f} ms, ratio {theirs / ours_in_one_pass:.2f}\n"
          f"  convgemm, sum of the layers  {1e3 * total:8.2f} ms, ratio {theirs / total:.2f}", flush=True)


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
