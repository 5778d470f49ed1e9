// All kernels of this instruction set, for the program.
#include "attention.h"
#include "attention_grad.h"
#include "elementwise.h"
#include "gemm.h"
#include "optimizer.h"
#include "quantize.h"
#include "rows.h"

#define QUAVER_TEXT_OF(x) #x
#define QUAVER_TEXT(x) QUAVER_TEXT_OF(x)
#define QUAVER_JOIN_OF(a, b) a##b
#define QUAVER_JOIN(a, b) QUAVER_JOIN_OF(a, b)

namespace quaver::QUAVER_ISA {
namespace {

constexpr Kernels kernels = {
    QUAVER_TEXT(QUAVER_ISA),
    kPanel,
    packed_bytes,
    pack_weights,
    unpack_row,
    staged_bytes,
    stage_activations,
    gemm_row_block,
    gemm_scratch_bytes,
    gemm,
    attention_units,
    attention_scratch_bytes,
    attention,
    attention_grad_units,
    attention_grad_scratch_bytes,
    attention_grad,
    rms_norm,
    softmax,
    log_softmax,
    log_softmax_gather,
    rms_norm_grad,
    log_softmax_gather_grad,
    quantize_rows,
    quantize_rows_e8m0,
    quantize_by,
    dequantize_by,
    amax,
    unary,
    binary,
    swiglu_grad,
    rope,
    adamw,
    encode,
    decode,
};

}  // namespace
}  // namespace quaver::QUAVER_ISA

extern "C" const quaver::Kernels* QUAVER_JOIN(quaver_kernels_, QUAVER_ISA)() {
  return &quaver::QUAVER_ISA::kernels;
}
