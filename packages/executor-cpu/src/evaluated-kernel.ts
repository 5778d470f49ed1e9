/** @file Primitives without a kernel of their own run by their definition, in TypeScript, on the same memory. */
import { concreteElementCount, dtypeBytes, type HostTensor, type OpDefinition, viewHostArray } from '@quaver/ir';
import type { KernelCall, Place, Step } from './kernel.ts';

export function evaluatedSteps(op: OpDefinition, call: KernelCall): readonly Step[] {
  const bytesOf = ({ type }: Place) => concreteElementCount(type) * dtypeBytes[type.dtype];
  const tensor = (place: Place): HostTensor => {
    const bytes = place.buffer?.hostBytes ?? call.heap.view(place.pointer(), bytesOf(place));
    return { type: place.type, data: viewHostArray(place.type.dtype, bytes) };
  };
  return [
    () => {
      const results = op.evaluate(
        call.operands.map((place) => place && tensor(place)),
        call.attributes,
        call.results.map((place) => place.type),
      );
      results.forEach(({ data }, i) => {
        const place = call.results[i]!;
        const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        call.heap.view(place.pointer(), bytesOf(place)).set(bytes);
      });
    },
  ];
}
