import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, it } from 'vitest';
import {
  names,
  quaver,
  quaverJson,
  removeFolder,
  type Started,
  start,
  temporaryFolder,
  tinyCheckpoint,
} from './run-quaver.ts';

const folder = temporaryFolder();
const at = (name: string) => path.join(folder, name);

afterAll(() => removeFolder(folder));

/** A checkpoint of zeros that takes long to write: about 300 MB, but a sparse file. */
function largeCheckpoint(): string {
  const [hidden, inner, vocabulary, layers] = [2048, 4096, 8192, 4];
  const shapes: [string, number[]][] = [['model.embed_tokens.weight', [vocabulary, hidden]]];
  for (let layer = 0; layer < layers; layer++) {
    const add = (name: string, ...shape: number[]) => shapes.push([`model.layers.${layer}.${name}.weight`, shape]);
    add('input_layernorm', hidden);
    for (const name of ['q_proj', 'k_proj', 'v_proj', 'o_proj']) add(`self_attn.${name}`, hidden, hidden);
    add('post_attention_layernorm', hidden);
    add('mlp.gate_proj', inner, hidden);
    add('mlp.up_proj', inner, hidden);
    add('mlp.down_proj', hidden, inner);
  }
  shapes.push(['model.norm.weight', [hidden]]);
  let end = 0;
  const header: Record<string, unknown> = {};
  for (const [name, shape] of shapes) {
    const bytes = 2 * shape.reduce((product, size) => product * size, 1);
    header[name] = { dtype: 'BF16', shape, data_offsets: [end, end + bytes] };
    end += bytes;
  }
  const text = Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  const checkpoint = at('large');
  mkdirSync(checkpoint);
  const file = openSync(path.join(checkpoint, 'model.safetensors'), 'w');
  writeSync(file, Buffer.concat([size, text]));
  ftruncateSync(file, 8 + text.length + end);
  closeSync(file);
  const config = {
    architectures: ['LlamaForCausalLM'],
    vocab_size: vocabulary,
    hidden_size: hidden,
    intermediate_size: inner,
    num_hidden_layers: layers,
    num_attention_heads: 16,
    max_position_embeddings: 64,
    tie_word_embeddings: true,
  };
  writeFileSync(path.join(checkpoint, 'config.json'), JSON.stringify(config));
  return checkpoint;
}

async function until(condition: () => boolean): Promise<void> {
  for (let waited = 0; !condition(); waited += 5) {
    if (waited > 60_000) throw new Error('waited a minute in vain');
    await sleep(5);
  }
}

async function stopped({ child, finished }: Started, signal: NodeJS.Signals): Promise<void> {
  child.kill(signal);
  const { code, stdout, stderr } = await finished;
  expect([code, stdout]).toEqual([signal === 'SIGINT' ? 130 : 143, '']);
  expect(stderr).toContain('Stopped. Nothing unfinished was left behind.');
}

it('Ctrl-C while importing and compiling leaves nothing behind, and keeps what was there', async () => {
  const checkpoint = largeCheckpoint();
  mkdirSync(at('out'));
  const output = path.join(at('out'), 'model.qvr');
  writeFileSync(output, 'what was there before');
  const importing = start(['import', checkpoint, '-o', output]);
  await until(() => names(at('out')).length > 1);
  await stopped(importing, 'SIGINT');
  expect(names(at('out'))).toEqual(['model.qvr']);

  await quaverJson(['import', checkpoint, '-o', output]);
  const compiling = start(['compile', output, '-o', path.join(at('out'), 'model.fp8.qvr'), '--dump-ir', at('ir')]);
  // The last dump but one: from here on the weights are quantized.
  await until(() => existsSync(at('ir')) && names(at('ir')).some((name) => name.includes('plan-memory')));
  await stopped(compiling, 'SIGTERM');
  expect(names(at('out'))).toEqual(['model.qvr']);
});

it('one Ctrl-C that arrives twice, as under npm, is one', async () => {
  mkdirSync(at('twice'));
  const { child, finished } = start(['import', at('large'), '-o', path.join(at('twice'), 'model.qvr')]);
  await until(() => names(at('twice')).length > 0);
  child.kill('SIGINT');
  await sleep(2);
  child.kill('SIGINT');
  expect((await finished).stderr).toContain('Stopped. Nothing unfinished was left behind.');
  expect(names(at('twice'))).toEqual([]);
});

it('Ctrl-C while generating ends the text', async () => {
  const checkpoint = tinyCheckpoint(folder);
  // A context that takes minutes to fill: the signal always comes in the middle.
  const config = path.join(checkpoint, 'config.json');
  const long = { ...JSON.parse(readFileSync(config, 'utf8')), max_position_embeddings: 4096 };
  writeFileSync(config, JSON.stringify(long));
  await quaverJson(['import', checkpoint, '-o', at('model.qvr')]);
  const run = ['generate', at('model.qvr'), '--prompt', 'x', '-n', '4000', '--executor', 'reference'];
  const { child, finished } = start(run);
  await new Promise((resolve) => child.stdout!.once('data', resolve));
  child.kill('SIGINT');
  const { code, stdout } = await finished;
  expect(code).toBe(130);
  expect(stdout.length).toBeLessThan(3999);
});

it('a reader that goes away ends the command quietly', async () => {
  await quaverJson(['import', tinyCheckpoint(folder), '-o', at('model.qvr')]);
  const { code, stdout, stderr } = await quaver(['inspect', at('model.qvr'), '--text'], {
    shell: 'set -o pipefail; "$@" | head -c 6',
  });
  expect([code, stdout, stderr]).toEqual([0, 'quaver', '']);
});
