/** @file A training step as graphs: what moves, what stays, and that generation and training read the same new weights. */
import { compile, quantizeWeightsName } from '@quaver/compiler';
import { type Executor, referencePlugin, Session, type SessionState } from '@quaver/executor';
import { cpuPlugin } from '@quaver/executor-cpu';
import { findFunction, type HostTensor, type Module, memoryData, updatedNames, verifyModule } from '@quaver/ir';
import { beforeAll, describe, expect, test } from 'vitest';
import { adamw, sgd, type TrainingModule, type TrainingModuleOptions, trainingModule } from '../src/index.ts';
import { bitsOf, evenWeights, scalar, tinyModel, tokenIds, unpacked } from './support/tiny-model.ts';

let model: Module;
beforeAll(async () => {
  model = await tinyModel('llama3');
});

const columns = 9;

class Run implements AsyncDisposable {
  readonly training: TrainingModule;
  readonly module: Module;
  readonly session: Session;
  readonly state: SessionState;
  readonly #executor: Executor;

  private constructor(training: TrainingModule, module: Module, executor: Executor, session: Session) {
    this.training = training;
    this.module = module;
    this.session = session;
    this.#executor = executor;
    this.state = session.createState({}, ['backward', 'update', 'discard']);
  }

  static async open(recipe: string, executor: Executor, options: Partial<TrainingModuleOptions> = {}): Promise<Run> {
    const training = trainingModule(model, { optimizer: adamWithDecay, ...options });
    verifyModule(training.module);
    const { module } = await compile(training.module, { recipe });
    const fn = findFunction(module, quantizeWeightsName);
    const computed = fn ? [...updatedNames(fn, 'parameter')] : [];
    const session = await Session.open(module, executor, { computed });
    const run = new Run(training, module, executor, session);
    await run.quantize();
    return run;
  }

  async quantize(): Promise<void> {
    if (findFunction(this.module, quantizeWeightsName)) await this.session.run(quantizeWeightsName);
  }

  async backward(seed: number, rows: number, weight: number): Promise<{ loss: number; logprobs: HostTensor }> {
    const inputs = {
      tokens: tokenIds(seed, rows, columns),
      targets: tokenIds(seed + 1, rows, columns),
      weights: evenWeights(rows, columns, weight),
      ...unpacked(rows, columns),
    };
    const { loss, logprobs } = await this.session.run('backward', inputs, { state: this.state });
    return { loss: loss!.data[0]!, logprobs: logprobs! };
  }

  async update(step: number, rate = 0.01): Promise<number> {
    const scalars = Object.entries(this.training.scalars(step)).map(([name, value]) => [name, scalar(value)]);
    const inputs = { rate: scalar(rate), ...Object.fromEntries(scalars) };
    const { grad_norm } = await this.session.run('update', inputs, { state: this.state });
    await this.quantize();
    return grad_norm!.data[0]!;
  }

  async parameters(): Promise<Map<string, Float32Array>> {
    const found = new Map<string, Float32Array>();
    for (const name of this.training.trained) {
      found.set(name, new Float32Array((await this.session.readParameter(name)).slice().buffer));
    }
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.session[Symbol.asyncDispose]();
    await this.#executor[Symbol.asyncDispose]();
  }
}

const decayed = adamw({ weightDecay: 0.1 });
const plain = adamw();
const adamWithDecay: TrainingModuleOptions['optimizer'] = ({ type }) => (type.shape.length > 1 ? decayed : plain);

const share = 1 / (2 * columns);

test('the loss of a batch falls, step by step, and the states are those of the optimizer', async () => {
  await using run = await Run.open('bf16', await cpuPlugin.open({ threads: 2 }), { maxGradientNorm: 1 });
  const losses: number[] = [];
  for (let step = 1; step <= 8; step++) {
    losses.push((await run.backward(5, 2, share)).loss);
    expect(await run.update(step)).toBeGreaterThan(0);
  }
  expect(losses.every((loss, i) => i === 0 || loss < losses[i - 1]!)).toBe(true);
  expect(losses[7]!).toBeLessThan(0.6 * losses[0]!);
  const states = run.training.optimizerStates.map(({ name }) => name);
  expect(states).toEqual(run.training.trained.flatMap((name) => [`adamw.m.${name}`, `adamw.v.${name}`]));
});

test('the reference and the CPU go the same way, bit for bit', async () => {
  await using reference = await Run.open('bf16', await referencePlugin().open());
  await using cpu = await Run.open('bf16', await cpuPlugin.open({ threads: 2 }));
  for (let step = 1; step <= 2; step++) {
    const [a, b] = [await reference.backward(step, 2, share), await cpu.backward(step, 2, share)];
    expect(bitsOf(b.logprobs)).toEqual(bitsOf(a.logprobs));
    expect(await cpu.update(step)).toBe(await reference.update(step));
  }
  const expected = await reference.parameters();
  for (const [name, data] of await cpu.parameters())
    expect(bitsOf({ data }), name).toEqual(bitsOf({ data: expected.get(name)! }));
});

test('gradients of micro-batches add up to those of the whole batch', async () => {
  await using whole = await Run.open('f32', await cpuPlugin.open());
  await using parts = await Run.open('f32', await cpuPlugin.open());
  await whole.backward(5, 4, share / 2);
  const rows = await gradient(whole);
  for (const part of [0, 1]) {
    const take = ({ type, data }: HostTensor): HostTensor => ({
      type: { ...type, shape: [2, columns] },
      data: data.slice(part * 2 * columns, (part + 1) * 2 * columns),
    });
    const inputs = {
      tokens: take(tokenIds(5, 4, columns)),
      targets: take(tokenIds(6, 4, columns)),
      weights: evenWeights(2, columns, share / 2),
      ...unpacked(2, columns),
    };
    await parts.session.run('backward', inputs, { state: parts.state });
  }
  for (const [name, sum] of await gradient(parts)) {
    const expected = rows.get(name)!;
    const [error, size] = [0, 1].map((kind) =>
      Math.hypot(...expected.map((x, i) => (kind === 0 ? x - sum[i]! : x))),
    ) as [number, number];
    expect(error, name).toBeLessThan(1e-5 * size);
  }
});

async function gradient(run: Run): Promise<Map<string, Float32Array>> {
  const found = new Map<string, Float32Array>();
  for (const name of run.training.trained) {
    const bytes = await run.session.readState(run.state, `gradient.${name}`);
    found.set(name, new Float32Array(bytes.slice().buffer));
  }
  return found;
}

test('a gradient that is not finite changes nothing, and the next step is as if it had not been', async () => {
  await using run = await Run.open('bf16', await cpuPlugin.open({ threads: 2 }), { maxGradientNorm: 1 });
  await using other = await Run.open('bf16', await cpuPlugin.open({ threads: 2 }), { maxGradientNorm: 1 });
  for (const each of [run, other]) {
    await each.backward(3, 2, share);
    await each.update(1);
  }
  const before = await run.parameters();
  await run.backward(4, 2, Number.NaN);
  expect(await run.update(2)).toBeNaN();
  for (const [name, data] of await run.parameters())
    expect(bitsOf({ data }), name).toEqual(bitsOf({ data: before.get(name)! }));
  for (const each of [run, other]) {
    await each.backward(7, 2, share);
    await each.update(2);
  }
  const expected = await other.parameters();
  for (const [name, data] of await run.parameters())
    expect(bitsOf({ data }), name).toEqual(bitsOf({ data: expected.get(name)! }));
});

describe.each(['bf16', 'fp8-block', 'fp8-block-f32', 'mxfp8'])('%s', (recipe) => {
  test('moved weights are quantized as compiling them would, and generation reads them', async () => {
    await using run = await Run.open(recipe, await cpuPlugin.open({ threads: 2 }));
    for (let step = 1; step <= 3; step++) {
      await run.backward(step, 2, share);
      await run.update(step);
    }
    const parameters = await run.parameters();
    const moved = {
      ...run.training.module,
      parameters: run.training.module.parameters.map((parameter) => {
        const data = parameters.get(parameter.name);
        return data ? { ...parameter, data: memoryData(new Uint8Array(data.buffer)) } : parameter;
      }),
    };
    const { module } = await compile(
      { ...moved, functions: model.functions.map(({ name }) => findFunction(moved, name)!) },
      { recipe },
    );
    await using executor = await referencePlugin().open();
    await using session = await Session.open(module, executor);
    const inputs = { tokens: tokenIds(11, 2, columns), targets: tokenIds(12, 2, columns) };
    const expected = await session.run('logprobs', inputs);
    const found = await run.session.run('logprobs', inputs);
    expect(bitsOf(found.logprobs!)).toEqual(bitsOf(expected.logprobs!));
    // The forward pass inside of the training step is the same one.
    const given = { ...inputs, weights: evenWeights(2, columns, share), ...unpacked(2, columns) };
    const step = await run.session.run('backward', given, { state: run.state });
    expect(bitsOf(step.logprobs!)).toEqual(bitsOf(expected.logprobs!));
  });
});

test.each(
  ['bf16', 'fp8-block', 'fp8-tensor', 'mxfp8'].flatMap((recipe) => [
    [recipe, 'cheap' as const],
    [recipe, 'layers' as const],
  ]) as [string, 'cheap' | 'layers'][],
)('%s: rematerialization (%s) gives the same bits', async (recipe, remat) => {
  await using kept = await Run.open(recipe, await cpuPlugin.open({ threads: 2 }));
  await using again = await Run.open(recipe, await cpuPlugin.open({ threads: 2 }), { remat });
  for (const run of [kept, again]) await run.backward(5, 2, share);
  const expected = await gradient(kept);
  for (const [name, data] of await gradient(again))
    expect(bitsOf({ data }), name).toEqual(bitsOf({ data: expected.get(name)! }));
  const nodes = (run: Run) => findFunction(run.module, 'backward')!.nodes.length;
  expect(nodes(again)).toBeGreaterThan(nodes(kept));
});

test('parameters without an optimizer stay as they are', async () => {
  const only =
    (name: string): TrainingModuleOptions['optimizer'] =>
    (parameter) =>
      parameter.name === name ? sgd() : undefined;
  await using run = await Run.open('f32', await cpuPlugin.open(), { optimizer: only('model.norm.weight') });
  expect(run.training.trained).toEqual(['model.norm.weight']);
  const untouched = await run.session.readParameter('model.layers.0.mlp.up_proj.weight');
  await run.backward(5, 2, share);
  await run.update(1);
  expect(await run.session.readParameter('model.layers.0.mlp.up_proj.weight')).toEqual(untouched);
  expect(() => trainingModule(model, { optimizer: only('none') })).toThrow(
    expect.objectContaining({ code: 'training-nothing-to-train' }),
  );
});
