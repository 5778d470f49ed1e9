// A program of the WebAssembly module and where its run is.
#pragma once
#include "../program/program.h"

#define QUAVER_EXPORT(name) extern "C" __attribute__((export_name(#name)))

namespace quaver {

struct Run {
  Program program;
  /** Of a run in slices. */
  uint32_t phase;
};

}  // namespace quaver
