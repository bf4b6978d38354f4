"""The libraries.

Each module has `prepare(layer, x, weight, threads)`, which yields the ways in which the library can compute the layer: pairs of a call
that computes and a function that gives the output in NCHW. What can be done before an input is known is done by then.
"""

NAMES = ("torch", "onnxruntime", "openvino", "litert", "ncnn")
