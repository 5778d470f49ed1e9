/** @file The platforms that the native engine is built for, and the flags of each instruction set. */

/** Compiled for every instruction set of a platform: `isa/*.cpp`, with its flags for zig's clang and for GCC and clang. */
const x86 = {
  portable: { zig: ['-mcpu=x86_64'], gcc: ['-march=x86-64'] },
  avx2: { zig: ['-mcpu=x86_64_v3'], gcc: ['-march=x86-64-v3'] },
  avx512: {
    zig: ['-mcpu=x86_64_v4', '-mprefer-vector-width=512'],
    gcc: ['-march=x86-64-v4', '-mprefer-vector-width=512'],
  },
  avx512bf16: {
    zig: ['-mcpu=x86_64_v4+avx512bf16+avx512vbmi', '-mprefer-vector-width=512'],
    gcc: ['-march=x86-64-v4', '-mavx512bf16', '-mavx512vbmi', '-mprefer-vector-width=512'],
  },
};
const arm = { neon: { zig: ['-mcpu=generic'], gcc: [] } };

/** By `process.platform-process.arch`. glibc 2.28 is what Node 20 itself needs. */
export const targets = {
  'linux-x64': { title: 'Linux on x64 (glibc 2.28 or newer)', triple: 'x86_64-linux-gnu.2.28', isas: x86 },
  'linux-arm64': { title: 'Linux on arm64 (glibc 2.28 or newer)', triple: 'aarch64-linux-gnu.2.28', isas: arm },
  'darwin-x64': { title: 'macOS 13 or newer on x64', triple: 'x86_64-macos.13.0', isas: x86 },
  'darwin-arm64': { title: 'macOS 13 or newer on arm64', triple: 'aarch64-macos.13.0', isas: arm },
  'win32-x64': { title: 'Windows on x64', triple: 'x86_64-windows-gnu', isas: x86 },
};

/** Flags of every unit. The canonical order rounds each multiplication and each addition: nothing is contracted. */
export const commonFlags = [
  '-O3',
  '-ffp-contract=off',
  '-fwrapv',
  '-fno-strict-aliasing',
  '-fvisibility=hidden',
  '-fPIC',
  '-Wall',
  '-Wextra',
  '-Werror',
];

/** Kernels use no C++ library: nothing of one instruction set may end up in another's code. */
export const kernelFlags = ['-std=c++17', '-fno-exceptions', '-fno-rtti', '-fno-threadsafe-statics'];
export const hostFlags = ['-std=c++20'];
