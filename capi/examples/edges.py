"""Finds the edges of a small picture through the C interface, with ctypes and numpy, and checks the result.

Run: python3 edges.py path/to/libconvgemm_c.so
"""

import ctypes
import sys
from ctypes import POINTER, byref, c_bool, c_char_p, c_double, c_float, c_int32, c_size_t, c_ssize_t, c_uint32, c_void_p

import numpy as np


class Descriptor(ctypes.Structure):
    """`convgemm_descriptor` of convgemm.h."""

    _fields_ = [
        ("rank", c_size_t),
        ("in_channels", c_size_t),
        ("out_channels", c_size_t),
        ("groups", c_size_t),
        ("kernel", c_size_t * 3),
        ("stride", c_size_t * 3),
        ("dilation", c_size_t * 3),
        ("padding", c_uint32),
        ("activation", c_uint32),
        ("pad_begin", c_ssize_t * 3),
        ("pad_end", c_ssize_t * 3),
        ("activation_a", c_double),
        ("activation_b", c_double),
        ("transposed", c_bool),
        ("output_padding", c_size_t * 3),
        ("activation_slopes", POINTER(c_double)),
        ("activation_slopes_len", c_size_t),
        ("algorithm", c_uint32),
        ("accuracy", c_uint32),
    ]


RELU = 1
FLOATS, SIZES = POINTER(c_float), POINTER(c_size_t)
TENSOR = [FLOATS, c_size_t]


def load(path):
    library = ctypes.CDLL(path)
    signatures = {
        "convgemm_descriptor_init": [POINTER(Descriptor), c_size_t, c_size_t, c_size_t],
        "convgemm_layer_create_f32": [POINTER(Descriptor), *TENSOR, *TENSOR, POINTER(c_void_p)],
        "convgemm_context_create": [c_size_t, POINTER(c_void_p)],
        "convgemm_layer_output_extent": [c_void_p, SIZES, SIZES],
        "convgemm_forward_f32": [c_void_p, c_void_p, c_size_t, SIZES, *TENSOR, *TENSOR, *TENSOR],
        "convgemm_backward_weight_f32": [c_void_p, c_void_p, c_size_t, SIZES, *TENSOR, *TENSOR, c_bool, *TENSOR],
    }
    for name, arguments in signatures.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, c_int32
    library.convgemm_last_error.restype = c_char_p
    for name in ("convgemm_layer_destroy", "convgemm_context_destroy"):
        getattr(library, name).argtypes, getattr(library, name).restype = [c_void_p], None
    return library


def tensor(array):
    """Pointer and length of an array; the caller keeps the array."""
    assert array.dtype == np.float32 and array.flags.c_contiguous
    return array.ctypes.data_as(FLOATS), array.size


class Conv2d:
    """A convolution over two axes in single precision."""

    def __init__(self, library, weight, bias=None, padding=(0, 0), relu=False, threads=1):
        self.library, self.layer, self.context = library, c_void_p(), c_void_p()
        descriptor = Descriptor()
        self.must(library.convgemm_descriptor_init(byref(descriptor), 2, weight.shape[1], weight.shape[0]))
        descriptor.kernel[:2] = weight.shape[2:]
        descriptor.pad_begin[:2] = descriptor.pad_end[:2] = padding
        descriptor.activation = RELU if relu else 0
        bias = (None, 0) if bias is None else tensor(bias)
        create = library.convgemm_layer_create_f32
        self.must(create(byref(descriptor), *tensor(weight), *bias, byref(self.layer)))
        self.must(library.convgemm_context_create(threads, byref(self.context)))
        self.channels, self.weight_shape = weight.shape[0], weight.shape

    def __del__(self):
        self.library.convgemm_layer_destroy(self.layer)
        self.library.convgemm_context_destroy(self.context)

    def must(self, code):
        if code:
            raise ValueError(self.library.convgemm_last_error().decode())

    def __call__(self, x):
        extent, out = (c_size_t * 2)(*x.shape[2:]), (c_size_t * 2)()
        self.must(self.library.convgemm_layer_output_extent(self.layer, extent, out))
        y = np.empty((x.shape[0], self.channels, *out), np.float32)
        call = self.library.convgemm_forward_f32
        self.must(call(self.layer, self.context, x.shape[0], extent, *tensor(x), None, 0, *tensor(y)))
        return y

    def weight_gradient(self, x, dy):
        extent, dw = (c_size_t * 2)(*x.shape[2:]), np.zeros(self.weight_shape, np.float32)
        call = self.library.convgemm_backward_weight_f32
        self.must(call(self.layer, self.context, x.shape[0], extent, *tensor(x), *tensor(dy), False, *tensor(dw)))
        return dw


def windows(x, kernel, padding):
    """What each window of `x` reads: [batch, channels, height, width, kernel height, kernel width]."""
    (h, w), (ph, pw) = kernel, padding
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    return np.lib.stride_tricks.sliding_window_view(padded, (h, w), axis=(2, 3))


def main():
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} path/to/libconvgemm_c.so")
    library = load(sys.argv[1])

    picture = np.ones((1, 1, 6, 8), np.float32)
    picture[..., 2:6] = 0
    edges = Conv2d(library, np.array([[[[1, -1]]]], np.float32))(picture)
    print(edges[0, 0])
    assert np.array_equal(edges, picture[..., :-1] - picture[..., 1:]), "edges"

    # Whole numbers, so that sums are exact in any order.
    draw = np.random.default_rng(1).integers
    x, weight, bias = (draw(-4, 5, shape).astype(np.float32) for shape in [(3, 5, 9, 7), (20, 5, 3, 3), (20,)])
    taps = windows(x, (3, 3), (1, 1))
    sums = np.einsum("nchwij,ocij->nohw", taps, weight) + bias[:, None, None]
    for threads in (0, 1, 2):
        layer = Conv2d(library, weight, bias, padding=(1, 1), relu=True, threads=threads)
        assert np.array_equal(layer(x), np.maximum(sums, 0)), "a layer"
    dy = draw(-4, 5, sums.shape).astype(np.float32)
    expected = np.einsum("nchwij,nohw->ocij", taps, dy)
    assert np.array_equal(layer.weight_gradient(x, dy), expected), "a gradient"

    try:
        layer(x[:, :4].copy())
    except ValueError as error:
        assert str(error) == f"input has {3 * 4 * 63} elements, it has to have {3 * 5 * 63}", error
    else:
        raise AssertionError("a wrong number of channels went unnoticed")
    print("all right")


if __name__ == "__main__":
    main()
