"""Times convolution layers with C++ libraries beside convgemm, in turn, and compares their results first.

    cargo build --release --example bench_layers
    python3 benches/peers/python/peers.py --threads 1 --rounds 3 --json out.json
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import convgemm
import layers as lists
import libraries

WORKER = Path(__file__).with_name("worker.py")


def library_seconds(name, layers, data, threads, min_time):
    """Seconds of each layer that the library computes, in a process of its own."""
    # Memory that is given back to the system costs page faults in the next call; no library shall pay for that.
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads),
                   "MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 33)}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "seconds.json")
        command = [sys.executable, WORKER, name, "--layers", layers, "--data", data, "--json", out]
        command += ["--threads", threads, "--min-time", min_time]
        subprocess.run([str(part) for part in command], check=True, env=environment, stdout=subprocess.DEVNULL)
        return json.loads(out.read_text())


def measure(arguments, folder):
    """Layers, convgemm's last rows, the highest FMA peak, and the least seconds of (layer, library)."""
    fields, layers = lists.read(arguments.layers, arguments.match)
    chosen, data = Path(folder, "layers.json"), Path(folder, "data")
    chosen.write_text(json.dumps(fields))
    data.mkdir()
    lists.write_data(layers, data)
    if not layers:
        raise SystemExit("there is no such layer")
    peak, best = 0.0, {}
    for _ in range(arguments.rounds):
        # First, for it writes what the others' results are compared with.
        rows = convgemm.rows(chosen, arguments.threads, arguments.min_time, data)
        peak = max(peak, *(row["peak_gflops"] for row in rows.values()))
        rounds = {"convgemm": {name: row["min_s"] for name, row in rows.items()}}
        for name in arguments.peers:
            rounds[name] = library_seconds(name, chosen, data, arguments.threads, arguments.min_time)
        for name, seconds in rounds.items():
            for layer, value in seconds.items():
                best[layer, name] = min(best.get((layer, name), math.inf), value)
    return layers, rows, peak, best


def results(layers, rows, peak, best, names, threads):
    """As benches/peers/README.md describes the JSON."""
    def of(layer):
        row = rows[layer.name]
        gflops = {name: 2 * layer.macs / best[layer.name, name] / 1e9 for name in names if (layer.name, name) in best}
        return {"name": layer.name, "class": row["class"], "macs": layer.macs, "bytes": layer.bytes,
                "scratch_bytes": row["scratch_bytes"], "im2col_bytes": layer.im2col_bytes, "gflops": gflops}

    isa = next(iter(rows.values()))["isa"]
    return {"cpu": cpu(), "isa": isa, "threads": threads, "peak_gflops": peak, "layers": list(map(of, layers))}


def cpu():
    with open("/proc/cpuinfo") as file:
        return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))


def mean(values):
    """Geometric."""
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def print_table(measured, names):
    def line(head, values):
        cells = (f"{value:12.2f}" if value is not None else f"{'-':>12}" for value in values)
        print(f"{head:38}" + "".join(cells))

    print(f"{'GFLOP/s':28} {'class':9}" + "".join(f"{name:>12}" for name in names))
    for layer in measured["layers"]:
        line(f"{layer['name']:28} {layer['class']:9}", [layer["gflops"].get(name) for name in names])
    print("geometric means, convgemm's speed over the library's, of the layers that both compute")
    for class_ in [*sorted({layer["class"] for layer in measured["layers"]}), "all"]:
        gflops = [layer["gflops"] for layer in measured["layers"] if class_ in (layer["class"], "all")]
        line(class_, [mean(g["convgemm"] / g[name] for g in gflops if name in g) for name in names])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", default=convgemm.ROOT / "benches/layers.json", help="a list of layers")
    parser.add_argument("--only", default="", help="only layers whose name contains this")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--min-time", type=float, default=0.1, help="seconds for each layer and round, at least")
    parser.add_argument("--peers", type=lambda text: text.split(","), default=list(libraries.NAMES),
                        help="libraries, separated by commas: " + ", ".join(libraries.NAMES))
    parser.add_argument("--json", help="writes the results to this file")
    arguments = parser.parse_args()
    if unknown := set(arguments.peers) - set(libraries.NAMES):
        parser.error(f"unknown libraries: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as folder:
        layers, rows, peak, best = measure(arguments, folder)
    names = ["convgemm", *arguments.peers]
    measured = results(layers, rows, peak, best, names, arguments.threads)
    print_table(measured, names)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(measured, indent=2) + "\n")


if __name__ == "__main__":
    main()
