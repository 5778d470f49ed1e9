// out[m, n] = Σ_k a[m, k] · w[n, k], in the canonical order, from staged activations and packed weights.
#include "gemm.h"

#include "gemm_panels.h"
#if defined(__AVX512BF16__)
#include <cpuid.h>
#endif

namespace quaver::QUAVER_ISA {
namespace {

constexpr size_t kTileFloats = kPanel * kPromote;

template <Format F, bool kParked>
void gemm_f8(const Job& job) {
  if constexpr (kByteTables)
    gemm_of<F8Weights<F, kParked>>(job);
  else if constexpr (kPairs || kParked)
    gemm_of<F8Weights<F, kParked>, F8AnyWeights<F, kParked>>(job);
  else
    gemm_of<F8AnyWeights<F, kParked>>(job);
}

template <Format F>
void gemm_f8(const Job& job) {
  if (!kByteTables && is_parked(job.g.a_format, F))
    gemm_f8<F, true>(job);
  else
    gemm_f8<F, false>(job);
}

void gemm_words(const Job& job) {
  switch (job.g.w_format) {
    case Format::f32:
      if (job.g.reduction == Reduction::fast)
        gemm_of<F32Weights<MultiplyAdd>>(job);
      else
        gemm_of<F32Weights<MultiplyThenAdd>>(job);
      break;
    case Format::bf16: gemm_of<Bf16Weights>(job); break;
    case Format::f8e4m3fn: gemm_f8<Format::f8e4m3fn>(job); break;
    case Format::f8e5m2: gemm_f8<Format::f8e5m2>(job); break;
  }
}

void gemm_pairs(const Job& job) {
#if defined(__AVX512BF16__)
  switch (job.g.w_format) {
    case Format::f32: break;
    case Format::bf16: gemm_of<Bf16PairWeights>(job); break;
    case Format::f8e4m3fn: gemm_of<F8PairWeights<Format::f8e4m3fn>>(job); break;
    case Format::f8e5m2: gemm_of<F8PairWeights<Format::f8e5m2>>(job); break;
  }
#else
  (void)job;
#endif
}

}  // namespace

bool dpbf16_is_fast() {
#if defined(QUAVER_DPBF16)
  return QUAVER_DPBF16;
#elif defined(__AVX512BF16__)
  // AMD multiplies pairs as fast as it multiplies single numbers; Intel needs four times as long.
  static int known;
  int fast = __atomic_load_n(&known, __ATOMIC_RELAXED);
  if (fast == 0) {
    unsigned eax, ebx, ecx, edx;
    const bool amd = __get_cpuid(0, &eax, &ebx, &ecx, &edx) && ebx == signature_AMD_ebx && ecx == signature_AMD_ecx &&
                     edx == signature_AMD_edx;
    fast = amd ? 1 : -1;
    __atomic_store_n(&known, fast, __ATOMIC_RELAXED);
  }
  return fast > 0;
#else
  return false;
#endif
}

uint32_t gemm_row_block(const Gemm& g) {
  const uint32_t words = staged_words(uses_pairs(g.a_format, g.w_format));
  const size_t row_bytes = size_t{ceil_div(g.k, kPromote)} * words * sizeof(float);
  const uint32_t most = min(kRowBlock, max(kLeastRowBlock, static_cast<uint32_t>(kResidentBytes / row_bytes)));
  return round_up(ceil_div(g.m, ceil_div(g.m, most)), kMaxRows);
}

size_t gemm_scratch_bytes(const Gemm& g) {
  return (kTileFloats + size_t{kPanel} * gemm_row_block(g)) * sizeof(float);
}

void gemm(const Gemm& g, uint32_t row0, uint32_t row1, uint32_t panel0, uint32_t panel1, void* scratch) {
  float* tile = static_cast<float*>(scratch);
  const Job job{g, row0, row1 - row0, panel0, panel1, tile, tile + kTileFloats};
  if (uses_pairs(g.a_format, g.w_format))
    gemm_pairs(job);
  else
    gemm_words(job);
}

}  // namespace quaver::QUAVER_ISA
