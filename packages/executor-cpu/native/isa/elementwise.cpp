// Element by element kernels on f32. `out` may be an input.
#include "elementwise.h"

#include "elementary.h"
#include "formats.h"

namespace quaver::QUAVER_ISA {
namespace {

template <class Operation>
QUAVER_INLINE void map(const float* x, float* out, size_t n, Operation operation) {
  for_each_vector<Format::f32>(x, n,
                               [&](size_t i, f32v v, uint32_t count) { store_first(out + i, operation(v), count); });
}

template <class Operation>
QUAVER_INLINE void zip(const float* a, const float* b, float* out, size_t n, Operation operation) {
  for_each_vector<Format::f32>(a, n, [&](size_t i, f32v v, uint32_t count) {
    store_first(out + i, operation(v, load_first(b, i, count)), count);
  });
}

/** Vectors that go through exp side by side. */
template <uint32_t N>
struct Group {
  static constexpr uint32_t count = N;
};
using Whole = Group<kLanes == 8 ? 2 : 4>;

/** Calls `body(group, i, count)` for groups of vectors from element i on; a group of one has `count` elements. */
template <class Body>
QUAVER_INLINE void for_each_group(size_t n, Body body) {
  size_t i = 0;
  for (; n - i >= Whole::count * kLanes; i += Whole::count * kLanes) body(Whole{}, i, kLanes);
  for (; i < n; i += kLanes) body(Group<1>{}, i, n - i < kLanes ? static_cast<uint32_t>(n - i) : kLanes);
}

/** 1 + e^−x for the vectors of a group. */
template <uint32_t N>
QUAVER_INLINE void silu_denominators(const float* x, size_t i, uint32_t count, f32v (&out)[N]) {
  QUAVER_UNROLL
  for (uint32_t j = 0; j < N; j++) out[j] = -load_first(x, i + j * kLanes, count);
  exp(out);
  QUAVER_UNROLL
  for (uint32_t j = 0; j < N; j++) out[j] = 1.0f + out[j];
}

void silu(const float* x, float* out, size_t n) {
  for_each_group(n, [&](auto group, size_t i, uint32_t count) __attribute__((always_inline)) {
    f32v denominators[group.count];
    silu_denominators(x, i, count, denominators);
    QUAVER_UNROLL
    for (size_t j = 0, at = i; j < group.count; j++, at += kLanes)
      store_first(out + at, load_first(x, at, count) / denominators[j], count);
  });
}

void swiglu(const float* gate, const float* up, float* out, size_t n) {
  for_each_group(n, [&](auto group, size_t i, uint32_t count) __attribute__((always_inline)) {
    f32v denominators[group.count];
    silu_denominators(gate, i, count, denominators);
    QUAVER_UNROLL
    for (size_t j = 0, at = i; j < group.count; j++, at += kLanes)
      store_first(out + at, load_first(gate, at, count) / denominators[j] * load_first(up, at, count), count);
  });
}

}  // namespace

void unary(Unary operation, const float* x, float* out, size_t n) {
  switch (operation) {
    case Unary::negate: return map(x, out, n, [](f32v v) { return -v; });
    case Unary::abs: return map(x, out, n, [](f32v v) { return abs(v); });
    case Unary::exp: return map(x, out, n, [](f32v v) { return exp(v); });
    case Unary::log: return map(x, out, n, [](f32v v) { return log(v); });
    case Unary::sqrt: return map(x, out, n, [](f32v v) { return sqrt(v); });
    case Unary::silu: return silu(x, out, n);
  }
}

void binary(Binary operation, const float* a, const float* b, float* out, size_t n) {
  switch (operation) {
    case Binary::add: return zip(a, b, out, n, [](f32v x, f32v y) { return x + y; });
    case Binary::subtract: return zip(a, b, out, n, [](f32v x, f32v y) { return x - y; });
    case Binary::multiply: return zip(a, b, out, n, [](f32v x, f32v y) { return x * y; });
    case Binary::divide: return zip(a, b, out, n, [](f32v x, f32v y) { return x / y; });
    case Binary::maximum: return zip(a, b, out, n, [](f32v x, f32v y) { return max(x, y); });
    case Binary::minimum: return zip(a, b, out, n, [](f32v x, f32v y) { return min(x, y); });
    case Binary::swiglu: return swiglu(a, b, out, n);
  }
}

/** With s = 1 / (1 + exp(−gate)): dgate = (dy · up) · (s · (1 + gate · (1 − s))), dup = dy · (gate · s). */
void swiglu_grad(const float* gate, const float* up, const float* dy, float* dgate, float* dup, size_t n) {
  for_each_group(n, [&](auto group, size_t i, uint32_t count) __attribute__((always_inline)) {
    f32v denominators[group.count];
    silu_denominators(gate, i, count, denominators);
    QUAVER_UNROLL
    for (size_t j = 0, at = i; j < group.count; j++, at += kLanes) {
      const f32v g = load_first(gate, at, count), u = load_first(up, at, count), slope = load_first(dy, at, count);
      const f32v s = 1.0f / denominators[j];
      store_first(dgate + at, slope * u * (s * (1.0f + g * (1.0f - s))), count);
      store_first(dup + at, slope * (g * s), count);
    }
  });
}

/** With x1, x2 the two halves of the rotated part of a head: y1 = x1·cos − x2·sin, y2 = x2·cos + x1·sin. */
void rope(const float* x, const float* cos, const float* sin, float* out, uint32_t h, uint32_t d, uint32_t rotated) {
  const uint32_t half = rotated / 2;
  for (uint32_t head = 0; head < h; head++, x += d, out += d) {
    for_each_vector<Format::f32>(x, half, [&](size_t i, f32v x1, uint32_t count) {
      const f32v x2 = load_first(x + half, i, count);
      const f32v c = load_first(cos, i, count), s = load_first(sin, i, count);
      store_first(out + i, x1 * c - x2 * s, count);
      store_first(out + half + i, x2 * c + x1 * s, count);
    });
    if (out != x) __builtin_memcpy(out + rotated, x + rotated, (d - rotated) * sizeof(float));
  }
}

}  // namespace quaver::QUAVER_ISA
