#pragma once
#include "op.h"
namespace quaver {
extern const Op kAttention, kAttentionGrad;
}
