"""LiteRT, which computes by XNNPACK; from NHWC to NHWC. Padding that is not TensorFlow's "SAME" is an operation of its own."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

NHWC = (0, 2, 3, 1)
TO_NCHW = (0, 3, 1, 2)


class Model:
    """A flatbuffer of operations one after the other, while it is built."""

    def __init__(self):
        self.buffers, self.tensors, self.operators, self.codes = [schema.BufferT()], [], [], []

    def tensor(self, shape, kind=schema.TensorType.FLOAT32, buffer=0):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = f"t{len(self.tensors)}", list(shape), kind, buffer
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, values, kind=schema.TensorType.FLOAT32):
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self.buffers.append(buffer)
        return self.tensor(values.shape, kind, len(self.buffers) - 1)

    def add(self, kind, version, inputs, output, options_kind, options):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = kind
        code.version = version
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = len(self.codes), inputs, [output]
        operator.builtinOptionsType, operator.builtinOptions = options_kind, options
        self.codes.append(code)
        self.operators.append(operator)
        return output

    def serialized(self, x, y):
        graph = schema.SubGraphT()
        graph.name, graph.tensors, graph.operators = "main", self.tensors, self.operators
        graph.inputs, graph.outputs = [x], [y]
        model = schema.ModelT()
        model.version, model.description, model.operatorCodes = 3, "", self.codes
        model.subgraphs, model.buffers = [graph], self.buffers
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def is_same(layer):
    """Whether the padding is what "SAME" means."""
    for axis, size in enumerate((layer.h, layer.w)):
        stride, out = layer.stride[axis], -(-size // layer.stride[axis])
        whole = (out - 1) * stride + (layer.kernel[axis] - 1) * layer.dilation[axis] + 1 - size
        if layer.output_shape[2 + axis] != out or max(whole, 0) != 2 * layer.padding[axis]:
            return False
    return True


def serialized(layer, weight):
    model, operator, options = Model(), schema.BuiltinOperator, schema.BuiltinOptions
    n, c_in, h, w = layer.input_shape
    x = image = model.tensor((n, h, w, c_in))
    same = is_same(layer)
    if any(layer.padding) and not same:
        pad_h, pad_w = layer.padding
        padding = model.constant(np.array([[0, 0], [pad_h] * 2, [pad_w] * 2, [0, 0]], np.int32), schema.TensorType.INT32)
        padded = model.tensor((n, h + 2 * pad_h, w + 2 * pad_w, c_in))
        image = model.add(operator.PAD, 1, [x, padding], padded, options.PadOptions, schema.PadOptionsT())
    if layer.is_depthwise:
        kind, version, options_kind = operator.DEPTHWISE_CONV_2D, 2, options.DepthwiseConv2DOptions
        parameters, order = schema.DepthwiseConv2DOptionsT(), (1, 2, 3, 0)
        parameters.depthMultiplier = 1
    else:
        kind, version, options_kind = operator.CONV_2D, 1, options.Conv2DOptions
        parameters, order = schema.Conv2DOptionsT(), (0, 2, 3, 1)
    parameters.padding = schema.Padding.SAME if same else schema.Padding.VALID
    parameters.strideH, parameters.strideW = layer.stride
    parameters.dilationHFactor, parameters.dilationWFactor = layer.dilation
    inputs = [image, model.constant(weight.transpose(order)), model.constant(np.zeros(layer.c_out, np.float32))]
    y = model.tensor([layer.output_shape[axis] for axis in NHWC])
    return model.serialized(x, model.add(kind, version, inputs, y, options_kind, parameters))


def prepare(layer, x, weight, threads):
    interpreter = Interpreter(model_content=serialized(layer, weight), num_threads=threads)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.ascontiguousarray(x.transpose(NHWC)))
    output = interpreter.get_output_details()[0]["index"]
    yield interpreter.invoke, lambda: interpreter.get_tensor(output).transpose(TO_NCHW)
