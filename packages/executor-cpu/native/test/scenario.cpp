#include "scenario.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <future>

namespace quaver::test {
namespace {

float random_f32(Random& random) {
  const uint32_t kind = random.below(64);
  if (kind == 0) return 0.0f;
  if (kind == 1) return -0.0f;
  if (kind == 2) return static_cast<float>(random.unit() * 0x1p-130);
  if (kind == 3 && random.one_in(16)) return random.one_in(2) ? __builtin_inff() : __builtin_nanf("");
  return static_cast<float>(random.unit() * __builtin_ldexp(1, static_cast<int>(random.below(24)) - 12));
}

template <class T, class Make>
void fill_with(const Exact& memory, Make make) {
  for (uint64_t i = 0; i + sizeof(T) <= memory.bytes(); i += sizeof(T)) {
    const T value = make();
    std::memcpy(memory.data() + i, &value, sizeof value);
  }
}

void fill_one(const Exact& memory, const Buffer& buffer, Random random) {
  switch (buffer.content) {
    case Content::f32: return fill_with<float>(memory, [&] { return random_f32(random); });
    case Content::scales:
      return fill_with<float>(memory, [&] { return std::ldexp(1 + 0.5f * static_cast<float>(random.unit()),
                                                              static_cast<int>(random.below(20)) - 10); });
    case Content::bf16:
      return fill_with<uint16_t>(memory, [&] {
        const float value = random_f32(random);
        uint32_t bits;
        std::memcpy(&bits, &value, sizeof bits);
        return static_cast<uint16_t>(bits >> 16);
      });
    case Content::bytes: return fill_with<uint8_t>(memory, [&] { return static_cast<uint8_t>(random.next()); });
    case Content::e8m0: return fill_with<uint8_t>(memory, [&] { return static_cast<uint8_t>(random.from_to(110, 140)); });
    case Content::integers:
      return fill_with<int32_t>(memory, [&] {
        return static_cast<int32_t>(buffer.low + static_cast<int64_t>(random.next() % (int64_t{buffer.high} - buffer.low + 1)));
      });
    case Content::zeros:
      if (memory.bytes() > 0) std::memset(memory.data(), 0, memory.bytes());
  }
}

uint32_t code_of(const char* name) {
  for (uint32_t i = 0; i < kOpCount; i++)
    if (std::strcmp(kOps[i]->name, name) == 0) return i;
  fail(std::string("there is no op ") + name);
}

}  // namespace

Exact::Exact(uint64_t bytes) : bytes_(bytes) {
  void* data = nullptr;
  if (posix_memalign(&data, 64, bytes) != 0) fail("no memory");
  data_.reset(static_cast<uint8_t*>(data));
}

void Exact::Free::operator()(uint8_t* data) const { std::free(data); }

Instance::Instance(const Scenario& scenario, const Kernels& kernels, uint64_t seed)
    : scenario_(scenario), kernels_(kernels), seed_(seed) {
  std::vector<uint64_t> bytes(scenario.buffers.size());
  // Addresses that only tell buffers apart: ops look whether two are the same, and whether one is absent.
  for (size_t i = 0; i < bytes.size(); i++) memory_.emplace_back(1);
  for (const Step& step : scenario.steps) {
    const Call call = call_of(step);
    Work work;
    if (const char* problem = call.op->describe(call, kernels, work)) fail(scenario.name + ": " + step.op + ": " + problem);
    for (size_t i = 0; i < step.buffers.size(); i++)
      if (step.buffers[i] >= 0) bytes[step.buffers[i]] = std::max(bytes[step.buffers[i]], work.accesses[i].bytes);
  }
  for (size_t i = 0; i < bytes.size(); i++) memory_[i] = Exact(bytes[i]);
}

Call Instance::call_of(const Step& step) const {
  Call call{};
  call.op = kOps[code_of(step.op)];
  if (call.op->pointers != step.buffers.size() || call.op->numbers != step.numbers.size())
    fail(scenario_.name + ": " + step.op + " has other arguments");
  for (size_t i = 0; i < step.buffers.size(); i++)
    call.pointers[i] = step.buffers[i] < 0 ? nullptr : memory_[step.buffers[i]].data();
  std::copy(step.numbers.begin(), step.numbers.end(), call.numbers);
  return call;
}

void Instance::fill() {
  for (size_t i = 0; i < memory_.size(); i++) fill_one(memory_[i], scenario_.buffers[i], Random(seed_ * 1000 + i));
}

void Instance::scramble_integers(Random& random) {
  for (size_t i = 0; i < memory_.size(); i++)
    if (scenario_.buffers[i].content == Content::integers)
      fill_with<uint32_t>(memory_[i], [&] { return static_cast<uint32_t>(random.next()) >> random.below(32); });
}

void Instance::run_in_pieces(Random& random) {
  for (const Step& step : scenario_.steps) {
    const Call call = call_of(step);
    Work work;
    call.op->describe(call, kernels_, work);
    const Exact scratch(work.scratch_bytes);
    std::vector<std::pair<uint32_t, uint32_t>> pieces;
    for (uint32_t from = 0; from < work.units;) {
      const uint64_t size = uint64_t{work.grain} * random.from_to(1, 1 + work.units / work.grain / 3);
      const uint32_t to = static_cast<uint32_t>(std::min<uint64_t>(work.units, from + size));
      pieces.insert(pieces.begin() + random.below(static_cast<uint32_t>(pieces.size()) + 1), {from, to});
      from = to;
    }
    for (const auto& [from, to] : pieces) {
      Failure failure{};
      call.op->run(call, kernels_, from, to, scratch.data(), failure);
      if (failure.code != kNoFailure) fail(scenario_.name + ": an index is out of range");
    }
  }
}

void Instance::run_on(Runner& runner) {
  const std::unique_ptr<Loaded> loaded = load(kernels_, runner.threads(), image(), blocks());
  if (loaded->error.reason) fail(scenario_.name + ": " + loaded->error.reason);
  run_and_wait(runner, loaded->program);
  if (loaded->program.failure.code != kNoFailure) fail(scenario_.name + ": an index is out of range");
}

std::vector<uint8_t> Instance::results() const {
  std::vector<uint8_t> all;
  for (size_t i = 0; i < memory_.size(); i++) {
    const Exact& memory = memory_[i];
    if (scenario_.buffers[i].result == Buffer::Result::ignored) continue;
    const size_t at = all.size();
    all.insert(all.end(), memory.data(), memory.data() + memory.bytes());
    if (scenario_.buffers[i].result != Buffer::Result::f32) continue;
    for (size_t j = at; j < all.size(); j += sizeof(float)) {
      float value;
      std::memcpy(&value, &all[j], sizeof value);
      if (value != value) std::memset(&all[j], 0xff, sizeof value);
    }
  }
  return all;
}

std::vector<double> Instance::image_with(double (*number)(double)) const {
  std::vector<double> image{static_cast<double>(scenario_.steps.size())};
  for (const Step& step : scenario_.steps) {
    image.push_back(code_of(step.op));
    for (const int buffer : step.buffers) image.insert(image.end(), {static_cast<double>(buffer), 0});
    for (const double each : step.numbers) image.push_back(number(each));
  }
  return image;
}

std::vector<Block> Instance::blocks() const {
  std::vector<Block> blocks;
  for (const Exact& memory : memory_) blocks.push_back({memory.data(), memory.bytes()});
  return blocks;
}

void Instance::check_bounds() const {
  for (size_t i = 0; i < memory_.size(); i++) {
    std::vector<Block> smaller = blocks();
    if (smaller[i].bytes-- == 0) continue;
    if (!load(kernels_, 3, image(), smaller)->error.reason)
      fail(scenario_.name + ": buffer " + std::to_string(i) + " may be smaller than what is used of it");
  }
}

std::unique_ptr<Loaded> load(const Kernels& kernels, uint32_t threads, const std::vector<double>& image,
                             const std::vector<Block>& blocks) {
  auto loaded = std::make_unique<Loaded>();
  loaded->memory = std::make_unique<Exact>(program_bytes(instructions_of(image.data(), image.size())));
  loaded->error = load_program(loaded->program, loaded->memory->data(), kernels, threads, image.data(), image.size(),
                               blocks.data(), static_cast<uint32_t>(blocks.size()));
  loaded->scratch = std::make_unique<Exact>(loaded->error.reason ? 0 : loaded->program.scratch_bytes * threads);
  loaded->program.scratch = loaded->scratch->data();
  return loaded;
}

void load_only(const Kernels& kernels, const std::vector<double>& image, const std::vector<Block>& blocks) {
  const Exact memory(program_bytes(instructions_of(image.data(), image.size())));
  Program program{};
  load_program(program, memory.data(), kernels, 3, image.data(), image.size(), blocks.data(),
               static_cast<uint32_t>(blocks.size()));
}

void run_and_wait(Runner& runner, Program& program) {
  // Shared, because the promise is still in use when the wait has ended.
  const auto ended = std::make_shared<std::promise<void>>();
  std::future<void> future = ended->get_future();
  runner.submit({&program, [ended] { ended->set_value(); }});
  future.wait();
}

}  // namespace quaver::test
