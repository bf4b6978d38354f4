"""Times one library on a list of layers: a process of its own, started by peers.py.

Reads inputs, weights and convgemm's outputs from a folder, writes the seconds of each layer that it computes rightly as JSON.
"""

import argparse
import importlib
import json
import math
import sys

import clock
import layers as lists
import libraries


def seconds(library, layer, data, threads, min_time):
    """Of the fastest way."""
    x, weight, expected = (lists.read_tensor(layer, tensor, data) for tensor in ("x", "w", "y"))
    best = math.inf
    for call, output in library.prepare(layer, x, weight, threads):
        call()
        lists.check(output(), expected)
        best = min(best, clock.fastest(call, min_time))
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("library", choices=libraries.NAMES)
    for option in ("--layers", "--data", "--json"):
        parser.add_argument(option, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--min-time", type=float, required=True)
    arguments = parser.parse_args()
    library = importlib.import_module(f"libraries.{arguments.library}")
    _, layers = lists.read(arguments.layers)
    results = {}
    for layer in layers:
        # Libraries raise errors of many kinds where they lack a layer.
        try:
            results[layer.name] = seconds(library, layer, arguments.data, arguments.threads, arguments.min_time)
        except Exception as error:
            print(f"{layer.name}: {arguments.library} is not timed: {error}", file=sys.stderr)
    with open(arguments.json, "w") as file:
        json.dump(results, file)


if __name__ == "__main__":
    main()
