/** @file Submissions run in the order in which they were made, whenever they are waited for. */
import type { Bindings, DeviceBuffer } from '@quaver/executor';
import type { ConformanceCase } from '../runner/case.ts';
import { behaviour } from './behaviour.ts';
import { compileText, downloaded, uploaded } from './direct.ts';
import { expectSameBits, f32 } from './expectations.ts';

const shape = [256];
const text = (op: string) => `quaver 1 opset core@1
module "step"

func @main(%x: f32[256], %c: f32[256]) -> (y: f32[256]) {
  %y = ${op}(%x, %c) : f32[256]
  return %y
}
`;

const constant = (value: number) => f32(shape, new Float32Array(256).fill(value));
const bindings = (x: DeviceBuffer, c: DeviceBuffer, y: DeviceBuffer): Bindings => ({
  symbols: {},
  inputs: { x, c },
  parameters: {},
  states: {},
  outputs: { y },
});

/** Submissions in a row, each of which reads what the one before wrote. */
const links = 20;

export const orderingCase: ConformanceCase = behaviour('ordering of submissions', async ({ executor }) => {
  const programs = [await compileText(executor, text('add')), await compileText(executor, text('multiply'))];
  const buffers = [await uploaded(executor, constant(1)), await uploaded(executor, constant(0), 'output')];
  const two = await uploaded(executor, constant(2));
  const fences = Array.from({ length: links }, (_, i) =>
    executor.submit(programs[i % 2]!, bindings(buffers[i % 2]!, two, buffers[(i + 1) % 2]!)),
  );
  // The last first: its result needs all the others.
  for (const fence of fences.toReversed()) await executor.wait(fence);
  let expected = 1;
  for (let i = 0; i < links; i++) expected = i % 2 === 0 ? expected + 2 : expected * 2;
  expectSameBits('the end of the chain', await downloaded(executor, buffers[0]!, constant(0)), constant(expected));
  for (const buffer of [...buffers, two]) buffer.dispose();
  for (const program of programs) program.dispose();
});
