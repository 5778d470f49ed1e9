/** @file One value in several places: as two operands, as an output, as two outputs. */
import { Session } from '@quaver/executor';
import { type HostTensor, parseModule } from '@quaver/ir';
import type { ConformanceCase } from '../runner/case.ts';
import { behaviour } from './behaviour.ts';
import { expectSameBits, f32 } from './expectations.ts';

function aliasing(name: string, body: string, outputs: Readonly<Record<string, HostTensor>>): ConformanceCase {
  return behaviour(`aliasing/${name}`, async ({ executor, signal }) => {
    await using session = await Session.open(
      parseModule(`quaver 1 opset core@1\nmodule "alias"\n\n${body}`),
      executor,
      {
        signal,
      },
    );
    const inputs = { x: f32([2, 3], [1, 2, 3, 4, 5, 6]) };
    for (let i = 0; i < 2; i++) {
      const results = await session.run('main', inputs, { signal });
      for (const [output, expected] of Object.entries(outputs)) expectSameBits(output, results[output], expected);
    }
    expectSameBits('the input after the call', inputs.x, f32([2, 3], [1, 2, 3, 4, 5, 6]));
  });
}

const x = f32([2, 3], [1, 2, 3, 4, 5, 6]);
const doubled = f32([2, 3], [2, 4, 6, 8, 10, 12]);

export const aliasingCases: readonly ConformanceCase[] = [
  aliasing(
    'one input as two operands',
    `func @main(%x: f32[2,3]) -> (y: f32[2,3], z: f32[2,2]) {
  %y = add(%x, %x) : f32[2,3]
  %z = dot_general(%x, %x) {lhs_contract=[1], rhs_contract=[1], lhs_batch=[], rhs_batch=[], promote=128} : f32[2,2]
  return %y, %z
}
`,
    { y: doubled, z: f32([2, 2], [14, 32, 32, 77]) },
  ),
  aliasing('an input as an output', 'func @main(%x: f32[2,3]) -> (y: f32[2,3]) {\n  return %x\n}\n', { y: x }),
  aliasing(
    'an input that is reshaped, as an output',
    `func @main(%x: f32[2,3]) -> (y: f32[6], x: f32[2,3]) {
  %y = reshape(%x) {shape=[6]} : f32[6]
  return %y, %x
}
`,
    { y: f32([6], x.data), x },
  ),
  aliasing(
    'one value as two outputs, and used on',
    `func @main(%x: f32[2,3]) -> (y: f32[2,3], z: f32[2,3], n: f32[2,3]) {
  %y = add(%x, %x) : f32[2,3]
  %n = negate(%y) : f32[2,3]
  return %y, %y, %n
}
`,
    { y: doubled, z: doubled, n: f32([2, 3], [-2, -4, -6, -8, -10, -12]) },
  ),
];
