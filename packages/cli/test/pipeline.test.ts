import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { builtInRecipes } from '@quaver/compiler';
import { openCheckpoint } from '@quaver/formats/node';
import { readModuleFile } from '@quaver/ir/node';
import type { ParityReport } from '@quaver/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { modelData, quaver, quaverJson, removeFolder, temporaryFolder, tinyCheckpoint } from './run-quaver.ts';

interface Generated {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly logprobs: readonly number[];
  readonly stop_reason: string;
  readonly recipe: string;
  readonly executor: string;
}

interface Perplexity {
  readonly tokens: number;
  readonly perplexity: number;
  readonly nll: number;
}

const folder = temporaryFolder();
const at = (name: string) => path.join(folder, name);
const imported = at('model.qvr');
const compiled = at('model.fp8.qvr');

/** The golden sequence of the tiny model, and its text: token 3 is a newline, 4 a space, then printable ASCII. */
const tokens = JSON.parse(readFileSync(path.join(modelData, 'smollm2/tokens.json'), 'utf8')) as number[];
const alphabet = ['\n', ' ', ...Array.from({ length: 94 }, (_, i) => String.fromCharCode(0x21 + i))].filter(
  (character) => character !== '^' && character !== '~',
);
const textOf = (ids: readonly number[]) => ids.map((id) => alphabet[id - 3]!).join('');
const text = textOf(tokens);

/** Rows of the float64 logits that an independent implementation gives for the golden sequence. */
function goldenLogits(): Float64Array[] {
  const bytes = readFileSync(path.join(modelData, 'smollm2/logits.f64'));
  const values = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  return tokens.map((_, row) => values.subarray(row * 97, (row + 1) * 97));
}

function logSoftmax(row: Float64Array, token: number): number {
  const maximum = row.reduce((most, value) => Math.max(most, value));
  return row[token]! - maximum - Math.log(row.reduce((sum, value) => sum + Math.exp(value - maximum), 0));
}

/** What `fp8-block` quantizes in a model of two layers: it keeps keys, values and the last layer. */
const fp8Layers = ['self_attn.q_proj', 'self_attn.o_proj', 'mlp.gate_proj', 'mlp.up_proj', 'mlp.down_proj'].map(
  (name) => `model.layers.0.${name}`,
);

beforeAll(async () => {
  const checkpoint = tinyCheckpoint(folder);
  const report = await quaverJson<Record<string, unknown>>(['import', checkpoint, '-o', imported, '--name', 'tiny']);
  expect(report).toMatchObject({ path: imported, name: 'tiny', family: 'llama', context: 128, unused: [] });
  const { code, stderr } = await quaver(['compile', imported, '-o', compiled, '--report', at('report.json'), '-q']);
  expect([code, stderr]).toEqual([0, '']);
  writeFileSync(at('text.txt'), text);
});

afterAll(() => removeFolder(folder));

describe('compile', () => {
  it('writes a report with every linear layer', () => {
    const report = JSON.parse(readFileSync(at('report.json'), 'utf8'));
    expect(report.recipe).toBe('fp8-block');
    expect(report.linears).toHaveLength(fp8Layers.length);
    expect(report.linears.map(({ location }: { location: string }) => location)).toEqual(fp8Layers);
    expect(report.fp8_weights.ratio).toBeLessThan(0.56);
    expect(report.not_lowered).toEqual([]);
  });

  it('prints a table with a line per kind of layer, and in full with --verbose', async () => {
    const short = await quaver(['compile', imported, '-o', at('again.qvr')]);
    expect(short.code).toBe(0);
    expect(short.stdout).toContain('row-invariant: yes');
    expect(short.stdout.match(/^model\.layers\.\*\.mlp\.up_proj +1 /gm)).toHaveLength(1);
    expect(short.stdout).toMatch(/^time: .*slowest passes/m);
    const full = await quaver(['compile', imported, '-o', at('again.qvr'), '--verbose']);
    expect(full.stdout).toContain('model.layers.0.mlp.up_proj');
    expect(full.stdout).toContain('Passes');
  });

  it('takes options of the recipe, and a recipe from a file', async () => {
    const options = ['--kv-cache', 'fp8', '--attention', 'fp8', '--lm-head', 'fp8'];
    await quaverJson(['compile', imported, '-o', at('options.qvr'), ...options]);
    const { states, recipe } = await quaverJson<{ states: { type: string }[]; recipe: string }>([
      'inspect',
      at('options.qvr'),
    ]);
    expect(recipe).toContain('kv-cache=fp8');
    expect(states.map(({ type }) => type)).toEqual(['f8e4m3fn[B,C,1,16]', 'f8e8m0fnu[B,C,1,1]']);
    const phase = { linear: 'f32', kv_cache: 'f32', attention: 'f32' };
    writeFileSync(at('mine.json'), JSON.stringify({ name: 'mine', generate: phase, train: phase, embedding: 'f32' }));
    await quaverJson(['compile', imported, '-o', at('mine.qvr'), '--recipe', at('mine.json')]);
    expect(await quaverJson(['inspect', at('mine.qvr')])).toMatchObject({ recipe: 'mine' });
  });

  it('runs selected passes and dumps the graph after each', async () => {
    const args = ['--stop-after', 'annotate-precision', '--disable-pass', 'canonicalize', '--dump-ir', at('ir')];
    const { report } = await quaverJson<{ report: { passes: { name: string }[] } }>([
      'compile',
      imported,
      '-o',
      at('partial.qvr'),
      ...args,
    ]);
    const ran = report.passes.map(({ name }) => name);
    expect(ran.at(-1)).toBe('annotate-precision');
    expect(ran).not.toContain('canonicalize');
    const last = `${String(ran.length - 1).padStart(2, '0')}-annotate-precision.txt`;
    expect(readFileSync(path.join(at('ir'), last), 'utf8')).toContain('linear@generate');
  });

  it('will not compile twice, and says why', async () => {
    const { code, stdout } = await quaver(['compile', compiled, '-o', at('twice.qvr'), '--json']);
    expect(code).toBe(1);
    expect(JSON.parse(stdout).error.code).toBe('module-already-lowered');
  });
});

describe('inspect', () => {
  it('summarizes functions, parameters, state and recipe', async () => {
    const summary = await quaverJson<{
      functions: { name: string; phase: string }[];
      parameters: { dtype: string; tensors: number }[];
    }>(['inspect', compiled]);
    expect(summary).toMatchObject({ name: 'tiny', recipe: 'fp8-block' });
    expect(summary.functions.map(({ name, phase }) => [name, phase])).toEqual([
      ['prefill', 'generate'],
      ['decode', 'generate'],
      ['score', 'generate'],
      ['logprobs', 'train'],
    ]);
    expect(summary.parameters.find(({ dtype }) => dtype === 'f8e4m3fn')?.tensors).toBe(fp8Layers.length);
    const { stdout } = await quaver(['inspect', compiled]);
    expect(stdout).toContain('decode(tokens: i32[B,1], position: i32[B])');
  });

  it('prints one function, or all, as text', async () => {
    const one = await quaver(['inspect', compiled, '--function', 'decode']);
    expect(one.stdout).toMatch(/^func @decode\(/);
    expect(one.stdout.match(/scaled_dot\(/g)).toHaveLength(fp8Layers.length);
    const all = await quaver(['inspect', compiled, '--text']);
    expect(all.stdout.match(/^func @/gm)).toHaveLength(4);
  });

  it('--verify notices one changed bit in a weight', async () => {
    const { verified } = await quaverJson<{ verified: { checked: number } }>(['inspect', compiled, '--verify']);
    expect(verified.checked).toBeGreaterThan(25);
    const bytes = readFileSync(compiled);
    bytes[bytes.length - 100]! ^= 1;
    writeFileSync(at('damaged.qvr'), bytes);
    const { code, stderr } = await quaver(['inspect', at('damaged.qvr'), '--verify']);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error \[module-digest\]: .*damaged\.qvr/m);
  });
});

describe('generate', () => {
  it('greedy text in f32 begins with the argmax of the float64 goldens', async () => {
    const run = ['generate', imported, '--recipe', 'f32', '-n', '1'];
    const generated = await quaverJson<Generated>([...run, '--prompt', text]);
    const last = goldenLogits().at(-1)!;
    const best = last.indexOf(last.reduce((most, value) => Math.max(most, value)));
    expect(generated.tokens).toEqual([best]);
    expect(generated.logprobs[0]).toBeCloseTo(logSoftmax(last, best), 4);
    expect(generated).toMatchObject({ stop_reason: 'max_new_tokens', recipe: 'f32', executor: 'cpu' });
    expect(Object.keys(generated)).toEqual([
      'text',
      'tokens',
      'logprobs',
      'stop_reason',
      'prefill_tokens_per_s',
      'decode_tokens_per_s',
      'executor',
      'recipe',
    ]);
  });

  it('streams the text that --json gives, with one line of figures on standard error', async () => {
    const run = ['generate', compiled, '--prompt', 'Once', '-n', '12'];
    const { text: whole, tokens: ids } = await quaverJson<Generated>(run);
    expect(whole).toBe(textOf(ids));
    const streamed = await quaver(run);
    expect(streamed.stdout).toBe(`${whole}\n`);
    expect(streamed.stderr).toMatch(/^4 tokens in, 12 out \(max_new_tokens\); prefill .* fp8-block on cpu\n$/);
  });

  it('the reference executor gives the same bits', async () => {
    const run = ['generate', compiled, '--prompt', 'Once', '-n', '6'];
    const cpu = await quaverJson<Generated>(run);
    const reference = await quaverJson<Generated>([...run, '--executor', 'reference']);
    expect(reference.logprobs).toEqual(cpu.logprobs);
    expect(reference).toMatchObject({ tokens: cpu.tokens, executor: 'reference' });
  });

  it('the same seed gives the same text, another seed another', async () => {
    const run = (seed: string) =>
      quaverJson<Generated>([
        ...['generate', compiled, '--prompt', 'Once', '-n', '12'],
        ...['--temperature', '1', '--top-p', '0.95', '--top-k', '50', '--min-p', '0.001', '--seed', seed],
      ]);
    const first = await run('7');
    expect((await run('7')).tokens).toEqual(first.tokens);
    expect((await run('8')).tokens).not.toEqual(first.tokens);
  });

  it('stops before a stop string', async () => {
    const run = ['generate', compiled, '--prompt', 'Once', '-n', '12'];
    const { text: whole } = await quaverJson<Generated>(run);
    const stop = whole.slice(5, 7);
    const stopped = await quaverJson<Generated>([...run, '--stop', 'never there', '--stop', stop]);
    expect(stopped).toMatchObject({ text: whole.slice(0, whole.indexOf(stop)), stop_reason: 'stop_string' });
  });

  it('takes the prompt from standard input or a file', async () => {
    const run = ['generate', compiled, '-n', '4'];
    const given = await quaverJson<Generated>([...run, '--prompt', text]);
    const piped = await quaverJson<Generated>([...run, '--prompt', '-'], { stdin: text });
    const read = await quaverJson<Generated>([...run, '--prompt-file', at('text.txt')]);
    expect(piped.logprobs).toEqual(given.logprobs);
    expect(read.logprobs).toEqual(given.logprobs);
  });

  it('--chat renders the template of the model', async () => {
    const run = ['generate', compiled, '-n', '4'];
    const chat = await quaverJson<Generated>([...run, '--chat', '--system', 'Be brief.', '--prompt', 'Hi']);
    const rendered = 'system: Be brief.\nuser: Hi\nassistant: ';
    expect(chat.logprobs).toEqual((await quaverJson<Generated>([...run, '--prompt', rendered])).logprobs);
  });
});

describe('eval perplexity', () => {
  it('agrees in f32 with the float64 goldens', async () => {
    const args = ['eval', 'perplexity', imported, '--recipe', 'f32', '--text', at('text.txt')];
    const { tokens: count, nll, perplexity } = await quaverJson<Perplexity>(args);
    const rows = goldenLogits();
    const expected = -tokens.slice(1).reduce((sum, token, i) => sum + logSoftmax(rows[i]!, token), 0) / count;
    expect(count).toBe(tokens.length - 1);
    expect(nll).toBeCloseTo(expected, 5);
    expect(perplexity).toBe(Math.exp(nll));
  });

  it('cuts the text into windows', async () => {
    const args = ['eval', 'perplexity', compiled, '--text', at('text.txt'), '--window', '8'];
    const { tokens: count } = await quaverJson<Perplexity>(args);
    expect(count).toBe(tokens.length - Math.ceil(tokens.length / 8));
  });

  it('compiles a model that is not compiled with bf16', async () => {
    const args = ['eval', 'perplexity', imported, '--text', at('text.txt')];
    expect(await quaverJson(args)).toMatchObject({ recipe: 'bf16', executor: 'cpu' });
  });
});

describe('parity', () => {
  it('finds no difference, with a KV cache in BF16 and in FP8', async () => {
    const report = await quaverJson<{ cases: { name: string; kv_cache: string }[] }>([
      ...['parity', compiled, '--tokens', '8'],
    ]);
    expect(report).toMatchObject({ mismatched_tokens: 0, max_abs_logprob_diff: 0, token_mult_prob_error: 1 });
    const caches = [1, 2, 3, 8].map((batch) =>
      report.cases.filter(({ name }) => name === `decode/batch-${batch}`).map(({ kv_cache }) => kv_cache),
    );
    expect(caches).toEqual([
      ['bf16', 'fp8'],
      ['bf16', 'fp8'],
      ['bf16', 'fp8'],
      ['bf16', 'fp8'],
    ]);
  });

  it('compares the training step of an imported model, and says why it cannot that of a compiled one', async () => {
    const args = ['--tokens', '8'];
    const report = await quaverJson<ParityReport>(['parity', imported, '--recipe', 'fp8-block', ...args]);
    expect(report.mismatched_tokens).toBe(0);
    expect(report.cases.map(({ name }) => name)).toEqual(expect.arrayContaining(['loss', 'training step']));
    // The context of 128 tokens has no place for two sequences.
    expect(new Set(report.left_out.map(({ name }) => name))).toEqual(
      new Set(['loss, packed', 'training step, packed']),
    );
    const { stdout } = await quaver(['parity', compiled, ...args]);
    expect(stdout).toContain(
      "Left out: 'loss', 'loss, packed', 'training step', 'training step, packed': the model is compiled",
    );
    const without = await quaverJson<ParityReport>(['parity', imported, '--no-training', ...args]);
    expect(without.left_out).toHaveLength(8);
    expect(without.left_out[0]).toEqual({ name: 'loss', kv_cache: 'bf16', reason: 'it was not asked for' });
  });

  it('reports a recipe that promises nothing, and still succeeds', async () => {
    const run = ['parity', imported, '--recipe', 'fp8-generate-only', '--tokens', '8'];
    const report = await quaverJson<{ mismatched_tokens: number; token_mult_prob_error: number }>(run);
    expect(report.mismatched_tokens).toBeGreaterThan(0);
    expect(report.token_mult_prob_error).toBeGreaterThan(1);
    expect((await quaver(run)).stdout).toContain('Equality is not promised');
  });
});

describe('how an executor computes', () => {
  const generate = ['generate', compiled, '-n', '4', '--prompt', 'Hi'];

  it('any number of threads gives the same bits', async () => {
    const [one, three] = await Promise.all(
      ['1', '3'].map((threads) => quaverJson<Generated>([...generate, '--threads', threads])),
    );
    expect(three!.logprobs).toEqual(one!.logprobs);
  });

  it('sums in any order still predict the text, and promise nothing', async () => {
    const args = ['eval', 'perplexity', compiled, '--text', at('text.txt')];
    const [canonical, fast] = await Promise.all(
      ['canonical', 'fast'].map((order) => quaverJson<Perplexity>([...args, '--reduction', order])),
    );
    expect(fast!.nll).toBeCloseTo(canonical!.nll, 1);
    const { code } = await quaver(['parity', compiled, '--tokens', '8', '--reduction', 'fast']);
    expect(code).toBe(0);
  });

  it.each([
    [['--threads', '0'], 2, 'usage'],
    [['--threads', 'all'], 2, 'usage'],
    [['--reduction', 'loose'], 2, 'usage'],
    [['--threads', '100000'], 1, 'executor-option'],
  ])('%j is refused', async (flags, exitCode, errorCode) => {
    const { code, stdout } = await quaver([...generate, ...flags, '--json']);
    expect([code, JSON.parse(stdout).error.code]).toEqual([exitCode, errorCode]);
  });
});

describe('export', () => {
  it('writes the codes and scales of the module, readable as a checkpoint', async () => {
    const output = at('exported');
    await quaverJson(['export', compiled, '-o', output]);
    const checkpoint = await openCheckpoint(output);
    await using module = await readModuleFile(compiled);
    const codes = module.parameters.filter(({ type }) => type.dtype === 'f8e4m3fn');
    expect(codes).toHaveLength(fp8Layers.length);
    for (const { name, data } of codes) {
      const stored = checkpoint.tensors.get(name)!.fp8!;
      expect(Buffer.from(await stored.readCodes())).toEqual(Buffer.from(await data!.read()));
      const scale = module.parameters.find((parameter) => parameter.name === `${name}_scale_inv`)!;
      const bytes = (await scale.data!.read()).slice();
      expect(await stored.readScale()).toEqual(new Float32Array(bytes.buffer));
    }
    const config = await checkpoint.assets.json('config.json');
    expect(config).toMatchObject({
      model_type: 'llama',
      quantization_config: {
        quant_method: 'fp8',
        weight_block_size: [128, 128],
        modules_to_not_convert: expect.arrayContaining([
          'model.layers.1.mlp.up_proj',
          'model.layers.1.self_attn.q_proj',
        ]),
      },
    });
    // Serving engines fuse q, k and v: those that the recipe kept are quantized with their neighbour.
    for (const part of ['k_proj', 'v_proj']) {
      const { fp8 } = checkpoint.tensors.get(`model.layers.0.self_attn.${part}.weight`)!;
      expect(fp8?.dtype).toBe('f8e4m3fn');
      expect(config!.quantization_config).not.toHaveProperty('modules_to_not_convert', expect.arrayContaining([part]));
    }
    await checkpoint.close();
  });

  it('comes back with the same bits', async () => {
    const recipe = at('every-linear.json');
    const block = builtInRecipes.get('fp8-block')!;
    writeFileSync(recipe, JSON.stringify({ ...block, keep: [{ match: 'lm_head', precision: 'bf16' }] }));
    const [first, again] = [at('every-linear.qvr'), at('round-trip.qvr')];
    await quaverJson(['compile', imported, '--recipe', recipe, '-o', first]);
    await quaverJson(['export', first, '-o', at('round-trip')]);
    await quaverJson(['import', at('round-trip'), '-o', again]);
    await quaverJson(['compile', again, '--recipe', recipe, '-o', at('round-trip.fp8.qvr')]);
    const score = (model: string) => quaverJson<Perplexity>(['eval', 'perplexity', model, '--text', at('text.txt')]);
    expect((await score(at('round-trip.fp8.qvr'))).nll).toBe((await score(first)).nll);
  });

  it('refuses a model that is not in FP8 blocks', async () => {
    await quaverJson(['compile', imported, '--recipe', 'fp8-row', '-o', at('rows.qvr')]);
    const { code, stdout } = await quaver(['export', at('rows.qvr'), '-o', at('nothing'), '--json']);
    expect([code, JSON.parse(stdout).error.code]).toEqual([1, 'export-not-fp8-block']);
  });

  it('compiles an imported model for FP8, and gives the same folder as after a compile', async () => {
    await quaverJson(['compile', imported, '--recipe', 'fp8-block', '-o', at('block.qvr')]);
    const counts = await quaverJson(['export', at('block.qvr'), '--format', 'hf-fp8', '-o', at('from-compiled')]);
    const direct = await quaverJson(['export', imported, '-o', at('from-imported')]);
    expect(direct).toEqual({ ...(counts as object), path: at('from-imported') });
    const tensors = (folder: string) => readFileSync(path.join(at(folder), 'model.safetensors'));
    expect(tensors('from-imported').equals(tensors('from-compiled'))).toBe(true);
  });

  it('writes an imported model in BF16, and no compiled one', async () => {
    const result = await quaverJson(['export', imported, '--format', 'hf-bf16', '-o', at('bf16')]);
    expect(result).toMatchObject({ path: at('bf16'), format: 'hf-bf16', tensors: expect.any(Number) });
    expect(readdirSync(at('bf16'))).toEqual(
      expect.arrayContaining(['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json']),
    );
    const { code, stdout } = await quaver(['export', compiled, '--format', 'hf-bf16', '-o', at('no'), '--json']);
    expect([code, JSON.parse(stdout).error.code]).toEqual([1, 'export-compiled']);
    expect(existsSync(at('no'))).toBe(false);
  });
});
