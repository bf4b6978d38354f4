"""Times convgemm, by its example bench_layers."""

import json
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BENCH = ROOT / "target/release/examples/bench_layers"


def rows(layers, threads, min_time, data):
    """What bench_layers writes of each layer, by name. It reads inputs and weights from the folder `data`, writes outputs there."""
    if not BENCH.exists():
        raise SystemExit(f"{BENCH} is missing: cargo build --release --example bench_layers")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "rows.json")
        command = [BENCH, "--layers", layers, "--threads", threads, "--min-time", min_time, "--data", data, "--json", out]
        subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
        return {row["name"]: row for row in json.loads(out.read_text())}
