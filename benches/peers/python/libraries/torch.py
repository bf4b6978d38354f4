"""PyTorch, which computes by oneDNN: as it is, and from NHWC to NHWC with weights that oneDNN has packed."""

import torch


def prepare(layer, x, weight, threads):
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    x, weight = torch.from_numpy(x), torch.from_numpy(weight)
    parameters = (layer.stride, layer.padding, layer.dilation, layer.groups)
    yield way(lambda: torch.nn.functional.conv2d(x, weight, None, *parameters))

    stride, padding, dilation, groups = parameters
    x_last = x.to(memory_format=torch.channels_last)
    packed = torch.ops.mkldnn._reorder_convolution_weight(
        weight.to(memory_format=torch.channels_last), padding, stride, dilation, groups, x.shape)
    yield way(lambda: torch.ops.mkldnn._convolution_pointwise(
        x_last, packed, None, padding, stride, dilation, groups, "none", [], ""))


def way(call):
    return call, lambda: call().contiguous().numpy()
