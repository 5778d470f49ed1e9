import { type CpuKernel, native, type Place } from '../kernel.ts';

export const ropeKernel: CpuKernel = {
  op: 'rope',
  version: 1,
  supports: () => native,
  emit: ({ code, operands, results }) => {
    const [x, cos, sin, position] = operands as readonly [Place, Place, Place, Place];
    const [out] = results as readonly [Place];
    const [b, t, h, d] = x.type.shape as readonly [number, number, number, number];
    const [positions, half] = cos.type.shape as readonly [number, number];
    const refs = [x.ref(), cos.ref(), sin.ref(), position.ref(), out.ref()];
    code.emit('rope', refs, [b, t, h, d, 2 * half, positions, position.type.shape.length - 1]);
  },
};
