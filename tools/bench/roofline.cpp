// What this machine can do at most: memory bandwidth far past the caches, and the peak of fused multiply-adds, on 1 … N threads.
// A Node-API addon, so that the figures come from the process in which the measured program runs. x86-64 with run-time dispatch
// (AVX-512, AVX2, portable); other processors get the portable loops.
// Without the C++ library: building that takes longer than everything else.
#include <node_api.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace {

constexpr int maxThreads = 256;

double now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec * 1e-9;
}

double larger(double a, double b) { return a > b ? a : b; }

// Results go here, so that no compiler drops the work.
volatile uint64_t sink;

struct Isa {
  bool avx2 = false, avx512 = false, bf16 = false;
};

#if defined(__x86_64__)
__attribute__((target("xsave"))) uint64_t enabledState() { return _xgetbv(0); }
#endif

Isa detect() {
  Isa isa;
#if defined(__x86_64__)
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return isa;
  const bool osxsave = c & (1u << 27), fma = c & (1u << 12);
  if (!osxsave) return isa;
  const uint64_t state = enabledState();
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return isa;
  isa.avx2 = fma && (b & (1u << 5)) && (state & 6) == 6;
  isa.avx512 = isa.avx2 && (b & (1u << 16)) && (state & 0xe6) == 0xe6;
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) isa.bf16 = isa.avx512 && (a & (1u << 5));
#endif
  return isa;
}

const Isa isa = detect();

// ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────

void readPortable(const char* from, size_t bytes) {
  const uint64_t* words = reinterpret_cast<const uint64_t*>(from);
  uint64_t a = 0, b = 0, c = 0, d = 0;
  for (size_t i = 0; i < bytes / 8; i += 4) a ^= words[i], b ^= words[i + 1], c ^= words[i + 2], d ^= words[i + 3];
  sink = a ^ b ^ c ^ d;
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) void readAvx2(const char* from, size_t bytes) {
  __m256i s[4] = {};
  for (size_t i = 0; i < bytes; i += 256) {
    for (int j = 0; j < 8; j++)
      s[j & 3] = _mm256_xor_si256(s[j & 3], _mm256_load_si256(reinterpret_cast<const __m256i*>(from + i + 32 * j)));
  }
  const __m256i all = _mm256_xor_si256(_mm256_xor_si256(s[0], s[1]), _mm256_xor_si256(s[2], s[3]));
  sink = _mm256_extract_epi64(all, 0) ^ _mm256_extract_epi64(all, 1) ^ _mm256_extract_epi64(all, 2) ^ _mm256_extract_epi64(all, 3);
}

__attribute__((target("avx512f"))) void readAvx512(const char* from, size_t bytes) {
  __m512i s[4] = {};
  for (size_t i = 0; i < bytes; i += 512) {
    for (int j = 0; j < 8; j++) s[j & 3] = _mm512_xor_si512(s[j & 3], _mm512_load_si512(from + i + 64 * j));
  }
  sink = _mm512_reduce_add_epi64(_mm512_xor_si512(_mm512_xor_si512(s[0], s[1]), _mm512_xor_si512(s[2], s[3])));
}

__attribute__((target("avx512f"))) void prefetchingReadAvx512(const char* from, size_t bytes) {
  __m512i s[4] = {};
  for (size_t i = 0; i < bytes; i += 512) {
    for (int j = 0; j < 8; j++) {
      _mm_prefetch(from + i + 4096 + 64 * j, _MM_HINT_T0);
      s[j & 3] = _mm512_xor_si512(s[j & 3], _mm512_load_si512(from + i + 64 * j));
    }
  }
  sink = _mm512_reduce_add_epi64(_mm512_xor_si512(_mm512_xor_si512(s[0], s[1]), _mm512_xor_si512(s[2], s[3])));
}
#endif

using Reader = void (*)(const char*, size_t);

// The fastest way to read differs between processors: all that run here are tried, and the best counts. Null after the last.
const Reader* readers() {
#if defined(__x86_64__)
  static const Reader with512[] = {readAvx512, prefetchingReadAvx512, readAvx2, nullptr};
  static const Reader with256[] = {readAvx2, nullptr};
  if (isa.avx512) return with512;
  if (isa.avx2) return with256;
#endif
  static const Reader anywhere[] = {readPortable, nullptr};
  return anywhere;
}

// ── multiplying and adding ───────────────────────────────────────────────────────────────────────────────────────────

// Of 16 independent accumulators each; a few milliseconds, so that some tries are left alone on a machine that does other things.
constexpr int rounds = 1 << 18;

// Floating-point operations done.
double fmaPortable() {
  float s[16] = {}, m = 1.0001f, n = 0.5f;
  for (int i = 0; i < rounds; i++) {
    for (int j = 0; j < 16; j++) s[j] = s[j] * m + n;
    __asm__ volatile("" : : "r"(s) : "memory");
  }
  sink = static_cast<uint64_t>(s[0] + s[15] > 0);
  return 2.0 * 16 * rounds;
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) double fmaAvx2() {
  __m256 s[12] = {}, m = _mm256_set1_ps(0.999f), n = _mm256_set1_ps(0.5f);
  for (int i = 0; i < rounds; i++) {
#pragma clang loop unroll(full)
    for (int j = 0; j < 12; j++) {
      s[j] = _mm256_fmadd_ps(m, n, s[j]);
      __asm__ volatile("" : "+v"(s[j]));
    }
  }
  float out[8];
  _mm256_storeu_ps(out, s[0]);
  sink = static_cast<uint64_t>(out[0]);
  return 2.0 * 8 * 12 * rounds;
}

__attribute__((target("avx512f"))) double fmaAvx512() {
  __m512 s[16] = {}, m = _mm512_set1_ps(0.999f), n = _mm512_set1_ps(0.5f);
  for (int i = 0; i < rounds; i++) {
#pragma clang loop unroll(full)
    for (int j = 0; j < 16; j++) {
      s[j] = _mm512_fmadd_ps(m, n, s[j]);
      __asm__ volatile("" : "+v"(s[j]));
    }
  }
  sink = static_cast<uint64_t>(_mm512_reduce_add_ps(s[0]));
  return 2.0 * 16 * 16 * rounds;
}

__attribute__((target("avx512f,avx512bf16"))) double dotBf16() {
  __m512 s[16] = {};
  const __m512bh m = (__m512bh)_mm512_set1_epi16(0x3f80), n = m;
  for (int i = 0; i < rounds; i++) {
#pragma clang loop unroll(full)
    for (int j = 0; j < 16; j++) {
      s[j] = _mm512_dpbf16_ps(s[j], m, n);
      __asm__ volatile("" : "+v"(s[j]));
    }
  }
  sink = static_cast<uint64_t>(_mm512_reduce_add_ps(s[0]));
  return 2.0 * 32 * 16 * rounds;
}
#endif

double (*fma())() {
#if defined(__x86_64__)
  if (isa.avx512) return fmaAvx512;
  if (isa.avx2) return fmaAvx2;
#endif
  return fmaPortable;
}

// ── several threads ──────────────────────────────────────────────────────────────────────────────────────────────────

struct Start {
  int threads;
  int ready = 0, done = 0;
  bool go = false;
};

template <typename Work>
struct Helper {
  Start* start;
  Work* work;
  int index;
  pthread_t thread;
  static void* run(void* argument) {
    Helper* self = static_cast<Helper*>(argument);
    __atomic_add_fetch(&self->start->ready, 1, __ATOMIC_ACQ_REL);
    while (!__atomic_load_n(&self->start->go, __ATOMIC_ACQUIRE)) sched_yield();
    (*self->work)(self->index);
    __atomic_add_fetch(&self->start->done, 1, __ATOMIC_ACQ_REL);
    return nullptr;
  }
};

// Seconds from the moment all threads may start until the last has ended, or infinity. The caller is thread 0.
template <typename Work>
double together(int threads, Work work) {
  Start start{threads};
  static Helper<Work> helpers[maxThreads];
  int others = 0;
  for (; others < threads - 1; others++) {
    helpers[others] = {&start, &work, others + 1, {}};
    if (pthread_create(&helpers[others].thread, nullptr, Helper<Work>::run, &helpers[others])) break;
  }
  while (__atomic_load_n(&start.ready, __ATOMIC_ACQUIRE) < others) sched_yield();
  const double from = now();
  __atomic_store_n(&start.go, true, __ATOMIC_RELEASE);
  work(0);
  while (__atomic_load_n(&start.done, __ATOMIC_ACQUIRE) < others) sched_yield();
  const double seconds = now() - from;
  for (int i = 0; i < others; i++) pthread_join(helpers[i].thread, nullptr);
  return others == threads - 1 ? seconds : __builtin_inf();
}

// The best of the tries that fit into `seconds`, three at least: anything that disturbs makes a machine slower, never faster.
template <typename Try>
double best(double seconds, Try once) {
  double rate = 0;
  const double end = now() + seconds;
  for (int i = 0; i < 3 || now() < end; i++) rate = larger(rate, once());
  return rate;
}

// Memory is kept between calls: page faults are not bandwidth.
struct Memory {
  char* data = nullptr;
  size_t bytes = 0;
  char* get(size_t wanted) {
    if (bytes >= wanted) return data;
    free(data);
    data = static_cast<char*>(aligned_alloc(2 << 20, wanted));
    bytes = data ? wanted : 0;
#if defined(MADV_HUGEPAGE)
    // As the engine does for weights: on small pages the bandwidth is a quarter less.
    if (data) madvise(data, wanted, MADV_HUGEPAGE);
#endif
    if (data) memset(data, 1, wanted);
    return data;
  }
};
Memory source, target;

size_t perThread(size_t bytes, int threads) { return bytes / threads / 4096 * 4096; }
size_t padded(size_t bytes) { return ((bytes + 8192) / (2 << 20) + 1) * (2 << 20); }

double readBandwidth(size_t bytes, int threads, double seconds) {
  const size_t part = perThread(bytes, threads);
  const char* from = source.get(padded(bytes));
  if (!from) return 0;
  const Reader* ways = readers();
  int count = 0;
  while (ways[count]) count++;
  double rate = 0;
  for (int i = 0; i < count; i++) {
    rate = larger(rate, best(seconds / count, [&] {
                    return static_cast<double>(part * threads) /
                           together(threads, [&](int t) { ways[i](from + t * part, part); });
                  }));
  }
  return rate;
}

// Bytes read and bytes written both count.
double copyBandwidth(size_t bytes, int threads, double seconds) {
  const size_t part = perThread(bytes, threads);
  const char* from = source.get(padded(bytes));
  char* to = target.get(padded(bytes));
  if (!from || !to) return 0;
  return best(seconds, [&] {
    return 2.0 * part * threads /
           together(threads, [&](int t) { memcpy(to + t * part, from + t * part, part); });
  });
}

double peak(double (*work)(), int threads, double seconds) {
  return best(seconds, [&] {
    double operations[maxThreads] = {};
    const double took = together(threads, [&](int t) { operations[t] = work(); });
    double sum = 0;
    for (int t = 0; t < threads; t++) sum += operations[t];
    return sum / took;
  });
}

// ── Node-API ─────────────────────────────────────────────────────────────────────────────────────────────────────────

struct Arguments {
  double values[3] = {};
  Arguments(napi_env env, napi_callback_info info) {
    size_t count = 3;
    napi_value given[3];
    napi_get_cb_info(env, info, &count, given, nullptr, nullptr);
    for (size_t i = 0; i < count && i < 3; i++) napi_get_value_double(env, given[i], &values[i]);
  }
};

napi_value number(napi_env env, double value) {
  napi_value result;
  napi_create_double(env, value, &result);
  return result;
}

int threadCount(double value) { return value < 1 ? 1 : value > maxThreads ? maxThreads : static_cast<int>(value); }

napi_value readCall(napi_env env, napi_callback_info info) {
  const Arguments a(env, info);
  return number(env, readBandwidth(static_cast<size_t>(a.values[0]), threadCount(a.values[1]), a.values[2]));
}

napi_value copyCall(napi_env env, napi_callback_info info) {
  const Arguments a(env, info);
  return number(env, copyBandwidth(static_cast<size_t>(a.values[0]), threadCount(a.values[1]), a.values[2]));
}

napi_value fmaCall(napi_env env, napi_callback_info info) {
  const Arguments a(env, info);
  return number(env, peak(fma(), threadCount(a.values[0]), a.values[1]));
}

napi_value bf16Call(napi_env env, napi_callback_info info) {
#if defined(__x86_64__)
  const Arguments a(env, info);
  if (isa.bf16) return number(env, peak(dotBf16, threadCount(a.values[0]), a.values[1]));
#else
  (void)info;
#endif
  return number(env, 0);
}

napi_value init(napi_env env, napi_value exports) {
  const struct {
    const char* name;
    napi_callback call;
  } functions[] = {{"readBandwidth", readCall}, {"copyBandwidth", copyCall}, {"fmaPeak", fmaCall}, {"bf16Peak", bf16Call}};
  for (const auto& [name, call] : functions) {
    napi_value function;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, call, nullptr, &function);
    napi_set_named_property(env, exports, name, function);
  }
  napi_value text;
  napi_create_string_utf8(env, isa.bf16 ? "AVX-512 BF16" : isa.avx512 ? "AVX-512" : isa.avx2 ? "AVX2" : "portable",
                          NAPI_AUTO_LENGTH, &text);
  napi_set_named_property(env, exports, "isa", text);
  return exports;
}

}  // namespace

NAPI_MODULE_INIT() { return init(env, exports); }
