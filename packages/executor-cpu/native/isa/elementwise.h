// Element by element kernels: see `Kernels`.
#pragma once
#include "vec.h"

namespace quaver::QUAVER_ISA {

void unary(Unary, const float* x, float* out, size_t n);
void binary(Binary, const float* a, const float* b, float* out, size_t n);
void rope(const float* x, const float* cos, const float* sin, float* out, uint32_t h, uint32_t d, uint32_t rotated);
void swiglu_grad(const float* gate, const float* up, const float* dy, float* dgate, float* dup, size_t n);

}  // namespace quaver::QUAVER_ISA
