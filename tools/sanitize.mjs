/**
 * @file Builds the tests of the native engine (`packages/executor-cpu/native/test`) with sanitizers and runs them: addresses and
 * undefined behaviour on every instruction set of this processor, and data races. Needs GCC or clang with their sanitizers;
 * the last line is `N passed, N failed, N skipped`.
 *
 *   node tools/sanitize.mjs [address|thread]
 *   QUAVER_TEST_EFFORT=10 node tools/sanitize.mjs       ten times the cases
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { commonFlags, hostFlags, kernelFlags, targets } from './native-targets.mjs';
import { root } from './process.mjs';

const native = path.join(root, 'packages/executor-cpu/native');
const cache = path.join(root, 'node_modules/.cache/quaver/sanitize');
const target = targets[`${process.platform}-${process.arch}`];

const host = ['addon/runner.cpp', ...sourcesIn('test').filter((unit) => unit !== 'test/portable_only.cpp')];

/** Without optimization: inlined kernels take the optimizer minutes when each of their accesses is checked. */
const plain = ['-O0', '-g1'];
const variants = {
  address: {
    flags: ['-fsanitize=address,undefined,float-cast-overflow', '-fno-sanitize-recover=all', '-fno-omit-frame-pointer'],
    isas: Object.entries(target?.isas ?? {}),
    host: [...host, 'addon/isa.cpp'],
  },
  // Which thread gets which units does not depend on the instruction set.
  thread: {
    flags: ['-fsanitize=thread'],
    isas: Object.entries(target?.isas ?? {}).slice(0, 1),
    host: [...host, 'test/portable_only.cpp'],
  },
};

function sourcesIn(part) {
  const names = readdirSync(path.join(native, part)).filter((name) => name.endsWith('.cpp'));
  return names.sort().map((name) => `${part}/${name}`);
}

function findCompiler() {
  const wanted = process.env.QUAVER_CXX ? [process.env.QUAVER_CXX] : ['g++', 'clang++'];
  return wanted.find((name) => spawnSync(name, ['--version']).status === 0);
}

/** Resolves to exit code, signal and output; standard output is shown as it comes, where it is not only collected. */
function execute(command, args, { show = false, env = process.env } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: native, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of ['stdout', 'stderr']) {
      child[stream].setEncoding('utf8').on('data', (text) => {
        output += text;
        if (show) process[stream].write(text);
      });
    }
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, output }));
  });
}

async function compile(compiler, unit, flags) {
  const text = readFileSync(path.join(native, unit));
  const key = createHash('sha256')
    .update(JSON.stringify([compiler, unit, flags, headers()]))
    .update(text)
    .digest('hex');
  const object = path.join(cache, `${unit.replaceAll(/\W/g, '-')}-${key.slice(0, 24)}.o`);
  if (existsSync(object)) return object;
  const partial = `${object}.${process.pid}`;
  const { code, output } = await execute(compiler, [...flags, '-c', '-o', partial, unit]);
  if (code !== 0) throw new Error(`${compiler} ${flags.join(' ')} ${unit}:\n${output}`);
  renameSync(partial, object);
  return object;
}

let headersHash;
function headers() {
  if (headersHash) return headersHash;
  const hash = createHash('sha256');
  for (const entry of readdirSync(native, { recursive: true }).sort())
    if (entry.endsWith('.h')) hash.update(`\0${entry}\0`).update(readFileSync(path.join(native, entry)));
  headersHash = hash.digest('hex');
  return headersHash;
}

/** Runs the jobs, as many at a time as the machine has processors. */
async function inParallel(jobs) {
  const results = new Array(jobs.length);
  const rest = jobs.entries();
  const worker = async () => {
    for (const [i, job] of rest) results[i] = await job();
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return results;
}

async function build(compiler, name) {
  const { flags, isas, host: units } = variants[name];
  const shared = [...commonFlags.filter((flag) => !/^-(O|W)/.test(flag)), ...plain, ...flags];
  const generic = Object.values(target.isas)[0].gcc;
  const jobs = isas.flatMap(([isa, { gcc }]) =>
    sourcesIn('isa').map((unit) => [unit, [...shared, ...kernelFlags, ...gcc, `-DQUAVER_ISA=${isa}`]]),
  );
  for (const unit of sourcesIn('program')) jobs.push([unit, [...shared, ...kernelFlags, ...generic]]);
  for (const unit of units) jobs.push([unit, [...shared, ...hostFlags, ...generic]]);
  const objects = await inParallel(
    jobs.map(
      ([unit, own]) =>
        () =>
          compile(compiler, unit, own),
    ),
  );
  const program = path.join(cache, `test-${name}`);
  const { code, output } = await execute(compiler, [...flags, '-pthread', '-o', program, ...objects]);
  if (code !== 0) throw new Error(`${compiler}: ${output}`);
  for (const entry of readdirSync(cache).filter((file) => file.includes(`.o.${process.pid}`)))
    rmSync(path.join(cache, entry));
  return program;
}

/** The thread sanitizer of older compilers does not find its way in an address space that is laid out at random. */
function withFixedAddresses(program) {
  const found = spawnSync('setarch', ['--version']).status === 0;
  return found ? ['setarch', ['--addr-no-randomize', program]] : [program, []];
}

const counts = { passed: 0, failed: 0, skipped: 0 };

async function perform(compiler, name) {
  const started = performance.now();
  const seconds = () => `${((performance.now() - started) / 1000).toFixed(1)} s`;
  console.log(`── ${name} sanitizer, with ${compiler}`);
  try {
    const program = await build(compiler, name);
    console.log(`built in ${seconds()}`);
    const [command, args] = name === 'thread' ? withFixedAddresses(program) : [program, []];
    const env = { UBSAN_OPTIONS: 'print_stacktrace=1', TSAN_OPTIONS: 'halt_on_error=1', ...process.env };
    const { code, signal, output } = await execute(command, args, { show: true, env });
    counts.passed += output.match(/^✓ /gm)?.length ?? 0;
    if (code !== 0) throw new Error(`the tests ended with ${signal ?? `code ${code}`}`);
  } catch (error) {
    counts.failed++;
    console.log(`✗ ${error.message}`);
  }
  console.log(`${name} sanitizer: ${seconds()}`);
}

const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(variants);
const compiler = findCompiler();
if (!target || !compiler || wanted.some((name) => !Object.hasOwn(variants, name))) {
  console.error(
    'sanitize: needs a platform of tools/native-targets.mjs, g++ or clang++, and the name of a sanitizer or none',
  );
  counts.failed++;
} else {
  mkdirSync(cache, { recursive: true });
  for (const name of wanted) await perform(compiler, name);
}
if (process.env.QUAVER_TOTALS) writeFileSync(process.env.QUAVER_TOTALS, JSON.stringify(counts));
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exitCode = counts.failed ? 1 : 0;
