import { type CpuKernel, elementRows, native, type Place } from '../kernel.ts';

export const adamwStepKernel: CpuKernel = {
  op: 'adamw_step',
  version: 1,
  supports: () => native,
  emit: ({ code, attributes, operands, results }) => {
    const { beta1, beta2, eps, weight_decay } = attributes as Readonly<Record<string, number>>;
    const refs = [...(operands as readonly Place[]), ...results].map((place) => place.ref());
    const numbers = [beta1!, 1 - beta1!, beta2!, 1 - beta2!, eps!, weight_decay!].map(Math.fround);
    code.emit('adamw', refs, [...elementRows(results[0]!.type.shape), ...numbers]);
  },
};
