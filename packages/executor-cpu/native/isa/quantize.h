// Casts between formats and quantization by blocks: see `Kernels`.
#pragma once
#include "vec.h"

namespace quaver::QUAVER_ISA {

void quantize_rows(Format, const float* x, uint8_t* codes, float* scales, uint32_t k, uint32_t block, Rounding,
                   uint32_t row0, uint32_t row1);
void quantize_rows_e8m0(Format, const float* x, uint8_t* codes, uint8_t* scales, uint32_t k, uint32_t block,
                        uint32_t row0, uint32_t row1);
void quantize_by(Format, const float* x, const float* scales, size_t scale_stride, uint32_t block_r, uint32_t block_c,
                 bool saturate, uint8_t* codes, uint32_t k, uint32_t row0, uint32_t row1);
void dequantize_by(Format, const uint8_t* codes, const float* scales, size_t scale_stride, uint32_t block_r,
                   uint32_t block_c, float* out, uint32_t k, uint32_t row0, uint32_t row1);
float amax(const float* x, size_t n);
void encode(Format, const float* x, void* codes, size_t n, bool saturate);
void decode(Format, const void* codes, float* out, size_t n);

}  // namespace quaver::QUAVER_ISA
