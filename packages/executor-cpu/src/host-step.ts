/** @file Primitives without a kernel of their own run by their definition, in TypeScript, on the same memory. */

import { nodeError } from '@quaver/executor';
import { type HostTensor, type Node, type OpDefinition, viewHostArray } from '@quaver/ir';
import type { Ref } from './code/code-builder.ts';
import { byteLength, type KernelCall, type Place } from './kernel.ts';

/** Finds the bytes behind an address while code runs. */
export interface HostMemory {
  view(ref: Ref, byteLength: number): Uint8Array;
}

export function hostStep(op: OpDefinition, call: KernelCall, node: Node, memory: HostMemory): void {
  const operands = call.operands.map((place) => place && { place, ref: place.ref() });
  const results = call.results.map((place) => ({ place, ref: place.ref() }));
  const tensor = ({ place, ref }: { readonly place: Place; readonly ref: Ref }): HostTensor => ({
    type: place.type,
    data: viewHostArray(place.type.dtype, memory.view(ref, byteLength(place))),
  });
  const step = () => {
    try {
      const values = op.evaluate(
        operands.map((operand) => operand && tensor(operand)),
        call.attributes,
        results.map(({ place }) => place.type),
      );
      for (const [i, { data }] of values.entries()) {
        const { place, ref } = results[i]!;
        memory.view(ref, byteLength(place)).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      }
    } catch (error) {
      throw nodeError(node, error);
    }
  };
  call.code.host(
    step,
    [...operands, ...results].flatMap((tensor) => tensor?.ref ?? []),
  );
}
