// Kernels that reduce each row of an f32[rows, n]: norm and softmax family. `out` may be `x`.
#include "rows.h"

#include "reduce.h"

namespace quaver::QUAVER_ISA {
namespace {

/** Σ x² of a row. */
QUAVER_INLINE float sum_of_squares(Reduction reduction, const float* x, uint32_t n) {
  const auto square = [&](uint32_t i, uint32_t count) __attribute__((always_inline)) {
    const f32v v = load_first(x, i, count);
    return v * v;
  };
  return reduction == Reduction::fast ? fast_sum(n, square) : canonical_sum(n, square);
}

QUAVER_INLINE float log_sum_of_exp(const float* x, float largest, uint32_t n) {
  return log(sum_of_exp(x, largest, n, [](uint32_t, f32v, uint32_t) {}));
}

}  // namespace

/** out = (x · r) · weight with r = 1 / sqrt(Σ x² / n + eps); weight f32[n]. */
void rms_norm(Reduction reduction, const float* x, const float* weight, float* out, uint32_t n, float eps,
              uint32_t row0, uint32_t row1) {
  for (size_t row = row0; row < row1; row++) {
    const float* from = x + row * n;
    const float squares = sum_of_squares(reduction, from, n);
    const f32v r = splat(1.0f / sqrt(squares / static_cast<float>(n) + eps));
    for_each_vector<Format::f32>(from, n, [&](size_t i, f32v v, uint32_t count) {
      store_first(out + row * n + i, v * r * load_first(weight, i, count), count);
    });
  }
}

/** out = exp(x − max) / Σ exp(x − max). */
void softmax(Reduction, const float* x, float* out, uint32_t n, uint32_t row0, uint32_t row1) {
  for (size_t row = row0; row < row1; row++) {
    const float* from = x + row * n;
    float* to = out + row * n;
    const f32v total = splat(sum_of_exp(from, row_max(from, n), n,
                                        [&](uint32_t i, f32v e, uint32_t count)
                                            __attribute__((always_inline)) { store_first(to + i, e, count); }));
    for_each_vector<Format::f32>(to, n,
                                 [&](size_t i, f32v e, uint32_t count) { store_first(to + i, e / total, count); });
  }
}

/** out = (x − max) − log(Σ exp(x − max)). */
void log_softmax(Reduction, const float* x, float* out, uint32_t n, uint32_t row0, uint32_t row1) {
  for (size_t row = row0; row < row1; row++) {
    const float* from = x + row * n;
    const float largest = row_max(from, n);
    const float log_sum = log_sum_of_exp(from, largest, n);
    for_each_vector<Format::f32>(from, n, [&](size_t i, f32v v, uint32_t count) {
      store_first(out + row * n + i, v - splat(largest) - splat(log_sum), count);
    });
  }
}

/** out[row] = log_softmax(x[row])[targets[row]]. */
void log_softmax_gather(Reduction, const float* x, const int32_t* targets, float* out, uint32_t n, uint32_t row0,
                        uint32_t row1) {
  for (size_t row = row0; row < row1; row++) {
    const float* from = x + row * n;
    const float largest = row_max(from, n);
    out[row] = from[targets[row]] - largest - log_sum_of_exp(from, largest, n);
  }
}

}  // namespace quaver::QUAVER_ISA
