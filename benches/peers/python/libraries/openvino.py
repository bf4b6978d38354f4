"""OpenVINO, from NCHW to NCHW and from NHWC to NHWC."""

import numpy as np
import openvino as ov

from . import onnx_model

NHWC = (0, 2, 3, 1)
TO_NCHW = (0, 3, 1, 2)


def compiled(model, threads):
    config = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    return ov.Core().compile_model(model, "CPU", {**config, "INFERENCE_PRECISION_HINT": "f32"})


def request(model, x, output_shape, threads):
    """A call of a model, and the array that it writes."""
    running = compiled(model, threads).create_infer_request()
    y = np.zeros(output_shape, np.float32)
    running.set_input_tensor(ov.Tensor(x, shared_memory=True))
    running.set_output_tensor(ov.Tensor(y, shared_memory=True))

    def call():
        running.start_async()
        running.wait()

    return call, y


def prepare(layer, x, weight, threads):
    serialized = onnx_model.of_layers([layer], [weight])
    call, y = request(ov.Core().read_model(serialized), x, layer.output_shape, threads)
    yield call, lambda: y

    steps = ov.preprocess.PrePostProcessor(ov.Core().read_model(serialized))
    for tensor in (steps.input(), steps.output()):
        tensor.tensor().set_layout(ov.Layout("NHWC"))
        tensor.model().set_layout(ov.Layout("NCHW"))
    channels_last = np.ascontiguousarray(x.transpose(NHWC))
    output_shape = [layer.output_shape[axis] for axis in NHWC]
    call_last, y_last = request(steps.build(), channels_last, output_shape, threads)
    yield call_last, lambda: y_last.transpose(TO_NCHW)
