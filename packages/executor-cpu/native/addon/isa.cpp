#include "isa.h"

#if defined(__x86_64__) || defined(_M_X64)
#define QUAVER_X86 1
#include <cpuid.h>
extern "C" const quaver::Kernels* quaver_kernels_avx512bf16();
extern "C" const quaver::Kernels* quaver_kernels_avx512();
extern "C" const quaver::Kernels* quaver_kernels_avx2();
extern "C" const quaver::Kernels* quaver_kernels_portable();
#else
extern "C" const quaver::Kernels* quaver_kernels_neon();
#endif

namespace quaver {
#ifdef QUAVER_X86
namespace {

struct Registers {
  uint32_t a, b, c, d;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf) {
  Registers r{};
  __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);
  return r;
}

/** The register states that the operating system saves (XCR0). */
uint64_t saved_states() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

/** Bfloat16 dots and byte tables are faster than conversions and FMA on AMD, and slower on Intel (ADR 0010). */
bool is_amd() {
  const Registers r = cpuid(0, 0);
  // "AuthenticAMD", in the order b, d, c.
  return r.b == 0x68747541 && r.d == 0x69746e65 && r.c == 0x444d4163;
}

bool has(uint32_t word, std::initializer_list<int> bits) {
  for (const int bit : bits)
    if (!(word >> bit & 1)) return false;
  return true;
}

}  // namespace

std::vector<const Kernels*> kernels_of_this_processor() {
  const Registers one = cpuid(1, 0), seven = cpuid(7, 0), seven_one = cpuid(7, 1), extended = cpuid(0x80000001, 0);
  // FMA, SSE4.1, SSE4.2, MOVBE, POPCNT, XSAVE, OSXSAVE, AVX, F16C.
  const bool os = has(one.c, {12, 19, 20, 22, 23, 26, 27, 28, 29});
  const uint64_t states = os ? saved_states() : 0;
  // AVX2, BMI1, BMI2; LZCNT: what x86-64-v3 stands for.
  const bool avx2 = os && (states & 0x6) == 0x6 && has(seven.b, {3, 5, 8}) && has(extended.c, {5});
  // AVX-512 F, DQ, CD, BW, VL: x86-64-v4.
  const bool avx512 = avx2 && (states & 0xe6) == 0xe6 && has(seven.b, {16, 17, 28, 30, 31});
  const bool bf16 = avx512 && has(seven_one.a, {5}) && has(seven.c, {1});
  std::vector<const Kernels*> found;
  if (bf16 && is_amd()) found.push_back(quaver_kernels_avx512bf16());
  if (avx512) found.push_back(quaver_kernels_avx512());
  if (bf16 && !is_amd()) found.push_back(quaver_kernels_avx512bf16());
  if (avx2) found.push_back(quaver_kernels_avx2());
  found.push_back(quaver_kernels_portable());
  return found;
}
#else
std::vector<const Kernels*> kernels_of_this_processor() { return {quaver_kernels_neon()}; }
#endif

}  // namespace quaver
