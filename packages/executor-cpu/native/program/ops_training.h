#pragma once
#include "op.h"
namespace quaver {
extern const Op kScatterAdd, kAdamW, kRmsNormGrad, kSumBlocks, kSwigluGrad, kLogSoftmaxGatherGrad;
}
