// The register-blocked dot-product kernel that GEMM and attention share.
//
// Canonical order: one accumulator per output, k ascending, multiply and add rounded separately. Lanes and registers
// hold different outputs, never different k, so the bits of an output do not depend on how many rows are computed
// together.
#pragma once
#include "vec.h"

namespace quaver {

/** Outputs per packed panel: eight registers of one row. */
constexpr uint32_t kPanel = 32;
/** Outputs of one micro-kernel call: two registers per row. */
constexpr uint32_t kSub = 8;
constexpr uint32_t kSubsPerPanel = kPanel / kSub;
/** k-elements after which a dot product starts a fresh accumulator. */
constexpr uint32_t kPromote = 128;
/** Rows of one micro-kernel call: 6 × 2 accumulators, two registers of B and one broadcast fill the 16 of x86-64. */
constexpr uint32_t kMaxRows = 6;

/**
 * acc[r][lane] = Σ_k a[r·a_stride + k] · b[k·b_stride + lane], then `finish(r, half, acc)` for each register.
 * `b` is 8 outputs wide; strides are in elements.
 */
template <uint32_t Rows, class Finish>
QUAVER_INLINE void dot_rows(const float* a, size_t a_stride, const float* b, size_t b_stride, uint32_t k_count,
                            Finish finish) {
  f32x4 acc[Rows][2] = {};
#pragma clang loop unroll_count(4)
  for (uint32_t k = 0; k < k_count; k++) {
    const f32x4 b0 = load<f32x4>(b), b1 = load<f32x4>(b + kLanes);
    b += b_stride;
#pragma clang loop unroll(full)
    for (uint32_t r = 0; r < Rows; r++) {
      const f32x4 x = splat(a[r * a_stride + k]);
      acc[r][0] = acc[r][0] + x * b0;
      acc[r][1] = acc[r][1] + x * b1;
    }
  }
#pragma clang loop unroll(full)
  for (uint32_t r = 0; r < Rows; r++)
    for (uint32_t half = 0; half < 2; half++) finish(r, half, acc[r][half]);
}

/** dot_rows for any number of rows, in groups of nearly equal size; `finish(row, half, acc)` sees the absolute row. */
template <class Finish>
QUAVER_INLINE void dot_tile(uint32_t rows, const float* a, size_t a_stride, const float* b, size_t b_stride,
                            uint32_t k_count, Finish finish) {
  for (uint32_t row = 0, groups = ceil_div(rows, kMaxRows); row < rows; groups--) {
    const uint32_t count = ceil_div(rows - row, groups);
    const float* from = a + row * a_stride;
    const auto at_row = [&](uint32_t r, uint32_t half, f32x4 acc) { finish(row + r, half, acc); };
    switch (count) {
      case 1: dot_rows<1>(from, a_stride, b, b_stride, k_count, at_row); break;
      case 2: dot_rows<2>(from, a_stride, b, b_stride, k_count, at_row); break;
      case 3: dot_rows<3>(from, a_stride, b, b_stride, k_count, at_row); break;
      case 4: dot_rows<4>(from, a_stride, b, b_stride, k_count, at_row); break;
      case 5: dot_rows<5>(from, a_stride, b, b_stride, k_count, at_row); break;
      default: dot_rows<6>(from, a_stride, b, b_stride, k_count, at_row); break;
    }
    row += count;
  }
}

/** Adds finished accumulators to `c[row][0..8)`. */
QUAVER_INLINE auto add_to(float* c, size_t c_stride) {
  return [=](uint32_t row, uint32_t half, f32x4 acc) {
    float* at = c + row * c_stride + half * kLanes;
    store(at, load<f32x4>(at) + acc);
  };
}

}  // namespace quaver
