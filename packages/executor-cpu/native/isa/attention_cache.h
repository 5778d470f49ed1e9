// Where the keys and values of a unit lie: in one piece, or in pages.
//
// A tile that lies in one page is read there. One of several pages is put together first, a copy that stays in the
// first cache; so decoding knows nothing of pages. Page ids come from whoever called, and may change at any time: each
// is read once for what it leads to, and one that is out of range stands for zeros.
#pragma once
#include "attention_tiles.h"

namespace quaver::QUAVER_ISA {

/** A unit: `heads` query heads that share a KV head, `steps` tokens. Query row = token · heads + head. */
struct AttentionUnit {
  uint32_t batch, kv_head, first_head, heads, first_step, steps;
  /** Position of the first query of the batch, read once: whoever shares the memory cannot move a unit under way. */
  int32_t start;
  QUAVER_INLINE uint32_t rows() const { return heads * steps; }
};

/** The processor does not expect the next keys of this head behind those of the other heads: they are asked for. */
constexpr uint32_t kPrefetchedValues = 32;

/** Room for the tiles of pages, in floats: rows of 128 keys, and their scales behind them. */
QUAVER_INLINE size_t staging_floats(const Attention& x) {
  return x.pages ? (size_t{kPromote} * (x.d * bytes_of(x.cache) + 1) + 3) / sizeof(float) : 0;
}

/** What a unit reads of one cache, of keys or of values. */
class UnitCache {
 public:
  /** `prefetched`: how many keys ahead a cache in one piece is asked for. `staging`: not used without pages. */
  QUAVER_INLINE UnitCache(const Attention& x, const AttentionUnit& unit, const void* cache, const uint8_t* scales,
                          uint32_t prefetched, float* staging)
      : x_(x),
        row_bytes_(size_t{x.d} * bytes_of(x.cache)),
        rows_(static_cast<const uint8_t*>(cache) + unit.kv_head * row_bytes_),
        scales_(scales ? scales + unit.kv_head : nullptr),
        row0_(size_t{unit.batch} * x.s),
        pages_(x.pages ? x.pages + size_t{unit.batch} * (x.s / x.page_tokens) : nullptr),
        prefetched_(prefetched),
        staging_(reinterpret_cast<uint8_t*>(staging)) {}

  /** `count` keys from `first` on, at most 128. What it gives may lie in `staging`: until the next call. */
  QUAVER_INLINE CacheView tile(uint32_t first, uint32_t count) const {
    if (!pages_) return rows_from(row0_ + first, static_cast<ptrdiff_t>(prefetched_ * row_stride()));
    const uint32_t slot = first % x_.page_tokens;
    if (count <= x_.page_tokens - slot) {
      const uint32_t page = page_of(first);
      if (page != kNoPage) return rows_from(row_of(page, slot), ahead(page, first));
    }
    return put_together(first, count);
  }

 private:
  static constexpr uint32_t kNoPage = UINT32_MAX;

  const Attention& x_;
  const size_t row_bytes_;
  /** Of this head. */
  const uint8_t *const rows_, *const scales_;
  /** Without pages: the row of key 0. */
  const size_t row0_;
  const int32_t* const pages_;
  const uint32_t prefetched_;
  uint8_t* const staging_;

  size_t row_stride() const { return x_.kv_heads * row_bytes_; }
  size_t row_of(uint32_t page, uint32_t slot) const { return size_t{page} * x_.page_tokens + slot; }

  QUAVER_INLINE CacheView rows_from(size_t row, ptrdiff_t ahead) const {
    const uint8_t* scales = scales_ ? scales_ + row * x_.kv_heads : nullptr;
    return {x_.cache, rows_ + row * row_stride(), row_stride(), scales, x_.kv_heads, x_.d, ahead};
  }

  QUAVER_INLINE uint32_t page_of(uint32_t key) const {
    if (key >= x_.s) return kNoPage;
    const uint32_t page = static_cast<uint32_t>(__atomic_load_n(pages_ + key / x_.page_tokens, __ATOMIC_RELAXED));
    return page < x_.page_count ? page : kNoPage;
  }

  /** From a row of `page`, that of `key`, to the same slot of the page after it. */
  QUAVER_INLINE ptrdiff_t ahead(uint32_t page, uint32_t key) const {
    const uint32_t next = x_.s - key > x_.page_tokens ? page_of(key + x_.page_tokens) : kNoPage;
    if (next == kNoPage) return 0;
    return (static_cast<ptrdiff_t>(next) - static_cast<ptrdiff_t>(page)) *
           static_cast<ptrdiff_t>(x_.page_tokens * row_stride());
  }

  __attribute__((noinline)) CacheView put_together(uint32_t first, uint32_t count) const {
    uint8_t* const scales = staging_ + kPromote * row_bytes_;
    for (uint32_t i = 0, run; i < count; i += run) {
      const uint32_t slot = (first + i) % x_.page_tokens, page = page_of(first + i);
      run = min(x_.page_tokens - slot, count - i);
      if (page != kNoPage) {
        copy(rows_from(row_of(page, slot), ahead(page, first + i)), run, staging_ + i * row_bytes_, scales + i);
      } else {
        __builtin_memset(staging_ + i * row_bytes_, 0, run * row_bytes_);
        __builtin_memset(scales + i, 0, run);
      }
    }
    return {x_.cache, staging_, row_bytes_, scales_ ? scales : nullptr, 1, x_.d, 0};
  }

  QUAVER_INLINE void copy(const CacheView& from, uint32_t count, uint8_t* rows, uint8_t* scales) const {
    const size_t whole = row_bytes_ / sizeof(i32v) * sizeof(i32v);
    const uint8_t* row = from.rows;
    for (uint32_t i = 0; i < count; i++, row += from.row_stride, rows += row_bytes_) {
      for (size_t at = 0; at < whole; at += sizeof(i32v)) {
        __builtin_prefetch(row + at + from.ahead);
        store(rows + at, load<i32v>(row + at));
      }
      for (size_t at = whole; at < row_bytes_; at++) rows[at] = row[at];
      if (from.scales) scales[i] = from.scales[i * from.scale_stride];
    }
  }
};

}  // namespace quaver::QUAVER_ISA
