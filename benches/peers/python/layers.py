"""Lists of layers in the format of benches/layers.json, and their data."""

import json
import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Layer:
    """A two-dimensional convolution; one of one axis has a height of 1."""

    name: str
    n: int
    c_in: int
    h: int
    w: int
    c_out: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    @classmethod
    def parse(cls, fields):
        if len(fields["kernel"]) == 1:
            fields = {**fields, "h": 1}
            for axes, neutral in (("kernel", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
                fields[axes] = [neutral, *fields[axes]]
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})

    @property
    def input_shape(self):
        return self.n, self.c_in, self.h, self.w

    @property
    def weight_shape(self):
        return self.c_out, self.c_in // self.groups, *self.kernel

    @property
    def output_shape(self):
        axes = zip((self.h, self.w), self.kernel, self.stride, self.padding, self.dilation)
        return self.n, self.c_out, *((i + 2 * p - d * (k - 1) - 1) // s + 1 for i, k, s, p, d in axes)

    @property
    def is_depthwise(self):
        return self.groups == self.c_in == self.c_out > 1

    @property
    def macs(self):
        """Multiply-adds, those on padding included."""
        return math.prod(self.output_shape) * math.prod(self.weight_shape[1:])

    @property
    def bytes(self):
        """Of input, weights and output."""
        return 4 * sum(map(math.prod, (self.input_shape, self.weight_shape, self.output_shape)))

    @property
    def im2col_bytes(self):
        """Of the im2col matrix of one image."""
        return 4 * self.c_in * math.prod(self.kernel) * math.prod(self.output_shape[2:])


def read(path, match=""):
    """The layers whose name contains `match`: as the file has them, and as `Layer`s. Those of three axes are left out."""
    with open(path) as file:
        fields = [layer for layer in json.load(file) if match in layer["name"] and len(layer["kernel"]) < 3]
    return fields, [Layer.parse(layer) for layer in fields]


def write_data(layers, folder):
    """Input and weights of each layer, as `bench_layers --data` reads them."""
    for seed, layer in enumerate(layers):
        generator = np.random.default_rng(seed)
        for tensor, shape in (("x", layer.input_shape), ("w", layer.weight_shape)):
            generator.standard_normal(shape, np.float32).tofile(f"{folder}/{layer.name}.{tensor}.f32")


def read_tensor(layer, tensor, folder):
    shape = {"x": layer.input_shape, "w": layer.weight_shape, "y": layer.output_shape}[tensor]
    return np.fromfile(f"{folder}/{layer.name}.{tensor}.f32", np.float32).reshape(shape)


def check(y, expected):
    """Raises where another order of summation does not explain the difference."""
    if y.shape != expected.shape:
        raise ValueError(f"the output has the shape {y.shape}, not {expected.shape}")
    error = float(np.abs(y - expected).max() / np.abs(expected).max())
    if not error <= 1e-4:
        raise ValueError(f"the output differs by {error:.1e} of its largest value")
