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

QUAVER_INLINE f32v silu(f32v x) { return x / (1.0f + exp(-x)); }

}  // namespace

void unary(Unary operation, const float* x, float* out, size_t n) {
  switch (operation) {
    case Unary::negate: return map(x, out, n, [](f32v v) { return -v; });
    case Unary::abs: return map(x, out, n, [](f32v v) { return abs(v); });
    case Unary::exp: return map(x, out, n, [](f32v v) { return exp(v); });
    case Unary::log: return map(x, out, n, [](f32v v) { return log(v); });
    case Unary::sqrt: return map(x, out, n, [](f32v v) { return sqrt(v); });
    case Unary::silu: return map(x, out, n, [](f32v v) { return silu(v); });
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
    case Binary::swiglu: return zip(a, b, out, n, [](f32v gate, f32v up) { return silu(gate) * up; });
  }
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
