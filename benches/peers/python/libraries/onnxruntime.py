"""ONNX Runtime, from NCHW to NCHW: as it is, and with its blocked layout, whose conversions are part of the call."""

import numpy as np
import onnxruntime

from . import onnx_model

LEVELS = (onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)


def session(model, level, threads):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def bound(model, level, xs, output_shapes, threads):
    """A call of a model of `onnx_model.of_layers` and its outputs, which it writes in place."""
    running = session(model, level, threads)
    binding = running.io_binding()
    ys = [onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, np.float32)) for shape in output_shapes]
    for i, (x, y) in enumerate(zip(xs, ys)):
        binding.bind_ortvalue_input(f"x{i}", onnxruntime.OrtValue.ortvalue_from_numpy(x))
        binding.bind_ortvalue_output(f"y{i}", y)
    return lambda: running.run_with_iobinding(binding), lambda: [y.numpy() for y in ys]


def prepare(layer, x, weight, threads):
    model = onnx_model.of_layers([layer], [weight])
    for level in LEVELS:
        call, outputs = bound(model, level, [x], [layer.output_shape], threads)
        yield call, lambda outputs=outputs: outputs()[0]
