import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compileModel, importModelFile, type Module, type ModuleFile, readModule, saveModule } from '../src/node.ts';
import { temporaryFolder, tinyCheckpoint } from './tiny-checkpoint.ts';

const folder = temporaryFolder();
const at = (name: string) => path.join(folder, name);
let source: ModuleFile;

beforeAll(async () => {
  await using imported = await importModelFile(tinyCheckpoint(folder), { name: 'tiny', context: 64 });
  await saveModule(imported.module, at('model.qvr'));
  source = await readModule(at('model.qvr'));
});

afterAll(async () => {
  await source.close();
  rmSync(folder, { recursive: true, force: true });
});

async function compileTo(name: string, options: Parameters<typeof compileModel>[1]): Promise<Module> {
  const { module } = await compileModel(source, options);
  await saveModule(module, at(name));
  return module;
}

/** Name → type and bytes. */
async function contents({ parameters }: Module): Promise<Map<string, readonly [type: string, bytes: string]>> {
  const found = new Map<string, readonly [string, string]>();
  for (const { name, type, data } of parameters) {
    found.set(name, [`${type.dtype}[${type.shape}]`, Buffer.from(await data!.read()).toString('base64')]);
  }
  return found;
}

describe('a compiled module imported again', () => {
  it.each([
    { recipe: 'fp8-block' },
    { recipe: 'fp8-block-f32' },
    { recipe: 'fp8-block', lmHead: 'fp8' },
    { recipe: 'bf16' },
  ] as const)('compiles to the same parameters, bit by bit: %o', async (options) => {
    const compiled = await compileTo('compiled.qvr', options);
    await using again = await importModelFile(at('compiled.qvr'));
    expect(again.unused).toEqual([]);
    expect(again.module.name).toBe('tiny');
    expect(again.module.metadata).toEqual(source.metadata);
    expect(again.module.functions.map(({ name }) => name)).toEqual(source.functions.map(({ name }) => name));
    const recompiled = (await compileModel(again.module, options)).module;
    expect(await contents(recompiled)).toEqual(await contents(compiled));
    expect([...again.module.attachments.keys()]).toEqual([...source.attachments.keys()]);
  });

  it('has one of two forms of a weight, and says which it leaves behind', async () => {
    const compiled = await compileTo('two.qvr', { recipe: 'fp8-generate-only' });
    const copies = compiled.parameters.map(({ name }) => name).filter((name) => name.endsWith('.weight.f8e4m3fn'));
    expect(copies).toHaveLength(5);
    await using again = await importModelFile(at('two.qvr'));
    expect(again.unused).toEqual(copies);
  });

  it('needs scales of 128×128 blocks', async () => {
    await compileTo('row.qvr', { recipe: 'fp8-row' });
    const refused = importModelFile(at('row.qvr'));
    await expect(refused).rejects.toMatchObject({ code: 'hf-fp8-bad-scale', where: { file: at('row.qvr') } });
  });
});

it('a parameter without data is named', async () => {
  const { name, symbols, parameters, states, functions, metadata, attachments } = source;
  const hollow = parameters.map((parameter, i) => (i === 1 ? { ...parameter, data: undefined } : parameter));
  const module = { name, symbols, parameters: hollow, states, functions, metadata, attachments };
  await saveModule(module, at('hollow.qvr'));
  const where = { file: at('hollow.qvr'), tensor: parameters[1]!.name };
  await expect(importModelFile(at('hollow.qvr'))).rejects.toMatchObject({ code: 'module-no-data', where });
});

describe('an imported module imported again', () => {
  it('is the same, or has its weights in the type that was asked for', async () => {
    await using same = await importModelFile(at('model.qvr'));
    expect(await contents(same.module)).toEqual(await contents(source));
    await using narrow = await importModelFile(at('model.qvr'), { dtype: 'f32', context: 32, name: 'short' });
    expect(narrow.module.parameters.every(({ type }) => type.dtype === 'f32')).toBe(true);
    expect([narrow.module.name, narrow.module.metadata['model.context']]).toEqual(['short', '32']);
  });
});

it('what is no module gets the error of the reader', async () => {
  mkdirSync(at('folder.qvr'));
  await expect(importModelFile(at('folder.qvr'))).rejects.toMatchObject({ code: 'file-is-directory' });
  await expect(importModelFile(at('nowhere.qvr'))).rejects.toMatchObject({ code: 'file-not-found' });
});
