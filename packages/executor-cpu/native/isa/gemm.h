// Matrix products of one instruction set: the entries of `Kernels` with the same names.
#pragma once
#include "panels.h"

namespace quaver::QUAVER_ISA {

constexpr uint32_t panel = kPanel;

size_t packed_bytes(Format format, uint32_t n, uint32_t k);
void pack_weights(const Matrix& w, void* packed, uint32_t panel0, uint32_t panel1);
void unpack_row(Format format, const void* packed, uint32_t n, uint32_t k, uint32_t row, void* out);
size_t staged_bytes(Format a, Format w, uint32_t m, uint32_t k);
void stage_activations(const Matrix& a, Format w, void* staged, uint32_t row0, uint32_t row1);
uint32_t gemm_row_block(const Gemm& g);
size_t gemm_scratch_bytes(const Gemm& g);
void gemm(const Gemm& g, uint32_t row0, uint32_t row1, uint32_t panel0, uint32_t panel1, void* scratch);

}  // namespace quaver::QUAVER_ISA
