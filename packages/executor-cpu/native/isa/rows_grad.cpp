// Gradients of the kernels that reduce each row.
#include "reduce.h"
#include "rows.h"

namespace quaver::QUAVER_ISA {

void rms_norm_grad(const float* x, const float* weight, const float* dy, float* dx, float* partials, uint32_t rows,
                   uint32_t n, float eps, uint32_t block0, uint32_t block1) {
  for (size_t block = block0; block < block1; block++) {
    float* sums = partials + block * n;
    __builtin_memset(sums, 0, size_t{n} * sizeof(float));
    const size_t first = block * kGradRows, end = rows - first < kGradRows ? rows : first + kGradRows;
    for (size_t row = first; row < end; row++) {
      const float *from = x + row * n, *slope = dy + row * n;
      float* to = dx + row * n;
      const float squares = canonical_sum(n, [&](uint32_t i, uint32_t count) __attribute__((always_inline)) {
        const f32v v = load_first(from, i, count);
        return v * v;
      });
      const f32v r = splat(1.0f / sqrt(squares / static_cast<float>(n) + eps));
      const float along = canonical_sum(n, [&](uint32_t i, uint32_t count) __attribute__((always_inline)) {
        const f32v weighted = load_first(slope, i, count) * load_first(weight, i, count);
        return weighted * (load_first(from, i, count) * r);
      });
      const f32v mean = splat(along / static_cast<float>(n));
      for_each_vector<Format::f32>(slope, n, [&](size_t i, f32v v, uint32_t count) __attribute__((always_inline)) {
        const f32v normalized = load_first(from, i, count) * r;
        store_first(to + i, r * (v * load_first(weight, i, count) - normalized * mean), count);
        store_first(sums + i, load_first(sums, i, count) + v * normalized, count);
      });
    }
  }
}

void log_softmax_gather_grad(const float* x, int32_t target, float dy, float* dx, uint32_t n) {
  const f32v total =
      splat(sum_of_exp(x, row_max(x, n), n, [&](uint32_t i, f32v e, uint32_t count) __attribute__((always_inline)) {
        store_first(dx + i, e, count);
      }));
  const float hit = static_cast<uint32_t>(target) < n ? dx[target] : 0;
  for_each_vector<Format::f32>(dx, n, [&](size_t i, f32v e, uint32_t count) __attribute__((always_inline)) {
    store_first(dx + i, (f32v{} - e / total) * dy, count);
  });
  if (static_cast<uint32_t>(target) < n) dx[target] = (1.0f - hit / total[0]) * dy;
}

}  // namespace quaver::QUAVER_ISA
