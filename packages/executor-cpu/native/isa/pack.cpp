// Packing of weights into panels, and back.
#include "gemm.h"

namespace quaver::QUAVER_ISA {
namespace {

// A cell is what a unit holds of one output: unit_k elements.

template <bool pairs>
struct F8Cell {
  using Type = uint32_t;
};
template <>
struct F8Cell<true> {
  using Type = uint16_t;
};
template <Format F>
struct CellOf {
  using Element = uint8_t;
  using Cell = F8Cell<kPairs>::Type;
};
template <>
struct CellOf<Format::bf16> {
  using Element = uint16_t;
  using Cell = uint32_t;
};
template <>
struct CellOf<Format::f32> {
  using Element = uint32_t;
  using Cell = uint32_t;
};
template <Format F>
using Element = typename CellOf<F>::Element;
template <Format F>
using Cell = typename CellOf<F>::Cell;

/** The bit of a cell where element i begins: pairs have the first one on top. */
template <Format F>
constexpr uint32_t bit_of(uint32_t i) {
  const bool reversed = F == Format::bf16 || (is_f8(F) && kPairs);
  return 8 * bytes_of(F) * (reversed ? unit_k(F) - 1 - i : i);
}

/** The byte of a panel's data where the cell of (output, k) is. */
template <Format F>
QUAVER_INLINE size_t cell_at(uint32_t output, uint32_t k, uint32_t k_padded) {
  const size_t unit = Units<F>::offset(k, output / kLanes, k_padded);
  if constexpr (is_f8(F) && kPairs) return unit + pair_lane(output % (2 * kLanes)) * sizeof(Cell<F>);
  return unit + output % kLanes * sizeof(Cell<F>);
}

/** BF16 weights lose the magnitudes that the dot rule ignores here, once. */
template <Format F>
QUAVER_INLINE Element<F> as_operand(Element<F> code) {
  constexpr uint16_t least = (127 - 56) << 7;
  if constexpr (F == Format::bf16) return (code & 0x7fff) < least ? 0 : code;
  return code;
}

/** The cell of `count` elements that are `stride` apart; the others are +0. */
template <Format F>
QUAVER_INLINE Cell<F> make_cell(const Element<F>* from, size_t stride, uint32_t count) {
  Cell<F> cell = 0;
  for (uint32_t i = 0; i < count; i++)
    cell = static_cast<Cell<F>>(cell | static_cast<Cell<F>>(as_operand<F>(from[i * stride])) << bit_of<F>(i));
  return cell;
}

/** Counts what the fast decodes of FP8 weights cannot read, or only slowly. */
template <Format F>
bool is_plain(const uint8_t* codes, size_t count) {
  if constexpr (kByteTables || (kHalfPrecision && F == Format::f8e5m2)) return true;
  constexpr uint32_t first_normal = 1u << F8<F>::mantissa_bits;
  uint32_t special = 0, subnormal = 0;
  for (size_t i = 0; i < count; i++) {
    const uint32_t magnitude = codes[i] & 0x7fu;
    special += magnitude >= static_cast<uint32_t>(F8<F>::first_special_code);
    subnormal += magnitude - 1 < first_normal - 1;
  }
  // Above this share of subnormal codes the exact decode is faster than f32 subnormals are.
  return special == 0 && (kHalfPrecision || subnormal <= count / 256);
}

/** The part of a panel whose k are in [k0, k1), k0 on a block; `from` is its first element. */
template <Format F>
void pack_block(const Matrix& w, const Element<F>* from, uint32_t rows, uint32_t k0, uint32_t k1, uint8_t* data) {
  constexpr uint32_t step = unit_k(F);
  const uint32_t k_padded = padded_k(w.columns), whole = k1 - (k1 - k0) % step;
  if (w.column_stride == 1) {
    for (uint32_t output = 0; output < rows; output++) {
      const Element<F>* row = from + output * w.row_stride;
      uint8_t* to = data + cell_at<F>(output, k0, k_padded);
      for (uint32_t k = k0; k < whole; k += step, to += Units<F>::stride) store(to, make_cell<F>(row + k, 1, step));
    }
  } else {
    for (uint32_t k = k0; k < whole; k += step) {
      const Element<F>* column = from + k * w.column_stride;
      for (uint32_t output = 0; output < rows; output++)
        store(data + cell_at<F>(output, k, k_padded),
              make_cell<F>(column + output * w.row_stride, w.column_stride, step));
    }
  }
  if (whole == k1) return;
  for (uint32_t output = 0; output < rows; output++)
    store(data + cell_at<F>(output, whole, k_padded),
          make_cell<F>(from + output * w.row_stride + whole * w.column_stride, w.column_stride, k1 - whole));
}

template <Format F>
void pack_panel(const Matrix& w, uint32_t panel, uint8_t* packed) {
  const uint32_t k_padded = padded_k(w.columns), rows = min(kPanel, w.rows - panel * kPanel);
  const auto* from = static_cast<const Element<F>*>(w.data) + panel * kPanel * w.row_stride;
  uint8_t* data = packed + sizeof(PanelHeader);
  const size_t bytes = panel_bytes(F, w.columns) - sizeof(PanelHeader);
  if (rows < kPanel || k_padded != w.columns) __builtin_memset(data, 0, bytes);
  for (uint32_t k0 = 0; k0 < w.columns; k0 += kPromote)
    pack_block<F>(w, from, rows, k0, min(w.columns, k0 + kPromote), data);
  __builtin_memset(packed, 0, sizeof(PanelHeader));
  if constexpr (is_f8(F)) reinterpret_cast<PanelHeader*>(packed)->plain = is_plain<F>(data, bytes);
}

template <Format F>
void unpack(const uint8_t* panel, uint32_t k, uint32_t output, void* out) {
  const uint8_t* data = panel + sizeof(PanelHeader);
  auto* to = static_cast<Element<F>*>(out);
  for (uint32_t k0 = 0; k0 < k; k0 += unit_k(F)) {
    const auto cell = load<Cell<F>>(data + cell_at<F>(output, k0, padded_k(k)));
    for (uint32_t i = 0; i < min(unit_k(F), k - k0); i++) to[k0 + i] = static_cast<Element<F>>(cell >> bit_of<F>(i));
  }
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
