// The scales of blocks, apart from the casts that use them.
#include "ops_scales.h"

namespace quaver {
namespace {

constexpr uint64_t kF32 = sizeof(float);

// amax_by: 0 x, 1 out f32[blocks of rows, blocks of columns] | 0 rows, 1 n, 2 block of rows, 3 block of columns: the
// largest magnitude of each block, NaN when any element is NaN. A unit is a block of rows.

const char* describe_amax_by(const Call& call, const Kernels&, Work& work) {
  const uint64_t rows = call.u32(0), row = kF32 * call.u32(1), block = call.u32(2);
  if (block == 0 || call.u32(3) == 0) return "an empty block";
  work.units = static_cast<uint32_t>(ceil_div(rows, block));
  work.unit_cost = double(row) / 2 * double(block < rows ? block : rows);
  work.accesses[0] = {product(rows, row), product(block, row), false};
  work.accesses[1] = writes(work.units, kF32 * ceil_div(call.u32(1), call.u32(3)));
  return nullptr;
}

int32_t bits(float x) { return __builtin_bit_cast(int32_t, x); }

/** As integers, magnitudes order like the numbers, and NaN is above them all. */
void keep_larger(int32_t& largest, int32_t magnitude) { largest = magnitude > largest ? magnitude : largest; }

void run_amax_by(const Call& call, const Kernels& kernels, uint32_t from, uint32_t to, void*, Failure&) {
  constexpr size_t few = 16;
  const size_t rows = call.u32(0), n = call.u32(1), block = call.u32(2), width = call.u32(3);
  const size_t blocks = static_cast<size_t>(ceil_div(n, width));
  for (size_t unit = from; unit < to; unit++) {
    int32_t* out = call.at<int32_t>(1) + unit * blocks;
    __builtin_memset(out, 0, blocks * sizeof(float));
    const size_t first = unit * block, end = rows - first < block ? rows : first + block;
    for (size_t row = first; row < end; row++) {
      const float* x = call.at<const float>(0) + row * n;
      if (width < few)
        for (size_t i = 0; i < n; i++) keep_larger(out[i / width], bits(x[i]) & 0x7fffffff);
      else
        for (size_t i = 0; i < blocks; i++) {
          const size_t at = i * width, count = n - at < width ? n - at : width;
          keep_larger(out[i], bits(kernels.amax(x + at, count)));
        }
    }
  }
}

// compute_scale: 0 amax, 1 out | 0 n, 1 max, 2 rounding: 0 none, 1 up to a power of two, 2 to the nearest one, 3 whether
// scales are E8M0. An amax of 0, Inf or NaN gives 1.

const char* describe_compute_scale(const Call& call, const Kernels&, Work& work) {
  const float max = static_cast<float>(call.numbers[1]);
  if (!(max >= 1 && max < __builtin_inff())) return "a largest magnitude that is not finite, or below 1";
  if (call.numbers[2] > 2 || call.numbers[3] > 1) return "an unknown rounding";
  if (call.numbers[2] == 0 && call.numbers[3] != 0) return "an E8M0 scale without rounding";
  work.units = call.u32(0);
  work.grain = 64;
  work.unit_cost = 8;
  work.accesses[0] = reads(work.units, kF32);
  work.accesses[1] = writes(work.units, call.u32(3) ? 1 : kF32);
  return nullptr;
}

/** The biased exponent of a power-of-two scale; found by comparing significands, so that no division rounds it wrong. */
int32_t scale_exponent(int32_t amax, int32_t max, bool up) {
  const int32_t exponent = (amax >> 23) - (max >> 23) + 127;
  const int32_t a = (amax & 0x7fffff) | 0x800000, m = (max & 0x7fffff) | 0x800000;
  const int32_t rounded = up          ? exponent + (a > m)
                          : a >= m ? exponent + (2 * a >= 3 * m)
                                   : exponent - (4 * a < 3 * m);
  return rounded < 1 ? 1 : rounded > 254 ? 254 : rounded;
}

void run_compute_scale(const Call& call, const Kernels&, uint32_t from, uint32_t to, void*, Failure&) {
  const float max = static_cast<float>(call.numbers[1]);
  const uint32_t rounding = call.u32(2);
  for (size_t i = from; i < to; i++) {
    const int32_t amax = bits(call.at<const float>(0)[i]) & 0x7fffffff;
    int32_t scale = bits(1.0f);
    if (amax != 0 && amax < 0x7f800000) {
      const float quotient = __builtin_bit_cast(float, amax) / max;
      scale = rounding == 0 ? bits(quotient < 0x1p-126f ? 0x1p-126f : quotient)
                            : scale_exponent(amax, bits(max), rounding == 1) << 23;
    }
    if (call.u32(3))
      call.pointers[1][i] = static_cast<uint8_t>(scale >> 23);
    else
      call.at<int32_t>(1)[i] = scale;
  }
}

}  // namespace

const Op kAmaxBy{"amax_by", 2, 4, 0, 0, 0, describe_amax_by, run_amax_by};
const Op kComputeScale{"compute_scale", 2, 4, 0, 1 << 1, 0, describe_compute_scale, run_compute_scale};

}  // namespace quaver
