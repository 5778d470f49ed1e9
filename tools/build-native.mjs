/**
 * @file Builds the native engine of `packages/executor-cpu` from its C++ sources.
 *
 *   node tools/build-native.mjs                     for this machine, when a source changed
 *   node tools/build-native.mjs --target linux-arm64 | --all      for another platform, or for all of them (needs zig)
 *   node tools/build-native.mjs --compiler g++      with another compiler than zig
 *
 * The result is `packages/executor-cpu/npm/TARGET/quaver.node`, in the folder of the package that is published for the platform.
 * A machine without a compiler is told so and keeps WebAssembly: that is no error, unless --required is given.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { commonFlags, hostFlags, kernelFlags, targets } from './native-targets.mjs';
import { nodeHeaders, nodeImportLibrary } from './node-api.mjs';
import { root } from './process.mjs';
import { installZig, zigCommand, zigPackage } from './zig.mjs';

const folder = path.join(root, 'packages/executor-cpu');
const native = path.join(folder, 'native');
const host = `${process.platform}-${process.arch}`;

const { values: flags } = parseArgs({
  options: {
    target: { type: 'string', default: host },
    all: { type: 'boolean', default: false },
    compiler: { type: 'string' },
    required: { type: 'boolean', default: false },
  },
});

const units = (part) =>
  readdirSync(path.join(native, part))
    .filter((name) => name.endsWith('.cpp'))
    .sort()
    .map((name) => path.join(part, name));

function hashOf(target, compiler) {
  const hash = createHash('sha256').update(
    JSON.stringify([compiler.name, targets[target], commonFlags, kernelFlags, hostFlags]),
  );
  for (const entry of readdirSync(native, { recursive: true }).sort()) {
    if (/\.(cpp|h)$/.test(entry)) hash.update(`\0${entry}\0`).update(readFileSync(path.join(native, entry)));
  }
  return hash.digest('hex');
}

/** zig, which knows every platform; else what the machine has, which knows its own. */
function findCompiler() {
  const named = flags.compiler ?? process.env.QUAVER_CXX;
  if (named) return { name: named, kind: 'gcc', command: named, args: [] };
  if (installZig()) return { name: zigPackage, kind: 'zig', ...zigCommand('c++') };
  for (const name of ['clang++', 'g++']) {
    if (spawnSync(name, ['--version']).status === 0) return { name, kind: 'gcc', command: name, args: [] };
  }
  return undefined;
}

function execute({ command, args }, more) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...args, ...more], { cwd: native, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text) => (output += text));
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`${more.join(' ')}:\n${output}`))));
  });
}

/** Runs the jobs, as many at a time as the machine has processors. */
async function inParallel(jobs) {
  const rest = [...jobs];
  const worker = async () => {
    for (let job = rest.shift(); job; job = rest.shift()) await job();
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
}

function compilations(target, compiler) {
  const { triple, isas } = targets[target];
  const platform = compiler.kind === 'zig' ? [`--target=${triple}`] : [];
  const generic = Object.values(isas)[0][compiler.kind];
  const jobs = [];
  const add = (unit, name, more) => jobs.push({ unit, name: `${target}-${name}`, flags: [...platform, ...more] });
  for (const [isa, { [compiler.kind]: cpu }] of Object.entries(isas)) {
    for (const unit of units('isa')) {
      add(unit, `${isa}-${path.basename(unit, '.cpp')}`, [...cpu, ...kernelFlags, `-DQUAVER_ISA=${isa}`]);
    }
  }
  for (const unit of units('program'))
    add(unit, `program-${path.basename(unit, '.cpp')}`, [...generic, ...kernelFlags]);
  const napi = target.startsWith('win32') ? ['-DBUILDING_NODE_EXTENSION'] : [];
  for (const unit of units('addon')) {
    add(unit, `addon-${path.basename(unit, '.cpp')}`, [...generic, ...hostFlags, ...napi, `-I${nodeHeaders()}`]);
  }
  return jobs;
}

async function link(target, compiler, objects, output, scratch) {
  const { triple } = targets[target];
  const platform = compiler.kind === 'zig' ? [`--target=${triple}`] : [];
  const ownLibraries = ['-Wl,--exclude-libs,ALL', '-static-libstdc++', '-static-libgcc', '-pthread'];
  const os = {
    linux: ['-s', ...(compiler.kind === 'gcc' ? ownLibraries : [])],
    darwin: ['-Wl,-undefined,dynamic_lookup', '-s'],
    win32: ['-s'],
  }[target.split('-')[0]];
  const library = target.startsWith('win32') ? [nodeImportLibrary(scratch)] : [];
  await execute(compiler, [...platform, '-shared', '-o', output, ...objects, ...library, ...os]);
}

/** Compiles what is not in the cache yet: a unit's object depends on its text, on all headers, and on the flags. */
async function compile(target, compiler) {
  const cache = path.join(root, 'node_modules/.cache/quaver/native');
  mkdirSync(cache, { recursive: true });
  const headers = createHash('sha256');
  for (const entry of readdirSync(native, { recursive: true }).sort()) {
    if (entry.endsWith('.h')) headers.update(`\0${entry}\0`).update(readFileSync(path.join(native, entry)));
  }
  const shared = headers.digest('hex');
  const jobs = compilations(target, compiler).map(({ unit, name, flags: own }) => {
    const all = [...commonFlags, ...own];
    const text = readFileSync(path.join(native, unit));
    const key = createHash('sha256')
      .update(JSON.stringify([compiler.name, target, unit, all, shared]))
      .update(text);
    const object = path.join(cache, `${name}-${key.digest('hex').slice(0, 24)}.o`);
    const partial = `${object}.${process.pid}`;
    const run = async () => {
      if (existsSync(object)) return;
      await execute(compiler, [...all, '-c', '-o', partial, unit]);
      renameSync(partial, object);
    };
    return { object, run };
  });
  await inParallel(jobs.map(({ run }) => run));
  const objects = jobs.map(({ object }) => object);
  for (const name of readdirSync(cache)) {
    // What no build has used for a week is old.
    const file = path.join(cache, name);
    if (!objects.includes(file) && Date.now() - statSync(file).mtimeMs > 7 * 86_400_000) rmSync(file, { force: true });
  }
  return objects;
}

async function build(target, compiler) {
  const place = path.join(folder, 'npm', target);
  const file = path.join(place, 'quaver.node');
  const manifest = path.join(place, 'build.json');
  const hash = hashOf(target, compiler);
  if (existsSync(file) && existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).hash === hash) return;
  const started = performance.now();
  const scratch = mkdtempSync(path.join(tmpdir(), 'quaver-native-'));
  try {
    const objects = await compile(target, compiler);
    // Elsewhere first: for Windows the linker leaves an import library beside its result.
    const linked = path.join(scratch, 'quaver.node');
    const partial = `${file}.${process.pid}`;
    await link(target, compiler, objects, linked, scratch);
    copyFileSync(linked, partial);
    renameSync(partial, file);
    writeFileSync(manifest, `${JSON.stringify({ hash, compiler: compiler.name, target })}\n`);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  const took = ((performance.now() - started) / 1000).toFixed(1);
  console.error(`Built the native engine for ${target} with ${compiler.name} in ${took} s`);
}

const wanted = flags.all ? Object.keys(targets) : [flags.target];
const compiler = targets[wanted[0]] && findCompiler();
if (!compiler) {
  const reason = targets[wanted[0]] ? 'no C++ compiler was found' : `no native engine is known for ${wanted[0]}`;
  console.error(`build-native: ${reason}; the CPU executor runs in WebAssembly`);
  process.exitCode = flags.required ? 1 : 0;
} else if (compiler.kind !== 'zig' && wanted.some((target) => target !== host)) {
  console.error('build-native: building for another platform needs zig');
  process.exitCode = 1;
} else {
  try {
    for (const target of wanted) await build(target, compiler);
  } catch (error) {
    console.error(`build-native: ${error.message}`);
    process.exitCode = 1;
  }
}
