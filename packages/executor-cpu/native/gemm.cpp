// out[m, n] = Σ_k a[m, k] · w[n, k], in the canonical order, from packed weights.
#include "panels.h"

namespace quaver {
namespace {

/** Rows of activations staged at a time: enough to hide the decode of a weight tile, few enough to stay in cache. */
constexpr uint32_t kRowBlock = 96;
/** Up to this many rows are computed one after the other straight from the packed weights: cheaper than a decoded tile.
 */
constexpr uint32_t kRowPathRows = 2;

struct Shape {
  uint32_t m, n, k;
  /** Range of outputs to compute. */
  uint32_t n0, n1;
};

/** Scales of a scaled dot; absent for bf16 and f32. */
struct Scales {
  const float *a, *w;
  uint32_t a_row_stride;
  /** k-elements and outputs that share one weight scale. */
  uint32_t block_k, block_n;
};

struct Scratch {
  float* activations;
  float* tile;
  float* sums;
};

Scratch split_scratch(void* scratch, uint32_t rows) {
  float* base = static_cast<float*>(scratch);
  return {base + kPanel * (kPromote + rows), base, base + kPanel * kPromote};
}

size_t scratch_bytes(uint32_t m, uint32_t k) {
  const uint32_t rows = min(m, kRowBlock);
  return sizeof(float) * (kPanel * (kPromote + rows) + size_t{rows} * padded_k(k));
}

/** The f32 values of activation rows, each padded with +0 to a multiple of 4. FP8 ones times kActivationScale. */
template <Format F>
void stage_activations(const void* a, float* staged, uint32_t rows, uint32_t k) {
  const size_t row_bytes = size_t{k} * bytes_of(F);
  for (uint32_t row = 0; row < rows; row++, staged += padded_k(k))
    for_each_4<F>(static_cast<const uint8_t*>(a) + row * row_bytes, k, [&](uint32_t i, f32x4 x, uint32_t) {
      if constexpr (F == Format::bf16) x = flush_bf16_operand(x);
      if constexpr (F == Format::f8e4m3fn || F == Format::f8e5m2) x = x * kActivationScale;
      store(staged + i, x);
    });
}

// How each weight format is read. `row` accumulates `count` k-elements of one activation row for a whole panel;
// `tile` returns the same elements as f32 in the layout of dot_tile: [4 groups][count][8 outputs].

struct F32Weights {
  static constexpr Format format = Format::f32;
  static constexpr bool is_scaled = false;

  static QUAVER_INLINE void row(const PanelHeader&, const uint8_t* data, uint32_t k0, const float* x, uint32_t count,
                                f32x4 acc[8]) {
    const float* w = reinterpret_cast<const float*>(data) + size_t{kPanel} * k0;
    for (uint32_t k = 0; k < count; k++, w += kSub) {
      const f32x4 xk = splat(x[k]);
#pragma clang loop unroll(full)
      for (uint32_t i = 0; i < 8; i++)
        acc[i] = acc[i] + xk * load<f32x4>(w + size_t{i / 2} * count * kSub + i % 2 * kLanes);
    }
  }
  static QUAVER_INLINE const float* tile(const PanelHeader&, const uint8_t* data, uint32_t k0, uint32_t, float*) {
    return reinterpret_cast<const float*>(data) + size_t{kPanel} * k0;
  }
};

struct Bf16Weights {
  static constexpr Format format = Format::bf16;
  static constexpr bool is_scaled = false;
  static constexpr int32_t upper_half = static_cast<int32_t>(0xffff0000);

  static QUAVER_INLINE void row(const PanelHeader&, const uint8_t* data, uint32_t k0, const float* x, uint32_t count,
                                f32x4 acc[8]) {
    const uint16_t* w = reinterpret_cast<const uint16_t*>(data) + size_t{kPanel} * k0;
    for (uint32_t k = 0; k < count; k += 2, w += 2 * kPanel) {
      const f32x4 x0 = splat(x[k]), x1 = splat(x[k + 1]);
#pragma clang loop unroll(full)
      for (uint32_t i = 0; i < 8; i++) {
        const i32x4 pair = load<i32x4>(w + 8 * i);
        acc[i] = acc[i] + x0 * from_bits(pair << 16);
        acc[i] = acc[i] + x1 * from_bits(pair & upper_half);
      }
    }
  }
  static QUAVER_INLINE const float* tile(const PanelHeader&, const uint8_t* data, uint32_t k0, uint32_t count,
                                         float* out) {
    const uint16_t* w = reinterpret_cast<const uint16_t*>(data) + size_t{kPanel} * k0;
    for (uint32_t k = 0; k < count; k += 2, w += 2 * kPanel)
#pragma clang loop unroll(full)
      for (uint32_t i = 0; i < 8; i++) {
        const i32x4 pair = load<i32x4>(w + 8 * i);
        float* at = out + (i / 2 * count + k) * kSub + i % 2 * kLanes;
        store(at, from_bits(pair << 16));
        store(at + kSub, from_bits(pair & upper_half));
      }
    return out;
  }
};

template <Format F>
struct F8Weights {
  static constexpr Format format = F;
  static constexpr bool is_scaled = true;
  static QUAVER_INLINE float restore(const PanelHeader& header) {
    return header.parkable ? Parked<F>::restore_shifted : Parked<F>::restore_exact;
  }

  static QUAVER_INLINE void row(const PanelHeader& header, const uint8_t* data, uint32_t k0, const float* x,
                                uint32_t count, f32x4 acc[8]) {
    const uint8_t* w = data + size_t{kPanel} * k0;
    if (header.parkable)
      accumulate(w, x, count, acc, [](i32x4 codes, f32x4 values[4]) { decode_shifted<F>(codes, values); });
    else
      accumulate(w, x, count, acc, [](i32x4 codes, f32x4 values[4]) { decode_exact<F>(codes, values); });
  }
  static QUAVER_INLINE const float* tile(const PanelHeader& header, const uint8_t* data, uint32_t k0, uint32_t count,
                                         float* out) {
    const uint8_t* w = data + size_t{kPanel} * k0;
    if (header.parkable)
      fill(w, count, out, [](i32x4 codes, f32x4 values[4]) { decode_shifted<F>(codes, values); });
    else
      fill(w, count, out, [](i32x4 codes, f32x4 values[4]) { decode_exact<F>(codes, values); });
    return out;
  }

 private:
  template <class Decode>
  static QUAVER_INLINE void accumulate(const uint8_t* w, const float* x, uint32_t count, f32x4 acc[8], Decode decode) {
    for (uint32_t k = 0; k < count; k += 4, w += 4 * kPanel) {
      const f32x4 x0 = splat(x[k]), x1 = splat(x[k + 1]), x2 = splat(x[k + 2]), x3 = splat(x[k + 3]);
#pragma clang loop unroll(full)
      for (uint32_t i = 0; i < 8; i++) {
        f32x4 values[4];
        decode(load<i32x4>(w + 16 * i), values);
        acc[i] = acc[i] + x0 * values[0];
        acc[i] = acc[i] + x1 * values[1];
        acc[i] = acc[i] + x2 * values[2];
        acc[i] = acc[i] + x3 * values[3];
      }
    }
  }

  template <class Decode>
  static QUAVER_INLINE void fill(const uint8_t* w, uint32_t count, float* out, Decode decode) {
    for (uint32_t k = 0; k < count; k += 4, w += 4 * kPanel)
#pragma clang loop unroll(full)
      for (uint32_t i = 0; i < 8; i++) {
        f32x4 values[4];
        decode(load<i32x4>(w + 16 * i), values);
        float* at = out + (i / 2 * count + k) * kSub + i % 2 * kLanes;
#pragma clang loop unroll(full)
        for (uint32_t j = 0; j < 4; j++) store(at + j * kSub, values[j]);
      }
  }
};

/** The 32 weight scales of one panel and segment. */
struct PanelScales {
  uint32_t row[kPanel];
  bool uniform;

  PanelScales(const Scales& scales, uint32_t panel, const Shape& shape) {
    const uint32_t blocks_k = ceil_div(shape.k, scales.block_k);
    for (uint32_t i = 0; i < kPanel; i++) row[i] = min(panel * kPanel + i, shape.n - 1) / scales.block_n * blocks_k;
    uniform = row[0] == row[kPanel - 1];
  }
  QUAVER_INLINE void gather(const float* w_scales, uint32_t block, float out[kPanel]) const {
    for (uint32_t i = 0; i < kPanel; i++) out[i] = w_scales[row[uniform ? 0 : i] + block];
  }
};

/**
 * One segment of a panel for `rows` staged rows: `finish(row, column, acc)` receives each register of sums, whose first
 * output is `column` of the panel.
 */
template <class Weights, class Finish>
QUAVER_INLINE void panel_segment(const PanelHeader& header, const uint8_t* data, uint32_t k0, uint32_t count,
                                 uint32_t rows, const float* activations, uint32_t a_stride, float* tile_space,
                                 Finish finish) {
  if (rows <= kRowPathRows) {
    for (uint32_t row = 0; row < rows; row++) {
      f32x4 acc[8] = {};
      Weights::row(header, data, k0, activations + row * a_stride + k0, count, acc);
#pragma clang loop unroll(full)
      for (uint32_t i = 0; i < 8; i++) finish(row, i * kLanes, acc[i]);
    }
    return;
  }
  const float* tile = Weights::tile(header, data, k0, count, tile_space);
  for (uint32_t sub = 0; sub < kSubsPerPanel; sub++)
    dot_tile(rows, activations + k0, a_stride, tile + sub * count * kSub, kSub, count,
             [&](uint32_t row, uint32_t half, f32x4 acc) { finish(row, sub * kSub + half * kLanes, acc); });
}

/** Sums of one panel: sums[row][32] from +0, segments ascending. `a_scales` points to the scales of the first staged
 * row. */
template <class Weights>
__attribute__((noinline)) void panel_sums(const uint8_t* panel, uint32_t panel_index, const Shape& shape, uint32_t rows,
                                          const Scales& scales, const float* a_scales, const Scratch& scratch) {
  const PanelHeader header = load<PanelHeader>(panel);
  const uint8_t* data = panel + sizeof(PanelHeader);
  const uint32_t k_padded = padded_k(shape.k);
  float* sums = scratch.sums;
  for (uint32_t i = 0; i < rows * kPanel; i += kLanes) store(sums + i, f32x4{});

  if constexpr (Weights::is_scaled) {
    const PanelScales panel_scales(scales, panel_index, shape);
    const f32x4 restore = splat(Weights::restore(header));
    const uint32_t segment = scales.block_k >= shape.k ? kPromote : min(scales.block_k, kPromote);
    for (uint32_t k0 = 0; k0 < k_padded; k0 += segment) {
      const uint32_t block = k0 / scales.block_k;
      alignas(16) float w_scales[kPanel];
      panel_scales.gather(scales.w, block, w_scales);
      panel_segment<Weights>(header, data, k0, min(segment, k_padded - k0), rows, scratch.activations, k_padded,
                             scratch.tile, [&](uint32_t row, uint32_t column, f32x4 acc) {
                               const f32x4 a_scale = splat(a_scales[row * scales.a_row_stride + block]);
                               const f32x4 scale = a_scale * load<f32x4>(w_scales + column);
                               float* at = sums + row * kPanel + column;
                               store(at, load<f32x4>(at) + acc * restore * scale);
                             });
    }
  } else {
    for (uint32_t k0 = 0; k0 < k_padded; k0 += kPromote)
      panel_segment<Weights>(header, data, k0, min(kPromote, k_padded - k0), rows, scratch.activations, k_padded,
                             scratch.tile, [&](uint32_t row, uint32_t column, f32x4 acc) {
                               float* at = sums + row * kPanel + column;
                               store(at, load<f32x4>(at) + acc);
                             });
  }
}

/** Copies the part of a panel's sums that lies in [n0, n1) to the output. */
void write_outputs(const float* sums, float* out, size_t out_stride, uint32_t rows, uint32_t first,
                   const Shape& shape) {
  const uint32_t from = max(first, shape.n0), to = min(first + kPanel, shape.n1);
  for (uint32_t row = 0; row < rows; row++)
    __builtin_memcpy(out + row * out_stride + from, sums + row * kPanel + (from - first), (to - from) * sizeof(float));
}

template <Format Activation, class Weights>
void gemm(const void* a, const uint8_t* packed, float* out, size_t out_stride, void* scratch_memory, const Shape& shape,
          const Scales& scales) {
  const Scratch scratch = split_scratch(scratch_memory, min(shape.m, kRowBlock));
  for (uint32_t m0 = 0; m0 < shape.m; m0 += kRowBlock) {
    const uint32_t rows = min(kRowBlock, shape.m - m0);
    const size_t first_element = size_t{m0} * shape.k;
    stage_activations<Activation>(static_cast<const uint8_t*>(a) + first_element * bytes_of(Activation),
                                  scratch.activations, rows, shape.k);
    for (uint32_t panel = shape.n0 / kPanel; panel * kPanel < shape.n1; panel++) {
      const float* a_scales = scales.a + size_t{m0} * scales.a_row_stride;
      panel_sums<Weights>(packed + panel * panel_bytes(Weights::format, shape.k), panel, shape, rows, scales, a_scales,
                          scratch);
      write_outputs(scratch.sums, out + m0 * out_stride, out_stride, rows, panel * kPanel, shape);
    }
  }
}

template <Format Activation>
void gemm_f8_weights(Format w_format, const void* a, const uint8_t* packed, float* out, size_t out_stride,
                     void* scratch, const Shape& shape, const Scales& scales) {
  if (w_format == Format::f8e5m2)
    gemm<Activation, F8Weights<Format::f8e5m2>>(a, packed, out, out_stride, scratch, shape, scales);
  else
    gemm<Activation, F8Weights<Format::f8e4m3fn>>(a, packed, out, out_stride, scratch, shape, scales);
}

}  // namespace

/** Bytes of scratch (16-byte aligned) for a GEMM of m rows of k elements. */
QUAVER_KERNEL(gemm_scratch_bytes) size_t gemm_scratch_bytes(uint32_t m, uint32_t k) { return scratch_bytes(m, k); }

/**
 * out[m, n0..n1) of out f32[m, n] with row stride `out_stride` (elements): scaled dot of a codes[m, k] with packed w[n,
 * k]. Scales f32: a_scales[row · a_scale_stride + k / block_k] and w_scales[n / block_n][k / block_k]. block_k is a
 * multiple of 128, a divisor of 128 that is a multiple of 4, or at least k.
 */
QUAVER_KERNEL(gemm_fp8)
void gemm_fp8(Format a_format, const void* a, const float* a_scales, uint32_t a_scale_stride, Format w_format,
              const uint8_t* packed, const float* w_scales, float* out, uint32_t out_stride, void* scratch, uint32_t m,
              uint32_t n, uint32_t k, uint32_t block_k, uint32_t block_n, uint32_t n0, uint32_t n1) {
  const Shape shape{m, n, k, n0, n1};
  const Scales scales{a_scales, w_scales, a_scale_stride, block_k, block_n};
  if (a_format == Format::f8e5m2)
    gemm_f8_weights<Format::f8e5m2>(w_format, a, packed, out, out_stride, scratch, shape, scales);
  else
    gemm_f8_weights<Format::f8e4m3fn>(w_format, a, packed, out, out_stride, scratch, shape, scales);
}

/** out[m, n0..n1) of out f32[m, n]: a bf16[m, k] with packed bf16 w[n, k]. */
QUAVER_KERNEL(gemm_bf16)
void gemm_bf16(const void* a, const uint8_t* packed, float* out, uint32_t out_stride, void* scratch, uint32_t m,
               uint32_t n, uint32_t k, uint32_t n0, uint32_t n1) {
  gemm<Format::bf16, Bf16Weights>(a, packed, out, out_stride, scratch, {m, n, k, n0, n1}, {});
}

/** out[m, n0..n1) of out f32[m, n]: a f32[m, k] with packed f32 w[n, k]. */
QUAVER_KERNEL(gemm_f32)
void gemm_f32(const void* a, const uint8_t* packed, float* out, uint32_t out_stride, void* scratch, uint32_t m,
              uint32_t n, uint32_t k, uint32_t n0, uint32_t n1) {
  gemm<Format::f32, F32Weights>(a, packed, out, out_stride, scratch, {m, n, k, n0, n1}, {});
}

}  // namespace quaver
