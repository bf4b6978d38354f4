"""Times convgemm, by its example bench_layers and the Rust program beside this folder."""

import json
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BENCH = ROOT / "target/release/examples/bench_layers"
PASS = ROOT / "benches/peers/target/release/convgemm-peers"


def run(program, layers, threads, min_time, *options):
    """The JSON that a program writes."""
    if not program.exists():
        raise SystemExit(f"{program} is missing: benches/peers/README.md says how to build it")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out.json")
        command = [program, "--layers", layers, "--threads", threads, "--min-time", min_time, "--json", out, *options]
        subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
        return json.loads(out.read_text())


def rows(layers, threads, min_time, data):
    """What bench_layers writes of each layer, by name.

    It reads inputs and weights from the folder `data` and writes outputs there.
    """
    return {row["name"]: row for row in run(BENCH, layers, threads, min_time, "--data", data)}


def pass_seconds(layers, threads, min_time):
    """Seconds of the fastest pass over all layers, one after the other."""
    return run(PASS, layers, threads, min_time, "--pass", "--peers", "convgemm", "--rounds", 1)["convgemm"]
