import { createHash } from 'node:crypto';
import type { TensorToWrite } from '@quaver/formats';

/** Bytes that depend on a name and a step and on nothing else. */
export function bytesOf(name: string, step: number, length: number): Uint8Array {
  const seed = createHash('sha256').update(`${name} ${step}`).digest();
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = seed[i % 32]! ^ (i >>> 5);
  return bytes;
}

function tensor(name: string, step: number, rows: number): TensorToWrite {
  return { name, dtype: 'f32', shape: [rows, 64], read: async () => bytesOf(name, step, rows * 256) };
}

export const parametersOf = (step: number): readonly TensorToWrite[] => [
  tensor('embed', step, 1000),
  tensor('layers.0.weight', step, 777),
  tensor('norm', step, 1),
];

export const stateOf = (step: number): readonly TensorToWrite[] => [
  tensor('embed.m', step, 1000),
  tensor('embed.v', step, 1000),
  { name: 'amax', dtype: 'bf16', shape: [3], read: () => bytesOf('amax', step, 6) },
];
