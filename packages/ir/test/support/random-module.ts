/** Random valid modules, built step by step with GraphBuilder, for property tests. */
import {
  coreOps,
  dtypes,
  GraphBuilder,
  type Module,
  memoryData,
  planMemory,
  type TensorType,
  type Value,
} from '@quaver/ir';
import fc from 'fast-check';
import { moduleOf, noise, parameter, state } from './sample-modules.ts';

/** What a step may use: the builder, the values so far, and random numbers of its own. */
interface Step {
  readonly g: GraphBuilder;
  readonly f32: Value;
  readonly other: Value;
  readonly n: number;
  readonly x: number;
}

const literals = [
  0,
  -0,
  1e-6,
  0.1,
  448,
  -1.5e300,
  5e-324,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
];
const directions = ['EQ', 'NE', 'LT', 'LE', 'GT', 'GE'];

const steps: readonly ((step: Step) => readonly Value[])[] = [
  ({ g, f32, n }) => [g.op(['negate', 'abs', 'exp', 'log', 'sqrt', 'silu'][n % 6]!, [f32])],
  ({ g, f32, n }) => [g.op(['add', 'subtract', 'multiply', 'divide', 'maximum', 'minimum'][n % 6]!, [f32, f32])],
  ({ g, other, n }) => [
    g.op('convert', [other], { to: ['f32', 'bf16', 'f8e4m3fn', 'f8e5m2', 'f16'][n % 5]!, saturate: n % 2 === 0 }),
  ],
  ({ g, n, x }) => [
    g.op('constant', [], { value: literals[n % literals.length] ?? x, dtype: 'f32', shape: ['B', n % 5] }),
  ],
  ({ g, x }) => [g.constant(x)],
  ({ g, f32 }) => {
    const { shape } = f32.type;
    const permutation = shape.map((_, i) => shape.length - 1 - i);
    return [g.op('transpose', [f32], { permutation })];
  },
  ({ g, f32, n }) => {
    const shape = ['T', ...f32.type.shape];
    return [
      g.op('broadcast_in_dim', [f32], { shape, dims: f32.type.shape.map((_, i) => i + 1) }, { location: `step ${n}` }),
    ];
  },
  ({ g, f32, n }) => [
    g.op('reduce', [f32], {
      kind: ['sum', 'max', 'min'][n % 3]!,
      axes: [n % Math.max(1, f32.type.shape.length)],
      keep: n % 2 === 1,
    }),
  ],
  ({ g, f32, n }) => [g.op('softmax', [f32], { axis: n % Math.max(1, f32.type.shape.length) })],
  ({ g, f32, n }) => {
    const block = f32.type.shape.map((_, i) => ((i + n) % 3 === 0 ? 0 : 2 + (n % 7)));
    const op = coreOps.latest('core', 'dynamic_quantize');
    return g.apply(
      op,
      [f32],
      { to: 'f8e4m3fn', block, max: 448, rounding: ['none', 'pow2_up', 'pow2_nearest'][n % 3]! },
      { name: 'q' },
    );
  },
  ({ g, f32, n }) => [
    g.op(
      'compare',
      [f32, f32],
      { direction: directions[n % 6]! },
      { annotations: { note: `"${n}"`, [`key ${n}`]: '' } },
    ),
  ],
  ({ g, n }) => [g.op('iota', [], { dtype: n % 2 === 0 ? 'i32' : 'f32', shape: [1 + (n % 3), 'T'], axis: n % 2 })],
  ({ g, f32 }) => [g.op('dot_general', [f32, f32], { lhs_contract: [0], rhs_contract: [0] })],
];

const step = fc.record({ kind: fc.nat(), pick: fc.nat(), n: fc.nat(1000), x: fc.double() });
const text = fc.string({ unit: 'grapheme', maxLength: 12 });

function buildFunction(
  name: string,
  choices: readonly { kind: number; pick: number; n: number; x: number }[],
  plan: boolean,
  module: Pick<Module, 'parameters' | 'states'>,
) {
  const g = new GraphBuilder(name);
  const values: Value[] = [g.input('x', 'f32', ['B', 'T', 4]), g.input('i', 'i32', ['B']), g.input('s', 'bf16', [])];
  for (const item of module.parameters) values.push(g.parameter(item));
  for (const item of module.states) values.push(g.state(item));
  for (const { kind, pick, n, x } of choices) {
    const floats = values.filter((value) => value.type.dtype === 'f32' && value.type.shape.length < 6);
    const made = tryStep(steps[kind % steps.length]!, {
      g,
      f32: floats[pick % floats.length]!,
      other: values[pick % values.length]!,
      n,
      x,
    });
    values.push(...made);
  }
  const lastLike = ({ type }: { readonly type: TensorType }) =>
    values.findLast((value) => value.kind === 'result' && JSON.stringify(value.type) === JSON.stringify(type));
  for (const item of module.states) {
    const last = lastLike(item);
    if (last) g.update(item, last);
  }
  for (const item of module.parameters) {
    const last = lastLike(item);
    if (last) g.updateParameter(item, last);
  }
  const results = values.filter((value) => value.kind === 'result').slice(-3);
  results.forEach((value, i) => {
    g.output(`out "${i}"`, value);
  });
  return plan ? planMemory(g.finish()) : g.finish();
}

/** Steps whose operands happen not to fit leave no trace. */
function tryStep(build: (step: Step) => readonly Value[], input: Step): readonly Value[] {
  try {
    return build(input);
  } catch {
    return [];
  }
}

export const randomModule: fc.Arbitrary<Module> = fc
  .record({
    name: text,
    functions: fc.uniqueArray(
      fc.record({ name: text, choices: fc.array(step, { maxLength: 30 }), plan: fc.boolean() }),
      {
        maxLength: 3,
        selector: (fn) => fn.name,
      },
    ),
    tensors: fc.uniqueArray(
      fc.record({
        name: text,
        dtype: fc.constantFrom(...dtypes),
        shape: fc.array(fc.nat(5), { maxLength: 3 }),
        trainable: fc.boolean(),
      }),
      {
        maxLength: 4,
        selector: (tensor) => tensor.name,
      },
    ),
    states: fc.uniqueArray(text, { maxLength: 2 }),
    metadata: fc.dictionary(text, text),
    attachments: fc.dictionary(text, fc.nat(200)),
  })
  .map(({ name, functions, tensors, states, metadata, attachments }) => {
    const parts = {
      parameters: tensors.map((tensor) => parameter(tensor.name, tensor.dtype, tensor.shape, tensor.trainable)),
      states: states.map((stateName) => state(stateName, 'f32', ['B', 'T', 4])),
    };
    return moduleOf(
      functions.map((fn) => buildFunction(fn.name, fn.choices, fn.plan, parts)),
      {
        ...parts,
        name,
        metadata,
        attachments: new Map(Object.entries(attachments).map(([key, length]) => [key, memoryData(noise(length, key))])),
      },
    );
  });
