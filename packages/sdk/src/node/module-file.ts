import type { Module } from '@quaver/ir';
import { type ModuleFile, readModuleFile, type WriteModuleFileOptions, writeModuleFile } from '@quaver/ir/node';

export type { ModuleFile } from '@quaver/ir/node';
export type SaveModuleOptions = Pick<WriteModuleFileOptions, 'signal' | 'onProgress'>;

/**
 * Opens a `.qvr` file. Its tensors are read by range until it is closed: hold it with `await using`.
 * @throws QuaverError `file-…`, `module-…`, `verify-…`, `op-unknown`
 */
export function readModule(path: string, options: { readonly signal?: AbortSignal } = {}): Promise<ModuleFile> {
  return readModuleFile(path, options);
}

/**
 * Writes a module to a `.qvr` file under a temporary name, then renames it: nobody ever sees half a file.
 * @throws QuaverError `file-…`, `verify-…`
 */
export function saveModule(module: Module, path: string, options: SaveModuleOptions = {}): Promise<void> {
  return writeModuleFile(module, path, options);
}
