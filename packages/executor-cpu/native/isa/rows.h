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

}  // namespace quaver::QUAVER_ISA
