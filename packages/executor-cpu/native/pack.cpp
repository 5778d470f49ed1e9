// Packing of row-major weights into panels.
#include "panels.h"

namespace quaver {
namespace {

/** Above this share of subnormal codes (1 in 256) a panel is decoded exactly: f32 subnormals are slow on many
 * processors. */
constexpr uint32_t kSubnormalShare = 256;

template <Format F>
bool is_parkable(const uint8_t* w, uint32_t rows, uint32_t k) {
  constexpr uint32_t first_normal = 1u << F8<F>::mantissa_bits;
  uint32_t subnormal = 0;
  for (size_t i = 0; i < size_t{rows} * k; i++) {
    const uint32_t magnitude = w[i] & 0x7fu;
    if (magnitude >= static_cast<uint32_t>(F8<F>::first_special_code)) return false;
    subnormal += magnitude != 0 && magnitude < first_normal;
  }
  return subnormal <= rows * k / kSubnormalShare;
}

void pack_f8(const uint8_t* w, uint8_t* data, uint32_t rows, uint32_t k) {
  for (uint32_t k0 = 0; k0 < padded_k(k); k0 += 4)
    for (uint32_t row = 0; row < kPanel; row++)
      for (uint32_t i = 0; i < 4; i++) *data++ = row < rows && k0 + i < k ? w[size_t{row} * k + k0 + i] : 0;
}

/** BF16 weights lose the magnitudes that the dot rule ignores here, once. */
void pack_bf16(const uint16_t* w, uint16_t* data, uint32_t rows, uint32_t k) {
  constexpr uint16_t least = (127 - 56) << 7;
  for (uint32_t k0 = 0; k0 < padded_k(k); k0 += 2)
    for (uint32_t row = 0; row < kPanel; row++)
      for (uint32_t i = 0; i < 2; i++) {
        const uint16_t code = row < rows && k0 + i < k ? w[size_t{row} * k + k0 + i] : 0;
        *data++ = (code & 0x7fff) < least ? 0 : code;
      }
}

void pack_f32(const float* w, float* data, uint32_t rows, uint32_t k) {
  for (uint32_t k0 = 0; k0 < padded_k(k); k0 += kPromote)
    for (uint32_t sub = 0; sub < kPanel; sub += kSub)
      for (uint32_t at = k0; at < min(k0 + kPromote, padded_k(k)); at++)
        for (uint32_t row = sub; row < sub + kSub; row++) *data++ = row < rows && at < k ? w[size_t{row} * k + at] : 0;
}

}  // namespace

/** Bytes of weights W[n, k] once packed. */
QUAVER_KERNEL(packed_bytes) size_t packed_bytes(Format format, uint32_t n, uint32_t k) {
  return ceil_div(n, kPanel) * panel_bytes(format, k);
}

/**
 * Packs rows [row0, row0 + rows) of a row-major W[n, k]; `w` points to row `row0`, `packed` to the start of the whole
 * packed matrix (16-byte aligned). `row0` is a multiple of 32 and `rows` too, unless they are the last ones of the
 * matrix, so that a caller can bring a large matrix in slices.
 */
QUAVER_KERNEL(pack_weights)
void pack_weights(Format format, const void* w, void* packed, uint32_t k, uint32_t row0, uint32_t rows) {
  const size_t row_bytes = size_t{k} * bytes_of(format);
  for (uint32_t row = 0; row < rows; row += kPanel) {
    const uint8_t* from = static_cast<const uint8_t*>(w) + row * row_bytes;
    uint8_t* panel = static_cast<uint8_t*>(packed) + (row0 + row) / kPanel * panel_bytes(format, k);
    uint8_t* data = panel + sizeof(PanelHeader);
    const uint32_t count = min(kPanel, rows - row);
    PanelHeader header{};
    switch (format) {
      case Format::f32: pack_f32(reinterpret_cast<const float*>(from), reinterpret_cast<float*>(data), count, k); break;
      case Format::bf16:
        pack_bf16(reinterpret_cast<const uint16_t*>(from), reinterpret_cast<uint16_t*>(data), count, k);
        break;
      case Format::f8e4m3fn:
        header.parkable = is_parkable<Format::f8e4m3fn>(from, count, k);
        pack_f8(from, data, count, k);
        break;
      case Format::f8e5m2:
        header.parkable = is_parkable<Format::f8e5m2>(from, count, k);
        pack_f8(from, data, count, k);
        break;
    }
    store(panel, header);
  }
}

}  // namespace quaver
