// Finds the edges of a small picture, checks every value, and learns nothing: it then asks for the gradients and checks those too.
//
// Build and run: see ../README.md.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convgemm.h"

enum { HEIGHT = 6, WIDTH = 8, OUT = WIDTH - 1 };

static int failures = 0;

// Ends the program where a call did not do what it had to.
static void must(int32_t code, const char *what) {
    if (code != CONVGEMM_OK) {
        fprintf(stderr, "%s: error %d: %s\n", what, (int)code, convgemm_last_error());
        exit(1);
    }
}

static void expect(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "wrong: %s\n", what);
        failures++;
    }
}

int main(void) {
    // Black columns in the middle of a white picture.
    float picture[HEIGHT * WIDTH], edges[HEIGHT * OUT];
    for (int i = 0; i < HEIGHT * WIDTH; i++) {
        int column = i % WIDTH;
        picture[i] = column >= 2 && column < 6 ? 0.0f : 1.0f;
    }
    const float kernel[2] = {1.0f, -1.0f};
    const size_t extent[2] = {HEIGHT, WIDTH};
    size_t out[2];

    convgemm_descriptor descriptor;
    must(convgemm_descriptor_init(&descriptor, 2, 1, 1), "descriptor");
    descriptor.kernel[1] = 2;

    convgemm_layer *layer = NULL;
    convgemm_context *context = NULL;
    must(convgemm_layer_create_f32(&descriptor, kernel, 2, NULL, 0, &layer), "layer");
    must(convgemm_context_create(2, &context), "context");
    must(convgemm_layer_output_extent(layer, extent, out), "extent");
    expect(out[0] == HEIGHT && out[1] == OUT, "the output's extents");

    must(convgemm_forward_f32(layer, context, 1, extent, picture, HEIGHT * WIDTH, NULL, 0, edges, HEIGHT * OUT),
         "forward");
    for (int row = 0; row < HEIGHT; row++) {
        for (int column = 0; column < OUT; column++) {
            float difference = picture[row * WIDTH + column] - picture[row * WIDTH + column + 1];
            expect(edges[row * OUT + column] == difference, "an edge");
            printf("%3.0f", edges[row * OUT + column]);
        }
        printf("\n");
    }

    // The gradients of half the sum of squares: the edges are their own gradient.
    float of_picture[HEIGHT * WIDTH] = {0}, of_kernel[2] = {0}, of_bias[1] = {0};
    must(convgemm_backward_input_f32(layer, context, 1, extent, edges, HEIGHT * OUT, kernel, 2, false, of_picture,
                                     HEIGHT * WIDTH),
         "input gradient");
    must(convgemm_backward_weight_f32(layer, context, 1, extent, picture, HEIGHT * WIDTH, edges, HEIGHT * OUT, false,
                                      of_kernel, 2),
         "weight gradient");
    must(convgemm_backward_bias_f32(layer, 1, extent, edges, HEIGHT * OUT, false, of_bias, 1), "bias gradient");
    float sums[3] = {0};
    for (int row = 0; row < HEIGHT; row++) {
        for (int column = 0; column < WIDTH; column++) {
            const float *edge = edges + row * OUT + column, *pixel = picture + row * WIDTH + column;
            float expected = (column < OUT ? edge[0] : 0.0f) - (column > 0 ? edge[-1] : 0.0f);
            expect(of_picture[row * WIDTH + column] == expected, "the gradient of a pixel");
            if (column < OUT) {
                sums[0] += edge[0] * pixel[0];
                sums[1] += edge[0] * pixel[1];
                sums[2] += edge[0];
            }
        }
    }
    expect(of_kernel[0] == sums[0] && of_kernel[1] == sums[1], "the gradient of the kernel");
    expect(of_bias[0] == sums[2], "the gradient of the bias");

    // What runs, as text; how long it is comes first.
    size_t length = 0, scratch = 0;
    must(convgemm_layer_plan(layer, 1, extent, NULL, 0, &length), "the plan's length");
    char *plan = malloc(length + 1);
    expect(plan != NULL, "memory");
    if (plan != NULL) {
        must(convgemm_layer_plan(layer, 1, extent, plan, length + 1, NULL), "plan");
        expect(strlen(plan) == length, "the plan's length");
        printf("%s\n", plan);
        free(plan);
    }
    must(convgemm_layer_scratch_bytes(layer, 1, extent, &scratch), "scratch");

    // What is wrong is said, and nothing is written.
    float before = edges[0];
    int32_t code = convgemm_forward_f32(layer, context, 1, extent, picture, 5, NULL, 0, edges, HEIGHT * OUT);
    expect(code == CONVGEMM_WRONG_LENGTH && edges[0] == before, "the code of a wrong length");
    expect(strcmp(convgemm_last_error(), "input has 5 elements, it has to have 48") == 0, "its words");
    convgemm_layer_destroy(layer);

    // From dark to bright half as much, all a quarter more; the output tells the derivative.
    const double slope = 0.5;
    const float quarter = 0.25f;
    float tilted[HEIGHT * OUT], ones_of_edges[HEIGHT * OUT], derivative[HEIGHT * OUT] = {0};
    descriptor.activation = CONVGEMM_PRELU;
    descriptor.activation_slopes = &slope;
    descriptor.activation_slopes_len = 1;
    must(convgemm_layer_create_f32(&descriptor, kernel, 2, NULL, 0, &layer), "layer with slopes");
    must(convgemm_layer_update_bias_f32(layer, &quarter, 1), "bias");
    must(convgemm_forward_f32(layer, context, 1, extent, picture, HEIGHT * WIDTH, NULL, 0, tilted, HEIGHT * OUT),
         "forward with slopes");
    for (int i = 0; i < HEIGHT * OUT; i++) {
        ones_of_edges[i] = 1.0f;
    }
    must(convgemm_backward_activation_f32(layer, 1, extent, CONVGEMM_AT_OUTPUT, tilted, HEIGHT * OUT, ones_of_edges,
                                          HEIGHT * OUT, derivative, HEIGHT * OUT),
         "activation gradient");
    for (int i = 0; i < HEIGHT * OUT; i++) {
        float sum = edges[i] + quarter;
        expect(tilted[i] == (sum < 0.0f ? 0.5f * sum : sum), "a value with a slope");
        expect(derivative[i] == (sum < 0.0f ? 0.5f : 1.0f), "a derivative");
    }
    convgemm_layer_destroy(layer);

    // Twice as high and wide, in double precision.
    const double ones[4] = {1.0, 1.0, 1.0, 1.0}, small[2] = {1.0, 10.0};
    const size_t small_extent[2] = {1, 2};
    double large[8];
    must(convgemm_descriptor_init(&descriptor, 2, 1, 1), "descriptor");
    descriptor.transposed = true;
    descriptor.kernel[0] = descriptor.kernel[1] = 2;
    descriptor.stride[0] = descriptor.stride[1] = 2;
    must(convgemm_layer_create_f64(&descriptor, ones, 4, NULL, 0, &layer), "transposed layer");
    must(convgemm_forward_f64(layer, context, 1, small_extent, small, 2, NULL, 0, large, 8), "transposed");
    for (int i = 0; i < 8; i++) {
        expect(large[i] == small[i / 2 % 2], "a transposed value");
    }
    convgemm_layer_destroy(layer);
    convgemm_context_destroy(context);

    printf(failures ? "%d wrong\n" : "all right\n", failures);
    return failures ? 1 : 0;
}
