import { readdir, stat, statfs } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { QuaverError } from '@quaver/numerics';
import { cacheFolder, executorRegistry } from '@quaver/sdk/node';
import { Command } from 'commander';
import { type Environment, type OutputFlags, Run, withOutputFlags } from '../run.ts';
import { formatBytes } from '../terminal/units.ts';
import { version } from '../version.ts';

interface DoctorFlags extends OutputFlags {
  readonly online?: true;
}

export function doctorCommand(environment: Environment): Command {
  const command = new Command('doctor')
    .description('Say what runs here and why: Node, executors and their devices, cache, disk.')
    .option('--online', 'also ask whether the model hub can be reached');
  return withOutputFlags(command)
    .addHelpText(
      'after',
      '\nExamples:\n  quaver doctor\n  quaver doctor --online --json\n  QUAVER_CPU_ISA=wasm QUAVER_THREADS=2 quaver doctor',
    )
    .action((flags: DoctorFlags) => diagnose(new Run(environment, flags), flags));
}

async function diagnose(run: Run, flags: DoctorFlags): Promise<void> {
  const hub = flags.online ? await askHub(run.signal) : undefined;
  const report = {
    version: version(),
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
    os: `${os.type()} ${os.release()}`,
    cpu: os.cpus()[0]?.model.trim() ?? 'unknown',
    cpus: os.availableParallelism(),
    memory_bytes: os.totalmem(),
    free_memory_bytes: os.freemem(),
    settings: settings(),
    executors: await describeExecutors(),
    cache: await describeCache(),
    ...(hub ? { hub } : {}),
  };
  run.result(report, () => readable(report, run));
}

type Report = Readonly<{
  version: string;
  node: string;
  platform: string;
  os: string;
  cpu: string;
  cpus: number;
  memory_bytes: number;
  free_memory_bytes: number;
  settings: Readonly<Record<string, string>>;
  executors: readonly ExecutorReport[];
  cache: CacheReport;
  hub?: HubReport;
}>;

interface ExecutorReport {
  readonly id: string;
  readonly devices: readonly {
    readonly id: string;
    readonly name: string;
    readonly details: Readonly<Record<string, string | number | boolean>>;
  }[];
  /** Why it cannot be used, if it cannot, and what helps. */
  readonly error?: string;
  readonly hint?: string;
}

/** The variables that change how graphs are run, where they are set. */
function settings(): Record<string, string> {
  const names = ['QUAVER_CPU_ISA', 'QUAVER_THREADS'];
  return Object.fromEntries(names.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])));
}

async function describeExecutors(): Promise<ExecutorReport[]> {
  return Promise.all(
    executorRegistry()
      .list()
      .map(async (plugin): Promise<ExecutorReport> => {
        try {
          return { id: plugin.id, devices: await plugin.listDevices() };
        } catch (error) {
          const hint = error instanceof QuaverError ? error.hint : undefined;
          const report = { id: plugin.id, devices: [], error: (error as Error).message };
          return hint === undefined ? report : { ...report, hint };
        }
      }),
  );
}

interface CacheReport {
  readonly path: string;
  readonly exists: boolean;
  readonly bytes: number;
  /** Free on its disk; undefined where the system does not say. */
  readonly free_bytes: number | undefined;
}

async function describeCache(): Promise<CacheReport> {
  const folder = cacheFolder();
  const exists = await stat(folder).then(
    (found) => found.isDirectory(),
    () => false,
  );
  return { path: folder, exists, bytes: exists ? await folderBytes(folder) : 0, free_bytes: await freeBytes(folder) };
}

async function folderBytes(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  let bytes = 0;
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const found = await stat(path.join(entry.parentPath, entry.name)).catch(() => undefined);
    bytes += found?.size ?? 0;
  }
  return bytes;
}

/** Of the nearest folder that exists. */
async function freeBytes(folder: string): Promise<number | undefined> {
  const found = await statfs(folder).catch(() => undefined);
  if (found) return found.bavail * found.bsize;
  const parent = path.dirname(folder);
  return parent === folder ? undefined : freeBytes(parent);
}

interface HubReport {
  readonly endpoint: string;
  readonly reachable: boolean;
  readonly reason: string;
}

const hubTimeoutMs = 5_000;

async function askHub(signal: AbortSignal): Promise<HubReport> {
  const endpoint = process.env.HF_ENDPOINT || 'https://huggingface.co';
  try {
    const url = new URL('api/models?limit=1', endpoint.endsWith('/') ? endpoint : `${endpoint}/`);
    const response = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(hubTimeoutMs)]) });
    await response.body?.cancel();
    return { endpoint, reachable: response.ok, reason: `HTTP ${response.status}` };
  } catch (error) {
    signal.throwIfAborted();
    const { message, cause } = error as Error;
    return { endpoint, reachable: false, reason: cause instanceof Error ? `${message}: ${cause.message}` : message };
  }
}

function readable(report: Report, run: Run): string {
  const bold = (text: string) => run.style('bold', text);
  const { cache, hub, settings } = report;
  const set = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
  const lines = [
    `${bold('Quaver')}    ${report.version}`,
    `${bold('Node')}      ${report.node} on ${report.platform} (${report.os})`,
    `${bold('Machine')}   ${report.cpu}, ${report.cpus} CPUs, ${formatBytes(report.memory_bytes)} memory (${formatBytes(report.free_memory_bytes)} free)`,
    ...(set.length === 0 ? [] : [`${bold('Settings')}  ${set.join(' ')}`]),
    bold('Executors'),
    ...report.executors.flatMap(({ id, devices, error, hint }) => [
      ...devices.flatMap(({ name, details }) => [`  ${id.padEnd(10)}${name}`, ...formatDetails(details)]),
      ...(error === undefined ? [] : [`  ${id.padEnd(10)}${run.style('red', 'not usable:')} ${error}`]),
      ...(hint === undefined ? [] : [`  ${''.padEnd(10)}${hint}`]),
    ]),
    `${bold('Cache')}     ${cache.path}: ${cache.exists ? formatBytes(cache.bytes) : 'nothing yet'}` +
      (cache.free_bytes === undefined ? '' : `, ${formatBytes(cache.free_bytes)} free on its disk`),
  ];
  if (hub)
    lines.push(`${bold('Hub')}       ${hub.endpoint}: ${hub.reachable ? 'reachable' : 'out of reach'} (${hub.reason})`);
  return lines.join('\n');
}

function formatDetails(details: Readonly<Record<string, string | number | boolean>>): string[] {
  return Object.entries(details).map(([key, value]) => `${''.padEnd(14)}${key.replaceAll('_', ' ')}: ${value}`);
}
