// Every op on ragged sizes and buffers without a byte to spare, on every instruction set: the same bits, in whatever pieces
// and on however many threads; and images that are wrong.
#include <algorithm>
#include <cmath>

#include "../addon/isa.h"
#include "scenario.h"
#include "tests.h"

namespace quaver::test {
namespace {

std::string on(const Scenario& scenario, const Kernels& kernels) { return scenario.name + " on " + kernels.isa; }

uint32_t same_bits(uint32_t rounds) {
  const std::vector<const Kernels*> isas = kernels_of_this_processor();
  Runner three(3);
  Random random(1);
  uint32_t cases = 0;
  for (uint32_t round = 0; round < rounds; round++) {
    for (const Scenario& scenario : random_scenarios(random)) {
      std::vector<uint8_t> expected;
      for (auto isa = isas.rbegin(); isa != isas.rend(); ++isa) {
        alive(on(scenario, **isa));
        Instance instance(scenario, **isa, cases);
        instance.fill();
        instance.run_in_pieces(random);
        std::vector<uint8_t> found = instance.results();
        if (isa == isas.rbegin()) expected = found;
        if (found != expected) fail(on(scenario, **isa) + ": other bits than on " + isas.back()->isa);
        instance.fill();
        instance.run_on(three);
        if (instance.results() != expected) fail(on(scenario, **isa) + ": other bits on threads");
        instance.check_bounds();
      }
      cases++;
    }
  }
  return cases;
}

double wrong_number(Random& random, double right) {
  switch (random.below(12)) {
    case 0: return -1;
    case 1: return 0;
    case 2: return right + 1;
    case 3: return right - 1;
    case 4: return right * 2;
    case 5: return right + 0.5;
    case 6: return random.below(8);
    case 7: return std::ldexp(1, static_cast<int>(random.below(70)));
    case 8: return std::ldexp(1, static_cast<int>(random.below(70))) - 1;
    case 9: return __builtin_nan("");
    case 10: return random.one_in(2) ? __builtin_inf() : -__builtin_inf();
    default: return 64.0 * random.below(64);
  }
}

/** Rough cost of a run: what would take minutes is not run. */
double cost_of(const Program& program) {
  double cost = 0;
  for (uint32_t i = 0; i < program.lane_count; i++) cost += (program.lanes[i].unit_cost + 1) * program.lanes[i].units;
  return cost;
}

// An instruction that overwrites its own operands races with itself, which harms nobody else: that is no finding.
#if defined(__SANITIZE_THREAD__)
constexpr uint32_t kHostileThreads = 1;
#else
constexpr uint32_t kHostileThreads = 2;
#endif

/** Images and indices with some numbers wrong are refused, or stay within their buffers, whatever they compute. */
uint32_t hostile_images(uint32_t rounds) {
  const std::vector<const Kernels*> isas = kernels_of_this_processor();
  Runner runner(kHostileThreads);
  Random random(2);
  uint32_t images = 0, accepted = 0;
  for (uint32_t round = 0; round < rounds; round++) {
    for (const Scenario& scenario : random_scenarios(random)) {
      const Kernels& kernels = *isas[random.below(static_cast<uint32_t>(isas.size()))];
      Instance instance(scenario, kernels, images);
      for (uint32_t i = 0; i < 40; i++, images++) {
        alive("mutation " + std::to_string(images) + " of " + on(scenario, kernels));
        instance.fill();
        if (random.one_in(3)) instance.scramble_integers(random);
        std::vector<double> image = instance.image();
        for (uint32_t wrong = random.from_to(0, 3); wrong > 0; wrong--) {
          double& number = image[random.below(static_cast<uint32_t>(image.size()))];
          number = wrong_number(random, number);
        }
        if (random.one_in(20)) image.resize(random.below(static_cast<uint32_t>(image.size()) + 1));
        if (random.one_in(20)) image.push_back(random.below(100));
        const std::unique_ptr<Loaded> loaded = load(kernels, runner.threads(), image, instance.blocks());
        if (loaded->error.reason || cost_of(loaded->program) > 2e7) continue;
        accepted++;
        run_and_wait(runner, loaded->program);
      }
    }
  }
  if (accepted < images / 100) fail("hardly any image was run: the mutations are too wild");
  return images;
}

uint32_t with_extreme_numbers(const Kernels& kernels, std::vector<double>& image, const std::vector<Block>& blocks) {
  uint32_t images = 0;
  for (double& number : image) {
    const double right = number;
    for (const int power : {8, 16, 28, 30, 31, 32, 33, 53})
      for (const int less : {0, -1, 1, 15, 16, 31, 32, 64}) {
        number = std::ldexp(1, power) - less;
        load_only(kernels, image, blocks);
        images++;
      }
    number = right;
  }
  return images;
}

/** Every number of every image at the limits of the types that count with it: refused or not, loading ends well. */
uint32_t extreme_numbers(uint32_t rounds) {
  Random random(6);
  uint32_t images = 0;
  for (uint32_t round = 0; round < rounds; round++) {
    for (const Scenario& scenario : random_scenarios(random)) {
      for (const Kernels* kernels : kernels_of_this_processor()) {
        alive("extremes of " + on(scenario, *kernels));
        const Instance instance(scenario, *kernels, 0);
        const std::vector<Block> blocks = instance.blocks();
        for (std::vector<double> image : {instance.image(), instance.smallest_image()})
          images += with_extreme_numbers(*kernels, image, blocks);
      }
    }
  }
  return images;
}

}  // namespace

void test_kernels() {
  test("every op has the same bits on every instruction set, and stays within its buffers",
       [] { return same_bits(static_cast<uint32_t>(100 * effort())); });
  test("numbers at the limits of their types are no danger", [] { return extreme_numbers(static_cast<uint32_t>(4 * effort())); });
  test("no image reads or writes outside of its buffers", [] { return hostile_images(static_cast<uint32_t>(40 * effort())); });
}

}  // namespace quaver::test
