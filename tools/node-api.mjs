/** @file What building against Node-API needs: the headers that come with the pinned Node, and a Windows import library. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './process.mjs';
import { zigCommand } from './zig.mjs';

/** The folder of node_api.h. */
export function nodeHeaders() {
  const modules = path.join(root, 'node_modules');
  for (const name of existsSync(modules) ? readdirSync(modules).filter((entry) => entry.startsWith('node-')) : []) {
    const folder = path.join(modules, name, 'include/node');
    if (existsSync(path.join(folder, 'node_api.h'))) return folder;
  }
  const own = path.resolve(process.execPath, '../../include/node');
  if (existsSync(path.join(own, 'node_api.h'))) return own;
  throw new Error(
    'node_api.h was not found: run an npm script of the project first, which installs Node with its headers',
  );
}

/** Makes node.lib, by which a Windows addon finds the Node-API functions of the process that loads it. */
export function nodeImportLibrary(folder) {
  const names = ['js_native_api.h', 'node_api.h']
    .flatMap((header) => readFileSync(path.join(nodeHeaders(), header), 'utf8').match(/\bnapi_\w+(?=\()/g) ?? [])
    .filter((name, i, all) => all.indexOf(name) === i);
  const definition = path.join(folder, 'node.def');
  const library = path.join(folder, 'node.lib');
  writeFileSync(definition, `LIBRARY node.exe\nEXPORTS\n${names.join('\n')}\n`);
  const { command, args } = zigCommand('dlltool');
  const result = spawnSync(command, [...args, '-m', 'i386:x86-64', '-d', definition, '-l', library], {
    encoding: 'utf8',
  });
  if (result.status !== 0) throw new Error(`zig dlltool: ${result.stderr}`);
  return library;
}
