// Tests of the native engine without Node, for sanitizers: tools/sanitize.mjs builds and runs them.
#include <cstdio>

#include "check.h"
#include "tests.h"

int main() {
  quaver::test::test_threads();
  quaver::test::test_kernels();
  std::printf("%u passed\n", quaver::test::passed());
}
