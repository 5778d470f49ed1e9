import { type Module, parseModule, printModule } from '@quaver/ir';
import { describe, expect, it } from 'vitest';
import { type CompileOptions, type CompileProgress, compile, formatReport, passes } from '../src/index.ts';
import { everyLinearFp8 } from './fixtures/every-linear-fp8.ts';
import { smallLlama } from './fixtures/small-llama.ts';

async function dump(options: Partial<CompileOptions> = {}) {
  const dumps: { index: number; name: string; text: string; changed: boolean }[] = [];
  const dumpIr = (index: number, name: string, text: string, changed: boolean) =>
    dumps.push({ index, name, text, changed });
  const result = await compile(smallLlama(), { recipe: 'fp8-block', dumpIr, ...options });
  return { ...result, dumps };
}

describe('the pipeline', () => {
  it('runs the passes in their order, twice where that helps, and none of them is nameless', () => {
    expect(passes.map(({ name }) => name)).toEqual([
      'verify',
      'canonicalize',
      'infer-shapes',
      'annotate-precision',
      'fold-constants',
      'cse',
      'dce',
      'fp8-lower',
      'fp8-fuse-scaled-dot',
      'cse',
      'dce',
      'fold-constants',
      'fuse',
      'partition',
      'legalize',
      'plan-memory',
      'emit',
    ]);
    for (const { name, description } of passes) {
      expect(name).toMatch(/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/);
      expect(description.length).toBeGreaterThan(20);
    }
  });

  it('gives dumps that are the same in every run and that parse', async () => {
    const [first, second] = [await dump(), await dump()];
    expect(second.dumps).toEqual(first.dumps);
    expect(first.dumps.map(({ index }) => index)).toEqual(passes.map((_, index) => index));
    for (const { text } of first.dumps) expect(printModule(parseModule(text))).toBe(text);
    expect(first.dumps.at(-1)!.text).toBe(printModule(first.module));
  });

  it('dumps only after changes when asked to, and says truly what changed', async () => {
    const all = await dump();
    const changed = await dump({ printChanged: true });
    expect(changed.dumps).toEqual(all.dumps.filter((step) => step.changed));
    let before = printModule(smallLlama());
    for (const step of all.dumps) {
      if (!step.changed) expect(step.text).toBe(before);
      else if (step.name !== 'emit') expect(step.text).not.toBe(before);
      before = step.text;
    }
  });

  it('runs each pass alone, on the imported module and on the module of the pass before', async () => {
    for (const { name } of passes) await compile(smallLlama(), { recipe: 'fp8-block', only: [name] });
    let module: Module = smallLlama();
    for (const { name } of passes) ({ module } = await compile(module, { recipe: 'fp8-block', only: [name] }));
    // One at a time gives what all together give.
    const { module: together } = await compile(smallLlama(), { recipe: 'fp8-block' });
    expect(printModule(module)).toBe(printModule(together));
  });

  it('stops after a pass and leaves passes out', async () => {
    const stopped = await dump({ stopAfter: 'fp8-lower' });
    expect(stopped.report.passes.at(-1)!.name).toBe('fp8-lower');
    expect(stopped.module.functions[0]!.nodes.some((node) => node.op === 'scaled_dot')).toBe(false);
    const without = await dump({ disable: ['fuse', 'plan-memory'] });
    expect(without.report.passes.map(({ name }) => name)).not.toContain('fuse');
    expect(without.module.functions[0]!.plan).toBeUndefined();
    expect(without.module.functions[0]!.nodes.some((node) => node.op === 'swiglu')).toBe(false);
  });

  it('refuses passes and recipes that do not exist', async () => {
    for (const options of [{ only: ['fuze'] }, { disable: ['fuze'] }, { stopAfter: 'fuze' }]) {
      await expect(compile(smallLlama(), { recipe: 'bf16', ...options })).rejects.toMatchObject({
        code: 'pass-unknown',
        hint: expect.stringContaining('fp8-fuse-scaled-dot'),
      });
    }
    await expect(compile(smallLlama(), { recipe: 'bf17' })).rejects.toMatchObject({ code: 'recipe-unknown' });
  });

  it('does not change the module it is given', async () => {
    const module = smallLlama();
    const before = printModule(module);
    await compile(module, { recipe: 'fp8-block' });
    expect(printModule(module)).toBe(before);
  });

  it('verifies what it is given', async () => {
    const module = smallLlama();
    const [fn, ...rest] = module.functions;
    const broken = { ...module, functions: [{ ...fn!, nodes: fn!.nodes.toReversed() }, ...rest] };
    await expect(compile(broken, { recipe: 'bf16' })).rejects.toMatchObject({
      code: expect.stringMatching(/^verify-/),
    });
  });

  it('reports progress that only grows, and ends it', async () => {
    const events: CompileProgress[] = [];
    await compile(smallLlama(), { recipe: 'fp8-block', onProgress: (event) => events.push(event) });
    for (const type of ['pass', 'weights']) {
      const done = events.filter((event) => event.type === type);
      expect(done.map((event) => event.done)).toEqual(done.map((_, i) => i));
      expect(done.at(-1)!.done).toBe(done.at(-1)!.total);
    }
  });

  it('stops when it is aborted, also while weights are evaluated', async () => {
    const early = AbortSignal.abort(new Error('no'));
    await expect(compile(smallLlama(), { recipe: 'bf16', signal: early })).rejects.toThrow('no');
    const controller = new AbortController();
    const onProgress = (event: CompileProgress) =>
      event.type === 'weights' && event.done === 3 && controller.abort(new Error('enough'));
    await expect(compile(smallLlama(), { recipe: 'fp8-block', signal: controller.signal, onProgress })).rejects.toThrow(
      'enough',
    );
  });
});

describe('a target', () => {
  it('is asked about every node: claimed, expanded or refused, with its reason', async () => {
    const supports = (node: { op: string }) =>
      node.op === 'swiglu' || node.op === 'rms_norm'
        ? ({ ok: false, code: 'no-kernel', reason: `no ${node.op} here` } as const)
        : ({ ok: true, native: node.op !== 'scaled_dot' } as const);
    const { module, report } = await compile(smallLlama(), { recipe: everyLinearFp8, target: { supports } });
    const rows = report.assignments.filter((row) => row.function === 'decode');
    expect(rows.find((row) => row.op === 'swiglu')).toEqual({
      function: 'decode',
      op: 'swiglu',
      nodes: 2,
      answer: 'expanded',
      reason: 'no swiglu here',
    });
    expect(rows.find((row) => row.op === 'scaled_dot')).toMatchObject({ answer: 'emulated', nodes: 14 });
    const ops = new Set(module.functions.flatMap((fn) => fn.nodes.map((node) => node.op)));
    expect([ops.has('swiglu'), ops.has('rms_norm'), ops.has('attention')]).toEqual([false, false, true]);
    const refuse = () => ({ ok: false, code: 'nothing', reason: 'runs nothing' }) as const;
    await expect(compile(smallLlama(), { recipe: 'f32', target: { supports: refuse } })).rejects.toMatchObject({
      code: 'node-unsupported',
    });
  });
});

describe('the report', () => {
  it('counts linear layers that are kept, but not lm_head, into the size of linear weights', async () => {
    const { report } = await compile(smallLlama({ dtype: 'f32' }), { recipe: 'fp8-block' });
    // Layer 0 without k and v in FP8: q, o, gate, up, down; the rest of both layers in BF16.
    const fp8 = 144 * 144 * 2 + 200 * 144 * 3;
    const scales = (4 + 4 + 4 + 4 + 4) * 4;
    const kept = 2 * (144 * 144 * 2 + 48 * 144 * 2 + 200 * 144 * 3) - fp8;
    const bf16_bytes = 2 * (fp8 + kept);
    const bytes = fp8 + scales + 2 * kept;
    expect(report.linear_weights).toEqual({ count: 14, bytes, bf16_bytes, ratio: bytes / bf16_bytes });
  });

  it('is JSON, adds up, and counts what the module has', async () => {
    const { module, report } = await compile(smallLlama({ dtype: 'f32' }), { recipe: everyLinearFp8 });
    const json = JSON.parse(JSON.stringify(report));
    expect(json).toMatchObject({ recipe: 'fp8-block', rowInvariant: true, not_lowered: [], assignments: [] });
    expect(json.linears).toHaveLength(14);
    expect(json.linears[0]).toMatchObject({
      location: 'model.layers.0.self_attn.q_proj',
      functions: ['prefill', 'decode', 'logprobs'],
      precision: 'f8e4m3fn[1,128] x f8e4m3fn[128,128]',
      input_scale: 'dynamic',
      weight: 'model.layers.0.self_attn.q_proj.weight',
      weight_bytes: 144 * 144,
      statistics: { count: 144 * 144, saturated: 0, non_finite: 0 },
    });
    let bytes = 0;
    for (const { data } of module.parameters) bytes += (await data!.read()).byteLength;
    expect(report.bytes.after.total).toBe(bytes);
    const elements = 2 * (144 * 144 * 2 + 48 * 144 * 2 + 200 * 144 * 3);
    const scales = 2 * (4 + 2 + 2 + 4 + 4 + 4 + 4) * 4;
    expect(report.fp8_weights).toEqual({
      count: 14,
      bytes: elements + scales,
      bf16_bytes: 2 * elements,
      ratio: (elements + scales) / (2 * elements),
    });
    expect(report.linear_weights).toEqual(report.fp8_weights);
    const nodes = module.functions.reduce((total, fn) => total + fn.nodes.length, 0);
    expect(report.passes.at(-1)!.nodes_after).toBe(nodes);
    for (const [i, pass] of report.passes.entries())
      if (i > 0) expect(pass.nodes_before).toBe(report.passes[i - 1]!.nodes_after);
  });

  it('reads well: a summary, then tables with a row per layer', async () => {
    const { report } = await compile(smallLlama(), { recipe: everyLinearFp8 });
    const text = formatReport(report);
    const [first, second] = text.split('\n');
    expect(first).toBe('recipe fp8-block; 14 linear layers, 2 kept, 0 not lowered');
    expect(second).toMatch(/^row-invariant: yes \(/);
    for (const { location } of report.linears) expect(text).toMatch(new RegExp(`^  ${location} +f8e4m3fn.* dB$`, 'm'));
    expect(text).toMatch(/^ {2}lm_head +linear +bf16 +rule: lm_head$/m);
    expect(text).toMatch(/^ {2}model\.embed_tokens +embedding +bf16 +rule: embedding$/m);
    expect(text).toMatch(/^ {2}2 nodes +bf16, keys and values bf16 +prefill, decode, logprobs$/m);
    for (const { name } of passes) expect(text).toMatch(new RegExp(`^  ${name} +\\d+\\.\\d +\\d+ +\\d+$`, 'm'));
    expect(text).not.toMatch(/[ \t]$/m);
  });
});
