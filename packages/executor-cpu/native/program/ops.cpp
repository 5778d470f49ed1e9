// All ops of a program.
#include "ops_attention.h"
#include "ops_elements.h"
#include "ops_matrix.h"
#include "ops_pages.h"
#include "ops_reduce.h"
#include "ops_rows.h"
#include "ops_scales.h"
#include "ops_training.h"

namespace quaver {

const Op* const kOps[] = {
    &kPack,           &kUnpack,           &kStage,      &kGemm,       &kAttention, &kRmsNorm, &kSoftmax,      &kLogSoftmax,
    &kLogSoftmaxGather, &kQuantizeRows,   &kQuantizeRowsE8m0, &kQuantizeBy, &kDequantizeBy, &kRope, &kUnary, &kBinary,
    &kAddRow,         &kEncode,           &kDecode,     &kDecodeE8m0, &kCopy,      &kFill,    &kGather,
    &kGatherPacked,   &kUpdateSlice,      &kUpdatePages,      &kStridedCopy,    &kScatterAdd,       &kAdamW,
    &kReduce,         &kSelect,           &kCompare,    &kIota,   &kInteger, &kLogical,  &kBatchDot,
    &kAttentionGrad,  &kRmsNormGrad,      &kSumBlocks,        &kSwigluGrad, &kLogSoftmaxGatherGrad,
    &kAmaxBy,         &kComputeScale};
const uint32_t kOpCount = sizeof(kOps) / sizeof(kOps[0]);

}  // namespace quaver
