// Attention as other engines compute it: what the canonical order is measured against.
#pragma once
#include "attention_plan.h"

namespace quaver::QUAVER_ISA {

size_t fast_attention_floats(const Attention& x, const AttentionPlan& plan);
void fast_attention(const Attention& x, const AttentionPlan& plan, const AttentionUnit& unit, float* scratch);

}  // namespace quaver::QUAVER_ISA
