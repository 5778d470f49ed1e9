/**
 * @file The measured roofline of this machine: builds `roofline.cpp` when it changed, and loads it into this process. The
 * compiler is the one inside the Python package `ziglang`, in `.venv` at the root of the repository, as for the kernels.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { root } from '../process.mjs';

const COMPILER = 'ziglang==0.17.1';
const FLAGS = '-std=c++17 -O3 -fPIC -shared -fno-exceptions -fno-rtti -nostdlib++ -Wall -Wextra -Werror'.split(' ');

const source = path.join(import.meta.dirname, 'roofline.cpp');
const venv = path.join(root, '.venv');
const python = path.join(venv, process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python');

function execute(command, args) {
  const { error, status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (error) throw new Error(`cannot run ${command}: ${error.message}`);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}${stderr}`);
}

function installCompiler() {
  const { stdout } = spawnSync(python, ['-m', 'ziglang', 'version'], { encoding: 'utf8' });
  if (stdout?.trim() === COMPILER.split('==')[1]) return;
  execute('python3', ['-m', 'venv', venv]);
  execute(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', COMPILER]);
}

/** The headers that come with the Node that runs. */
function nodeHeaders() {
  const folder = path.join(path.dirname(process.execPath), '../include/node');
  if (existsSync(path.join(folder, 'node_api.h'))) return folder;
  throw new Error(`no Node headers in ${folder}: start the benchmarks with \`npm run bench\``);
}

/** Builds the addon, if it is not there yet; its path. */
function buildRoofline() {
  const hash = createHash('sha256').update(readFileSync(source)).update(FLAGS.join(' ')).digest('hex').slice(0, 12);
  const folder = path.join(root, 'node_modules/.cache/quaver/bench');
  const addon = path.join(folder, `roofline-${hash}.node`);
  if (existsSync(addon)) return addon;
  installCompiler();
  mkdirSync(folder, { recursive: true });
  const partial = `${addon}.${process.pid}.partial`;
  execute(python, ['-m', 'ziglang', 'c++', ...FLAGS, `-I${nodeHeaders()}`, '-o', partial, source]);
  renameSync(partial, addon);
  return addon;
}

/** Memory that no cache holds, not even the 300 MB ones of servers. */
const farPastCaches = 768 * 2 ** 20;

/** The addon in this process, in GFLOP/s and GB/s. Every call takes about `seconds`. */
export function loadRoofline({ seconds = 0.3, bytes = farPastCaches } = {}) {
  const addon = createRequire(import.meta.url)(buildRoofline());
  return {
    isa: addon.isa,
    readGBs: (threads) => addon.readBandwidth(bytes, threads, seconds) / 1e9,
    copyGBs: (threads) => addon.copyBandwidth(bytes, threads, seconds) / 1e9,
    fmaGflops: (threads) => addon.fmaPeak(threads, seconds) / 1e9,
    bf16Gflops: (threads) => addon.bf16Peak(threads, seconds) / 1e9,
  };
}
