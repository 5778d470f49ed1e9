// How packed weights become registers of words for the steps of dot_tile.h.
//
// A weights class says which step its words are for, and decodes one unit: kSteps registers of
// words for each of its kRegs registers of outputs.
#pragma once
#include "dot_tile.h"

namespace quaver::QUAVER_ISA {

/** Upper and lower half of each 32-bit lane as f32: k and k + 1 of a pair. */
QUAVER_INLINE f32v upper_half(i32v pair) { return from_bits(pair & static_cast<int32_t>(0xffff0000)); }
QUAVER_INLINE f32v lower_half(i32v pair) { return from_bits(pair << 16); }

template <class StepType>
struct F32Weights {
  static constexpr Format format = Format::f32;
  static constexpr uint32_t kSteps = 1, kRegs = 1;
  /** The packed form already is the tile. */
  static constexpr bool kIsTile = true;
  using Step = StepType;

  explicit QUAVER_INLINE F32Weights(const PanelHeader&) {}
  static QUAVER_INLINE bool fits(const PanelHeader&) { return true; }
  static constexpr float restore() { return 1; }
  QUAVER_INLINE void decode(const uint8_t* unit, f32v out[kSteps][kRegs]) const { out[0][0] = load<f32v>(unit); }
};

struct Bf16Weights {
  static constexpr Format format = Format::bf16;
  static constexpr uint32_t kSteps = 2, kRegs = 1;
  static constexpr bool kIsTile = false;
  using Step = MultiplyAdd;

  explicit QUAVER_INLINE Bf16Weights(const PanelHeader&) {}
  static QUAVER_INLINE bool fits(const PanelHeader&) { return true; }
  static constexpr float restore() { return 1; }
  QUAVER_INLINE void decode(const uint8_t* unit, f32v out[kSteps][kRegs]) const {
    const i32v pair = load<i32v>(unit);
    out[0][0] = upper_half(pair);
    out[1][0] = lower_half(pair);
  }
};

/** FP8 of any layout by the arithmetic of formats.h: exact for every code, slow. */
template <Format F, bool kParked>
struct F8AnyWeights {
  static constexpr Format format = F;
  static constexpr uint32_t kSteps = unit_k(F), kRegs = unit_regs(F);
  static constexpr bool kIsTile = false;
  using Step = MultiplyAdd;
  /** Far below one, yet the smallest FP8 number times it is a normal f32. */
  static constexpr float kQuadParking = 0x1p-110f;
  static constexpr float parking = !kParked || kByteTables ? 1
                                   : !kHalfPrecision       ? kQuadParking
                                   : F == Format::f8e4m3fn ? kHalfParking
                                                           : 1;

  explicit QUAVER_INLINE F8AnyWeights(const PanelHeader&) {}
  static QUAVER_INLINE bool fits(const PanelHeader&) { return true; }
  static constexpr float restore() { return kPairs || !kParked ? 1 : 1 / (kQuadParking * kQuadActivationScale); }

  QUAVER_INLINE void decode(const uint8_t* unit, f32v out[kSteps][kRegs]) const {
    if constexpr (kPairs) {
      QUAVER_UNROLL
      for (uint32_t reg = 0; reg < kRegs; reg++) {
        const i32v pairs = __builtin_convertvector(load<u16_lanes>(unit + reg * 2 * kLanes), i32v);
        out[0][reg] = decode_f8<F>(pairs >> 8) * parking;
        out[1][reg] = decode_f8<F>(pairs) * parking;
      }
    } else {
      const i32v quads = load<i32v>(unit);
      QUAVER_UNROLL
      for (uint32_t step = 0; step < kSteps; step++) out[step][0] = decode_f8<F>(quads >> (8 * step)) * parking;
    }
  }
};

#if defined(__AVX512VBMI__)
/** The bfloat16 codes of the 128 non-negative FP8 codes, in bytes. */
struct ByteTables {
  alignas(64) uint8_t lower[128], upper[128];
};
template <Format F>
constexpr ByteTables make_byte_tables() {
  ByteTables tables{};
  constexpr int mantissa_bits = F8<F>::mantissa_bits, first_normal = 1 << mantissa_bits;
  for (int code = 0; code < 128; code++) {
    int exponent = (code >> mantissa_bits) + 127 - F8<F>::bias, mantissa = code % first_normal;
    if (code < first_normal) {  // A subnormal: shift it up until it has a leading one.
      exponent = code == 0 ? 0 : exponent + 1;
      while (code != 0 && mantissa < first_normal) mantissa *= 2, exponent--;
      mantissa %= first_normal;
    }
    if (code >= F8<F>::first_special_code) exponent = 255;
    const int bf16 = exponent << 7 | mantissa << (7 - mantissa_bits);
    tables.lower[code] = static_cast<uint8_t>(bf16 & 255);
    tables.upper[code] = static_cast<uint8_t>(bf16 >> 8);
  }
  return tables;
}
template <Format F>
constexpr ByteTables kBf16Of = make_byte_tables<F>();

/** 64 codes become 32 outputs' BF16 pairs: two table look-ups for the bytes of their magnitudes, and the signs. */
template <Format F>
struct ByteTableDecoder {
  __m512i lower0, lower1, upper0, upper1, sign;

  QUAVER_INLINE ByteTableDecoder()
      : lower0(_mm512_load_si512(kBf16Of<F>.lower)),
        lower1(_mm512_load_si512(kBf16Of<F>.lower + 64)),
        upper0(_mm512_load_si512(kBf16Of<F>.upper)),
        upper1(_mm512_load_si512(kBf16Of<F>.upper + 64)),
        sign(_mm512_set1_epi8(static_cast<char>(0x80))) {}

  QUAVER_INLINE void decode(const uint8_t* unit, __m512i out[2]) const {
    const __m512i codes = _mm512_loadu_si512(unit);
    const __m512i lower = _mm512_permutex2var_epi8(lower0, codes, lower1);
    __m512i upper = _mm512_permutex2var_epi8(upper0, codes, upper1);
    upper = _mm512_ternarylogic_epi32(upper, codes, sign, 0xf8);  // upper | (codes & sign)
    out[0] = _mm512_unpacklo_epi8(lower, upper);
    out[1] = _mm512_unpackhi_epi8(lower, upper);
  }
};

template <Format F, bool kParked>
struct F8Weights {
  static constexpr Format format = F;
  static constexpr uint32_t kSteps = 2, kRegs = 2;
  static constexpr bool kIsTile = false;
  using Step = MultiplyAdd;
  ByteTableDecoder<F> decoder;

  explicit QUAVER_INLINE F8Weights(const PanelHeader&) {}
  static QUAVER_INLINE bool fits(const PanelHeader&) { return true; }
  static constexpr float restore() { return 1; }
  QUAVER_INLINE void decode(const uint8_t* unit, f32v out[kSteps][kRegs]) const {
    __m512i pairs[2];
    decoder.decode(unit, pairs);
    QUAVER_UNROLL
    for (uint32_t reg = 0; reg < 2; reg++) {
      out[0][reg] = upper_half((i32v)pairs[reg]);
      out[1][reg] = lower_half((i32v)pairs[reg]);
    }
  }
};
#elif defined(__AVX512F__) || (defined(__AVX2__) && defined(__F16C__)) || defined(__aarch64__)

/** The kLanes f16 numbers in half `reg` of a register of 16-bit lanes. */
template <uint32_t reg>
QUAVER_INLINE f32v half_to_f32(i16v x) {
#if defined(__AVX512F__)
  return _mm512_cvtph_ps(reg ? _mm512_extracti64x4_epi64((__m512i)x, 1) : _mm512_castsi512_si256((__m512i)x));
#elif defined(__AVX2__)
  return _mm256_cvtph_ps(reg ? _mm256_extracti128_si256((__m256i)x, 1) : _mm256_castsi256_si128((__m256i)x));
#else
  const float16x8_t half = vreinterpretq_f16_s16((int16x8_t)x);
  return reg ? vcvt_high_f32_f16(half) : vcvt_f32_f16(vget_low_f16(half));
#endif
}

/**
 * FP8 through f16, which hardware converts, subnormals included: an E5M2 code is the upper half of an f16, an E4M3 code
 * is one 2^8 too small once its exponent has moved into place; only its NaN code goes wrong, so such panels are not
 * plain.
 */
template <Format F, bool kParked>
struct F8Weights {
  static constexpr Format format = F;
  static constexpr uint32_t kSteps = 2, kRegs = 2;
  static constexpr bool kIsTile = false;
  using Step = MultiplyAdd;

  explicit QUAVER_INLINE F8Weights(const PanelHeader&) {}
  static QUAVER_INLINE bool fits(const PanelHeader& header) { return header.plain; }
  static constexpr float restore() { return 1; }

  static QUAVER_INLINE i16v to_half(i16v upper_byte) {
    if constexpr (F == Format::f8e5m2) return upper_byte;
    // Arithmetic, so that the sign stays; its copy and the bits of the other code are masked away.
    return (upper_byte >> 1) & static_cast<int16_t>(0xbf80);
  }
  QUAVER_INLINE void decode(const uint8_t* unit, f32v out[kSteps][kRegs]) const {
    const i16v pairs = load<i16v>(unit);
    const i16v first = to_half(F == Format::f8e5m2 ? pairs & static_cast<int16_t>(0xff00) : pairs);
    const i16v second = to_half(pairs << 8);
    out[0][0] = half_to_f32<0>(first);
    out[0][1] = half_to_f32<1>(first);
    out[1][0] = half_to_f32<0>(second);
    out[1][1] = half_to_f32<1>(second);
    if constexpr (F == Format::f8e4m3fn && !kParked) {
      QUAVER_UNROLL
      for (uint32_t step = 0; step < 2; step++) {
        QUAVER_UNROLL
        for (uint32_t reg = 0; reg < 2; reg++) out[step][reg] = out[step][reg] * (1 / kHalfParking);
      }
    }
  }
};
#else

/**
 * FP8 by shifts alone: weights keep the narrow exponent, 2^(bias − 127) times their value, so subnormal codes become f32
 * subnormals. Those are slow on many processors: a panel with more than a few is not plain.
 */
template <Format F, bool kParked>
struct F8Weights : F8AnyWeights<F, kParked> {
  static constexpr int32_t mask16 = F == Format::f8e4m3fn ? 0x87f0 : 0x8fe0;
  static constexpr int shift16 = F == Format::f8e4m3fn ? 4 : 3;

  explicit QUAVER_INLINE F8Weights(const PanelHeader& header) : F8AnyWeights<F, kParked>(header) {}
  static QUAVER_INLINE bool fits(const PanelHeader& header) { return kParked && header.plain; }
  static constexpr float restore() { return from_bits((127 - 108 - (F8<F>::bias - 127)) << 23); }

  QUAVER_INLINE void decode(const uint8_t* unit, f32v out[4][1]) const {
    // A 16-bit lane holds two codes. Shifted down arithmetically, one code is the upper half of an f32.
    const i16v pairs = load<i16v>(unit);
    const i16v mask = i16v{} + static_cast<int16_t>(mask16);
    const i32v odd = (i32v)((pairs >> shift16) & mask);
    const i32v even = (i32v)(((pairs << 8) >> shift16) & mask);
    out[0][0] = lower_half(even);
    out[1][0] = lower_half(odd);
    out[2][0] = upper_half(even);
    out[3][0] = upper_half(odd);
  }
};
#endif

#if defined(__AVX512BF16__)
// The same weights as BF16 pairs, for bfloat16 dot instructions.

struct Bf16PairWeights {
  static constexpr Format format = Format::bf16;
  static constexpr uint32_t kSteps = 1, kRegs = 1;
  static constexpr bool kIsTile = true;
  using Step = DotPairs;

  explicit QUAVER_INLINE Bf16PairWeights(const PanelHeader&) {}
  static QUAVER_INLINE bool fits(const PanelHeader&) { return true; }
  static constexpr float restore() { return 1; }
  QUAVER_INLINE void decode(const uint8_t* unit, f32v out[kSteps][kRegs]) const { out[0][0] = load<f32v>(unit); }
};

template <Format F>
struct F8PairWeights {
  static constexpr Format format = F;
  static constexpr uint32_t kSteps = 1, kRegs = 2;
  static constexpr bool kIsTile = false;
  using Step = DotPairs;
  ByteTableDecoder<F> decoder;

  explicit QUAVER_INLINE F8PairWeights(const PanelHeader&) {}
  static QUAVER_INLINE bool fits(const PanelHeader&) { return true; }
  static constexpr float restore() { return 1; }
  QUAVER_INLINE void decode(const uint8_t* unit, f32v out[kSteps][kRegs]) const {
    __m512i pairs[2];
    decoder.decode(unit, pairs);
    out[0][0] = (f32v)pairs[0];
    out[0][1] = (f32v)pairs[1];
  }
};
#endif

}  // namespace quaver::QUAVER_ISA
