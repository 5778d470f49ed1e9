/** @file Gradients of the ops that work on rows and elements; that of attention is with attention. */
import { type CpuKernel, elementRows, native, type Place, rowCount } from '../kernel.ts';

/** Rows of a partial sum: `kGradRows` in native/kernels.h. */
const gradRows = 64;

export const rmsNormGradKernel: CpuKernel = {
  op: 'rms_norm_grad',
  version: 1,
  supports: () => native,
  emit: ({ code, attributes, operands, results }) => {
    const [x, weight, dy] = operands as readonly [Place, Place, Place];
    const [dx, dweight] = results as readonly [Place, Place];
    const [rows, n] = [rowCount(x.type.shape), x.type.shape.at(-1)!];
    const blocks = Math.ceil(rows / gradRows);
    const partials = code.scratch(4 * blocks * n);
    const refs = [x, weight, dy, dx].map((place) => place.ref());
    code.emit('rms_norm_grad', [...refs, partials], [rows, n, attributes.eps as number]);
    code.emit('sum_blocks', [partials, dweight.ref()], [blocks, n]);
  },
};

export const swigluGradKernel: CpuKernel = {
  op: 'swiglu_grad',
  version: 1,
  supports: () => native,
  emit: ({ code, operands, results }) => {
    const refs = [...(operands as readonly Place[]), ...results].map((place) => place.ref());
    code.emit('swiglu_grad', refs, elementRows(results[0]!.type.shape));
  },
};

export const logSoftmaxGatherGradKernel: CpuKernel = {
  op: 'log_softmax_gather_grad',
  version: 1,
  supports: () => native,
  emit: ({ code, operands, results }) => {
    const refs = [...(operands as readonly Place[]), ...results].map((place) => place.ref());
    const { shape } = results[0]!.type;
    code.emit('log_softmax_gather_grad', refs, [rowCount(shape), shape.at(-1)!]);
  },
};
