import { type CpuKernel, native, type Place, refuse } from '../kernel.ts';

export const ropeKernel: CpuKernel = {
  op: 'rope',
  version: 1,
  supports: ({ operands: [x, cos] }) =>
    cos?.shape[1] === Number(x?.shape[3]) / 2 ? native : refuse('layout', 'only the whole head is rotated'),
  steps: ({ kernels, operands, results }) => {
    const [x, cos, sin, position] = operands as readonly [Place, Place, Place, Place];
    const [out] = results as readonly [Place];
    const [b, t, h, d] = x.type.shape as readonly [number, number, number, number];
    const positions = cos.type.shape[0]!;
    return [
      () => {
        const [c, s] = [cos.pointer(), sin.pointer()];
        kernels.rope(x.pointer(), c, s, position.pointer(), out.pointer(), b, t, h, d, positions);
      },
    ];
  },
};
