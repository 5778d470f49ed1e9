/** @file The machine that was measured, by name. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import os from 'node:os';
import { cpuPlugin } from '../../packages/executor-cpu/dist/index.js';
import { root } from '../process.mjs';
import { peerVersions } from './peers.mjs';
import { loadRoofline } from './roofline.mjs';

function osName() {
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  return /^PRETTY_NAME="(.*)"$/m.exec(release)?.[1] ?? `${os.type()} ${os.release()}`;
}

/** The level-3 cache in bytes, where the system tells. */
function lastLevelCache() {
  const file = '/sys/devices/system/cpu/cpu0/cache/index3/size';
  if (!existsSync(file)) return null;
  const [, count, unit] = /^(\d+)([KM]?)/.exec(readFileSync(file, 'utf8'));
  return Number(count) * { '': 1, K: 2 ** 10, M: 2 ** 20 }[unit];
}

/** With family and model where the system tells: names in virtual machines leave them out. */
function processorName(name) {
  if (!existsSync('/proc/cpuinfo')) return name;
  const text = readFileSync('/proc/cpuinfo', 'utf8');
  const [family, model] = ['cpu family', 'model'].map((key) => new RegExp(`^${key}\\s*: (\\d+)`, 'm').exec(text)?.[1]);
  return family && model ? `${name} (family ${family}, model ${model})` : name;
}

export async function describeMachine() {
  const cpus = os.cpus();
  return {
    cpu: processorName(cpus[0].model),
    cores: os.availableParallelism(),
    isa: loadRoofline().isa,
    memory_bytes: os.totalmem(),
    last_level_cache_bytes: lastLevelCache(),
    os: osName(),
    arch: process.arch,
    node: process.version,
    commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim(),
    date: new Date().toISOString().slice(0, 10),
    load_average: os.loadavg()[0],
    devices: (await cpuPlugin.listDevices()).map(({ id, name, details }) => ({ id, name, ...details })),
    peers: peerVersions(),
  };
}
