// The panels of one kind of weights: few rows straight from the packed form, many rows through a decoded tile.
#pragma once
#include "panels_decode.h"

namespace quaver::QUAVER_ISA {

/** Accumulators that leave room for decoded weights and the decoder's constants. */
constexpr uint32_t kFusedRegs = kSubRegs == 4 ? 24 : 12;
/** Up to this many rows read the packed weights directly, decoding each once for all of them. */
constexpr uint32_t kFusedRows = kSubRegs == 4 ? 12 : 6;
/** Staged activations that stay in a second-level cache while panels go by. */
constexpr uint32_t kResidentBytes = 3 << 19;
/** Rows of which they are: few enough for all of k where that is possible, enough to hide the decode of a tile. */
constexpr uint32_t kRowBlock = 516, kLeastRowBlock = 96;
/** How far ahead of their use weights are asked for. */
constexpr uint32_t kPrefetchBytes = 4096;

/** Rows and panels to compute, and where a decoded tile and the sums of a panel are. */
struct Job {
  const Gemm& g;
  uint32_t row0, rows, panel0, panel1;
  float *tile, *sums;

  QUAVER_INLINE PanelSums panel_sums() const { return {sums}; }
  QUAVER_INLINE void read_sums(uint32_t panel) const {
    panel_sums().read(out_of(panel), g.out_stride, rows, columns_of(panel));
  }
  QUAVER_INLINE void write_sums(uint32_t panel) const {
    panel_sums().write(out_of(panel), g.out_stride, rows, columns_of(panel));
  }
  QUAVER_INLINE float* out_of(uint32_t panel) const { return g.out + row0 * g.out_stride + panel * kPanel; }
  QUAVER_INLINE uint32_t columns_of(uint32_t panel) const { return min(kPanel, g.n - panel * kPanel); }
  /** k-elements that share an accumulator. */
  QUAVER_INLINE uint32_t segment() const { return g.block_k >= g.k ? kPromote : min(g.block_k, kPromote); }
  template <class Weights>
  QUAVER_INLINE const float* staged(uint32_t block) const {
    constexpr size_t words = kRowWords<typename Weights::Step>;
    return static_cast<const float*>(g.staged) + (size_t{block} * g.m + row0) * words;
  }
  template <class Weights>
  QUAVER_INLINE const uint8_t* packed(uint32_t panel) const {
    return static_cast<const uint8_t*>(g.packed) + panel * panel_bytes(Weights::format, g.k);
  }
};

/** Registers of outputs that one fused pass covers. */
template <class Weights>
constexpr uint32_t fused_regs(uint32_t rows) {
  uint32_t regs = kPanelRegs;
  while (regs > Weights::kRegs && regs * rows > kFusedRegs) regs /= 2;
  return regs;
}

/** One segment of a panel for a few rows; `w` is the first unit of the segment. */
template <class Weights, uint32_t Rows>
QUAVER_INLINE void fused_segment(const Weights& weights, const uint8_t* panel, uint32_t k0, uint32_t count,
                                 uint32_t k_padded, const float* a, const AddBlock& add) {
  using Layout = Units<Weights::format>;
  constexpr uint32_t regs = fused_regs<Weights>(Rows), unit_columns = regs / Weights::kRegs;
  constexpr uint32_t a_stride = kPromote / Weights::Step::k, kUnitK = unit_k(Weights::format);
  for (uint32_t reg0 = 0; reg0 < kPanelRegs; reg0 += regs) {
    const uint8_t* units[unit_columns];
    QUAVER_UNROLL
    for (uint32_t c = 0; c < unit_columns; c++)
      units[c] = panel + Layout::offset(k0, reg0 + c * Weights::kRegs, k_padded);
    f32v acc[Rows][regs];
    add.start(0, reg0, acc);
    for (uint32_t k = 0, step0 = 0; k < count; k += kUnitK, step0 += Weights::kSteps) {
      QUAVER_UNROLL
      for (uint32_t c = 0; c < unit_columns; c++) {
        f32v words[Weights::kSteps][Weights::kRegs];
        if (c % (64 / min(64, unit_bytes(Weights::format))) == 0) __builtin_prefetch(units[c] + kPrefetchBytes);
        weights.decode(units[c], words);
        units[c] += Layout::stride;
        QUAVER_UNROLL
        for (uint32_t step = 0; step < Weights::kSteps; step++) {
          QUAVER_UNROLL
          for (uint32_t r = 0; r < Rows; r++) {
            const f32v x = splat(load<float>(a + r * a_stride + step0 + step));
            QUAVER_UNROLL
            for (uint32_t reg = 0; reg < Weights::kRegs; reg++) {
              f32v& sum = acc[r][c * Weights::kRegs + reg];
              sum = Weights::Step::apply(sum, x, words[step][reg]);
            }
          }
        }
      }
    }
    add.finish(0, reg0, acc);
  }
}

/** A panel of up to kFusedRows rows. */
template <class Weights, uint32_t Rows>
__attribute__((noinline)) void fused_panel(const Job& job, uint32_t panel, BlockScales& scales) {
  const uint8_t* packed = job.packed<Weights>(panel);
  const Weights weights(load<PanelHeader>(packed));
  const PanelSums sums = job.panel_sums();
  const uint32_t k_padded = padded_k(job.g.k), segment = job.segment();
  sums.clear(Rows);
  for (uint32_t k0 = 0; k0 < k_padded; k0 += segment) {
    if (k0 % job.g.block_k == 0) scales.select(job.g, job.row0, panel, k0 / job.g.block_k);
    const float* a = job.staged<Weights>(k0 / kPromote) + k0 % kPromote / Weights::Step::k;
    fused_segment<Weights, Rows>(weights, packed + sizeof(PanelHeader), k0, min(segment, k_padded - k0), k_padded, a,
                                 AddBlock{sums, &scales, job.g.reduction, Weights::restore()});
  }
  job.write_sums(panel);
}

template <class Weights, uint32_t Rows = 1>
QUAVER_INLINE void fused_panel_of(const Job& job, uint32_t panel, BlockScales& scales) {
  if (job.rows == Rows) return fused_panel<Weights, Rows>(job, panel, scales);
  if constexpr (Rows < kFusedRows) fused_panel_of<Weights, Rows + 1>(job, panel, scales);
}

/** The words of k [k0, k0 + count) of a panel as tile[outputs / kSub][count][kSub]. */
template <class Weights>
__attribute__((noinline)) void fill_tile(const uint8_t* packed, uint32_t k0, uint32_t count, float* tile) {
  using Layout = Units<Weights::format>;
  const Weights weights(load<PanelHeader>(packed));
  const uint8_t* unit_row = packed + sizeof(PanelHeader) + Layout::offset(k0, 0, 0);
  const uint32_t steps = count / Weights::Step::k;
  for (uint32_t step0 = 0; step0 < steps; step0 += Weights::kSteps, unit_row += Layout::stride) {
    QUAVER_UNROLL
    for (uint32_t reg0 = 0; reg0 < kPanelRegs; reg0 += Weights::kRegs) {
      f32v words[Weights::kSteps][Weights::kRegs];
      weights.decode(unit_row + reg0 / Weights::kRegs * unit_bytes(Weights::format), words);
      QUAVER_UNROLL
      for (uint32_t step = 0; step < Weights::kSteps; step++) {
        QUAVER_UNROLL
        for (uint32_t reg = 0; reg < Weights::kRegs; reg++) {
          const uint32_t at = reg0 + reg;
          store(tile + (at / kSubRegs * steps + step0 + step) * kSub + at % kSubRegs * kLanes, words[step][reg]);
        }
      }
    }
  }
}

/** One block of kPromote k-elements of a panel, all rows of the job. */
template <class Weights>
QUAVER_INLINE void tile_block(const Job& job, uint32_t panel, uint32_t block, const float* tile, float restore,
                              BlockScales& scales) {
  using Step = typename Weights::Step;
  const uint32_t k0 = block * kPromote, count = min(kPromote, padded_k(job.g.k) - k0), segment = job.segment();
  const size_t packed_block = size_t{kPromote} * kPanel * bytes_of(Weights::format);
  const uint8_t* next = job.packed<Weights>(panel) + sizeof(PanelHeader) + (block + 1) * packed_block;
  for (uint32_t at = 0; at < count; at += segment) {
    if ((k0 + at) % job.g.block_k == 0 || at == 0) scales.select(job.g, job.row0, panel, (k0 + at) / job.g.block_k);
    for (uint32_t sub = 0; sub < kPanel / kSub; sub++) {
      TileDot dot;
      dot.a = job.staged<Weights>(block) + at / Step::k;
      dot.tile = tile + (sub * count + at) / Step::k * kSub;
      dot.steps = min(segment, count - at) / Step::k;
      dot.reg0 = sub * kSubRegs;
      dot.add = {job.panel_sums(), &scales, job.g.reduction, restore};
      dot_tile<Step>(dot, job.rows, next, at == 0 && sub == 0 ? packed_block : 0);
    }
  }
}

template <class Weights>
__attribute__((noinline)) void tile_panel_block(const Job& job, uint32_t panel, uint32_t block, BlockScales& scales) {
  const uint8_t* packed = job.packed<Weights>(panel);
  const uint32_t k0 = block * kPromote, k_padded = padded_k(job.g.k);
  if constexpr (Weights::kIsTile) {
    const uint8_t* at = packed + sizeof(PanelHeader) + Units<Weights::format>::offset(k0, 0, k_padded);
    tile_block<Weights>(job, panel, block, reinterpret_cast<const float*>(at), Weights::restore(), scales);
  } else {
    fill_tile<Weights>(packed, k0, min(kPromote, k_padded - k0), job.tile);
    tile_block<Weights>(job, panel, block, job.tile, Weights::restore(), scales);
  }
}

/** Any number of rows: blocks of k outermost, in groups whose activations stay in the cache while panels go by. */
template <class Weights, class AnyWeights>
void tile_panels(const Job& job) {
  const uint32_t blocks = ceil_div(job.g.k, kPromote);
  const uint32_t block_bytes = job.rows * (kPromote / Weights::Step::k) * sizeof(float);
  const uint32_t group = max(1, kResidentBytes / block_bytes);
  BlockScales scales(job.g);
  for (uint32_t block0 = 0; block0 < blocks; block0 += group) {
    const uint32_t block1 = min(blocks, block0 + group);
    for (uint32_t panel = job.panel0; panel < job.panel1; panel++) {
      if (block0 == 0)
        job.panel_sums().clear(job.rows);
      else
        job.read_sums(panel);
      const bool fits = Weights::fits(load<PanelHeader>(job.packed<Weights>(panel)));
      for (uint32_t block = block0; block < block1; block++)
        if (fits)
          tile_panel_block<Weights>(job, panel, block, scales);
        else
          tile_panel_block<AnyWeights>(job, panel, block, scales);
      job.write_sums(panel);
    }
  }
}

/** Panels of a few rows. A panel that `Weights` does not read goes through `AnyWeights` and a tile. */
template <class Weights, class AnyWeights>
void fused_panels(const Job& job) {
  BlockScales scales(job.g);
  for (uint32_t panel = job.panel0; panel < job.panel1; panel++)
    if (Weights::fits(load<PanelHeader>(job.packed<Weights>(panel))))
      fused_panel_of<Weights>(job, panel, scales);
    else
      tile_panels<AnyWeights, AnyWeights>({job.g, job.row0, job.rows, panel, panel + 1, job.tile, job.sums});
}

template <class Weights, class AnyWeights = Weights>
void gemm_of(const Job& job) {
  if (job.rows <= kFusedRows)
    fused_panels<Weights, AnyWeights>(job);
  else
    tile_panels<Weights, AnyWeights>(job);
}

}  // namespace quaver::QUAVER_ISA
