// Attention over a KV cache, in the canonical order: softmax(q · kᵀ · scale) · v for every query row.
//
// K and V of one (sequence, KV head) are decoded once into f32: K as tiles of 32 keys (lanes over keys), V as rows
// (lanes over the head dimension). Query rows, those of all heads that share the KV head together, then go through in
// blocks.
#include "dot_tile.h"
#include "elementary.h"
#include "reduce.h"

namespace quaver {
namespace {

/** Query rows that go through the keys together. */
constexpr uint32_t kQueryRows = 48;

struct Attention {
  const void *q, *k, *v;
  const uint8_t *k_scales, *v_scales;
  const int32_t* start;
  float* out;
  uint32_t b, t, s, q_heads, kv_heads, d;
  /** Keys that a query sees, itself included; 0 means all before it. */
  uint32_t window;
  float scale;
  Format cache, probs;
};

/** Offsets of the scratch areas, in floats. */
struct Layout {
  uint32_t d_padded, keys_padded;
  size_t k_tiles, v_rows, queries, scores, sums, decoded_keys, v_flags, total;

  Layout(uint32_t s, uint32_t d) {
    d_padded = round_up(d, kSub);
    keys_padded = round_up(s, kPromote);
    size_t end = 0;
    const auto area = [&](size_t floats) {
      const size_t at = end;
      end += floats;
      return at;
    };
    k_tiles = area(size_t{keys_padded} * d_padded);
    v_rows = area(size_t{keys_padded} * d_padded);
    queries = area(size_t{kQueryRows} * d_padded);
    scores = area(size_t{kQueryRows} * keys_padded);
    sums = area(size_t{kQueryRows} * d_padded);
    decoded_keys = area(size_t{kSub} * d_padded);
    v_flags = area(round_up(keys_padded / kPromote, 4));
    total = end;
  }
};

/** Keys [from, to) that one query row sees; none when from ≥ to. Both grow with the position. */
struct Visible {
  uint32_t from, to;
};

Visible visible_keys(const Attention& x, uint32_t batch, uint32_t step) {
  const int64_t position = int64_t{x.start[batch]} + step;
  const auto clamped = [&](int64_t key) {
    return static_cast<uint32_t>(key < 0 ? 0 : key < int64_t{x.s} ? key : int64_t{x.s});
  };
  return {x.window > 0 ? clamped(position - x.window + 1) : 0, clamped(position + 1)};
}

QUAVER_INLINE float e8m0_value(uint8_t code) {
  return from_bits(code == 255 ? 0x7fc00000 : code == 0 ? 0x00400000 : code << 23);
}

/** One row of d elements as f32 dot operands: FP8 codes times their scale; everything but an f32 cache under the bf16
 * flush rule. */
template <Format F>
QUAVER_INLINE void decode_row(const void* row, float scale, uint32_t d, float* out) {
  for_each_4<F>(row, d, [&](uint32_t i, f32x4 value, uint32_t) {
    if constexpr (F == Format::f8e4m3fn) value = value * splat(scale);
    if constexpr (F != Format::f32) value = flush_bf16_operand(value);
    store(out + i, value);
  });
}

/** Scale codes between which the shifted decode of a row is exact: no magnitude is below 2^-56, and 2^120 times the
 * scale is an f32. */
constexpr uint8_t kLeastShiftedScale = 127 - 56 + 9, kGreatestShiftedScale = 127 + 127 - 120;

/**
 * decode_row of E4M3FN codes, 16 at a time, for d a multiple of 16 and a scale within the limits above. Shifted into
 * the upper half of an f32, a code is its value times 2^-120; one exact multiplication restores that and applies the
 * scale. False, with `out` unusable, when a code is NaN, which this does not decode.
 */
QUAVER_INLINE bool decode_shifted_row(const uint8_t* row, uint8_t scale, uint32_t d, float* out) {
  const f32x4 factor = splat(from_bits((scale + 120) << 23));
  u8x16 nan = {};
  for (uint32_t i = 0; i < d; i += 16) {
    const u8x16 codes = load<u8x16>(row + i);
    nan |= reinterpret_cast<u8x16>((codes & 0x7f) == 0x7f);
    const u8x16 low = interleave_low(u8x16{}, codes), high = interleave_high(u8x16{}, codes);
    const u16x8 halves[2] = {
        reinterpret_cast<u16x8>((reinterpret_cast<i16x8>(low) >> 4) & static_cast<int16_t>(0x87f0)),
        reinterpret_cast<u16x8>((reinterpret_cast<i16x8>(high) >> 4) & static_cast<int16_t>(0x87f0))};
#pragma clang loop unroll(full)
    for (uint32_t j = 0; j < 2; j++) {
      store(out + i + 8 * j, reinterpret_cast<f32x4>(interleave_low(u16x8{}, halves[j])) * factor);
      store(out + i + 8 * j + kLanes, reinterpret_cast<f32x4>(interleave_high(u16x8{}, halves[j])) * factor);
    }
  }
  const i32x4 any = reinterpret_cast<i32x4>(nan);
  return (any[0] | any[1] | any[2] | any[3]) == 0;
}

/** Decodes the key or value of one token and KV head. `out` has room for d rounded up to 8. */
QUAVER_INLINE void decode_cache_row(const Attention& x, const void* cache, const uint8_t* scales, size_t row,
                                    float* out) {
  const uint8_t* from = static_cast<const uint8_t*>(cache) + row * x.d * bytes_of(x.cache);
  if (x.cache == Format::f32) return decode_row<Format::f32>(from, 1, x.d, out);
  if (x.cache == Format::bf16) return decode_row<Format::bf16>(from, 1, x.d, out);
  const uint8_t scale = scales[row];
  const bool shiftable = x.d % 16 == 0 && scale >= kLeastShiftedScale && scale <= kGreatestShiftedScale;
  if (shiftable && decode_shifted_row(from, scale, x.d, out)) return;
  decode_row<Format::f8e4m3fn>(from, e8m0_value(scale), x.d, out);
}

QUAVER_INLINE void transpose_4x4(const float* from, size_t from_stride, float* to, size_t to_stride) {
  const f32x4 a = load<f32x4>(from), b = load<f32x4>(from + from_stride), c = load<f32x4>(from + 2 * from_stride),
              d = load<f32x4>(from + 3 * from_stride);
  const f32x4 ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const f32x4 cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  store(to, __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5));
  store(to + to_stride, __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7));
  store(to + 2 * to_stride, __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5));
  store(to + 3 * to_stride, __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7));
}

/** The attention of one sequence and KV head, for `heads` consecutive query heads that share it. */
class HeadGroup {
 public:
  HeadGroup(const Attention& x, float* scratch, uint32_t batch, uint32_t first_head, uint32_t heads)
      : x_(x), layout_(x.s, x.d), scratch_(scratch), batch_(batch), first_head_(first_head), heads_(heads) {}

  void run() {
    decode_cache();
    const uint32_t steps = max(kQueryRows / heads_, 1);
    for (uint32_t step = 0; step < x_.t; step += steps) query_block(step, min(steps, x_.t - step));
  }

 private:
  const Attention& x_;
  const Layout layout_;
  float* const scratch_;
  const uint32_t batch_, first_head_, heads_;
  /** Decoded keys: [first_key_, last_key_), the first one a multiple of 128. */
  uint32_t first_key_ = 0, last_key_ = 0;

  uint8_t* v_flags() const { return reinterpret_cast<uint8_t*>(scratch_ + layout_.v_flags); }
  size_t cache_row(uint32_t key) const {
    const uint32_t kv_head = first_head_ / (x_.q_heads / x_.kv_heads);
    return (size_t{batch_} * x_.s + key) * x_.kv_heads + kv_head;
  }

  void decode_cache() {
    // The first query sees the earliest key, the last one the latest.
    first_key_ = visible_keys(x_, batch_, 0).from / kPromote * kPromote;
    last_key_ = visible_keys(x_, batch_, x_.t - 1).to;
    for (uint32_t key = first_key_; key < last_key_; key += kSub) decode_keys(key);
    for (uint32_t key = first_key_; key < last_key_; key += kPromote)
      decode_values(key, min(kPromote, last_key_ - key));
  }

  /** Eight keys into [d][8 keys]. Those past the end become 0: their scores are masked. */
  void decode_keys(uint32_t key) {
    const uint32_t d_padded = layout_.d_padded;
    float* rows = scratch_ + layout_.decoded_keys;
    for (uint32_t i = 0; i < kSub; i++) {
      if (key + i < last_key_)
        decode_cache_row(x_, x_.k, x_.k_scales, cache_row(key + i), rows + i * d_padded);
      else
        __builtin_memset(rows + i * d_padded, 0, d_padded * sizeof(float));
    }
    float* tile = scratch_ + layout_.k_tiles + size_t{key - first_key_} * d_padded;
    for (uint32_t d = 0; d < x_.d; d += kLanes)
      for (uint32_t i = 0; i < kSub; i += kLanes)
        transpose_4x4(rows + i * d_padded + d, d_padded, tile + d * kSub + i, kSub);
  }

  /** One block of 128 values into rows of d_padded, and whether all of them are finite. */
  void decode_values(uint32_t key, uint32_t count) {
    i32x4 not_finite = {};
    for (uint32_t i = 0; i < count; i++) {
      float* row = scratch_ + layout_.v_rows + size_t{key - first_key_ + i} * layout_.d_padded;
      store(row + layout_.d_padded - kSub, f32x4{});
      store(row + layout_.d_padded - kLanes, f32x4{});
      decode_cache_row(x_, x_.v, x_.v_scales, cache_row(key + i), row);
      for (uint32_t d = 0; d < layout_.d_padded; d += kLanes)
        not_finite |= (bits(load<f32x4>(row + d)) & 0x7fffffff) >= splat(0x7f800000);
    }
    v_flags()[(key - first_key_) / kPromote] = (not_finite[0] | not_finite[1] | not_finite[2] | not_finite[3]) != 0;
  }

  /** Query rows of `steps` tokens: row = token · heads + head. */
  void query_block(uint32_t step, uint32_t steps) {
    const uint32_t rows = steps * heads_;
    const Visible first = visible_keys(x_, batch_, step), last = visible_keys(x_, batch_, step + steps - 1);
    const uint32_t from = first.from / kPromote * kPromote, to = last.to;
    const uint32_t width = from < to ? round_up(to - from, kSub) : 0;
    decode_queries(step, steps);
    score(rows, from, width);
    for (uint32_t row = 0; row < rows; row++) {
      const Visible keys = visible_keys(x_, batch_, step + row / heads_);
      probabilities(scratch_ + layout_.scores + size_t{row} * layout_.keys_padded, width,
                    keys.from - min(from, keys.from), keys.to - min(from, keys.to));
    }
    weigh_values(step, rows, from, to);
    for (uint32_t row = 0; row < rows; row++)
      __builtin_memcpy(x_.out + query_row(step, row) * x_.d, scratch_ + layout_.sums + size_t{row} * layout_.d_padded,
                       x_.d * sizeof(float));
  }

  size_t query_row(uint32_t step, uint32_t row) const {
    return (size_t{batch_} * x_.t + step + row / heads_) * x_.q_heads + first_head_ + row % heads_;
  }

  void decode_queries(uint32_t step, uint32_t steps) {
    for (uint32_t row = 0; row < steps * heads_; row++) {
      const size_t element = query_row(step, row) * x_.d;
      float* to = scratch_ + layout_.queries + size_t{row} * layout_.d_padded;
      if (x_.cache == Format::f32)
        decode_row<Format::f32>(static_cast<const float*>(x_.q) + element, 1, x_.d, to);
      else
        decode_row<Format::bf16>(static_cast<const uint16_t*>(x_.q) + element, 1, x_.d, to);
    }
  }

  /** scores[row][key − from] = q · k, for all keys of the block. */
  void score(uint32_t rows, uint32_t from, uint32_t width) {
    float* scores = scratch_ + layout_.scores;
    for (uint32_t row = 0; row < rows; row++)
      __builtin_memset(scores + size_t{row} * layout_.keys_padded, 0, width * sizeof(float));
    for (uint32_t key = 0; key < width; key += kSub) {
      const float* tile = scratch_ + layout_.k_tiles + size_t{from - first_key_ + key} * layout_.d_padded;
      for (uint32_t d = 0; d < x_.d; d += kPromote)
        dot_tile(rows, scratch_ + layout_.queries + d, layout_.d_padded, tile + d * kSub, kSub, min(kPromote, x_.d - d),
                 add_to(scores + key, layout_.keys_padded));
    }
  }

  /** Scores of one row into probabilities, in place; columns outside [from, to) become 0. */
  void probabilities(float* row, uint32_t width, uint32_t from, uint32_t to) {
    if (from >= to) {
      __builtin_memset(row, 0, width * sizeof(float));
      return;
    }
    for (uint32_t i = 0; i < width; i += kLanes) store(row + i, load<f32x4>(row + i) * splat(x_.scale));
    for (uint32_t i = 0; i < from; i++) row[i] = -kInfinity;
    for (uint32_t i = to; i < width; i++) row[i] = -kInfinity;
    const f32x4 largest = splat(row_max(row, width));
    // A masked column adds exp(−Inf) = +0 to its partial, that is nothing.
    const f32x4 sum = splat(canonical_sum(width, [&](uint32_t i, uint32_t) {
      const f32x4 e = exp(load<f32x4>(row + i) - largest);
      store(row + i, e);
      return e;
    }));
    for (uint32_t i = 0; i < width; i += kLanes) store(row + i, round_probability(load<f32x4>(row + i) / sum));
  }

  QUAVER_INLINE f32x4 round_probability(f32x4 p) const {
    if (x_.probs == Format::f32) return p;
    if (x_.probs == Format::bf16) return flush_bf16_operand(round_to_bf16(p));
    return decode_f8<Format::f8e4m3fn>(encode_f8<Format::f8e4m3fn>(p * 256.0f)) * 0x1p-8f;
  }

  /** sums[row][d] = Σ p · v, a fresh accumulator for every 128 key positions. */
  void weigh_values(uint32_t step, uint32_t rows, uint32_t from, uint32_t to) {
    const uint32_t d_padded = layout_.d_padded;
    float* sums = scratch_ + layout_.sums;
    __builtin_memset(sums, 0, size_t{rows} * d_padded * sizeof(float));
    for (uint32_t key = from; key < to; key += kPromote) {
      const float* p = scratch_ + layout_.scores + (key - from);
      const float* v = scratch_ + layout_.v_rows + size_t{key - first_key_} * d_padded;
      if (v_flags()[(key - first_key_) / kPromote]) {
        weigh_not_finite(step, rows, key, p, v);
        continue;
      }
      for (uint32_t d = 0; d < d_padded; d += kSub)
        dot_tile(rows, p, layout_.keys_padded, v + d, d_padded, min(kPromote, to - key), add_to(sums + d, d_padded));
    }
  }

  /** The same where a value is Inf or NaN: 0 times it would leak from keys that a row must not see, so each row stops
   * at its own. */
  void weigh_not_finite(uint32_t step, uint32_t rows, uint32_t key, const float* p, const float* v) {
    const uint32_t d_padded = layout_.d_padded;
    for (uint32_t row = 0; row < rows; row++) {
      const Visible keys = visible_keys(x_, batch_, step + row / heads_);
      const uint32_t from = max(keys.from, key), to = min(keys.to, key + kPromote);
      if (from >= to) continue;
      for (uint32_t d = 0; d < d_padded; d += kSub)
        dot_rows<1>(p + size_t{row} * layout_.keys_padded + (from - key), 0, v + size_t{from - key} * d_padded + d,
                    d_padded, to - from, add_to(scratch_ + layout_.sums + size_t{row} * d_padded + d, 0));
    }
  }
};

}  // namespace

/** Bytes of scratch (16-byte aligned) for a cache of s keys with heads of d elements. */
QUAVER_KERNEL(attention_scratch_bytes) size_t attention_scratch_bytes(uint32_t s, uint32_t d) {
  return Layout(s, d).total * sizeof(float);
}

/**
 * out f32[b, t, q_heads, d] from q [b, t, q_heads, d] and k, v [b, s, kv_heads, d]; q_heads is a multiple of kv_heads.
 * `cache` f32: q, k, v f32. bf16: all bf16. f8e4m3fn: q bf16, k and v codes with E8M0 scale bytes k_scales, v_scales
 * [b, s, kv_heads]. Query t of sequence b sees the keys j ≤ start[b] + t, j < s and, when window > 0, j > start[b] + t
 * − window; out is 0 when that is none. `probs`: probabilities stay f32, are rounded to bf16, or to E4M3FN times 2^-8.
 * Computes the heads [n0, n1) of the b · q_heads (sequence, head) pairs.
 */
QUAVER_KERNEL(attention)
void attention(Format cache, Format probs, const void* q, const void* k, const uint8_t* k_scales, const void* v,
               const uint8_t* v_scales, const int32_t* start, float* out, float* scratch, uint32_t b, uint32_t t,
               uint32_t s, uint32_t q_heads, uint32_t kv_heads, uint32_t d, uint32_t window, float scale, uint32_t n0,
               uint32_t n1) {
  if (t == 0) return;
  const Attention x{q, k,       v,        k_scales, v_scales, start, out,   b,    t,
                    s, q_heads, kv_heads, d,        window,   scale, cache, probs};
  const uint32_t group = q_heads / kv_heads;
  for (uint32_t head = n0; head < n1;) {
    const uint32_t group_end = head / group * group + group;
    const uint32_t count = min(min(group_end, n1) - head, kQueryRows);
    HeadGroup(x, scratch, head / q_heads, head % q_heads, count).run();
    head += count;
  }
}

}  // namespace quaver
