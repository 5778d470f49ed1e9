// Kernels that reduce each row of an f32[rows, n]: norm and softmax family. `out` may be `x`.
#include "elementary.h"
#include "reduce.h"

namespace quaver {
namespace {

/** Σ exp(x − largest) in the canonical order; stores each term when `terms` is given. */
QUAVER_INLINE float sum_of_exp(const float* x, float largest, uint32_t n, float* terms) {
  return canonical_sum(n, [&](uint32_t i, uint32_t count) {
    const f32x4 e = exp(load_first(x, i, count) - splat(largest));
    if (terms) store_first(terms + i, e, count);
    return e;
  });
}

}  // namespace

/** out = (x · r) · weight with r = 1 / sqrt(Σ x² / n + eps); weight f32[n]. */
QUAVER_KERNEL(rms_norm)
void rms_norm(const float* x, const float* weight, float* out, uint32_t rows, uint32_t n, float eps) {
  for (uint32_t row = 0; row < rows; row++, x += n, out += n) {
    const float sum = canonical_sum(n, [&](uint32_t i, uint32_t count) {
      const f32x4 v = load_first(x, i, count);
      return v * v;
    });
    const f32x4 r = splat(1.0f / sqrt(sum / static_cast<float>(n) + eps));
    for_each_4<Format::f32>(x, n, [&](uint32_t i, f32x4 v, uint32_t count) {
      store_first(out + i, v * r * load_first(weight, i, count), count);
    });
  }
}

/** out = exp(x − max) / Σ exp(x − max). */
QUAVER_KERNEL(softmax) void softmax(const float* x, float* out, uint32_t rows, uint32_t n) {
  for (uint32_t row = 0; row < rows; row++, x += n, out += n) {
    const f32x4 sum = splat(sum_of_exp(x, row_max(x, n), n, out));
    for_each_4<Format::f32>(out, n, [&](uint32_t i, f32x4 e, uint32_t count) { store_first(out + i, e / sum, count); });
  }
}

/** out = (x − max) − log(Σ exp(x − max)). */
QUAVER_KERNEL(log_softmax) void log_softmax(const float* x, float* out, uint32_t rows, uint32_t n) {
  for (uint32_t row = 0; row < rows; row++, x += n, out += n) {
    const float largest = row_max(x, n);
    const float log_sum = log(sum_of_exp(x, largest, n, nullptr));
    for_each_4<Format::f32>(x, n, [&](uint32_t i, f32x4 v, uint32_t count) {
      store_first(out + i, v - splat(largest) - splat(log_sum), count);
    });
  }
}

/**
 * out[row] = log_softmax(x[row])[targets[row]]; out f32[rows], targets i32[rows].
 * Returns the first row whose target is outside 0 … n−1, before writing anything, or −1.
 */
QUAVER_KERNEL(log_softmax_gather)
int32_t log_softmax_gather(const float* x, const int32_t* targets, float* out, uint32_t rows, uint32_t n) {
  for (uint32_t row = 0; row < rows; row++)
    if (static_cast<uint32_t>(targets[row]) >= n) return static_cast<int32_t>(row);
  for (uint32_t row = 0; row < rows; row++, x += n) {
    const float largest = row_max(x, n);
    out[row] = x[targets[row]] - largest - log(sum_of_exp(x, largest, n, nullptr));
  }
  return -1;
}

}  // namespace quaver
