"""Times the gradients beside PyTorch, in one run: ratios of our fastest round to its fastest.

    cargo build --release --examples
    python3 benches/gradients.py --layers benches/layers.json --threads 1 --rounds 3

Needs `pip install torch`. PyTorch computes one gradient at a time, from NCHW tensors, with
`torch.ops.aten.convolution_backward`.
"""

import argparse
import json
import math
import os
import subprocess
import tempfile
import time

import torch

PASSES = {"backward-input": [True, False, False], "backward-weight": [False, True, False]}


def ours(layers, pass_, threads):
    """Seconds of each layer, by our own example."""
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = ["target/release/examples/bench_layers", "--layers", layers, "--pass", pass_]
        command += ["--threads", str(threads), "--json", out.name]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return {row["name"]: row["min_s"] for row in json.load(open(out.name))}


def theirs(layer, mask, seconds):
    """Seconds of a layer, by PyTorch."""
    rank = len(layer["kernel"])
    extent = [layer[axis] for axis in ("d", "h", "w") if axis in layer][-rank:]
    x = torch.randn(layer["n"], layer["c_in"], *extent)
    weight = torch.randn(layer["c_out"], layer["c_in"] // layer["groups"], *layer["kernel"])
    parameters = (layer["stride"], layer["padding"], layer["dilation"], False, [0] * rank, layer["groups"])
    y = torch.ops.aten.convolution(x, weight, None, *parameters)
    dy = torch.randn_like(y)
    best, begun, count = math.inf, time.perf_counter(), 0
    while count < 3 or time.perf_counter() - begun < seconds:
        start = time.perf_counter()
        torch.ops.aten.convolution_backward(dy, x, weight, None, *parameters, mask)
        best = min(best, time.perf_counter() - start)
        count += 1
    return best, 2 * y.numel() * weight[0].numel()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", default="benches/layers.json")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    layers = json.load(open(arguments.layers))
    for pass_, mask in PASSES.items():
        mine, other, flops = {}, {}, {}
        for _ in range(arguments.rounds):
            for name, seconds in ours(os.path.abspath(arguments.layers), pass_, arguments.threads).items():
                mine[name] = min(mine.get(name, math.inf), seconds)
            for layer in layers:
                seconds, flops[layer["name"]] = theirs(layer, mask, arguments.seconds)
                other[layer["name"]] = min(other.get(layer["name"], math.inf), seconds)
        print(f"{pass_}, {arguments.threads} thread(s), GFLOP/s: ours, PyTorch {torch.__version__}, ratio")
        for name, seconds in mine.items():
            rates = [flops[name] / s / 1e9 for s in (seconds, other[name])]
            print(f"  {name:32} {rates[0]:7.1f} {rates[1]:7.1f} {other[name] / seconds:6.2f}")
        ratios = [math.log(other[name] / seconds) for name, seconds in mine.items()]
        print(f"  geometric mean of {len(ratios)} layers: {math.exp(sum(ratios) / len(ratios)):.2f}", flush=True)


if __name__ == "__main__":
    main()
