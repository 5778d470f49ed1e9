import type { NodeView, Support } from '@quaver/executor';
import { formatCode } from '../engine/engine.ts';
import { type CpuKernel, native, type Place, reductionCode, refuse } from '../kernel.ts';

type Cache = 'f32' | 'bf16' | 'f8e4m3fn';

/** Attention with its cache in f32, BF16, or FP8 with one E8M0 scale per token and head. */
export const attentionKernel: CpuKernel = {
  op: 'attention',
  version: 1,
  supports,
  emit: ({ code, reduction, attributes, operands, results }) => {
    const [q, k, v, position, kScale, vScale] = operands as readonly [Place, Place, Place, Place, Place?, Place?];
    const [out] = results as readonly [Place];
    const [b, t, qHeads, d] = q.type.shape as readonly [number, number, number, number];
    const [, s, kvHeads] = k.type.shape as readonly [number, number, number];
    if (b * t * qHeads * d === 0) return;
    if (s === 0) {
      code.emit('fill', [out.ref()], [b * t * qHeads * d, 4, 0]);
      return;
    }
    const refs = [q.ref(), k.ref(), v.ref(), kScale?.ref(), vScale?.ref(), position.ref(), out.ref()];
    code.emit('attention', refs, [
      reductionCode[reduction],
      formatCode[k.type.dtype as Cache],
      formatCode[attributes.probs as Cache],
      b,
      t,
      s,
      qHeads,
      kvHeads,
      d,
      attributes.window as number,
      Math.fround(attributes.scale as number),
    ]);
  },
};

function supports({ operands: [q, k, , , kScale, vScale], attributes: { probs } }: NodeView): Support {
  if (!q || !k) return refuse('operand-missing', 'an operand is missing');
  if (k.dtype === 'f32')
    return q.dtype === 'f32' && probs === 'f32' ? native : refuse('dtype', 'an f32 cache needs f32 queries');
  if (q.dtype !== 'bf16' || probs === 'f32')
    return refuse('dtype', 'queries and probabilities must be on the BF16 grid');
  if (k.dtype === 'bf16') return native;
  if (k.dtype !== 'f8e4m3fn') return refuse('dtype', `a cache of ${k.dtype}`);
  return kScale?.dtype === 'f8e8m0fnu' && vScale?.dtype === 'f8e8m0fnu'
    ? native
    : refuse('dtype', 'an FP8 cache needs E8M0 scales');
}
