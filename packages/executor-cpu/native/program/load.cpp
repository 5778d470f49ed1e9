// Reading an image: every number that comes from the host is checked here.
#include "program.h"

namespace quaver {

void schedule(Program& program);

namespace {

constexpr double kLargestSize = SIZE_MAX < 0x1p53 ? double(SIZE_MAX) : 0x1p53;
/** Everything lies on cache lines. */
constexpr uint64_t kAlignment = 64;

/** Takes numbers off the image; remembers when there are none left or one is not what was asked for. */
class Reader {
 public:
  Reader(const double* image, size_t length) : image_(image), length_(length) {}

  double any() {
    if (at_ >= length_) {
      ok = false;
      return 0;
    }
    return image_[at_++];
  }
  /** An integer of at most `limit`. */
  double integer(double limit) {
    const double number = any();
    if (number >= 0 && number <= limit && number == __builtin_trunc(number)) return number;
    ok = false;
    return 0;
  }
  bool at_end() const { return at_ == length_; }
  bool ok = true;

 private:
  const double* image_;
  size_t length_, at_ = 0;
};

const char* read_pointers(Reader& reader, Call& call, const Block* blocks, uint32_t block_count, uint64_t room[]) {
  for (uint32_t i = 0; i < call.op->pointers; i++) {
    const double block = reader.any();
    const double offset = reader.integer(kLargestSize);
    call.pointers[i] = nullptr;
    room[i] = 0;
    if (block == -1 && (call.op->optional >> i & 1)) continue;
    if (!(block >= 0 && block < block_count) || block != __builtin_trunc(block)) return "a block that does not exist";
    const Block& memory = blocks[static_cast<uint32_t>(block)];
    if (!reader.ok || offset > double(memory.bytes)) return "an offset outside of its block";
    if (static_cast<uint64_t>(offset) % kAlignment != 0) return "an offset that is not a multiple of 64";
    call.pointers[i] = memory.data + static_cast<uint64_t>(offset);
    room[i] = memory.bytes - static_cast<uint64_t>(offset);
  }
  return nullptr;
}

const char* read_instruction(Reader& reader, Instruction& instruction, const Kernels& kernels, const Block* blocks,
                             uint32_t block_count) {
  const double code = reader.integer(UINT32_MAX);
  if (!reader.ok || code >= kOpCount) return "an op that does not exist";
  Call& call = instruction.call;
  call = {};
  call.op = kOps[static_cast<uint32_t>(code)];
  uint64_t room[kMaxPointers];
  if (const char* problem = read_pointers(reader, call, blocks, block_count, room)) return problem;
  for (uint32_t i = 0; i < call.op->numbers; i++) {
    const bool fraction = call.op->fractions >> i & 1, wide = call.op->wide >> i & 1;
    call.numbers[i] = fraction ? reader.any() : reader.integer(wide ? kLargestSize : UINT32_MAX);
  }
  if (!reader.ok) return "a number that is missing, negative, fractional or too large";
  instruction.work = {};
  if (const char* problem = call.op->describe(call, kernels, instruction.work)) return problem;
  for (uint32_t i = 0; i < call.op->pointers; i++)
    if (instruction.work.accesses[i].bytes > room[i]) return "memory beyond the end of a block";
  return nullptr;
}

template <class T>
T* take(uint8_t*& memory, size_t count) {
  T* taken = reinterpret_cast<T*>(memory);
  memory += (count * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
  return taken;
}

}  // namespace

uint32_t instructions_of(const double* image, size_t length) {
  if (length == 0) return 0;
  // The shortest instruction takes three numbers.
  const double count = image[0];
  return count >= 1 && count <= double(length) / 3 && count == __builtin_trunc(count) ? static_cast<uint32_t>(count) : 0;
}

size_t program_bytes(uint32_t instructions) {
  // A phase and a lane for every instruction, at most; each array is rounded up.
  return size_t{instructions} * (sizeof(Instruction) + sizeof(Lane) + sizeof(Phase)) + 3 * kAlignment;
}

LoadError load_program(Program& program, void* memory, const Kernels& kernels, uint32_t threads, const double* image,
                       size_t length, const Block* blocks, uint32_t block_count) {
  const uint32_t count = instructions_of(image, length);
  uint8_t* rest = static_cast<uint8_t*>(memory);
  program = {};
  program.kernels = &kernels;
  program.threads = threads;
  program.instruction_count = count;
  program.instructions = take<Instruction>(rest, count);
  program.lanes = take<Lane>(rest, count);
  program.phases = take<Phase>(rest, count);
  Reader reader(image, length);
  if (count == 0 || reader.any() != count) return {"an image without instructions", 0};
  for (uint32_t i = 0; i < count; i++) {
    Instruction& instruction = program.instructions[i];
    if (const char* problem = read_instruction(reader, instruction, kernels, blocks, block_count)) return {problem, i};
    const size_t scratch = (instruction.work.scratch_bytes + kAlignment - 1) / kAlignment * kAlignment;
    if (scratch > program.scratch_bytes) program.scratch_bytes = scratch;
  }
  if (!reader.at_end()) return {"numbers after the last instruction", count};
  schedule(program);
  return {nullptr, 0};
}

}  // namespace quaver
