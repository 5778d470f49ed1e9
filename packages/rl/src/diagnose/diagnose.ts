/** @file At which node do generation and training begin to differ? */
import { type Executor, Session } from '@quaver/executor';
import { FunctionRewriter, findFunction, type GraphFunction, type HostTensor, type Module } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';

/** How a value differs between the two phases. */
export interface NodeDifference {
  /** Place in the model: `model.layers.3.mlp.down_proj`. */
  readonly location: string;
  /** The ops that make it in generation and in training. */
  readonly generation_op: string;
  readonly training_op: string;
  /** First position of the sequence that differs. */
  readonly first_position: number;
  readonly elements: number;
  readonly different_elements: number;
  readonly max_abs_diff: number;
  /** Of the values in training. */
  readonly max_abs_value: number;
}

export interface Diagnosis {
  /** Values that both phases compute, in the order of the graph. */
  readonly compared_nodes: number;
  /** Those that differ, in the same order: the first is where it begins. */
  readonly different_nodes: readonly NodeDifference[];
}

export interface DiagnoseOptions {
  /** Compiled, with the functions `score` and `logprobs`. */
  readonly module: Module;
  /** Runs `score`, which generates through the KV cache. */
  readonly generation: Executor;
  /** Runs `logprobs`, the forward pass of training. */
  readonly training: Executor;
  /** Token ids; at least two. */
  readonly tokens: readonly number[];
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs one sequence through both phases and compares every f32 value that both compute.
 * @throws QuaverError `module-not-a-language-model`, `rl-sequence-short`, `session-…`, `aborted`
 */
export async function diagnose(options: DiagnoseOptions): Promise<Diagnosis> {
  const { module, tokens } = options;
  if (tokens.length < 2) {
    throw new QuaverError('rl-sequence-short', `a sequence of ${tokens.length} tokens`, { hint: 'Give two or more.' });
  }
  const [generation, training] = [visible(module, 'score'), visible(module, 'logprobs')];
  const shared = [...generation.places.keys()].filter((key) => training.places.has(key));
  const generated = await run(options, options.generation, generation, shared);
  const trained = await run(options, options.training, training, shared);
  const found = shared.map((key) => {
    const [ours, theirs] = [generation.places.get(key)!, training.places.get(key)!];
    const difference = compare(generated[ours.output]!, trained[theirs.output]!);
    return difference && { location: ours.location, generation_op: ours.op, training_op: theirs.op, ...difference };
  });
  return { compared_nodes: shared.length, different_nodes: found.filter((difference) => difference !== undefined) };
}

interface Place {
  readonly location: string;
  readonly op: string;
  readonly output: string;
}

interface VisibleFunction {
  readonly fn: GraphFunction;
  /** Values that are f32 for every token, by what they are in the model. */
  readonly places: ReadonlyMap<string, Place>;
}

/** A product is one value, whatever precision its operands have. */
const sameValue: Readonly<Record<string, string>> = { scaled_dot: 'product', dot_general: 'product' };

/** The function with all values of tokens as outputs. */
function visible(module: Module, name: string): VisibleFunction {
  const source = findFunction(module, name);
  if (!source) {
    throw new QuaverError('module-not-a-language-model', `module '${module.name}' has no function '${name}'`, {
      hint: 'Import a language model; its functions are listed by `quaver inspect`.',
      where: { module: module.name },
    });
  }
  const rewriter = new FunctionRewriter(source);
  const counts = new Map<string, number>();
  const places = new Map<string, Place>();
  for (const node of source.nodes) {
    rewriter.keep(node);
    const [value] = node.results;
    if (value?.type.dtype !== 'f32' || value.type.shape[0] !== 'B' || value.type.shape[1] !== 'T') continue;
    const kind = `${node.location} ${sameValue[node.op] ?? node.op}`;
    const count = counts.get(kind) ?? 0;
    counts.set(kind, count + 1);
    const output = `node.${places.size}`;
    rewriter.output(output, value);
    places.set(`${kind} ${count}`, { location: node.location || value.name, op: node.op, output });
  }
  return { fn: rewriter.finish(), places };
}

async function run(
  { module, tokens, signal }: DiagnoseOptions,
  executor: Executor,
  { fn, places }: VisibleFunction,
  keys: readonly string[],
): Promise<Record<string, HostTensor>> {
  const options = signal ? { signal } : {};
  await using session = await Session.open({ ...module, functions: [fn] }, executor, options);
  const steps = tokens.length - 1;
  const row = (values: readonly number[]): HostTensor => ({
    type: { dtype: 'i32', shape: [1, steps] },
    data: Int32Array.from(values),
  });
  const inputs: Record<string, HostTensor> = { tokens: row(tokens.slice(0, -1)), targets: row(tokens.slice(1)) };
  const isCached = fn.inputs.some(({ name }) => name === 'position');
  if (isCached) inputs.position = { type: { dtype: 'i32', shape: [1] }, data: Int32Array.of(0) };
  const state = fn.states.length > 0 ? session.createState({ B: 1, C: steps }) : undefined;
  const outputs = keys.map((key) => places.get(key)!.output);
  return session.run(fn.name, inputs, { ...options, outputs, ...(state ? { state } : {}) });
}

function compare(generation: HostTensor, training: HostTensor) {
  const [ours, theirs] = [generation.data as Float32Array, training.data as Float32Array];
  if (ours.length !== theirs.length) {
    throw new QuaverError(
      'rl-shapes-differ',
      `a value has ${ours.length} elements in generation, ${theirs.length} in training`,
      {
        hint: 'Give a module whose score and logprobs come from the same model.',
      },
    );
  }
  const perPosition = ours.length / generation.type.shape[1]!;
  let [first, different, largest, magnitude] = [-1, 0, 0, 0];
  for (let i = 0; i < ours.length; i++) {
    const [a, b] = [ours[i]!, theirs[i]!];
    magnitude = Math.max(magnitude, Math.abs(b));
    if (Object.is(a, b)) continue;
    if (first < 0) first = Math.floor(i / perPosition);
    different++;
    largest = Math.max(largest, Math.abs(a - b));
  }
  if (different === 0) return undefined;
  return {
    ...{ first_position: first, elements: ours.length, different_elements: different },
    ...{ max_abs_diff: largest, max_abs_value: magnitude },
  };
}
