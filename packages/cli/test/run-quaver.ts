/** @file Runs the command from its sources as a child process, and makes small models for it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const pathOf = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));
const main = pathOf('../src/main.ts');

/** Node's flags for running the workspace from its sources (the generated code has enums). */
const sourceFlags = [
  '--conditions=@quaver/source',
  '--experimental-transform-types',
  '--disable-warning=ExperimentalWarning',
];

/** A command that takes longer hangs. */
const longestRunMs = 100_000;

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Where Node keeps the compiled sources from run to run. */
const compileCache = pathOf('../../../node_modules/.cache/quaver/compile-cache');

export interface Started {
  readonly child: ChildProcess;
  readonly finished: Promise<Finished>;
}

export interface StartOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  /** Runs the command inside this shell script, where it is called "$@". */
  readonly shell?: string;
}

export function start(args: readonly string[], { cwd, env = {}, stdin, shell }: StartOptions = {}): Started {
  const command = [process.execPath, ...sourceFlags, main, ...args];
  const [file, ...rest] = shell === undefined ? command : ['bash', '-c', shell, 'bash', ...command];
  const { FORCE_COLOR: _, NO_COLOR: __, ...inherited } = process.env;
  const child = spawn(file!, rest, {
    cwd,
    env: { ...inherited, NODE_COMPILE_CACHE: compileCache, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: longestRunMs,
    killSignal: 'SIGKILL',
  });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  }
  child.stdin.on('error', () => undefined).end(stdin ?? '');
  const finished = new Promise<Finished>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, ...output }));
  });
  return { child, finished };
}

export function quaver(args: readonly string[], options?: StartOptions): Promise<Finished> {
  return start(args, options).finished;
}

/** Runs a command that must succeed with --json, and gives its document. */
export async function quaverJson<T>(args: readonly string[], options?: StartOptions): Promise<T> {
  const { code, stdout, stderr } = await quaver([...args, '--json'], options);
  if (code !== 0) throw new Error(`quaver ${args.join(' ')} ended with ${code}:\n${stdout}${stderr}`);
  return JSON.parse(stdout) as T;
}

/** A folder that is removed when the test (or, in a hook of a suite, the suite) ends. */
export function temporaryFolder(): string {
  return mkdtempSync(path.join(tmpdir(), 'quaver-cli-'));
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}

export const modelData: string = pathOf('../../models/test/data/tiny');
const tokenizerData = pathOf('../../sdk/test/data/tokenizer');

/** A checkpoint folder of a tiny model with goldens, and a tokenizer with one token per character. */
export function tinyCheckpoint(folder: string, model = 'smollm2'): string {
  const checkpoint = path.join(folder, `${model}-checkpoint`);
  for (const name of ['config.json', 'model.safetensors']) {
    cpSync(path.join(modelData, model, name), path.join(checkpoint, name));
  }
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) {
    cpSync(path.join(tokenizerData, name), path.join(checkpoint, name));
  }
  return checkpoint;
}

/** Names in a folder, sorted: what is not in the list was left behind. */
export function names(folder: string): string[] {
  return readdirSync(folder).sort();
}
