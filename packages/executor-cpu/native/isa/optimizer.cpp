// Optimizer steps, element by element, every operation rounded.
#include "optimizer.h"

#include "formats.h"

namespace quaver::QUAVER_ISA {

void adamw(const AdamW& x, size_t from, size_t to) {
  const f32v rate = splat(*x.rate), correction1 = splat(*x.correction1), correction2 = splat(*x.correction2);
  const f32v decay_rate = rate * splat(x.weight_decay);
  for_each_vector<Format::f32>(x.gradient + from, to - from, [&](size_t at, f32v g, uint32_t count) {
    const size_t i = from + at;
    const f32v first = load_first(x.m, i, count) * splat(x.beta1) + g * splat(x.one_minus_beta1);
    const f32v second = load_first(x.v, i, count) * splat(x.beta2) + g * g * splat(x.one_minus_beta2);
    const f32v p = load_first(x.parameter, i, count);
    const f32v direction = first / correction1 / (sqrt(second / correction2) + splat(x.eps));
    store_first(x.m_out + i, first, count);
    store_first(x.v_out + i, second, count);
    store_first(x.parameter_out + i, p - p * decay_rate - rate * direction, count);
  });
}

}  // namespace quaver::QUAVER_ISA
