"""ONNX models of convolutions."""

from onnx import TensorProto, helper, numpy_helper


def of_layers(layers, weights):
    """A model with one node for each layer, of an input and an output of its own: `x0`, `y0`, `x1`, …"""
    nodes, inputs, outputs, initializers = [], [], [], []
    for i, (layer, weight) in enumerate(zip(layers, weights)):
        nodes.append(helper.make_node(
            "Conv", [f"x{i}", f"w{i}"], [f"y{i}"], kernel_shape=layer.kernel, strides=layer.stride,
            pads=layer.padding * 2, dilations=layer.dilation, group=layer.groups))
        inputs.append(helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, layer.input_shape))
        outputs.append(helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, layer.output_shape))
        initializers.append(numpy_helper.from_array(weight, f"w{i}"))
    graph = helper.make_graph(nodes, "convolutions", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString()
