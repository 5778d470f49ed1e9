/** @file The pinned C++ compiler of the project: the clang inside the Python package `ziglang`, installed into `.venv`. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { root } from './process.mjs';

export const zigPackage = 'ziglang==0.17.1';

const venv = path.join(root, '.venv');
const python = path.join(venv, process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python');

/** The command that runs `zig TOOL`, such as `c++`. */
export const zigCommand = (tool) => ({ command: python, args: ['-m', 'ziglang', tool] });

export function zigInstalled() {
  if (!existsSync(python)) return false;
  const version = spawnSync(python, ['-m', 'ziglang', 'version'], { encoding: 'utf8' }).stdout?.trim();
  return version === zigPackage.split('==')[1];
}

/** Installs the compiler when it is not there; false, with the reason on standard error, when that cannot be done. */
export function installZig() {
  if (zigInstalled()) return true;
  console.error(`Installing ${zigPackage} into .venv …`);
  const steps = [
    ['python3', ['-m', 'venv', venv]],
    [python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', zigPackage]],
  ];
  for (const [command, args] of steps) {
    const result = spawnSync(command, args, { encoding: 'utf8' });
    if (result.status === 0) continue;
    console.error(`${command}: ${result.error?.message ?? result.stderr.trim().split('\n').at(-1)}`);
    return false;
  }
  return true;
}
