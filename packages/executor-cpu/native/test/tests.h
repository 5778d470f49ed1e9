// The tests, by subject.
#pragma once

namespace quaver::test {

void test_kernels();
void test_threads();

}  // namespace quaver::test
