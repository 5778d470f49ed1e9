import type { DType, FunctionRewriter, NodeOrigin, Value } from '@quaver/ir';

/** Conversions that every value survives. FP8 sources are left out: passes do not look through FP8. */
const exactWidenings: readonly (readonly [from: DType, to: DType])[] = [
  ['bf16', 'f32'],
  ['f16', 'f32'],
];

export function isExactWidening(from: DType, to: DType): boolean {
  return exactWidenings.some(([narrow, wide]) => narrow === from && wide === to);
}

/** The value in another dtype; a widening that was made before is undone rather than rounded again. */
export function inDType(rewriter: FunctionRewriter, value: Value, dtype: DType, origin: NodeOrigin): Value {
  const resolved = rewriter.resolve(value);
  if (resolved.type.dtype === dtype) return resolved;
  const producer = rewriter.producer(resolved);
  const source = producer?.op === 'convert' ? producer.operands[0] : undefined;
  if (source?.type.dtype === dtype && isExactWidening(dtype, resolved.type.dtype)) return source;
  return rewriter.op('convert', [resolved], { to: dtype }, { location: origin.location });
}
