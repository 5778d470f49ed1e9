// Norm and softmax family: see `Kernels`.
#pragma once
#include "vec.h"

namespace quaver::QUAVER_ISA {

void rms_norm(Reduction, const float* x, const float* weight, float* out, uint32_t n, float eps, uint32_t row0,
              uint32_t row1);
void softmax(Reduction, const float* x, float* out, uint32_t n, uint32_t row0, uint32_t row1);
void log_softmax(Reduction, const float* x, float* out, uint32_t n, uint32_t row0, uint32_t row1);
void log_softmax_gather(Reduction, const float* x, const int32_t* targets, float* out, uint32_t n, uint32_t row0,
                        uint32_t row1);
void rms_norm_grad(const float* x, const float* weight, const float* dy, float* dx, float* partials, uint32_t rows,
                   uint32_t n, float eps, uint32_t block0, uint32_t block1);
void log_softmax_gather_grad(const float* x, int32_t target, float dy, float* dx, uint32_t n);

}  // namespace quaver::QUAVER_ISA
