/** @file What an executor can do at most, measured on it: the two lines of a roofline (Williams et al., 2009). */
import { type Executor, Session } from '@quaver/executor';
import { GraphBuilder, type HostArray, type Module, memoryData, type Parameter, type Value } from '@quaver/ir';

export interface Limits {
  /** In a product of two square BF16 matrices. */
  readonly flops_per_s: number;
  /** Read and written by the sum of two long f32 vectors. */
  readonly bytes_per_s: number;
}

/** Sizes grow until a call takes this long, or the largest size is reached. */
const enoughSeconds = 0.02;
const largestSide = 2048;
const largestVector = 2 ** 24;
const repetitions = 8;
const mostSeconds = 0.5;

/** Takes a part of a second. @throws what sessions throw */
export async function measureLimits(executor: Executor): Promise<Limits> {
  const growing = async (size: number, factor: number, largest: number, module: (size: number) => Module) => {
    let seconds = await secondsOf(executor, module(size));
    while (seconds < enoughSeconds && size < largest) {
      size *= factor;
      seconds = await secondsOf(executor, module(size));
    }
    return { size, seconds };
  };
  const product = await growing(128, 2, largestSide, productOf);
  const sum = await growing(2 ** 16, 4, largestVector, sumOf);
  return {
    flops_per_s: (2 * product.size ** 3) / product.seconds,
    bytes_per_s: (3 * Float32Array.BYTES_PER_ELEMENT * sum.size) / sum.seconds,
  };
}

/** The shortest of some calls. */
async function secondsOf(executor: Executor, module: Module): Promise<number> {
  await using session = await Session.open(module, executor);
  let best = Number.POSITIVE_INFINITY;
  const begun = performance.now();
  // A call may be interrupted by what else runs; of a slow executor some are enough.
  for (let i = 0; i < repetitions && (i < 2 || performance.now() - begun < 1000 * mostSeconds); i++) {
    const start = performance.now();
    await session.run('main', {}, { outputs: [] });
    best = Math.min(best, (performance.now() - start) / 1000);
  }
  return best;
}

function productOf(side: number): Module {
  const ones = new Uint16Array(side * side).fill(bf16One);
  const contract = { lhs_contract: [1], rhs_contract: [1] };
  return moduleOf('bf16', [side, side], ones, (g, a, b) => g.op('dot_general', [a, b], contract));
}

function sumOf(length: number): Module {
  return moduleOf('f32', [length], new Float32Array(length).fill(1), (g, a, b) => g.op('add', [a, b]));
}

const bf16One = 0x3f80;

/** An op of two parameters. */
function moduleOf(
  dtype: 'bf16' | 'f32',
  shape: readonly number[],
  { buffer }: HostArray,
  build: (g: GraphBuilder, a: Value, b: Value) => Value,
): Module {
  const g = new GraphBuilder('main');
  const data = memoryData(new Uint8Array(buffer));
  const parameters = ['a', 'b'].map((name): Parameter => ({ name, type: { dtype, shape }, data, trainable: false }));
  const [a, b] = parameters.map((parameter) => g.parameter(parameter));
  g.output('y', build(g, a!, b!));
  return {
    name: 'limits',
    symbols: [],
    parameters,
    states: [],
    functions: [g.finish()],
    metadata: {},
    attachments: new Map(),
  };
}
