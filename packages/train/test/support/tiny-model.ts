/** @file Small real models, and random tokens for them. */
import { openCheckpoint } from '@quaver/formats/node';
import type { HostTensor, Module } from '@quaver/ir';
import { importModel } from '@quaver/models';

/** One of the two-layer models of @quaver/models' tests: llama2, llama3, smollm2, qwen2, qwen3, mistral, … */
export async function tinyModel(name: string): Promise<Module> {
  const checkpoint = await openCheckpoint(new URL(`../../../models/test/data/tiny/${name}/`, import.meta.url).pathname);
  const { module } = await importModel(checkpoint, checkpoint.assets);
  const parameters = await Promise.all(
    module.parameters.map(async (parameter) => {
      const bytes = await parameter.data!.read();
      return { ...parameter, data: { byteLength: bytes.byteLength, read: async () => bytes } };
    }),
  );
  await checkpoint.close();
  return { ...module, parameters };
}

/** i32[rows, columns], all below `bound`. */
export function tokenIds(seed: number, rows: number, columns: number, bound = 97): HostTensor {
  const data = Int32Array.from({ length: rows * columns }, (_, i) =>
    Math.floor(((seed * (i + 3) * 7919) % 7907) % bound),
  );
  return { type: { dtype: 'i32', shape: [rows, columns] }, data };
}

/** f32[rows, columns], the same everywhere. */
export function evenWeights(rows: number, columns: number, weight: number): HostTensor {
  return { type: { dtype: 'f32', shape: [rows, columns] }, data: new Float32Array(rows * columns).fill(weight) };
}

export function scalar(value: number): HostTensor {
  return { type: { dtype: 'f32', shape: [1] }, data: Float32Array.of(value) };
}

/** The bits of f32 numbers. */
export function bitsOf({ data }: Pick<HostTensor, 'data'>): Uint32Array {
  return new Uint32Array(data.buffer, data.byteOffset, data.length);
}

/** Inputs that say that every row is one sequence. */
export function unpacked(
  rows: number,
  columns: number,
): { readonly position: HostTensor; readonly first_key: HostTensor } {
  const type = { dtype: 'i32', shape: [rows, columns] } as const;
  const position = Int32Array.from({ length: rows * columns }, (_, i) => i % columns);
  return { position: { type, data: position }, first_key: { type, data: new Int32Array(rows * columns) } };
}
