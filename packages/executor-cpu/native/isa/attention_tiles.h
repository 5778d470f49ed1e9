// Keys and values of one (sequence, KV head), decoded block by block into f32 tiles that stay in the first cache.
//
// A key tile is tile[d][kDotWidth keys]: lanes over keys, which makes a dot product over d one accumulator per key. A
// value tile is tile[128 keys][padded d]: lanes over the head dimension. Both are read 32 bits at a time, two bf16 or
// four FP8 numbers, and widened by shifts. That leaves a value row permuted (tile_position), which costs nothing until
// the output is written.
//
// FP8 codes are decoded without their scale, a power of two. It is applied where it costs one multiplication per key:
// to the finished score, and to the probability before it meets the value. That is exact, and gives the bits of scaling
// first, as long as nothing overflows or is flushed either way: see FP8 below.
#pragma once
#include "attention_dot.h"
#include "formats.h"

namespace quaver::QUAVER_ISA {

/** Keys or values of one sequence and KV head. */
struct CacheView {
  Format format;
  /** Row of the first key, and bytes from key to key. */
  const uint8_t* rows;
  size_t row_stride;
  /** E8M0 scale of the first key, and distance from key to key; null but for FP8. */
  const uint8_t* scales;
  size_t scale_stride;
  uint32_t d;
  /** Bytes from a row to the one that is asked for while it is decoded. */
  ptrdiff_t ahead;
};

/** Numbers in 32 bits: so many vectors come out of a vector of words. */
constexpr uint32_t per_word(Format format) { return format == Format::f32 ? 1 : format == Format::bf16 ? 2 : 4; }

/** Elements of a value row in a tile. */
QUAVER_INLINE uint32_t padded_d(Format format, uint32_t d) { return round_up(d, per_word(format) * kLanes); }

/** Where element i of a value lies in its tile row. */
QUAVER_INLINE uint32_t tile_position(Format format, uint32_t i) {
  const uint32_t words = per_word(format), chunk = words * kLanes;
  return i / chunk * chunk + i % words * kLanes + i % chunk / words;
}

/** The words at `p`, of which `bytes` bytes exist; the others are 0 and not read. */
QUAVER_INLINE i32v load_words(const uint8_t* p, uint32_t bytes) {
  if (bytes >= sizeof(i32v)) return load<i32v>(p);
#if defined(__AVX512BW__)
  return reinterpret_cast<i32v>(_mm512_maskz_loadu_epi8((uint64_t{1} << bytes) - 1, p));
#else
  uint8_t lanes[sizeof(i32v)] = {};
  for (uint32_t i = 0; i < bytes; i++) lanes[i] = p[i];
  return load<i32v>(lanes);
#endif
}

/** BF16 numbers as dot operands: magnitudes below 2^-56 become +0. */
QUAVER_INLINE i32v flush_bf16_words(i32v words) {
  constexpr uint16_t twice_least = (127 - 56) << 8;
  const u16v codes = reinterpret_cast<u16v>(words);
  const u16v twice = codes + codes;
  return reinterpret_cast<i32v>(twice < twice_least ? u16v{} : codes);
}

/** The numbers in words as vectors, those in the low bits first. FP8 codes but NaN. */
template <Format F>
QUAVER_INLINE void widen(i32v words, f32v values[per_word(F)]) {
  constexpr int32_t upper_half = static_cast<int32_t>(0xffff0000);
  if constexpr (F == Format::f32) values[0] = from_bits(words);
  if constexpr (F == Format::bf16) {
    values[0] = from_bits(words << 16);
    values[1] = from_bits(words & upper_half);
  }
  if constexpr (F == Format::f8e4m3fn) {
    // Shifted down arithmetically, a code is the upper half of an f32 of 2^-120 times its value.
    constexpr int16_t mask = static_cast<int16_t>(0x87f0);
    const i16v pairs = reinterpret_cast<i16v>(words);
    const i32v odd = reinterpret_cast<i32v>((pairs >> 4) & mask);
    const i32v even = reinterpret_cast<i32v>(((pairs << 8) >> 4) & mask);
    values[0] = from_bits(even << 16) * 0x1p120f;
    values[1] = from_bits(odd << 16) * 0x1p120f;
    values[2] = from_bits(even & upper_half) * 0x1p120f;
    values[3] = from_bits(odd & upper_half) * 0x1p120f;
  }
}

/** Remembers whether words held an Inf or a NaN. */
template <Format F>
struct NotFinite {
  i32v seen = {};
  QUAVER_INLINE void see(i32v words) {
    // Adding one to an exponent field (of FP8: a magnitude) of all ones carries into the sign.
    if constexpr (F == Format::f32) seen |= (words & 0x7fffffff) + 0x00800000;
    if constexpr (F == Format::bf16) {
      const i16v codes = reinterpret_cast<i16v>(words);
      seen |= reinterpret_cast<i32v>((codes & int16_t{0x7fff}) + int16_t{0x0080});
    }
    if constexpr (F == Format::f8e4m3fn) seen |= (words & 0x7f7f7f7f) + 0x01010101;
  }
  QUAVER_INLINE bool any_seen() const {
    constexpr uint32_t sign = F == Format::f32 ? 0x80000000 : F == Format::bf16 ? 0x80008000 : 0x80808080;
    return any(seen & static_cast<int32_t>(sign));
  }
};

// FP8.

QUAVER_INLINE float e8m0_value(uint8_t code) {
  return from_bits(code == 255 ? 0x7fc00000 : code == 0 ? 0x00400000 : code << 23);
}

/** Scales 2^-47 … 2^7: no code times its scale is below 2^-56, and with queries below kModerate nothing overflows. */
constexpr uint8_t kLeastLateScale = 127 - 56 + 9, kGreatestLateScale = 127 + 7;
/** Magnitude below which queries, and the score factor and its reciprocal, allow late scales. */
constexpr float kModerate = 0x1p64f;

/** factors[i] = scale of key i times `factor`, for `count` keys (and some after them, whatever is there); false
 * when one of the scales cannot be late. */
QUAVER_INLINE bool late_factors(const CacheView& cache, uint32_t count, float factor, float* factors) {
  uint8_t codes[kPromote];
  const uint8_t* scale = cache.scales;
  for (uint32_t i = 0; i < count; i++, scale += cache.scale_stride) codes[i] = *scale;
  for (uint32_t i = count; i < round_up(count, kLanes); i++) codes[i] = kLeastLateScale;
  i32v outside = {};
  for (uint32_t i = 0; i < count; i += kLanes) {
    const i32v code = load_codes(codes + i);
    outside |= (code < splat(int32_t{kLeastLateScale})) | (code > splat(int32_t{kGreatestLateScale}));
    store(factors + i, from_bits(code << 23) * factor);
  }
  return !any(outside);
}

/** Calls `store(i, value)` for the elements of an FP8 row as dot operands, whatever they are. */
template <class Store>
QUAVER_INLINE void decode_any_f8_row(const CacheView& cache, uint32_t key, Store store) {
  const f32v scale = splat(e8m0_value(cache.scales[size_t{key} * cache.scale_stride]));
  const uint8_t* row = cache.rows + size_t{key} * cache.row_stride;
  for_each_vector<Format::f8e4m3fn>(row, cache.d, [&](size_t i, f32v value, uint32_t count) {
    const f32v operand = flush_bf16_operand(value * scale);
    for (uint32_t lane = 0; lane < count; lane++) store(static_cast<uint32_t>(i) + lane, operand[lane]);
  });
}

// Keys.

/** `count` keys from `first` on into the first lanes of tile[d][kDotWidth]; the other lanes become 0. */
template <Format F>
QUAVER_INLINE void transpose_keys(const CacheView& cache, uint32_t first, uint32_t count, float* tile,
                                  NotFinite<F>& not_finite) {
  const size_t row_stride = cache.row_stride;
  const uint8_t* rows = cache.rows + first * row_stride;
  const uint32_t d = cache.d;
  constexpr uint32_t words = per_word(F), chunk = words * kLanes;
  const auto part = [&](uint32_t d0, auto load_row) __attribute__((always_inline)) {
    f32v lanes[kLanes];
    QUAVER_UNROLL
    for (uint32_t i = 0; i < kLanes; i++) {
      i32v row = load_row(i);
      if constexpr (F == Format::f8e4m3fn) not_finite.see(row);
      if constexpr (F == Format::bf16) row = flush_bf16_words(row);
      lanes[i] = from_bits(row);
    }
    transpose(lanes);
    QUAVER_UNROLL
    for (uint32_t i = 0; i < kLanes; i++) {
      f32v values[words];
      widen<F>(bits(lanes[i]), values);
      QUAVER_UNROLL
      for (uint32_t j = 0; j < words; j++) store(tile + size_t{d0 + i * words + j} * kDotWidth, values[j]);
    }
  };
  for (uint32_t d0 = 0; d0 < d; d0 += chunk) {
    const uint8_t* from = rows + d0 * bytes_of(F);
    if (count == kLanes && d - d0 >= chunk)
      part(d0, [&](uint32_t i) __attribute__((always_inline)) {
        __builtin_prefetch(from + i * row_stride + cache.ahead);
        return load<i32v>(from + i * row_stride);
      });
    else
      part(d0,
           [&](uint32_t i) { return i < count ? load_words(from + i * row_stride, (d - d0) * bytes_of(F)) : i32v{}; });
  }
}

template <Format F>
__attribute__((noinline)) bool decode_keys_as(const CacheView& cache, uint32_t count, float* tile) {
  NotFinite<F> not_finite;
  for (uint32_t i = 0; i < kDotWidth; i += kLanes)
    transpose_keys<F>(cache, min(i, count - 1), i < count ? min(kLanes, count - i) : 0, tile + i, not_finite);
  return F != Format::f8e4m3fn || !not_finite.any_seen();
}

/** The first `count` keys into tile[padded d][kDotWidth], zeros after them, and what each score is multiplied by:
 * `scale`, times the scale of the key where that is late. */
QUAVER_INLINE void decode_keys(const CacheView& cache, uint32_t count, bool moderate, float scale, float* tile,
                               float factors[kDotWidth]) {
  for (uint32_t i = 0; i < kDotWidth; i++) factors[i] = scale;
  if (cache.format == Format::f32) return void(decode_keys_as<Format::f32>(cache, count, tile));
  if (cache.format == Format::bf16) return void(decode_keys_as<Format::bf16>(cache, count, tile));
  if (moderate && late_factors(cache, count, scale, factors) && decode_keys_as<Format::f8e4m3fn>(cache, count, tile))
    return;
  for (uint32_t i = 0; i < kDotWidth; i++) factors[i] = scale;
  __builtin_memset(tile, 0, size_t{cache.d} * kDotWidth * sizeof(float));
  for (uint32_t i = 0; i < count; i++)
    decode_any_f8_row(cache, i, [&](uint32_t d, float value) { tile[size_t{d} * kDotWidth + i] = value; });
}

// Values.

/** `check`: whether the result, that all values are finite, matters. FP8 is checked always, because `widen` takes no
 * NaN. */
template <Format F, bool Check>
__attribute__((noinline)) bool decode_values_as(const CacheView& cache, uint32_t count, float* tile) {
  constexpr uint32_t words = per_word(F), chunk = words * kLanes;
  NotFinite<F> not_finite;
  const auto decode = [&](i32v codes) __attribute__((always_inline)) {
    if constexpr (Check) not_finite.see(codes);
    if constexpr (F == Format::bf16) codes = flush_bf16_words(codes);
    f32v values[words];
    widen<F>(codes, values);
    QUAVER_UNROLL
    for (uint32_t j = 0; j < words; j++) store(tile + j * kLanes, values[j]);
    tile += chunk;
  };
  const uint8_t* row = cache.rows;
  const uint32_t row_bytes = cache.d * bytes_of(F), whole = row_bytes / sizeof(i32v) * sizeof(i32v);
  for (uint32_t i = 0; i < count; i++, row += cache.row_stride) {
    for (uint32_t at = 0; at < whole; at += sizeof(i32v)) {
      __builtin_prefetch(row + at + cache.ahead);
      decode(load<i32v>(row + at));
    }
    if (whole < row_bytes) decode(load_words(row + whole, row_bytes - whole));
  }
  return !not_finite.any_seen();
}

/** How a decoded block of values is to be used. */
struct ValueTile {
  bool finite;
  /** Probabilities are to be multiplied by `factors` first. */
  bool late;
};

/** The first `count` values into tile[count][padded d]. `check`: whether it matters that they are finite. */
QUAVER_INLINE ValueTile decode_values(const CacheView& cache, uint32_t count, bool check, float* tile,
                                      float factors[kPromote]) {
  if (cache.format == Format::f32) return {decode_values_as<Format::f32, true>(cache, count, tile), false};
  if (cache.format == Format::bf16)
    return {check ? decode_values_as<Format::bf16, true>(cache, count, tile)
                  : decode_values_as<Format::bf16, false>(cache, count, tile),
            false};
  if (late_factors(cache, count, 1, factors) && decode_values_as<Format::f8e4m3fn, true>(cache, count, tile))
    return {true, true};
  const uint32_t stride = padded_d(cache.format, cache.d);
  __builtin_memset(tile, 0, size_t{count} * stride * sizeof(float));
  bool finite = true;
  for (uint32_t i = 0; i < count; i++)
    decode_any_f8_row(cache, i, [&](uint32_t d, float value) {
      tile[i * stride + tile_position(cache.format, d)] = value;
      finite &= abs(value) < __builtin_inff();
    });
  return {finite, false};
}

}  // namespace quaver::QUAVER_ISA
