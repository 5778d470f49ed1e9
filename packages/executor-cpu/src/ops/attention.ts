import type { NodeView, Support } from '@quaver/executor';
import type { Attributes, ConcreteType } from '@quaver/ir';
import { formatCode, type Reduction } from '../engine/engine.ts';
import { type CpuKernel, elementRows, native, type Place, reductionCode, refuse } from '../kernel.ts';

type Cache = 'f32' | 'bf16' | 'f8e4m3fn';
type Operands = readonly (Place | undefined)[];

/** What an instruction says of operands q[B,T,Hq,D] and k[…,Hkv,D], and of the keys of each row. */
function numbersOf(
  reduction: Reduction,
  q: ConcreteType,
  k: ConcreteType,
  keys: number,
  { probs, window, scale }: Attributes,
): number[] {
  const [b, t, qHeads, d] = q.shape as readonly [number, number, number, number];
  const kvHeads = k.shape[2]!;
  const codes = [reductionCode[reduction], formatCode[k.dtype as Cache], formatCode[probs as Cache]];
  return [...codes, b, t, keys, qHeads, kvHeads, d, window as number, Math.fround(scale as number)];
}

/** Attention with its cache in f32, BF16, or FP8 with one E8M0 scale per token and head. */
export const attentionKernel: CpuKernel = {
  op: 'attention',
  version: 1,
  supports: (node) => supports(node, node.operands.slice(4, 6)),
  emit: ({ code, reduction, attributes, operands, results }) => {
    const [q, k, v, position, ...optional] = operands as readonly [Place, Place, Place, Place, ...Operands];
    const [kScale, vScale, firstKey, pages] = optional;
    const [out] = results as readonly [Place];
    const [b, t, qHeads, d] = q.type.shape as readonly [number, number, number, number];
    if (b * t * qHeads * d === 0) return;
    const [pageCount, pageTokens] = pages ? k.type.shape : [0, 0];
    const keys = k.type.shape[1]! * (pages ? pages.type.shape[1]! : 1);
    if (keys === 0) {
      code.emit('fill', [out.ref()], [b * t, qHeads * d, 4, 0]);
      return;
    }
    const refs = [q, k, v, kScale, vScale, position, out, firstKey, pages].map((place) => place?.ref());
    const numbers = numbersOf(reduction, q.type, k.type, keys, attributes);
    code.emit('attention', refs, [...numbers, pageCount!, pageTokens!]);
  },
};

export const attentionGradKernel: CpuKernel = {
  op: 'attention_grad',
  version: 1,
  supports: (node) => supports(node, node.operands.slice(5, 7)),
  emit: ({ code, reduction, attributes, operands, results }) => {
    const [q, k, v, position, dy, ...optional] = operands as readonly [Place, Place, Place, Place, Place, ...Operands];
    const [kScale, vScale, firstKey] = optional;
    if (q.type.shape.includes(0) || k.type.shape.includes(0)) {
      // Without queries or keys nothing depends on the others.
      for (const { type, ref } of results) code.emit('fill', [ref()], [...elementRows(type.shape), 4, 0]);
      return;
    }
    const refs = [q, k, v, kScale, vScale, position, dy, ...results, firstKey].map((place) => place?.ref());
    code.emit('attention_grad', refs, numbersOf(reduction, q.type, k.type, k.type.shape[1]!, attributes));
  },
};

function supports({ operands: [q, k], attributes: { probs } }: NodeView, scales: NodeView['operands']): Support {
  if (!q || !k) return refuse('operand-missing', 'an operand is missing');
  if (k.dtype === 'f32')
    return q.dtype === 'f32' && probs === 'f32' ? native : refuse('dtype', 'an f32 cache needs f32 queries');
  if (q.dtype !== 'bf16' || probs === 'f32')
    return refuse('dtype', 'queries and probabilities must be on the BF16 grid');
  if (k.dtype === 'bf16') return native;
  if (k.dtype !== 'f8e4m3fn') return refuse('dtype', `a cache of ${k.dtype}`);
  return scales.length === 2 && scales.every((scale) => scale?.dtype === 'f8e8m0fnu')
    ? native
    : refuse('dtype', 'an FP8 cache needs E8M0 scales');
}
