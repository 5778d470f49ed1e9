import { formatCode } from '../engine/engine.ts';
import { type CpuKernel, elementRows, native, type Place, refuse } from '../kernel.ts';

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
      code.emit('encode', [x.ref(), y.ref()], [formatCode[y.type.dtype as Narrow], ...rows, saturate]);
    }
  },
};
