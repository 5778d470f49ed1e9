// The register-blocked dot products of attention: rows of a[rows, k] with the columns of b[k, columns].
//
// Lanes and registers hold different outputs, never different k, so the bits of an output do not depend on how many
// rows are computed together.
#pragma once
#include "vec.h"

namespace quaver::QUAVER_ISA {

// The accumulators, one row of b and one broadcast fit the registers: 32, or 16 on x86 before AVX-512.
constexpr uint32_t kDotRows = 6;
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr uint32_t kDotVectors = 4;
#else
constexpr uint32_t kDotVectors = 2;
#endif
constexpr uint32_t kDotWidth = kDotVectors * kLanes;

#if defined(__clang__)
#define QUAVER_UNROLL_BY_4 _Pragma("clang loop unroll_count(4)")
#else
#define QUAVER_UNROLL_BY_4 _Pragma("GCC unroll 4")
#endif

/** out[r, c] = ([out[r, c]] + Σ_k a[r, k] · b[k, c]) [· factors[c]]: what is in brackets is optional. The sum over k
 * begins with +0, or with `begun` where it is the rest of one. */
struct Dot {
  /** a[r, k] is a[r · a_stride + k], or with `ByColumns` a[k · a_stride + r]. */
  const float* a;
  size_t a_stride;
  const float* b;
  size_t b_stride;
  uint32_t k;
  float* out;
  size_t out_stride;
  /** Add to what `out` holds. */
  bool add;
  /** One for each column, or null. */
  const float* factors;
  /** Sums of a part of k, in the shape of `out`, or null. */
  const float* begun;
};

template <uint32_t Rows, uint32_t Vectors, bool Fused, bool ByColumns>
__attribute__((noinline)) void dot_rows_of(const Dot& dot, uint32_t row) {
  const float* a = dot.a + (ByColumns ? row : row * dot.a_stride);
  const float* b = dot.b;
  f32v acc[Rows][Vectors] = {};
  if (dot.begun) {
    QUAVER_UNROLL
    for (uint32_t r = 0; r < Rows; r++) {
      QUAVER_UNROLL
      for (uint32_t v = 0; v < Vectors; v++)
        acc[r][v] = load<f32v>(dot.begun + (row + r) * dot.out_stride + v * kLanes);
    }
  }
  QUAVER_UNROLL_BY_4
  for (uint32_t k = 0; k < dot.k; k++, b += dot.b_stride) {
    f32v columns[Vectors];
    QUAVER_UNROLL
    for (uint32_t v = 0; v < Vectors; v++) columns[v] = load<f32v>(b + v * kLanes);
    QUAVER_UNROLL
    for (uint32_t r = 0; r < Rows; r++) {
      const f32v x = splat(ByColumns ? a[k * dot.a_stride + r] : a[r * dot.a_stride + k]);
      QUAVER_UNROLL
      for (uint32_t v = 0; v < Vectors; v++)
        acc[r][v] = Fused ? fused_multiply_add(x, columns[v], acc[r][v]) : multiply_add(x, columns[v], acc[r][v]);
    }
  }
  QUAVER_UNROLL
  for (uint32_t r = 0; r < Rows; r++) {
    float* out = dot.out + (row + r) * dot.out_stride;
    QUAVER_UNROLL
    for (uint32_t v = 0; v < Vectors; v++) {
      f32v sum = acc[r][v];
      if (dot.add) sum = load<f32v>(out + v * kLanes) + sum;
      if (dot.factors) sum = sum * load<f32v>(dot.factors + v * kLanes);
      store(out + v * kLanes, sum);
    }
  }
}

/** The dot products of `rows` rows, in groups of nearly equal size. */
template <uint32_t Vectors, bool Fused, bool ByColumns>
QUAVER_INLINE void dot_all_rows(const Dot& dot, uint32_t rows) {
  for (uint32_t row = 0, groups = ceil_div(rows, kDotRows); row < rows; groups--) {
    const uint32_t count = ceil_div(rows - row, groups);
    switch (count) {
      case 1: dot_rows_of<1, Vectors, Fused, ByColumns>(dot, row); break;
      case 2: dot_rows_of<2, Vectors, Fused, ByColumns>(dot, row); break;
      case 3: dot_rows_of<3, Vectors, Fused, ByColumns>(dot, row); break;
      case 4: dot_rows_of<4, Vectors, Fused, ByColumns>(dot, row); break;
      case 5: dot_rows_of<5, Vectors, Fused, ByColumns>(dot, row); break;
      default: dot_rows_of<6, Vectors, Fused, ByColumns>(dot, row); break;
    }
    row += count;
  }
}

/** The same for `columns` columns, a multiple of kLanes. `fused`: where products are exact, or bits do not matter. */
template <bool Fused, bool ByColumns = false>
QUAVER_INLINE void dot_columns(Dot dot, uint32_t rows, uint32_t columns) {
  const auto skip = [&](uint32_t count) {
    dot.b += count;
    dot.out += count;
    if (dot.begun) dot.begun += count;
    columns -= count;
  };
  while (columns >= kDotWidth) {
    dot_all_rows<kDotVectors, Fused, ByColumns>(dot, rows);
    skip(kDotWidth);
  }
  while (columns > 0) {
    dot_all_rows<1, Fused, ByColumns>(dot, rows);
    skip(kLanes);
  }
}
QUAVER_INLINE void dot_columns(bool fused, const Dot& dot, uint32_t rows, uint32_t columns) {
  if (fused) return dot_columns<kHasFusedMultiplyAdd>(dot, rows, columns);
  dot_columns<false>(dot, rows, columns);
}
/** The same with `a` by columns. */
QUAVER_INLINE void dot_columns_of_transposed(bool fused, const Dot& dot, uint32_t rows, uint32_t columns) {
  if (fused) return dot_columns<kHasFusedMultiplyAdd, true>(dot, rows, columns);
  dot_columns<false, true>(dot, rows, columns);
}

}  // namespace quaver::QUAVER_ISA
