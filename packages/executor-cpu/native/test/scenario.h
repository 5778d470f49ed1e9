// A scenario is a program with its data, the same for every instruction set: buffers by what is in them, and steps by the
// names of ops. Each buffer gets exactly the bytes that the ops say they touch, so that a sanitizer sees any byte beyond.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "../addon/runner.h"
#include "check.h"

namespace quaver::test {

/** What a buffer holds when the program begins, or how its result is compared. */
enum class Content {
  /** Floats of many magnitudes, zeros, subnormals, now and then infinities and NaN. */
  f32,
  /** Floats between 2^-10 and 2^10. */
  scales,
  bf16,
  /** Any byte. */
  bytes,
  e8m0,
  /** i32 from `low` to `high`. */
  integers,
  /** Nothing yet. */
  zeros,
};

struct Buffer {
  Content content = Content::zeros;
  int32_t low = 0, high = 0;
  enum class Result { ignored, f32, bytes } result = Result::ignored;
};

struct Step {
  const char* op;
  /** Numbers of buffers; -1: absent. */
  std::vector<int> buffers;
  std::vector<double> numbers;
};

struct Scenario {
  std::string name;
  std::vector<Buffer> buffers;
  std::vector<Step> steps;

  int add(Content content, Buffer::Result result = Buffer::Result::ignored) {
    buffers.push_back({content, 0, 0, result});
    return static_cast<int>(buffers.size()) - 1;
  }
  int integers(int32_t low, int32_t high) {
    buffers.push_back({Content::integers, low, high, Buffer::Result::ignored});
    return static_cast<int>(buffers.size()) - 1;
  }
  int f32_result() { return add(Content::zeros, Buffer::Result::f32); }
  int bytes_result() { return add(Content::zeros, Buffer::Result::bytes); }
};

/** Memory of exactly so many bytes, on a cache line. */
class Exact {
 public:
  explicit Exact(uint64_t bytes);
  uint8_t* data() const { return data_.get(); }
  uint64_t bytes() const { return bytes_; }

 private:
  struct Free {
    void operator()(uint8_t* data) const;
  };
  std::unique_ptr<uint8_t, Free> data_;
  uint64_t bytes_;
};

/** A scenario at addresses, for one instruction set. */
class Instance {
 public:
  Instance(const Scenario& scenario, const Kernels& kernels, uint64_t seed);

  /** Fills the buffers with what they begin with: the same for every instruction set. */
  void fill();
  /** Makes every integer any integer: indices and positions out of range among them. */
  void scramble_integers(Random& random);
  /** Runs step by step on this thread: the units in pieces, in any order. */
  void run_in_pieces(Random& random);
  /** Loads the image and runs it on threads. */
  void run_on(Runner& runner);
  /** Results, one after the other; NaN is always the same NaN. */
  std::vector<uint8_t> results() const;

  std::vector<double> image() const { return image_with([](double number) { return number; }); }
  /** The same steps with 1 in the place of every number that is not 0: sizes, formats, operations. */
  std::vector<double> smallest_image() const { return image_with([](double number) { return number == 0 ? 0.0 : 1.0; }); }
  std::vector<Block> blocks() const;
  /** Fails unless the image is refused when a buffer that is used has one byte less. */
  void check_bounds() const;

 private:
  Call call_of(const Step& step) const;
  std::vector<double> image_with(double (*number)(double)) const;

  const Scenario& scenario_;
  const Kernels& kernels_;
  uint64_t seed_;
  std::vector<Exact> memory_;
};

/** A loaded program with its memory. */
struct Loaded {
  Program program{};
  std::unique_ptr<Exact> memory, scratch;
  LoadError error{};
};
std::unique_ptr<Loaded> load(const Kernels& kernels, uint32_t threads, const std::vector<double>& image,
                             const std::vector<Block>& blocks);

/** Loads an image that may need more scratch than there is memory; it is not run. */
void load_only(const Kernels& kernels, const std::vector<double>& image, const std::vector<Block>& blocks);

/** Runs it and waits for its end. */
void run_and_wait(Runner& runner, Program& program);

/** A random scenario of each kind of op, with ragged sizes. */
std::vector<Scenario> random_scenarios(Random& random);

}  // namespace quaver::test
