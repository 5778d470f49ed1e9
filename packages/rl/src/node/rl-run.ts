/** @file A reinforcement-learning run in a folder: it is started, or goes on from its latest checkpoint. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { type Executor, throwIfAborted } from '@quaver/executor';
import type { JsonValue } from '@quaver/formats';
import { writeFileAtomically } from '@quaver/formats/node';
import { RolloutEngine, Tokenizer } from '@quaver/generate';
import type { Module } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import type { TrainingSession } from '@quaver/train';
import {
  CheckpointStore,
  checkpointToResume,
  checkUnused,
  clearLeftovers,
  describeDifference,
  lockRunFolder,
  type ModuleIdentity,
  moduleIdentity,
  openRunWriter,
  type RunKind,
  type RunLock,
  readConfig,
  readRun,
  reportFile,
  restoreSession,
  saveConfig,
} from '@quaver/train/node';
import { renderRlComparison } from '../compare/report.ts';
import { rlRow } from '../compare/rows.ts';
import { parseRlConfig } from '../config/config.ts';
import type { EvaluateConfig, RlConfig } from '../config/config-types.ts';
import { policyOptions, recipeOf } from '../config/policy-options.ts';
import { Learner } from '../loop/learner.ts';
import { Prompts } from '../loop/prompts.ts';
import type { RlRecord } from '../loop/records.ts';
import { RlLoop } from '../loop/rl-loop.ts';
import { freshRlState, parseRlState } from '../loop/rl-state.ts';
import type { StepProblems } from '../loop/rollout-phase.ts';
import type { RlEvent, RlRunResult } from '../loop/run-events.ts';
import { Policy } from '../policy/policy.ts';
import { measureLimits } from '../roofline/limits.ts';
import { rooflineOf } from '../roofline/roofline.ts';
import { WorkMeter } from '../roofline/work.ts';
import type { RlProblem, RlTask } from '../tasks/environment.ts';
import { openSpans } from './spans.ts';

export interface RlRunOptions {
  /** From `parseRlConfig`; its `model` was loaded by the caller. */
  readonly config: RlConfig;
  /** Imported, not compiled, with its tokenizer. */
  readonly module: Module;
  /** What the configuration names as its task, or any other. Stays the caller's. */
  readonly task: RlTask;
  /** Trains, and in unified mode generates. Stays the caller's. */
  readonly executor: Executor;
  /** Generates in split mode. Stays the caller's. */
  readonly generationExecutor?: Executor | undefined;
  /** Where the run keeps its files. */
  readonly folder: string;
  /** Go on from the latest checkpoint in the folder. */
  readonly resume?: boolean;
  /** Stops after the step that is under way, with a checkpoint. */
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: ((event: RlEvent) => void) | undefined;
}

const rlRuns: RunKind<RlConfig> = {
  parse: parseRlConfig,
  invalid: 'rl-config-invalid',
  resume: 'quaver rl run --resume',
};

/** The configuration that a run was started with. @throws QuaverError `run-not-found`, `run-not-a-run`, `rl-config-invalid`, `file-…` */
export function readRlConfig(folder: string): Promise<RlConfig> {
  return readConfig(folder, rlRuns);
}

/** The records of a run's steps. @throws QuaverError `run-not-found`, `run-not-a-run`, `run-empty`, `metrics-corrupt` */
export async function readRlRecords(folder: string): Promise<readonly RlRecord[]> {
  return (await readRun(folder)).steps as readonly RlRecord[];
}

/**
 * Runs to the end, or until the signal.
 * @param finish called with the trained session before it is closed: to save the model, for example
 * @throws QuaverError `aborted` after a checkpoint was saved, `rl-…`, `run-…`, `checkpoint-…`, `training-…`, and what sessions and
 *   the engine throw
 */
export async function rlRun(
  options: RlRunOptions,
  finish?: (session: TrainingSession) => Promise<void>,
): Promise<RlRunResult> {
  const { folder, config, resume = false, signal } = options;
  throwIfAborted(signal);
  if (resume) assertSameConfig(folder, await readRlConfig(folder), config);
  const lock = await lockRunFolder(folder);
  await using _lock = { [Symbol.asyncDispose]: () => lock.release() };
  // Awaited here: the lock is held until the run has ended.
  return await runLocked(options, lock, finish);
}

function sha256Of(config: RlConfig): string {
  return createHash('sha256').update(JSON.stringify(config)).digest('hex');
}

/** Records and draws follow from the whole configuration: two of them would be mixed in one run. */
function assertSameConfig(folder: string, before: RlConfig, now: RlConfig): void {
  const plain = (config: RlConfig) => JSON.parse(JSON.stringify(config)) as Readonly<Record<string, JsonValue>>;
  const difference = describeDifference(plain(before), plain(now));
  if (difference !== undefined) throw configChanged(folder, difference);
}

function configChanged(folder: string, difference: string): QuaverError {
  return new QuaverError(
    'run-config-changed',
    `${folder}: the run was started with another configuration: ${difference}`,
    {
      hint: 'Start a new run in another folder, or go on with the configuration that the folder holds.',
      where: { file: folder },
    },
  );
}

async function runLocked(
  options: RlRunOptions,
  lock: RunLock,
  finish: ((session: TrainingSession) => Promise<void>) | undefined,
): Promise<RlRunResult> {
  const { folder, config, module, task, executor, generationExecutor, resume = false, signal, onEvent } = options;
  const { rollout, seed } = config;
  // What can be wrong with the configuration is found before anything is written.
  await using learner = new Learner(config);
  if (resume) await clearLeftovers(lock);
  else {
    await checkUnused(folder, rlRuns);
    await saveConfig(lock, config);
  }
  const { keep_last: keepLast, keep_best: keepBest } = config.checkpoint;
  const store = await CheckpointStore.open(lock, { ...identityOf(options), keepLast, keepBest });
  const checkpoint = resume ? await checkpointToResume(store, config) : undefined;
  await using policy = await Policy.open(module, executor, {
    ...policyOptions(config, learner.objective),
    generationExecutor,
    signal,
  });
  const meter = new WorkMeter(policy.training.module, rollout.page_tokens);
  await learner.open(policy, meter);
  const { training: session } = policy;
  const restored = checkpoint ? await restoreSession(checkpoint, { store, session }, folder, parseRlState) : undefined;
  const config_sha256 = sha256Of(config);
  if (restored && restored.config_sha256 !== config_sha256) throw configChanged(folder, 'what it was is not known');
  const state = restored ?? { ...freshRlState, config_sha256 };
  await policy.sync();
  using engine = await RolloutEngine.open(policy.generation, {
    maxSequences: rollout.max_sequences,
    cacheTokens: rollout.cache_tokens,
  });
  const tokenizer = await Tokenizer.fromModule(module);
  // Last: records of steps after the checkpoint are cut off only when it is sure that they will be written again.
  const writer = await openRunWriter(lock, resume ? { resumeAt: state.step } : {});
  await using _writer = { [Symbol.asyncDispose]: () => writer.close() };
  const prompts = new Prompts(module, tokenizer, rollout, seed, engine.capacity);
  const parts = {
    ...{ policy, learner, store, writer, engine, tokenizer, prompts, meter },
    task,
    problemsOf: (step: number) => stepProblems(task, rollout, learner.samplingRounds, step),
    heldOut: config.evaluate ? await heldOutOf(task, config.evaluate) : [],
  };
  const run = await new RlLoop({ config, signal, onEvent, spans: await openSpans() }, parts, state).run();
  const records = await readRlRecords(folder);
  const result = {
    ...run,
    ...totalsOf(records),
    roofline: rooflineOf(await measureLimits(executor), records),
    memory_bytes: await policy.memoryBytes(config),
  };
  await writeReport(lock, config, result, records);
  await finish?.(session);
  return result;
}

async function heldOutOf(task: RlTask, { problems }: EvaluateConfig): Promise<readonly RlProblem[]> {
  const found = await task.heldOut(problems);
  if (found.length > 0) return found;
  throw new QuaverError('rl-heldout-empty', 'the task has no held-out problem to evaluate with', {
    hint: 'Give it some (a jsonl task holds every tenth line out, or has the option held_out), or leave "evaluate" out.',
  });
}

/** Every round of every step has problems of its own. */
function stepProblems(task: RlTask, { prompts }: RlConfig['rollout'], rounds: number, step: number): StepProblems {
  const problemsOf = (round: number) => task.problems(((step - 1) * rounds + round) * prompts, prompts);
  return { step, rounds, problemsOf };
}

/** Over all steps of the run, those before it was gone on with as well. */
function totalsOf(records: readonly RlRecord[]): Pick<RlRunResult, MismatchTotal> {
  const errors = records.flatMap(({ token_mult_prob_error: error }) => (error === undefined ? [] : [error]));
  const sum = (of: 'compared_tokens' | 'mismatched_tokens') =>
    records.reduce((total, each) => total + (each[of] ?? 0), 0);
  return {
    token_mult_prob_error: errors.length === 0 ? null : errors.reduce((a, b) => Math.max(a, b)),
    compared_tokens: sum('compared_tokens'),
    mismatched_tokens: sum('mismatched_tokens'),
  };
}

type MismatchTotal = 'token_mult_prob_error' | 'compared_tokens' | 'mismatched_tokens';

/** The run in figures and plots, as one file. */
async function writeReport(
  { folder }: RunLock,
  config: RlConfig,
  { bytes_per_parameter, roofline, memory_bytes: memoryBytes }: RlRunResult,
  records: readonly RlRecord[],
): Promise<void> {
  const { mode, seed } = config;
  const row = rlRow({ recipe: recipeOf(config).name, mode, seed, bytes_per_parameter }, records);
  const bytes = new TextEncoder().encode(renderRlComparison([{ row, records, roofline, memoryBytes }]));
  const chunks = async function* () {
    yield bytes;
  };
  await writeFileAtomically(join(folder, reportFile), chunks(), bytes.byteLength);
}

/** Identifies the tensors of a run: a checkpoint goes with one model, optimizer and recipe. */
function identityOf({ module, config }: RlRunOptions): ModuleIdentity {
  const { optimizer, no_weight_decay, frozen, recipe, kv_cache, attention, lm_head } = config;
  return moduleIdentity(module, { optimizer, no_weight_decay, frozen, recipe, kv_cache, attention, lm_head });
}
