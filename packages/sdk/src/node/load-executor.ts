import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Executor, ExecutorOptions, ExecutorPlugin, ExecutorRegistry } from '@quaver/executor';
import { QuaverError } from '@quaver/numerics';
import { executorRegistry } from '../executors.ts';

/**
 * A registry that knows the executors of the SDK and the one named `id`, with the id to open it by. A path
 * (`./my-executor.js`) or the name of an installed package is loaded; its default export, or its export `plugin`, must be the
 * plug-in.
 * @throws QuaverError `executor-unknown`, `executor-plugin-invalid`, `executor-load-failed`
 */
export async function registryWith(id: string): Promise<{ readonly registry: ExecutorRegistry; readonly id: string }> {
  const registry = executorRegistry();
  if (registry.list().some((plugin) => plugin.id === id)) return { registry, id };
  const plugin = await loadPlugin(id, registry);
  registry.register(plugin);
  return { registry, id: plugin.id };
}

/**
 * Opens an executor by id, path or package name.
 * @throws QuaverError as {@link registryWith}, and what the plug-in throws
 */
export async function openExecutor(id = 'cpu', options: ExecutorOptions = {}): Promise<Executor> {
  const found = await registryWith(id);
  return found.registry.open(found.id, options);
}

async function loadPlugin(specifier: string, registry: ExecutorRegistry): Promise<ExecutorPlugin> {
  const url = resolveSpecifier(specifier);
  if (url === undefined) {
    throw new QuaverError('executor-unknown', `there is no executor '${specifier}'`, {
      hint: `Known are ${registry
        .list()
        .map((plugin) => plugin.id)
        .join(', ')}; or give a file (./my-executor.js) or an installed package.`,
      where: { executor: specifier },
    });
  }
  try {
    const loaded = (await import(url)) as { readonly default?: ExecutorPlugin; readonly plugin?: ExecutorPlugin };
    return (loaded.default ?? loaded.plugin) as ExecutorPlugin;
  } catch (cause) {
    throw new QuaverError('executor-load-failed', `${specifier} cannot be loaded: ${(cause as Error).message}`, {
      hint: 'An executor is a JavaScript module whose default export, or export `plugin`, is its plug-in.',
      where: { executor: specifier },
      cause,
    });
  }
}

/** A file URL: of a path as it is, of a package as the current folder sees it; undefined for neither. */
function resolveSpecifier(specifier: string): string | undefined {
  if (/^\.{0,2}[/\\]|^[A-Za-z]:[/\\]/.test(specifier)) return pathToFileURL(path.resolve(specifier)).href;
  if (!/^(@[\w.-]+\/)?[\w.-]+$/.test(specifier)) return undefined;
  for (let folder = process.cwd(); ; folder = path.dirname(folder)) {
    const installed = path.join(folder, 'node_modules', specifier);
    if (existsSync(path.join(installed, 'package.json'))) return pathToFileURL(entryOf(installed)).href;
    if (folder === path.dirname(folder)) return undefined;
  }
}

/** The file that `import` of a package loads. `require.resolve` does not find the entry of packages that are ESM only. */
function entryOf(installed: string): string {
  const manifest = JSON.parse(readFileSync(path.join(installed, 'package.json'), 'utf8')) as PackageJson;
  const { exports } = manifest;
  const main = typeof exports === 'object' && exports !== null && '.' in exports ? exports['.'] : exports;
  return path.join(installed, importTarget(main) ?? manifest.main ?? 'index.js');
}

interface PackageJson {
  readonly main?: string;
  readonly exports?: ExportTarget;
}

type ExportTarget = string | null | { readonly [condition: string]: ExportTarget };

function importTarget(target: ExportTarget | undefined): string | undefined {
  if (typeof target !== 'object' || target === null) return target ?? undefined;
  const found = Object.entries(target).find(([condition]) => ['node', 'import', 'default'].includes(condition));
  return importTarget(found?.[1]);
}
