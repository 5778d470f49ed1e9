import { concreteElementCount, dtypeBytes } from '@quaver/ir';
import type { CodeBuilder, Ref } from '../code/code-builder.ts';
import { formatCode } from '../engine/engine.ts';
import { byteLength, type CpuKernel, elementRows, native, type Place, refuse } from '../kernel.ts';

const narrow = ['bf16', 'f8e4m3fn', 'f8e5m2'] as const;
type Narrow = (typeof narrow)[number];

function isNarrow(dtype: string): dtype is Narrow {
  return narrow.some((name) => name === dtype);
}

/** f32 to and from BF16 and FP8. */
export const convertKernel: CpuKernel = {
  op: 'convert',
  version: 1,
  supports: ({ operands: [x], attributes: { to } }) => {
    const encodes = x?.dtype === 'f32' && isNarrow(to as string);
    const decodes = x !== undefined && isNarrow(x.dtype) && to === 'f32';
    return encodes || decodes ? native : refuse('dtype', `no kernel converts ${x?.dtype} to ${String(to)}`);
  },
  emit: ({ code, attributes, operands, results }) => {
    const [x] = operands as readonly [Place];
    const [y] = results as readonly [Place];
    const rows = elementRows(x.type.shape);
    if (y.type.dtype === 'f32') code.emit('decode', [x.ref(), y.ref()], [formatCode[x.type.dtype as Narrow], ...rows]);
    else {
      const saturate = attributes.saturate === false ? 0 : 1;
      const refs = [x.ref(), y.ref()] as const;
      if (byteLength(x) >= largeBytes) encodeLarge(code, refs, y, saturate);
      else code.emit('encode', refs, [formatCode[y.type.dtype as Narrow], ...rows, saturate]);
    }
  },
};

/** From here on a copy shows in the memory that training takes: gradients of logits are hundreds of megabytes. */
const largeBytes = 16 * 2 ** 20;
const firstElements = 64;
const rowElements = 4096;

/**
 * Encodes so that codes may be written over the numbers: elements [n, 2n) in one instruction, for n = 64, 128, …. Their codes,
 * of at most half the bytes, land where numbers before n were, which nobody needs any more.
 */
function encodeLarge(code: CodeBuilder, [from, to]: readonly [Ref, Ref], { type }: Place, saturate: number): void {
  const count = concreteElementCount(type);
  const bytes = dtypeBytes[type.dtype];
  const format = formatCode[type.dtype as Narrow];
  const encode = (
    first: number,
    rows: number,
    width: number,
    target = { ...to, offset: to.offset + bytes * first },
  ) => {
    if (rows * width === 0) return;
    code.emit('encode', [{ ...from, offset: from.offset + 4 * first }, target], [format, rows, width, saturate]);
  };
  code.overwriting(from, to, () => {
    const head = code.scratch(bytes * firstElements);
    encode(0, 1, firstElements, head);
    code.emit('copy', [head, to], [1, bytes * firstElements]);
    for (let first = firstElements; first < count; first *= 2) {
      const length = Math.min(first, count - first);
      const rows = Math.floor(length / rowElements);
      encode(first, rows, rowElements);
      encode(first + rows * rowElements, 1, length - rows * rowElements);
    }
  });
}
