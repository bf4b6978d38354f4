// Convolution on CPUs: plain NCHW memory in, plain NCHW memory out, bit-for-bit reproducible.
// Generated from capi/src by cbindgen; README.md there says how to build, link and use it.
//
// Ownership. What a `_create` function gives belongs to the caller, who gives it back to the `_destroy` function of the
// same name, once. Tensors belong to the caller; nothing of them is kept: weights are copied when a layer is created.
//
// Threads. A layer may be used by any number of threads at a time, except that `convgemm_layer_update_*` and
// `convgemm_layer_destroy` need it alone. A context is for one call at a time.
//
// Errors. Functions return CONVGEMM_OK or another of the codes below and never unwind into the caller;
// `convgemm_last_error` says in words what was wrong. Nothing has been written to tensors then, except after
// CONVGEMM_PANIC.
//
// Tensors. C order, last axis fastest: input `[batch, in_channels, extent...]`, weight
// `[out_channels, in_channels / groups, kernel...]` (of a transposed convolution
// `[in_channels, out_channels / groups, kernel...]`), bias `[out_channels]`, output
// `[batch, out_channels, output extent...]`. Lengths are in elements and have to be exactly those. Pointers are aligned for
// their type, and may be null where the length is 0. What is written to overlaps nothing else that a call is given.


#ifndef CONVGEMM_H
#define CONVGEMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// `pad_begin` and `pad_end` are used.
#define CONVGEMM_PADDING_EXPLICIT 0

// As much padding as makes the output `ceil(input / stride)` long, an odd one at the end; ONNX's SAME_UPPER.
#define CONVGEMM_PADDING_SAME_UPPER 1

// The same with an odd one at the beginning; ONNX's SAME_LOWER.
#define CONVGEMM_PADDING_SAME_LOWER 2

// x.
#define CONVGEMM_IDENTITY 0

// max(0, x).
#define CONVGEMM_RELU 1

// min(max(0, x), 6).
#define CONVGEMM_RELU6 2

// min(max(`activation_a`, x), `activation_b`).
#define CONVGEMM_CLAMP 3

// x where x >= 0, else `activation_a` x.
#define CONVGEMM_LEAKY_RELU 4

// 1 / (1 + exp(-x)).
#define CONVGEMM_SIGMOID 5

// tanh(x).
#define CONVGEMM_TANH 6

// x / (1 + exp(-x)), also called swish.
#define CONVGEMM_SILU 7

// x min(max(x / 6 + 1/2, 0), 1).
#define CONVGEMM_HARD_SWISH 8

// min(max(x / 6 + 1/2, 0), 1).
#define CONVGEMM_HARD_SIGMOID 9

// x/2 (1 + erf(x / sqrt(2))).
#define CONVGEMM_GELU 10

// Its approximation by tanh.
#define CONVGEMM_GELU_TANH 11

// x where x >= 0, else `activation_slopes[output channel]` x.
#define CONVGEMM_PRELU 12

// Whichever algorithm of the descriptor's accuracy is estimated to be fastest.
#define CONVGEMM_ALGORITHM_AUTO 0

// A matrix product whose im2col matrix is never written; exact.
#define CONVGEMM_ALGORITHM_GEMM 1

// Sums over windows, for few output channels in a group; exact.
#define CONVGEMM_ALGORITHM_DIRECT 2

// The im2col matrix in memory and another library's matrix product, which sums in another order.
#define CONVGEMM_ALGORITHM_IM2COL 3

// Winograd's tiles of 2 outputs along each axis, of kernels of 3 or 5 taps at a stride of 1.
#define CONVGEMM_ALGORITHM_WINOGRAD_2 4

// Those of 4.
#define CONVGEMM_ALGORITHM_WINOGRAD_4 5

// Those of 6, of 3 taps.
#define CONVGEMM_ALGORITHM_WINOGRAD_6 6

// Each output is one sum in a known order.
#define CONVGEMM_EXACT 0

// Whatever is fastest with an error of at most 1e-5 of the largest output in single precision, Winograd's tiles too; NaN and infinity
// may spread across a tile. Gradients stay exact.
#define CONVGEMM_FAST 1

// The values before the activation: sum + bias + residual.
#define CONVGEMM_AT_PRE_ACTIVATION 0

// The layer's output.
#define CONVGEMM_AT_OUTPUT 1

// The call did what it had to.
#define CONVGEMM_OK 0

// A pointer is null where there has to be something, or is not aligned.
#define CONVGEMM_BAD_POINTER 1

// A parameter, or a combination of them, describes no convolution.
#define CONVGEMM_BAD_ARGUMENT 2

// A tensor has the wrong number of elements.
#define CONVGEMM_WRONG_LENGTH 3

// The layer is of the other element type.
#define CONVGEMM_WRONG_TYPE 4

// There is no memory, or no thread, left.
#define CONVGEMM_OUT_OF_MEMORY 5

// A defect of the library; what the call was to write is not specified.
#define CONVGEMM_PANIC 6

// Threads and memory for one call at a time, of any layer. The memory grows to what the largest call needs, at most 1 MiB for
// each thread (2 MiB where Winograd's tiles are allowed), packed weights of gradients aside; a call whose extents it has seen
// allocates nothing.
typedef struct convgemm_context convgemm_context;

// A layer: weights packed for this machine, ready for images of any size and batches of any number.
typedef struct convgemm_layer convgemm_layer;

// What a layer is, but for its weights and the size of images. Of each array the first `rank` elements are used, the outermost
// axis first. `convgemm_descriptor_init` sets all of it; set what differs afterwards.
typedef struct convgemm_descriptor {
  // Spatial axes: 1, 2 or 3.
  size_t rank;
  // Over all groups.
  size_t in_channels;
  // Over all groups.
  size_t out_channels;
  // Into how many contiguous runs both channel axes are split; `in_channels` of them is depthwise.
  size_t groups;
  // Taps.
  size_t kernel[3];
  // Distance between windows; of a transposed convolution between the kernels that are added to the output.
  size_t stride[3];
  // Distance between taps; 1 is a dense kernel.
  size_t dilation[3];
  // One of `CONVGEMM_PADDING_...`.
  uint32_t padding;
  // One of `CONVGEMM_IDENTITY` to `CONVGEMM_PRELU`: what is applied to sum + bias + residual.
  uint32_t activation;
  // Zeros before the first element; negative crops. A transposed convolution cuts as much from its output.
  ptrdiff_t pad_begin[3];
  // Zeros behind the last element.
  ptrdiff_t pad_end[3];
  // Of an activation that has parameters.
  double activation_a;
  // Of an activation that has two parameters.
  double activation_b;
  // Whether the layer is a transposed convolution.
  bool transposed;
  // What is added to a transposed convolution's output at its end; 0 for others.
  size_t output_padding[3];
  // Of `CONVGEMM_PRELU`: one for each output channel. Copied when a layer is created.
  const double *activation_slopes;
  // How many those are.
  size_t activation_slopes_len;
  // One of `CONVGEMM_ALGORITHM_...`; that of a transposed convolution is `CONVGEMM_ALGORITHM_AUTO`.
  uint32_t algorithm;
  // `CONVGEMM_EXACT` or `CONVGEMM_FAST`; that of a transposed convolution is `CONVGEMM_EXACT`.
  uint32_t accuracy;
} convgemm_descriptor;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Sets `descriptor` to a layer of a kernel of one tap at a stride and a dilation of 1, without padding, groups or activation.
//
// # Safety
// `descriptor` is null or points to room for one.
int32_t convgemm_descriptor_init(struct convgemm_descriptor *descriptor,
                                 size_t rank,
                                 size_t in_channels,
                                 size_t out_channels);

// Makes a layer of `f32` of copies of `weight` and `bias`; no bias where that is null and `bias_len` 0.
//
// # Safety
// Each pointer, those in the descriptor among them, is null or points to what its name says, slices to as many elements as are said behind it.
int32_t convgemm_layer_create_f32(const struct convgemm_descriptor *descriptor,
                                  const float *weight,
                                  size_t weight_len,
                                  const float *bias,
                                  size_t bias_len,
                                  struct convgemm_layer **layer);

// Makes a layer of `f64` of copies of `weight` and `bias`; no bias where that is null and `bias_len` 0.
//
// # Safety
// Each pointer, those in the descriptor among them, is null or points to what its name says, slices to as many elements as are said behind it.
int32_t convgemm_layer_create_f64(const struct convgemm_descriptor *descriptor,
                                  const double *weight,
                                  size_t weight_len,
                                  const double *bias,
                                  size_t bias_len,
                                  struct convgemm_layer **layer);

// Replaces the weights of a layer of `f32`. It needs the layer alone.
//
// # Safety
// Each pointer is null or points to what its name says; nobody else uses the layer.
int32_t convgemm_layer_update_weight_f32(struct convgemm_layer *layer,
                                         const float *weight,
                                         size_t weight_len);

// Replaces the weights of a layer of `f64`. It needs the layer alone.
//
// # Safety
// Each pointer is null or points to what its name says; nobody else uses the layer.
int32_t convgemm_layer_update_weight_f64(struct convgemm_layer *layer,
                                         const double *weight,
                                         size_t weight_len);

// Replaces the bias of a layer of `f32`, which may have had none. It needs the layer alone.
//
// # Safety
// Each pointer is null or points to what its name says; nobody else uses the layer.
int32_t convgemm_layer_update_bias_f32(struct convgemm_layer *layer, const float *bias, size_t bias_len);

// Replaces the bias of a layer of `f64`, which may have had none. It needs the layer alone.
//
// # Safety
// Each pointer is null or points to what its name says; nobody else uses the layer.
int32_t convgemm_layer_update_bias_f64(struct convgemm_layer *layer, const double *bias, size_t bias_len);

// Gives a layer back. Null is none.
//
// # Safety
// `layer` is null or what a `convgemm_layer_create` gave, which nobody uses any more.
void convgemm_layer_destroy(struct convgemm_layer *layer);

// The number of spatial axes of a layer; 0 where `layer` is null.
//
// # Safety
// `layer` is null or a layer.
size_t convgemm_layer_rank(const struct convgemm_layer *layer);

// The extents of the output for images of the extents `extent`. Both have as many elements as the layer has spatial axes.
//
// # Safety
// Each pointer is null or points to what its name says.
int32_t convgemm_layer_output_extent(const struct convgemm_layer *layer,
                                     const size_t *extent,
                                     size_t *output_extent);

// What would run for `batch` images of the extents `extent`, and why, as text in `text`, a zero behind it: as much of it as fits in
// `capacity` bytes, between characters. `length`, where it is not null, is how long the text is, without the zero, whether it fits or
// not. `text` may be null where `capacity` is 0. Transposed convolutions have no plan.
//
// # Safety
// Each pointer is null or points to what its name says, `extent` to as many elements as the layer has spatial axes, `text` to
// `capacity` bytes.
int32_t convgemm_layer_plan(const struct convgemm_layer *layer,
                            size_t batch,
                            const size_t *extent,
                            char *text,
                            size_t capacity,
                            size_t *length);

// The bytes of scratch that each of the threads takes to compute `batch` images of the extents `extent`; a context keeps them. Transposed
// convolutions do not tell.
//
// # Safety
// Each pointer is null or points to what its name says, `extent` to as many elements as the layer has spatial axes.
int32_t convgemm_layer_scratch_bytes(const struct convgemm_layer *layer,
                                     size_t batch,
                                     const size_t *extent,
                                     size_t *bytes);

// The layer's output for `batch` images of the extents `extent`. `residual`, shaped like `y`, is added before the activation; none
// where it is null and `residual_len` 0, and none for a transposed convolution. `y` need not be initialised.
//
// # Safety
// Each pointer is null or points to what its name says, slices to as many elements as are said behind it, `extent` to as many
// as the layer has spatial axes; `y` overlaps nothing else, and nobody else uses it or the context.
int32_t convgemm_forward_f32(const struct convgemm_layer *layer,
                             struct convgemm_context *context,
                             size_t batch,
                             const size_t *extent,
                             const float *x,
                             size_t x_len,
                             const float *residual,
                             size_t residual_len,
                             float *y,
                             size_t y_len);

// The layer's output for `batch` images of the extents `extent`. `residual`, shaped like `y`, is added before the activation; none
// where it is null and `residual_len` 0, and none for a transposed convolution. `y` need not be initialised.
//
// # Safety
// Each pointer is null or points to what its name says, slices to as many elements as are said behind it, `extent` to as many
// as the layer has spatial axes; `y` overlaps nothing else, and nobody else uses it or the context.
int32_t convgemm_forward_f64(const struct convgemm_layer *layer,
                             struct convgemm_context *context,
                             size_t batch,
                             const size_t *extent,
                             const double *x,
                             size_t x_len,
                             const double *residual,
                             size_t residual_len,
                             double *y,
                             size_t y_len);

// Makes a context. `threads` is 1 for the calling thread alone, 0 for a pool of as many threads as the machine has, which all such
// contexts share, or the number of threads of a pool of its own. Results have the same bytes for any number.
//
// # Safety
// `context` is null or points to room for a pointer.
int32_t convgemm_context_create(size_t threads,
                                struct convgemm_context **context);

// Gives a context back, after its threads have ended. Null is none.
//
// # Safety
// `context` is null or what `convgemm_context_create` gave, which nobody uses any more.
void convgemm_context_destroy(struct convgemm_context *context);

// The gradient with respect to the input, shaped like it, from `dy`, that with respect to the output (before the activation), and the
// weights as they were given to the layer; `extent` is the input's. Added to what `dx` holds where `accumulate` says so. `dx` is
// initialised memory in either case.
//
// # Safety
// As `convgemm_forward_f32`, with `dx` in place of `y`.
int32_t convgemm_backward_input_f32(const struct convgemm_layer *layer,
                                    struct convgemm_context *context,
                                    size_t batch,
                                    const size_t *extent,
                                    const float *dy,
                                    size_t dy_len,
                                    const float *weight,
                                    size_t weight_len,
                                    bool accumulate,
                                    float *dx,
                                    size_t dx_len);

// The gradient with respect to the input, shaped like it, from `dy`, that with respect to the output (before the activation), and the
// weights as they were given to the layer; `extent` is the input's. Added to what `dx` holds where `accumulate` says so. `dx` is
// initialised memory in either case.
//
// # Safety
// As `convgemm_forward_f64`, with `dx` in place of `y`.
int32_t convgemm_backward_input_f64(const struct convgemm_layer *layer,
                                    struct convgemm_context *context,
                                    size_t batch,
                                    const size_t *extent,
                                    const double *dy,
                                    size_t dy_len,
                                    const double *weight,
                                    size_t weight_len,
                                    bool accumulate,
                                    double *dx,
                                    size_t dx_len);

// The gradient with respect to the weights, shaped like them, from the input and `dy`, the gradient with respect to the output (before
// the activation); `extent` is the input's. Added to what `dw` holds where `accumulate` says so. `dw` is initialised memory in either
// case.
//
// # Safety
// As `convgemm_forward_f32`, with `dw` in place of `y`.
int32_t convgemm_backward_weight_f32(const struct convgemm_layer *layer,
                                     struct convgemm_context *context,
                                     size_t batch,
                                     const size_t *extent,
                                     const float *x,
                                     size_t x_len,
                                     const float *dy,
                                     size_t dy_len,
                                     bool accumulate,
                                     float *dw,
                                     size_t dw_len);

// The gradient with respect to the weights, shaped like them, from the input and `dy`, the gradient with respect to the output (before
// the activation); `extent` is the input's. Added to what `dw` holds where `accumulate` says so. `dw` is initialised memory in either
// case.
//
// # Safety
// As `convgemm_forward_f64`, with `dw` in place of `y`.
int32_t convgemm_backward_weight_f64(const struct convgemm_layer *layer,
                                     struct convgemm_context *context,
                                     size_t batch,
                                     const size_t *extent,
                                     const double *x,
                                     size_t x_len,
                                     const double *dy,
                                     size_t dy_len,
                                     bool accumulate,
                                     double *dw,
                                     size_t dw_len);

// The gradient with respect to the bias from `dy`, that with respect to the output (before the activation): the sum of each channel;
// `extent` is the input's. Added to what `db` holds where `accumulate` says so. `db` is initialised memory in either case.
//
// # Safety
// As `convgemm_forward_f32`, with `db` in place of `y`.
int32_t convgemm_backward_bias_f32(const struct convgemm_layer *layer,
                                   size_t batch,
                                   const size_t *extent,
                                   const float *dy,
                                   size_t dy_len,
                                   bool accumulate,
                                   float *db,
                                   size_t db_len);

// The gradient with respect to the bias from `dy`, that with respect to the output (before the activation): the sum of each channel;
// `extent` is the input's. Added to what `db` holds where `accumulate` says so. `db` is initialised memory in either case.
//
// # Safety
// As `convgemm_forward_f64`, with `db` in place of `y`.
int32_t convgemm_backward_bias_f64(const struct convgemm_layer *layer,
                                   size_t batch,
                                   const size_t *extent,
                                   const double *dy,
                                   size_t dy_len,
                                   bool accumulate,
                                   double *db,
                                   size_t db_len);

// The gradient with respect to the values before the activation, `dz`, which the other gradients start from: `dy`, that with respect to
// the layer's output, times the derivative of the layer's activation, all of them shaped like the output; `extent` is the input's. At a
// kink the derivative is that of the flat side (0 for ReLU at 0), or the slope. `at` says what `values` are: the layer's output tells
// the derivative of all but SiLU, HardSwish, GELU, and rectifiers whose slopes are not positive. `dz` is initialised memory.
//
// # Safety
// As `convgemm_forward_f32`, with `dz` in place of `y`.
int32_t convgemm_backward_activation_f32(const struct convgemm_layer *layer,
                                         size_t batch,
                                         const size_t *extent,
                                         uint32_t at,
                                         const float *values,
                                         size_t values_len,
                                         const float *dy,
                                         size_t dy_len,
                                         float *dz,
                                         size_t dz_len);

// The gradient with respect to the values before the activation, `dz`, which the other gradients start from: `dy`, that with respect to
// the layer's output, times the derivative of the layer's activation, all of them shaped like the output; `extent` is the input's. At a
// kink the derivative is that of the flat side (0 for ReLU at 0), or the slope. `at` says what `values` are: the layer's output tells
// the derivative of all but SiLU, HardSwish, GELU, and rectifiers whose slopes are not positive. `dz` is initialised memory.
//
// # Safety
// As `convgemm_forward_f64`, with `dz` in place of `y`.
int32_t convgemm_backward_activation_f64(const struct convgemm_layer *layer,
                                         size_t batch,
                                         const size_t *extent,
                                         uint32_t at,
                                         const double *values,
                                         size_t values_len,
                                         const double *dy,
                                         size_t dy_len,
                                         double *dz,
                                         size_t dz_len);

// What was wrong with the last call of this thread that failed; empty where none has.
//
// The text belongs to the library and stays as it is until the next call of this thread fails or the thread ends.
const char *convgemm_last_error(void);

// Makes a context. `threads` is 1 for the calling thread alone, 0 for a pool of as many threads as the machine has, which all such
// contexts share, or the number of threads of a pool of its own. Results have the same bytes for any number.
//
// # Safety
// `context` is null or points to room for a pointer.
int32_t convgemm_context_create(size_t threads,
                                struct convgemm_context **context);

// Gives a context back, after its threads have ended. Null is none.
//
// # Safety
// `context` is null or what `convgemm_context_create` gave, which nobody uses any more.
void convgemm_context_destroy(struct convgemm_context *context);

// The gradient with respect to the input, shaped like it, from `dy`, that with respect to the output (before the activation), and the
// weights as they were given to the layer; `extent` is the input's. Added to what `dx` holds where `accumulate` says so. `dx` is
// initialised memory in either case.
//
// # Safety
// As `convgemm_forward_f32`, with `dx` in place of `y`.
int32_t convgemm_backward_input_f32(const struct convgemm_layer *layer,
                                    struct convgemm_context *context,
                                    size_t batch,
                                    const size_t *extent,
                                    const float *dy,
                                    size_t dy_len,
                                    const float *weight,
                                    size_t weight_len,
                                    bool accumulate,
                                    float *dx,
                                    size_t dx_len);

// The gradient with respect to the input, shaped like it, from `dy`, that with respect to the output (before the activation), and the
// weights as they were given to the layer; `extent` is the input's. Added to what `dx` holds where `accumulate` says so. `dx` is
// initialised memory in either case.
//
// # Safety
// As `convgemm_forward_f64`, with `dx` in place of `y`.
int32_t convgemm_backward_input_f64(const struct convgemm_layer *layer,
                                    struct convgemm_context *context,
                                    size_t batch,
                                    const size_t *extent,
                                    const double *dy,
                                    size_t dy_len,
                                    const double *weight,
                                    size_t weight_len,
                                    bool accumulate,
                                    double *dx,
                                    size_t dx_len);

// The gradient with respect to the weights, shaped like them, from the input and `dy`, the gradient with respect to the output (before
// the activation); `extent` is the input's. Added to what `dw` holds where `accumulate` says so. `dw` is initialised memory in either
// case.
//
// # Safety
// As `convgemm_forward_f32`, with `dw` in place of `y`.
int32_t convgemm_backward_weight_f32(const struct convgemm_layer *layer,
                                     struct convgemm_context *context,
                                     size_t batch,
                                     const size_t *extent,
                                     const float *x,
                                     size_t x_len,
                                     const float *dy,
                                     size_t dy_len,
                                     bool accumulate,
                                     float *dw,
                                     size_t dw_len);

// The gradient with respect to the weights, shaped like them, from the input and `dy`, the gradient with respect to the output (before
// the activation); `extent` is the input's. Added to what `dw` holds where `accumulate` says so. `dw` is initialised memory in either
// case.
//
// # Safety
// As `convgemm_forward_f64`, with `dw` in place of `y`.
int32_t convgemm_backward_weight_f64(const struct convgemm_layer *layer,
                                     struct convgemm_context *context,
                                     size_t batch,
                                     const size_t *extent,
                                     const double *x,
                                     size_t x_len,
                                     const double *dy,
                                     size_t dy_len,
                                     bool accumulate,
                                     double *dw,
                                     size_t dw_len);

// The gradient with respect to the bias from `dy`, that with respect to the output (before the activation): the sum of each channel;
// `extent` is the input's. Added to what `db` holds where `accumulate` says so. `db` is initialised memory in either case.
//
// # Safety
// As `convgemm_forward_f32`, with `db` in place of `y`.
int32_t convgemm_backward_bias_f32(const struct convgemm_layer *layer,
                                   size_t batch,
                                   const size_t *extent,
                                   const float *dy,
                                   size_t dy_len,
                                   bool accumulate,
                                   float *db,
                                   size_t db_len);

// The gradient with respect to the bias from `dy`, that with respect to the output (before the activation): the sum of each channel;
// `extent` is the input's. Added to what `db` holds where `accumulate` says so. `db` is initialised memory in either case.
//
// # Safety
// As `convgemm_forward_f64`, with `db` in place of `y`.
int32_t convgemm_backward_bias_f64(const struct convgemm_layer *layer,
                                   size_t batch,
                                   const size_t *extent,
                                   const double *dy,
                                   size_t dy_len,
                                   bool accumulate,
                                   double *db,
                                   size_t db_len);

// The gradient with respect to the values before the activation, `dz`, which the other gradients start from: `dy`, that with respect to
// the layer's output, times the derivative of the layer's activation, all of them shaped like the output; `extent` is the input's. At a
// kink the derivative is that of the flat side (0 for ReLU at 0), or the slope. `at` says what `values` are: the layer's output tells
// the derivative of all but SiLU, HardSwish, GELU, and rectifiers whose slopes are not positive. `dz` is initialised memory.
//
// # Safety
// As `convgemm_forward_f32`, with `dz` in place of `y`.
int32_t convgemm_backward_activation_f32(const struct convgemm_layer *layer,
                                         size_t batch,
                                         const size_t *extent,
                                         uint32_t at,
                                         const float *values,
                                         size_t values_len,
                                         const float *dy,
                                         size_t dy_len,
                                         float *dz,
                                         size_t dz_len);

// The gradient with respect to the values before the activation, `dz`, which the other gradients start from: `dy`, that with respect to
// the layer's output, times the derivative of the layer's activation, all of them shaped like the output; `extent` is the input's. At a
// kink the derivative is that of the flat side (0 for ReLU at 0), or the slope. `at` says what `values` are: the layer's output tells
// the derivative of all but SiLU, HardSwish, GELU, and rectifiers whose slopes are not positive. `dz` is initialised memory.
//
// # Safety
// As `convgemm_forward_f64`, with `dz` in place of `y`.
int32_t convgemm_backward_activation_f64(const struct convgemm_layer *layer,
                                         size_t batch,
                                         const size_t *extent,
                                         uint32_t at,
                                         const double *values,
                                         size_t values_len,
                                         const double *dy,
                                         size_t dy_len,
                                         double *dz,
                                         size_t dz_len);

// What was wrong with the last call of this thread that failed; empty where none has.
//
// The text belongs to the library and stays as it is until the next call of this thread fails or the thread ends.
const char *convgemm_last_error(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* CONVGEMM_H */
