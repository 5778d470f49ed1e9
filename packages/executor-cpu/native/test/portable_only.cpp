// In the place of addon/isa.cpp where building every instruction set would take too long.
#include "../addon/isa.h"

#if defined(__x86_64__) || defined(_M_X64)
extern "C" const quaver::Kernels* quaver_kernels_portable();
#define QUAVER_KERNELS quaver_kernels_portable
#else
extern "C" const quaver::Kernels* quaver_kernels_neon();
#define QUAVER_KERNELS quaver_kernels_neon
#endif

namespace quaver {

std::vector<const Kernels*> kernels_of_this_processor() { return {QUAVER_KERNELS()}; }

}  // namespace quaver
