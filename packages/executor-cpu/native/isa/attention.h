// softmax(q · kᵀ · scale) · v over a KV cache: see `Kernels`.
#pragma once
#include "vec.h"

namespace quaver::QUAVER_ISA {

uint32_t attention_units(const Attention& x);
size_t attention_scratch_bytes(const Attention& x);
void attention(const Attention& x, uint32_t unit0, uint32_t unit1, void* scratch);

}  // namespace quaver::QUAVER_ISA
