/** @file Log-probabilities out of the functions of a training step, for the comparison with generation. */
import { compile, quantizeWeightsName, type Recipe } from '@quaver/compiler';
import { type Executor, Session, type SessionState } from '@quaver/executor';
import type { FoundLogprob, LogprobPath, TokenRows } from '@quaver/generate';
import { findFunction, fp8DTypes, type Module, updatedNames } from '@quaver/ir';
import { type Batch, buildBatch, lossInputs, sgd, trainingModule } from '@quaver/train';

/** Sequences that share a row begin at multiples of this, as the trainer packs them. */
const align = 128;

/** What the cases of a training step are called. */
export const trainingCases = ['loss', 'loss, packed', 'training step', 'training step, packed'] as const;

export interface TrainingPaths extends AsyncDisposable {
  readonly paths: readonly LogprobPath[];
}

/**
 * Why an imported module cannot be compared with its training step; undefined when it can.
 * FP8 weights become f32 masters in training, which its recipe quantizes anew: other codes than those of the checkpoint, so that
 * generation from the checkpoint is not generation in the run.
 */
export function whyNoTraining(module: Module): string | undefined {
  const stored = module.parameters.find(({ trainable, type }) => trainable && fp8DTypes.includes(type.dtype));
  if (stored) return `the model stores weights in FP8 (${stored.name}); training would quantize them anew`;
  return undefined;
}

/**
 * Compiles the functions `loss` and `backward` of an imported model and loads them: `loss` and the step's own forward pass, every
 * sequence in a row of its own, and two to a row. The executor stays the caller's.
 * @throws QuaverError as `trainingModule`, `compile` and `Session.open`
 */
export async function openTrainingPaths(
  model: Module,
  executor: Executor,
  recipe: Recipe,
  signal?: AbortSignal,
): Promise<TrainingPaths> {
  const options = signal ? { signal } : {};
  // Nothing is updated: an optimizer without states takes no memory.
  const plain = sgd();
  const training = trainingModule(model, { optimizer: () => plain });
  const { module } = await compile(training.module, { recipe, ...options });
  const weights = findFunction(module, quantizeWeightsName);
  const session = await Session.open(module, executor, {
    functions: ['loss', 'backward', ...(weights ? [quantizeWeightsName] : [])],
    computed: weights ? [...updatedNames(weights, 'parameter')] : [],
    ...options,
  });
  const close = () => session[Symbol.asyncDispose]();
  try {
    if (weights) await session.run(quantizeWeightsName, {}, options);
    const calls = new TrainingCalls(session, signal);
    return { paths: calls.paths(rowLimit(module)), [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Tokens that a row may have. */
function rowLimit({ symbols }: Module): number {
  return symbols.find(({ name }) => name === 'T')?.max ?? Number.POSITIVE_INFINITY;
}

class TrainingCalls {
  readonly #session: Session;
  readonly #signal: AbortSignal | undefined;
  readonly #state: SessionState;

  constructor(session: Session, signal: AbortSignal | undefined) {
    this.#session = session;
    this.#signal = signal;
    this.#state = session.createState({}, ['loss', 'backward']);
  }

  paths(limit: number): LogprobPath[] {
    const names = [...trainingCases];
    return (['loss', 'backward'] as const).flatMap((name): LogprobPath[] => [
      {
        name: names.shift()!,
        batch: 3,
        long: true,
        logprobs: (sequences) => this.#logprobs(name, sequences, alone(sequences)),
      },
      {
        name: names.shift()!,
        batch: 4,
        long: true,
        otherwise: `no two of the sequences fit in a row of ${limit} tokens, the second from a multiple of ${align} on`,
        logprobs: (sequences) => this.#logprobs(name, sequences, inPairs(sequences, limit)),
      },
    ]);
  }

  /** Nothing for sequences that have no place. */
  async #logprobs(name: string, sequences: TokenRows, places: readonly Place[]): Promise<FoundLogprob[][]> {
    const found: FoundLogprob[][] = sequences.map(() => []);
    if (places.length === 0) return found;
    const batch = batchOf(sequences, places);
    const inputs = lossInputs(batch, batch.lossTokens);
    const options = { state: this.#state, outputs: ['logprobs'], ...(this.#signal ? { signal: this.#signal } : {}) };
    const { logprobs } = await this.#session.run(name, inputs, options);
    for (const { sequence, row, start } of places) {
      const from = row * batch.rowTokens + start;
      for (let index = 1; index < sequences[sequence]!.length; index++) {
        found[sequence]!.push({ index, logprob: logprobs!.data[from + index - 1]! });
      }
    }
    return found;
  }
}

/** Where a sequence stands in a batch. */
interface Place {
  readonly sequence: number;
  readonly row: number;
  readonly start: number;
}

function alone(sequences: TokenRows): Place[] {
  return sequences.map((_, sequence) => ({ sequence, row: sequence, start: 0 }));
}

/** Two by two; pairs that are too long for a row are left out. */
function inPairs(sequences: TokenRows, limit: number): Place[] {
  const places: Place[] = [];
  for (let first = 0, row = 0; first + 1 < sequences.length; first += 2) {
    const start = Math.ceil(inputTokens(sequences[first]!) / align) * align;
    if (start + inputTokens(sequences[first + 1]!) > limit) continue;
    places.push({ sequence: first, row, start: 0 }, { sequence: first + 1, row, start });
    row++;
  }
  return places;
}

/** The last token of a sequence is a target alone. */
function inputTokens(sequence: readonly number[]): number {
  return sequence.length - 1;
}

function batchOf(sequences: TokenRows, places: readonly Place[]): Batch {
  const rows: { tokens: Int32Array; loss: Uint8Array }[][] = [];
  let rowTokens = 0;
  for (const { sequence, row, start } of places) {
    const tokens = Int32Array.from(sequences[sequence]!);
    rows[row] = [...(rows[row] ?? []), { tokens, loss: new Uint8Array(tokens.length).fill(1) }];
    rowTokens = Math.max(rowTokens, start + tokens.length - 1);
  }
  return buildBatch(rows, rowTokens, align);
}
