#pragma once
#include "op.h"
namespace quaver {
extern const Op kRmsNorm, kSoftmax, kLogSoftmax, kLogSoftmaxGather, kQuantizeRows, kQuantizeRowsE8m0, kQuantizeBy,
    kDequantizeBy, kRope;
}
