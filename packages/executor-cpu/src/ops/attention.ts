import type { NodeView, Support } from '@quaver/executor';
import { type CpuKernel, type KernelCall, native, type Place, refuse, type Step } from '../kernel.ts';

type Cache = 'f32' | 'bf16' | 'f8e4m3fn';

/** Attention with its cache in f32, BF16, or FP8 with one E8M0 scale per token and head. */
export const attentionKernel: CpuKernel = {
  op: 'attention',
  version: 1,
  supports,
  steps,
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

/** Multiply-adds of one step: some milliseconds. */
const stepWork = 4e7;

function steps(call: KernelCall): readonly Step[] {
  const [q, k, v, position, kScale, vScale] = call.operands as readonly [Place, Place, Place, Place, Place?, Place?];
  const [out] = call.results as readonly [Place];
  const { kernels, attributes } = call;
  const [b, t, qHeads, d] = q.type.shape as readonly [number, number, number, number];
  const [, s, kvHeads] = k.type.shape as readonly [number, number, number];
  if (b * t * qHeads * d === 0) return [];
  const scratch = call.scratch(kernels.attentionScratchBytes(s, d));
  const group = qHeads / kvHeads;
  // Ranges keep the query heads of one key/value head together, so that its cache is read once.
  const heads = Math.max(1, Math.floor(stepWork / Math.max(1, 2 * t * s * d * group))) * group;
  const run: Step[] = [];
  for (let n0 = 0; n0 < b * qHeads; n0 += heads) {
    run.push(() =>
      kernels.attention({
        cache: k.type.dtype as Cache,
        probs: attributes.probs as Cache,
        q: q.pointer(),
        k: k.pointer(),
        v: v.pointer(),
        ...(kScale && vScale ? { kScales: kScale.pointer(), vScales: vScale.pointer() } : {}),
        start: position.pointer(),
        out: out.pointer(),
        scratch: scratch.pointer(),
        b,
        t,
        s,
        qHeads,
        kvHeads,
        d,
        window: attributes.window as number,
        scale: attributes.scale as number,
        n0,
        n1: Math.min(b * qHeads, n0 + heads),
      }),
    );
  }
  return run;
}
