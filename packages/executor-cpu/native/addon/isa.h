// Which sets of kernels this processor can run.
#pragma once
#include <string>
#include <vector>

#include "../kernels.h"

namespace quaver {

/** The kernels that run here, best first. */
std::vector<const Kernels*> kernels_of_this_processor();

}  // namespace quaver
