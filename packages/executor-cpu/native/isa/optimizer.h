// Optimizer kernels: see `Kernels`.
#pragma once
#include "vec.h"

namespace quaver::QUAVER_ISA {

void adamw(const AdamW&, size_t from, size_t to);

}  // namespace quaver::QUAVER_ISA
