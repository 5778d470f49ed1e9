// Packing of weights into panels, and back.
#include "gemm.h"

namespace quaver::QUAVER_ISA {
namespace {

template <Format F>
struct ElementOf {
  using Type = uint8_t;
};
template <>
struct ElementOf<Format::bf16> {
  using Type = uint16_t;
};
template <>
struct ElementOf<Format::f32> {
  using Type = uint32_t;
};
template <Format F>
using Element = typename ElementOf<F>::Type;

/** The byte of a panel's data where element (output, k) begins. */
template <Format F>
QUAVER_INLINE size_t position(uint32_t output, uint32_t k, uint32_t k_padded) {
  const size_t unit = Units<F>::offset(k / unit_k(F) * unit_k(F), output / kLanes, k_padded);
  if constexpr (F == Format::f32) return unit + output % kLanes * 4;
  if constexpr (F == Format::bf16) return unit + output % kLanes * 4 + (1 - k % 2) * 2;
  if constexpr (kPairs) return unit + pair_lane(output % (2 * kLanes)) * 2 + (1 - k % 2);
  return unit + output % kLanes * 4 + k % 4;
}

/** BF16 weights lose the magnitudes that the dot rule ignores here, once. */
template <Format F>
QUAVER_INLINE Element<F> as_operand(Element<F> code) {
  constexpr uint16_t least = (127 - 56) << 7;
  if constexpr (F == Format::bf16) return (code & 0x7fff) < least ? 0 : code;
  return code;
}

/** Counts what the fast decodes of FP8 weights cannot read, or only slowly. */
template <Format F>
struct CodeCensus {
  uint32_t special = 0, subnormal = 0;

  QUAVER_INLINE void count(uint8_t code) {
    constexpr uint32_t first_normal = 1u << F8<F>::mantissa_bits;
    const uint32_t magnitude = code & 0x7fu;
    special += magnitude >= static_cast<uint32_t>(F8<F>::first_special_code);
    subnormal += magnitude - 1 < first_normal - 1;
  }
  bool is_plain(size_t codes) const {
    if (kByteTables) return true;
    if (kHalfPrecision) return F == Format::f8e5m2 || special == 0;
    // Above this share of subnormal codes the exact decode is faster than f32 subnormals are.
    return special == 0 && subnormal <= codes / 256;
  }
};

template <Format F>
void pack_panel(const Matrix& w, uint32_t panel, uint8_t* packed) {
  const uint32_t k_padded = padded_k(w.columns), rows = min(kPanel, w.rows - panel * kPanel);
  const auto* from = static_cast<const Element<F>*>(w.data) + panel * kPanel * w.row_stride;
  uint8_t* data = packed + sizeof(PanelHeader);
  PanelHeader header{};
  for (uint32_t k = 0; k < k_padded; k++)
    for (uint32_t output = 0; output < kPanel; output++) {
      const bool inside = output < rows && k < w.columns;
      const Element<F> code = inside ? from[output * w.row_stride + k * w.column_stride] : Element<F>{};
      store(data + position<F>(output, k, k_padded), as_operand<F>(code));
    }
  if constexpr (is_f8(F)) {
    CodeCensus<F> census;
    const size_t codes = size_t{kPanel} * k_padded;
    for (size_t i = 0; i < codes; i++) census.count(data[i]);
    header.plain = census.is_plain(codes);
  }
  store(packed, header);
}

template <Format F>
void unpack(const uint8_t* panel, uint32_t k, uint32_t output, void* out) {
  const uint8_t* data = panel + sizeof(PanelHeader);
  const uint32_t k_padded = padded_k(k);
  for (uint32_t i = 0; i < k; i++)
    store(static_cast<uint8_t*>(out) + i * sizeof(Element<F>), load<Element<F>>(data + position<F>(output, i, k_padded)));
}

}  // namespace

size_t packed_bytes(Format format, uint32_t n, uint32_t k) { return ceil_div(n, kPanel) * panel_bytes(format, k); }

void pack_weights(const Matrix& w, void* packed, uint32_t panel0, uint32_t panel1) {
  for (uint32_t panel = panel0; panel < panel1; panel++) {
    uint8_t* to = static_cast<uint8_t*>(packed) + panel * panel_bytes(w.format, w.columns);
    switch (w.format) {
      case Format::f32: pack_panel<Format::f32>(w, panel, to); break;
      case Format::bf16: pack_panel<Format::bf16>(w, panel, to); break;
      case Format::f8e4m3fn: pack_panel<Format::f8e4m3fn>(w, panel, to); break;
      case Format::f8e5m2: pack_panel<Format::f8e5m2>(w, panel, to); break;
    }
  }
}

void unpack_row(Format format, const void* packed, uint32_t, uint32_t k, uint32_t row, void* out) {
  const uint8_t* panel = static_cast<const uint8_t*>(packed) + row / kPanel * panel_bytes(format, k);
  const uint32_t output = row % kPanel;
  switch (format) {
    case Format::f32: return unpack<Format::f32>(panel, k, output, out);
    case Format::bf16: return unpack<Format::bf16>(panel, k, output, out);
    case Format::f8e4m3fn: return unpack<Format::f8e4m3fn>(panel, k, output, out);
    case Format::f8e5m2: return unpack<Format::f8e5m2>(panel, k, output, out);
  }
}

}  // namespace quaver::QUAVER_ISA
