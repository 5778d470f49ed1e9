#pragma once
#include "op.h"
namespace quaver {
extern const Op kUnary, kBinary, kAddRow, kEncode, kDecode, kCopy, kGather, kGatherPacked, kUpdateSlice, kStridedCopy,
    kDecodeE8m0, kFill;
}
