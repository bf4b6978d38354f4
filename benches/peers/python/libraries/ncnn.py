"""ncnn without Winograd, which is less exact; from its planar layout into the one that it likes best."""

import struct
import tempfile
from pathlib import Path

import ncnn
import numpy as np

INEXACT = ("winograd", "fp16", "bf16", "int8", "vulkan")


def network(layer, weight, threads):
    kernel, stride, padding, dilation = layer.kernel, layer.stride, layer.padding, layer.dilation
    parameters = {
        0: layer.c_out, 1: kernel[1], 11: kernel[0], 2: dilation[1], 12: dilation[0], 3: stride[1], 13: stride[0],
        4: padding[1], 14: padding[0], 15: padding[1], 16: padding[0], 5: 0, 6: weight.size,
    }
    kind = "Convolution"
    if layer.groups > 1:
        kind = "ConvolutionDepthWise"
        parameters[7] = layer.groups
    text = " ".join(f"{key}={value}" for key, value in parameters.items())
    net = ncnn.Net()
    net.opt.num_threads = threads
    for option in dir(net.opt):
        if option.startswith("use_") and any(part in option for part in INEXACT):
            setattr(net.opt, option, False)
    with tempfile.TemporaryDirectory() as folder:
        structure, weights = Path(folder, "param"), Path(folder, "bin")
        structure.write_text(
            f"7767517\n2 2\nInput x 0 1 x 0={layer.w} 1={layer.h} 2={layer.c_in}\n{kind} conv 1 1 x y {text}\n")
        # A tag of 0: single precision.
        weights.write_bytes(struct.pack("<I", 0) + weight.tobytes())
        if net.load_param(str(structure)) or net.load_model(str(weights)):
            raise RuntimeError("ncnn does not load the layer")
    return net


def prepare(layer, x, weight, threads):
    net = network(layer, weight, threads)
    images = [ncnn.Mat(image).clone() for image in x]

    def one(image):
        extractor = net.create_extractor()
        extractor.input("x", image)
        return extractor.extract("y")[1]

    yield lambda: [one(image) for image in images], lambda: np.stack([np.array(one(image)) for image in images])
