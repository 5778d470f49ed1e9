// The canonical sum of a row: 16 interleaved partials, element i into partial i mod 16, ascending, combined by a fixed
// tree.
#pragma once
#include "formats.h"

namespace quaver {

QUAVER_INLINE f32x4 zero_beyond(f32x4 x, uint32_t count) {
  return from_bits(bits(x) & (i32x4{0, 1, 2, 3} < splat(static_cast<int32_t>(count))));
}

/** Sum of n elements; `value(i, count)` returns elements i … i+3, of which the first `count` exist. */
template <class Value>
QUAVER_INLINE float canonical_sum(uint32_t n, Value value) {
  f32x4 partials[4] = {};
  uint32_t i = 0;
  for (; i + 16 <= n; i += 16)
#pragma clang loop unroll(full)
    for (uint32_t j = 0; j < 4; j++) partials[j] = partials[j] + value(i + j * kLanes, kLanes);
#pragma clang loop unroll(full)
  for (uint32_t j = 0; j < 4; j++) {
    // Adding +0 in the lanes that do not exist changes nothing: a partial is never −0.
    const uint32_t at = i + j * kLanes;
    if (at < n) partials[j] = partials[j] + zero_beyond(value(at, min(kLanes, n - at)), min(kLanes, n - at));
  }
  const f32x4 four = (partials[0] + partials[2]) + (partials[1] + partials[3]);
  return (four[0] + four[2]) + (four[1] + four[3]);
}

/** Elements i … i+3 of an f32 row, of which `count` exist; the other lanes are +0. */
QUAVER_INLINE f32x4 load_first(const float* row, uint32_t i, uint32_t count) {
  return count == kLanes ? load<f32x4>(row + i) : load_tail_as_f32<Format::f32>(row, i, count);
}

/** The largest element of a row; NaN when any is NaN, −Inf for an empty row. */
QUAVER_INLINE float row_max(const float* row, uint32_t n) {
  f32x4 largest = splat(-__builtin_inff());
  uint32_t i = 0;
  for (; i + kLanes <= n; i += kLanes) largest = max(largest, load<f32x4>(row + i));
  float result = max_of_lanes(largest);
  for (; i < n; i++) result = max(result, row[i]);
  return result;
}

}  // namespace quaver
