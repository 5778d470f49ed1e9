// Activations in the form that the inner kernels read: [k / kPromote][row][words], a word being an f32 or two BF16
// numbers. Exact for every format. k beyond the end is +0 up to the next multiple of 4.
#include "gemm.h"

namespace quaver::QUAVER_ISA {
namespace {

template <Format F>
QUAVER_INLINE f32v as_operand(f32v x, float scale) {
  if constexpr (F == Format::bf16) x = flush_bf16_operand(x);
  if constexpr (is_f8(F)) x = x * scale;
  return x;
}

/** One block of one row as f32. */
template <Format F>
QUAVER_INLINE void load_contiguous(const Matrix& a, uint32_t row, uint32_t k0, uint32_t count, float scale, float* out) {
  const uint8_t* from = static_cast<const uint8_t*>(a.data) + (row * a.row_stride + k0) * bytes_of(F);
  uint32_t k = 0;
  for (; k + kLanes <= count; k += kLanes) store(out + k, as_operand<F>(load_as_f32<F>(from, k), scale));
  if (k == count) return;
  alignas(64) uint8_t tail[kLanes * sizeof(float)] = {};
  __builtin_memcpy(tail, from + k * bytes_of(F), (count - k) * bytes_of(F));
  alignas(64) float values[kLanes];
  store(values, as_operand<F>(load_as_f32<F>(tail, 0), scale));
  __builtin_memcpy(out + k, values, (min(kPromote, round_up(count, 4)) - k) * sizeof(float));
}

template <Format F>
QUAVER_INLINE void load_strided(const Matrix& a, uint32_t row, uint32_t k0, uint32_t count, float scale, float* out) {
  const size_t size = bytes_of(F);
  alignas(64) uint8_t gathered[kPromote * sizeof(float)];
  const uint8_t* from = static_cast<const uint8_t*>(a.data) + (row * a.row_stride + k0 * a.column_stride) * size;
  for (uint32_t k = 0; k < count; k++) __builtin_memcpy(gathered + k * size, from + k * a.column_stride * size, size);
  load_contiguous<F>({F, gathered, 1, count, 0, 1}, 0, 0, count, scale, out);
}

/**
 * A block of several rows that are neighbours in memory, as the columns of a matrix are: for every k so many of them as a
 * cache line has. Row by row, each line would be fetched anew for each of its elements.
 */
template <Format F>
struct Lines {
  static constexpr uint32_t kBytes = 64, kRows = kBytes / bytes_of(F);
  alignas(64) uint8_t bytes[kPromote * kBytes];

  QUAVER_INLINE void load(const Matrix& a, uint32_t row, uint32_t rows, uint32_t k0, uint32_t count) {
    const uint8_t* from = static_cast<const uint8_t*>(a.data) + (row + k0 * a.column_stride) * bytes_of(F);
    const size_t step = a.column_stride * bytes_of(F);
    if (rows == kRows)
      for (uint32_t k = 0; k < count; k++) __builtin_memcpy(bytes + k * kBytes, from + k * step, kBytes);
    else
      for (uint32_t k = 0; k < count; k++) __builtin_memcpy(bytes + k * kBytes, from + k * step, rows * bytes_of(F));
  }
  QUAVER_INLINE Matrix row(uint32_t i, uint32_t count) const {
    return {F, bytes + i * bytes_of(F), 1, count, 0, kRows};
  }
};

/** BF16 numbers as pairs: the upper half of a word is the smaller k. */
void store_pairs(const float* values, uint32_t count, uint32_t* words) {
  for (uint32_t i = 0; i < count / 2; i++)
    words[i] = (static_cast<uint32_t>(bits(values[2 * i])) & 0xffff0000u) |
               static_cast<uint32_t>(bits(values[2 * i + 1])) >> 16;
}

template <Format F>
void stage(const Matrix& a, Format w, void* staged, uint32_t row0, uint32_t row1) {
  const float scale = activation_scale(F, w);
  const bool pairs = uses_pairs(F, w);
  for (uint32_t k0 = 0, block = 0; k0 < a.columns; k0 += kPromote, block++) {
    const uint32_t count = min(kPromote, a.columns - k0);
    const auto put = [&](uint32_t row, auto load_row) __attribute__((always_inline)) {
      float* words = static_cast<float*>(staged) + (size_t{block} * a.rows + row) * staged_words(pairs);
      alignas(64) float values[kPromote];
      load_row(pairs ? values : words);
      if (pairs) store_pairs(values, round_up(count, 4), reinterpret_cast<uint32_t*>(words));
    };
    if (a.column_stride == 1)
      for (uint32_t row = row0; row < row1; row++)
        put(row, [&](float* to) { load_contiguous<F>(a, row, k0, count, scale, to); });
    else if (a.row_stride != 1)
      for (uint32_t row = row0; row < row1; row++)
        put(row, [&](float* to) { load_strided<F>(a, row, k0, count, scale, to); });
    else
      for (uint32_t row = row0; row < row1; row += Lines<F>::kRows) {
        const uint32_t rows = min(Lines<F>::kRows, row1 - row);
        Lines<F> lines;
        lines.load(a, row, rows, k0, count);
        for (uint32_t i = 0; i < rows; i++)
          put(row + i, [&](float* to) { load_strided<F>(lines.row(i, count), 0, 0, count, scale, to); });
      }
  }
}

}  // namespace

size_t staged_bytes(Format a, Format w, uint32_t m, uint32_t k) {
  return size_t{ceil_div(k, kPromote)} * m * staged_words(uses_pairs(a, w)) * sizeof(float);
}

void stage_activations(const Matrix& a, Format w, void* staged, uint32_t row0, uint32_t row1) {
  switch (a.format) {
    case Format::f32: return stage<Format::f32>(a, w, staged, row0, row1);
    case Format::bf16: return stage<Format::bf16>(a, w, staged, row0, row1);
    case Format::f8e4m3fn: return stage<Format::f8e4m3fn>(a, w, staged, row0, row1);
    case Format::f8e5m2: return stage<Format::f8e5m2>(a, w, staged, row0, row1);
  }
}

}  // namespace quaver::QUAVER_ISA
