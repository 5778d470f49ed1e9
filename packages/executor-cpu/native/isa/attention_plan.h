// How attention is cut into units, and where a unit keeps what in scratch.
#pragma once
#include "attention_cache.h"

namespace quaver::QUAVER_ISA {

/** Query rows that go through the keys together: enough to pay for decoding the keys. */
constexpr uint32_t kQueryRows = 64;
/** Bytes of scores of one unit: so many rows that they stay in the second cache. */
constexpr uint32_t kScoreBytes = 1 << 20;
/** Numbers of a tile of values. */
constexpr uint32_t kValueTile = 4096;
/** Keys are scored in whole tiles, and summed in whole sets of 16 partials. */
constexpr uint32_t kKeyStep = max(kDotWidth, 16);

/** Keys [from, to) that one query row sees; none when from ≥ to. */
struct Visible {
  uint32_t from, to;
};

/** What a query at `position` sees that may see no key before `first`. */
QUAVER_INLINE Visible visible_keys(const Attention& x, int64_t position, int64_t first) {
  const auto clamped = [&](int64_t key) {
    return static_cast<uint32_t>(key < 0 ? 0 : key < int64_t{x.s} ? key : int64_t{x.s});
  };
  const uint32_t from = clamped(first < position ? first : position);
  return {x.window > 0 ? max(from, clamped(position - x.window + 1)) : from, clamped(position + 1)};
}

/** What the tokens of a unit see, and [from, to) around all of it. Read once, like `start`. */
struct UnitKeys {
  Visible of_step[kQueryRows];
  uint32_t from, to;

  UnitKeys(const Attention& x, const AttentionUnit& unit) : from(x.s), to(0) {
    const size_t token = size_t{unit.batch} * x.t + unit.first_step;
    for (uint32_t step = 0; step < unit.steps; step++) {
      const int64_t first = x.first_key ? __atomic_load_n(x.first_key + token + step, __ATOMIC_RELAXED) : 0;
      of_step[step] = visible_keys(x, int64_t{unit.start} + unit.first_step + step, first);
      from = min(from, of_step[step].from);
      to = max(to, of_step[step].to);
    }
  }
};

struct AttentionPlan {
  uint32_t group, heads, head_blocks, steps, step_blocks;
  /** Elements from one query row to the next. */
  uint32_t d_padded, keys_padded;
  /** Values of one tile: as many as stay in the first cache with what they meet, and a divisor of 128. */
  uint32_t value_keys;

  QUAVER_INLINE explicit AttentionPlan(const Attention& x) {
    group = x.q_heads / x.kv_heads;
    heads = min(group, kQueryRows);
    head_blocks = ceil_div(group, heads);
    d_padded = max(padded_d(x.cache, x.d), round_up(x.d, 16));
    for (value_keys = kPromote; value_keys > 16 && value_keys * d_padded > kValueTile;) value_keys /= 2;
    // A window bounds the keys that the rows of a unit see: their tokens are consecutive.
    const uint64_t reach = uint64_t{x.window} + min(x.t, kQueryRows) + kPromote;
    keys_padded = round_up(x.window > 0 && reach < x.s ? static_cast<uint32_t>(reach) : x.s, kKeyStep) + kKeyStep;
    const uint32_t rows = min(kQueryRows, kScoreBytes / sizeof(float) / keys_padded);
    steps = min(max(rows / heads, 1), max(x.t, 1));
    step_blocks = ceil_div(x.t, steps);
  }

  QUAVER_INLINE uint32_t units(const Attention& x) const { return x.b * x.kv_heads * head_blocks * step_blocks; }

  QUAVER_INLINE AttentionUnit unit(const Attention& x, uint32_t index) const {
    // Later tokens see more keys: taken from both ends in turn, any run of units costs about the same.
    const uint32_t turn = index % step_blocks;
    const uint32_t step_block = turn % 2 == 0 ? turn / 2 : step_blocks - 1 - turn / 2;
    index /= step_blocks;
    const uint32_t first_in_group = index % head_blocks * heads;
    index /= head_blocks;
    const uint32_t kv_head = index % x.kv_heads, batch = index / x.kv_heads, first_step = step_block * steps;
    return {batch,
            kv_head,
            kv_head * group + first_in_group,
            min(heads, group - first_in_group),
            first_step,
            min(steps, x.t - first_step),
            __atomic_load_n(x.start + batch, __ATOMIC_RELAXED)};
  }

  // Offsets of the scratch areas, in floats. The tile is of keys first, of values later.
  QUAVER_INLINE uint32_t max_rows() const { return heads * steps; }
  QUAVER_INLINE size_t factors() const { return 0; }
  QUAVER_INLINE size_t queries() const { return kPromote; }
  QUAVER_INLINE size_t sums() const { return queries() + size_t{max_rows()} * d_padded; }
  QUAVER_INLINE size_t part() const { return sums() + size_t{max_rows()} * d_padded; }
  QUAVER_INLINE size_t tile() const { return part() + size_t{max_rows()} * d_padded; }
  QUAVER_INLINE size_t scores() const { return tile() + size_t{max(value_keys, kDotWidth)} * d_padded; }
  QUAVER_INLINE size_t staging() const { return scores() + size_t{max_rows()} * keys_padded; }
  QUAVER_INLINE size_t total(const Attention& x) const { return staging() + staging_floats(x); }
};

QUAVER_INLINE size_t query_element(const Attention& x, const AttentionUnit& unit, uint32_t row) {
  const size_t token = size_t{unit.batch} * x.t + unit.first_step + row / unit.heads;
  return (token * x.q_heads + unit.first_head + row % unit.heads) * x.d;
}

/** The queries of a unit as f32 dot operands; false when one is too large for late scales. */
QUAVER_INLINE bool decode_queries(const Attention& x, const AttentionUnit& unit, float* queries, uint32_t stride) {
  i32v large = {};
  for (uint32_t row = 0; row < unit.rows(); row++, queries += stride) {
    const size_t element = query_element(x, unit, row);
    if (x.cache == Format::f32) {
      __builtin_memcpy(queries, static_cast<const float*>(x.q) + element, x.d * sizeof(float));
      continue;
    }
    for_each_vector<Format::bf16>(static_cast<const uint16_t*>(x.q) + element, x.d,
                                  [&](size_t i, f32v value, uint32_t count) {
                                    large |= bits(abs(value)) >= splat(bits(kModerate));
                                    store_first(queries + i, flush_bf16_operand(value), count);
                                  });
  }
  return !any(large);
}

QUAVER_INLINE bool is_moderate(float x) { return abs(x) <= kModerate && abs(x) >= 1 / kModerate; }

/** One row of a tile into the order of the tensor. */
template <Format F>
QUAVER_INLINE void restore_order(const float* from, uint32_t d, float* out) {
  constexpr uint32_t words = per_word(F), chunk = words * kLanes;
  for (; d >= chunk; d -= chunk, from += chunk, out += chunk) {
    QUAVER_UNROLL
    for (uint32_t i = 0; i < chunk; i++) out[i] = from[i % words * kLanes + i / words];
  }
  for (uint32_t i = 0; i < d; i++) out[i] = from[i % words * kLanes + i / words];
}

/** The finished sums of a unit into the output. */
QUAVER_INLINE void write_sums(const Attention& x, const AttentionUnit& unit, const float* sums, uint32_t stride) {
  for (uint32_t row = 0; row < unit.rows(); row++, sums += stride) {
    float* out = x.out + query_element(x, unit, row);
    switch (x.cache) {
      case Format::f32: restore_order<Format::f32>(sums, x.d, out); break;
      case Format::bf16: restore_order<Format::bf16>(sums, x.d, out); break;
      default: restore_order<Format::f8e4m3fn>(sums, x.d, out); break;
    }
  }
}

}  // namespace quaver::QUAVER_ISA
