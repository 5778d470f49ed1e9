// Elementwise kernels on f32. `out` may be an input.
#include "elementary.h"
#include "reduce.h"

namespace quaver {
namespace {

template <class Operation>
QUAVER_INLINE void zip(const float* a, const float* b, float* out, uint32_t n, Operation operation) {
  for_each_4<Format::f32>(a, n, [&](uint32_t i, f32x4 v, uint32_t count) {
    store_first(out + i, operation(v, load_first(b, i, count)), count);
  });
}

}  // namespace

/** out = a + b; f32[n] each. */
QUAVER_KERNEL(add) void add(const float* a, const float* b, float* out, uint32_t n) {
  zip(a, b, out, n, [](f32x4 x, f32x4 y) { return x + y; });
}

/** out = a · b; f32[n] each. */
QUAVER_KERNEL(multiply) void multiply(const float* a, const float* b, float* out, uint32_t n) {
  zip(a, b, out, n, [](f32x4 x, f32x4 y) { return x * y; });
}

/** out f32[rows, n] = x f32[rows, n] + bias f32[n]. */
QUAVER_KERNEL(add_bias) void add_bias(const float* x, const float* bias, float* out, uint32_t rows, uint32_t n) {
  for (uint32_t row = 0; row < rows; row++, x += n, out += n) add(x, bias, out, n);
}

/** out = (gate / (1 + exp(−gate))) · up; f32[n] each. */
QUAVER_KERNEL(swiglu) void swiglu(const float* gate, const float* up, float* out, uint32_t n) {
  zip(gate, up, out, n, [](f32x4 g, f32x4 u) { return g / (1.0f + exp(-g)) * u; });
}

/**
 * Rotary embedding, rotate-half: x, out f32[b, t, h, d], cos and sin f32[positions, d / 2], start i32[b]. With x1, x2
 * the two halves of a head at position start[b] + t: y1 = x1·cos − x2·sin, y2 = x2·cos + x1·sin. Returns the first
 * batch whose positions are not all in the table, before writing anything, or −1.
 */
QUAVER_KERNEL(rope)
int32_t rope(const float* x, const float* cos, const float* sin, const int32_t* start, float* out, uint32_t b,
             uint32_t t, uint32_t h, uint32_t d, uint32_t positions) {
  for (uint32_t batch = 0; batch < b; batch++)
    if (start[batch] < 0 || static_cast<uint64_t>(start[batch]) + t > positions) return static_cast<int32_t>(batch);
  const uint32_t half = d / 2;
  for (uint32_t batch = 0; batch < b; batch++)
    for (uint32_t step = 0; step < t; step++) {
      const size_t row = (static_cast<size_t>(start[batch]) + step) * half;
      for (uint32_t head = 0; head < h; head++, x += d, out += d)
        for_each_4<Format::f32>(x, half, [&](uint32_t i, f32x4 x1, uint32_t count) {
          const f32x4 x2 = load_first(x + half, i, count);
          const f32x4 c = load_first(cos + row, i, count), s = load_first(sin + row, i, count);
          store_first(out + i, x1 * c - x2 * s, count);
          store_first(out + half + i, x2 * c + x1 * s, count);
        });
    }
  return -1;
}

}  // namespace quaver
