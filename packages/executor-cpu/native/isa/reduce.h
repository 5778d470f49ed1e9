// Reductions of a row. The canonical sum: 16 interleaved partials, element i into partial i mod 16, ascending, combined
// by a fixed tree.
#pragma once
#include "elementary.h"
#include "formats.h"

namespace quaver::QUAVER_ISA {

/** Registers that hold the 16 partials. */
constexpr uint32_t kPartials = 16 / kLanes;

QUAVER_INLINE f32v zero_beyond(f32v x, uint32_t count) {
  return select(lane_index() < splat(static_cast<int32_t>(count)), x, f32v{});
}

/** The fixed tree: i + (i + 8), then + 4, + 2, + 1. */
QUAVER_INLINE float sum_of_partials(const f32v partials[kPartials]) {
  if constexpr (kPartials == 4) return sum_of_lanes((partials[0] + partials[2]) + (partials[1] + partials[3]));
  if constexpr (kPartials == 2) return sum_of_lanes(partials[0] + partials[1]);
  return sum_of_lanes(partials[0]);
}

/** Sum of n elements; `value(i, count)` returns elements i … i + kLanes, of which the first `count` exist. */
template <class Value>
QUAVER_INLINE float canonical_sum(uint32_t n, Value value) {
  f32v partials[kPartials] = {};
  uint32_t i = 0;
  for (; n - i >= 16; i += 16) {
    QUAVER_UNROLL
    for (uint32_t j = 0; j < kPartials; j++) partials[j] = partials[j] + value(i + j * kLanes, kLanes);
  }
  QUAVER_UNROLL
  for (uint32_t j = 0; j < kPartials; j++) {
    // Adding +0 in the lanes that do not exist changes nothing: a partial is never −0.
    const uint32_t at = i + j * kLanes;
    if (at < n) partials[j] = partials[j] + zero_beyond(value(at, min(kLanes, n - at)), min(kLanes, n - at));
  }
  return sum_of_partials(partials);
}

/** Sum of n elements with four times as many partials as a register has lanes, in no particular order. */
template <class Value>
QUAVER_INLINE float fast_sum(uint32_t n, Value value) {
  f32v partials[4] = {};
  uint32_t i = 0;
  for (; n - i >= 4 * kLanes; i += 4 * kLanes) {
    QUAVER_UNROLL
    for (uint32_t j = 0; j < 4; j++) partials[j] = partials[j] + value(i + j * kLanes, kLanes);
  }
  for (; i < n; i += min(kLanes, n - i))
    partials[0] = partials[0] + zero_beyond(value(i, min(kLanes, n - i)), min(kLanes, n - i));
  return sum_of_lanes((partials[0] + partials[1]) + (partials[2] + partials[3]));
}

/**
 * Σ exp(x − largest) of n elements, in the canonical order, which is fast enough for Reduction::fast too;
 * `terms(i, e, count)` receives the terms.
 */
template <class Terms>
QUAVER_INLINE float sum_of_exp(const float* x, float largest, uint32_t n, Terms terms) {
  // With 8 lanes there are 16 registers, too few for more.
  constexpr uint32_t width = max(kPartials, kLanes == 8 ? 2 : 4);
  f32v partials[kPartials] = {};
  uint32_t i = 0;
  for (; n - i >= width * kLanes; i += width * kLanes) {
    f32v e[width];
    QUAVER_UNROLL
    for (uint32_t j = 0; j < width; j++) e[j] = load<f32v>(x + i + j * kLanes) - largest;
    exp_below_0(e);
    QUAVER_UNROLL
    for (uint32_t j = 0; j < width; j++) {
      terms(i + j * kLanes, e[j], kLanes);
      partials[j % kPartials] = partials[j % kPartials] + e[j];
    }
  }
  for (uint32_t j = 0; i < n; j++, i += min(kLanes, n - i)) {
    const uint32_t count = min(kLanes, n - i);
    f32v e[1] = {load_first(x, i, count) - largest};
    exp_below_0(e);
    terms(i, e[0], count);
    partials[j % kPartials] = partials[j % kPartials] + zero_beyond(e[0], count);
  }
  return sum_of_partials(partials);
}

/** The largest element of a row that is not NaN, −Inf when there is none. Whoever subtracts it from the row and sums
 * what comes out meets the NaN there. */
QUAVER_INLINE float row_max(const float* row, uint32_t n) {
  f32v largest[4] = {splat(-kInfinity), splat(-kInfinity), splat(-kInfinity), splat(-kInfinity)};
  uint32_t i = 0;
  for (; n - i >= 4 * kLanes; i += 4 * kLanes) {
    QUAVER_UNROLL
    for (uint32_t j = 0; j < 4; j++) largest[j] = larger(load<f32v>(row + i + j * kLanes), largest[j]);
  }
  for (; n - i >= kLanes; i += kLanes) largest[0] = larger(load<f32v>(row + i), largest[0]);
  float result = max_of_lanes(larger(larger(largest[0], largest[1]), larger(largest[2], largest[3])));
  for (; i < n; i++) result = row[i] > result ? row[i] : result;
  return result;
}

}  // namespace quaver::QUAVER_ISA
