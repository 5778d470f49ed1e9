/**
 * @file The files that are measured: SmolLM2-135M-Instruct compiled with our recipes, the same weights as GGUF for llama.cpp, and
 * the prompts as token ids. Made when asked for, atomically, and kept in `bench` in the cache folder.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import { openCheckpoint, writeFileAtomically } from '../../packages/formats/dist/node.js';
import { Tokenizer } from '../../packages/generate/dist/index.js';
import { cacheFolder, compileModel, importModelFile, pullModel, saveModule } from '../../packages/sdk/dist/node.js';
import { root } from '../process.mjs';
import { layOutGguf } from './gguf-write.mjs';

/** What we measure, by the name that a file gets: what `compileModel` takes. */
const RECIPES = {
  fp8: { recipe: 'fp8-block' },
  'fp8-lm-head': { recipe: 'fp8-block', lmHead: 'fp8' },
  'fp8-all': { recipe: 'fp8-block', lmHead: 'fp8', kvCache: 'fp8', attention: 'fp8' },
  bf16: { recipe: 'bf16' },
  f32: { recipe: 'f32' },
};

const folder = path.join(cacheFolder(), 'bench');
let checkpoint;

/** The path of the checkpoint that everything is made of. */
async function checkpointFile() {
  checkpoint ??= (await pullModel('smollm2-135m-instruct')).path;
  return checkpoint;
}

/** Changes when what makes our files does. */
function key(...names) {
  const hash = createHash('sha256');
  for (const name of names) {
    const dist = path.join(root, 'packages', name, 'dist');
    for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
      if (entry.isFile() && entry.name.endsWith('.js'))
        hash.update(readFileSync(path.join(entry.parentPath, entry.name)));
    }
  }
  return hash.digest('hex').slice(0, 12);
}

/** Our model compiled with one of `RECIPES`. */
export async function quaverFile(name) {
  mkdirSync(folder, { recursive: true });
  const prefix = `smollm2.${name}.`;
  const file = path.join(folder, `${prefix}${key('numerics', 'ir', 'formats', 'models', 'compiler')}.qvr`);
  if (existsSync(file)) return file;
  for (const old of readdirSync(folder)) {
    if (old.startsWith(prefix) && old.endsWith('.qvr')) rmSync(path.join(folder, old));
  }
  await using imported = await importModelFile(await checkpointFile());
  const { module } = await compileModel(imported.module, RECIPES[name]);
  await saveModule(module, file);
  return file;
}

/** The weights as GGUF of type `f32`, `bf16` or `q8_0`. */
export async function ggufFile(type) {
  mkdirSync(folder, { recursive: true });
  const file = path.join(folder, `smollm2.${type}.v1.gguf`);
  if (existsSync(file)) return file;
  const from = await checkpointFile();
  const source = await openCheckpoint(from);
  const handle = await open(from);
  try {
    const head = Buffer.alloc(32 * 2 ** 20);
    const { bytesRead } = await handle.read(head, 0, head.length, 0);
    const tensors = [...source.tensors.values()].map((tensor) => ({
      name: tensor.name,
      shape: tensor.shape,
      async values() {
        if (tensor.dtype !== 'f32') throw new Error(`${tensor.name} is ${tensor.dtype}, expected what reads as f32`);
        const bytes = await tensor.read();
        return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
      },
    }));
    const { chunks, totalBytes } = layOutGguf(head.subarray(0, bytesRead), tensors, type);
    await writeFileAtomically(file, chunks, totalBytes);
  } finally {
    await handle.close();
    await source.close();
  }
  return file;
}

/** A text in the repository, for prompts and for perplexity. */
export function prose() {
  return readFileSync(path.join(root, 'examples/data/prose.txt'), 'utf8');
}

/** The first tokens of the text, as our tokenizer cuts it; the same ids go to everybody. */
export async function proseTokens() {
  mkdirSync(folder, { recursive: true });
  const file = path.join(folder, `prose.${key('generate', 'models')}.json`);
  if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8'));
  for (const old of readdirSync(folder)) if (/^prose\..*\.json$/.test(old)) rmSync(path.join(folder, old));
  await using imported = await importModelFile(await checkpointFile());
  const tokens = (await Tokenizer.fromModule(imported.module)).encode(prose());
  writeFileSync(`${file}.${process.pid}.partial`, JSON.stringify(tokens));
  renameSync(`${file}.${process.pid}.partial`, file);
  return tokens;
}
