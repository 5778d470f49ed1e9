#pragma once
#include "op.h"
namespace quaver {
extern const Op kPack, kUnpack, kStage, kGemm, kBatchDot;
}
