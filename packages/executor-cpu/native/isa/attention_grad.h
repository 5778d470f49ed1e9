// The gradient of attention: see `Kernels`.
#pragma once
#include "vec.h"

namespace quaver::QUAVER_ISA {

uint32_t attention_grad_units(const AttentionGrad& x);
uint64_t attention_grad_scratch_bytes(const AttentionGrad& x);
void attention_grad(const AttentionGrad& x, uint32_t unit0, uint32_t unit1, void* scratch);

}  // namespace quaver::QUAVER_ISA
