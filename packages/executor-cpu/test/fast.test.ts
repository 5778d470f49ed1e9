/** @file `reduction: 'fast'`: other sums, nearly the same results. */
import { Session } from '@quaver/executor';
import type { HostTensor } from '@quaver/ir';
import { describe, expect, test } from 'vitest';
import { cpuPlugin } from '../src/index.ts';
import { GraphCase, randomSource, randomTensor } from './same-bits.ts';

/** Normal values in one magnitude, as activations are. */
function smooth(random: () => number, shape: readonly number[]): HostTensor {
  const tensor = randomTensor(random, 'f32', shape);
  for (let i = 0; i < tensor.data.length; i++) tensor.data[i] = random() + random() + random() - 1.5;
  return tensor;
}

const graphs: Readonly<Record<string, (graph: GraphCase, random: () => number) => void>> = {
  dot_general: (graph, random) => {
    const x = graph.input('x', smooth(random, [7, 900]));
    const w = graph.parameter('w', smooth(random, [70, 900]));
    graph.g.output('y', graph.g.op('dot_general', [x, w], { lhs_contract: [1], rhs_contract: [1] }));
  },
  'dot_general of BF16': (graph, random) => {
    const { g } = graph;
    const [x, w] = [graph.input('x', smooth(random, [7, 900])), graph.input('w', smooth(random, [70, 900]))];
    const half = [x, w].map((value) => g.op('convert', [value], { to: 'bf16' }));
    g.output('y', g.op('dot_general', half, { lhs_contract: [1], rhs_contract: [1] }));
  },
  scaled_dot: (graph, random) => {
    const { g } = graph;
    const block = [1, 128];
    const quantized = (name: string, rows: number) => {
      const x = graph.input(name, smooth(random, [rows, 900]));
      const scale = g.op('compute_scale', [g.op('amax', [x], { block })], { max: 448, rounding: 'pow2_up', to: 'f32' });
      return [g.op('quantize', [x, scale], { to: 'f8e4m3fn', block }), scale] as const;
    };
    const [[x, xs], [w, ws]] = [quantized('x', 7), quantized('w', 70)];
    const attributes = { lhs_block: block, rhs_block: block, lhs_contract: [1], rhs_contract: [1] };
    g.output('y', g.op('scaled_dot', [x, w, xs, ws], attributes));
  },
  attention: (graph, random) => {
    const { g } = graph;
    const operands = (['q', 'k', 'v'] as const).map((name) => {
      const x = graph.input(name, smooth(random, name === 'q' ? [2, 30, 6, 64] : [2, 150, 2, 64]));
      return g.op('convert', [x], { to: 'bf16' });
    });
    const position = graph.input('position', randomTensor(random, 'i32', [2], 120));
    g.output('y', g.op('attention', [...operands, position], { scale: 0.125, window: 0, probs: 'bf16' }));
  },
  'attention of f32': (graph, random) => {
    const { g } = graph;
    const operands = (['q', 'k', 'v'] as const).map((name) =>
      graph.input(name, smooth(random, name === 'q' ? [2, 30, 6, 64] : [2, 150, 2, 64])),
    );
    const position = graph.input('position', randomTensor(random, 'i32', [2], 120));
    g.output('y', g.op('attention', [...operands, position], { scale: 0.125, window: 40, probs: 'f32' }));
  },
  rows: (graph, random) => {
    const { g } = graph;
    const x = graph.input('x', smooth(random, [9, 1000]));
    g.output('rms_norm', g.op('rms_norm', [x, graph.parameter('w', smooth(random, [1000]))], { eps: 1e-5 }));
    g.output('softmax', g.op('softmax', [x], { axis: 1 }));
    g.output('log_softmax', g.op('log_softmax', [x], { axis: 1 }));
    const targets = graph.input('targets', randomTensor(random, 'i32', [9], 1000));
    g.output('log_softmax_gather', g.op('log_softmax_gather', [x, targets]));
  },
};

/** Probabilities are rounded to BF16 before they are divided by their sum, not after: some fall on the other side. */
const leastSnr = (name: string) => (name === 'attention' ? 45 : 80);

/** Signal to noise in dB. */
function snr(expected: HostTensor['data'], found: HostTensor['data']): number {
  let [signal, noise] = [0, 0];
  for (const [i, value] of expected.entries()) {
    signal += value ** 2;
    noise += (value - found[i]!) ** 2;
  }
  return 10 * Math.log10(signal / noise);
}

describe.each(['native', 'wasm'])('on the device %s', (device) => {
  test.each(Object.entries(graphs))(
    '%s: close to the canonical order, and the same at every run',
    async (what, build) => {
      const graph = new GraphCase();
      build(graph, randomSource(12));
      const module = graph.module();
      const run = async (reduction: 'canonical' | 'fast', threads: number) => {
        await using executor = await cpuPlugin.open({ device, threads, reduction });
        await using session = await Session.open(module, executor);
        return session.run('main', graph.inputs);
      };
      const canonical = await run('canonical', 1);
      const fast = await run('fast', 1);
      for (const [name, { data }] of Object.entries(canonical))
        expect(snr(data, fast[name]!.data), name).toBeGreaterThan(leastSnr(what));
      expect(await run('fast', 1)).toEqual(fast);
      if (device === 'native') expect(await run('fast', 3)).toEqual(fast);
    },
  );
});
