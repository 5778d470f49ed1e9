/** @file Packed sequences that begin at multiples of 128 have the bits that they have alone, and so have their gradients. */
import { bf16 } from '@quaver/numerics';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, it } from 'vitest';
import { formatCode } from '../src/engine/engine.ts';
import { engineKinds } from './engines.ts';
import { Arena, type At, expectSameBits, Random } from './kernels-arena.ts';

const d = 8;

interface Shape {
  readonly dtype: 'f32' | 'bf16';
  readonly group: number;
  readonly kvHeads: number;
  readonly window: number;
}

type Data = Float32Array | Uint16Array;

interface Row {
  readonly t: number;
  readonly q: Data;
  readonly k: Data;
  readonly v: Data;
  readonly dy: Float32Array;
  readonly firstKey?: Int32Array;
}

function randomRow(random: Random, t: number, { dtype, group, kvHeads }: Shape): Row {
  const tensor = (heads: number): Data => {
    const values = random.f32s(t * heads * d, () => random.normal());
    return dtype === 'f32' ? values : Uint16Array.from(values, (x) => bf16.encode(x));
  };
  const dy = random.f32s(t * group * kvHeads * d, () => random.normal());
  return { t, q: tensor(group * kvHeads), k: tensor(kvHeads), v: tensor(kvHeads), dy };
}

/** Sequences one after the other in a row, each from the next multiple of 128 on; what is between them belongs to the one before. */
function pack(sequences: readonly Row[], random: Random, shape: Shape): Row {
  const starts: number[] = [];
  let end = 0;
  for (const { t } of sequences) {
    starts.push(Math.ceil(end / 128) * 128);
    end = starts.at(-1)! + t;
  }
  const row = randomRow(random, end, shape);
  const firstKey = new Int32Array(end);
  sequences.forEach((sequence, i) => {
    const start = starts[i]!;
    for (const name of ['q', 'k', 'v', 'dy'] as const) {
      row[name].set(sequence[name], (start * row[name].length) / end);
    }
    firstKey.fill(start, start, starts[i + 1] ?? end);
  });
  return { ...row, firstKey };
}

/** y, dq, dk and dv of one row, each [T, heads, d]. */
async function run(arena: Arena, { t, q, k, v, dy, firstKey }: Row, { dtype, group, kvHeads, window }: Shape) {
  arena.reset();
  const place = (data: Data | Int32Array): At => arena.put(data);
  const inputs = [place(q), place(k), place(v), undefined, undefined, place(new Int32Array(1))];
  const first = firstKey && place(firstKey);
  const outputs = [q, q, k, v].map(({ length }) => ({ at: arena.bytes(4 * length), length }));
  const [y, dq, dk, dv] = outputs.map(({ at }) => at);
  const code = formatCode[dtype];
  const numbers = [0, code, code, 1, t, t, group * kvHeads, kvHeads, d, window, 0.35];
  await arena.run(
    ['attention', [...inputs, y, first, undefined], [...numbers, 0, 0]],
    ['attention_grad', [...inputs, place(dy), dq, dk, dv, first], numbers],
  );
  arena.expectCanariesIntact();
  return outputs.map(({ at, length }) => arena.f32(at, length));
}

describe.each(engineKinds)('$name', (kind) => {
  let arena: Arena;
  beforeAll(async () => {
    arena = await Arena.open(kind);
  });
  afterAll(() => arena.close());
  beforeEach(() => arena.reset());

  it('gives packed sequences and their gradients the bits that they have alone', async () => {
    const shape = fc.record<Shape>({
      dtype: fc.constantFrom('f32', 'bf16'),
      group: fc.integer({ min: 1, max: 3 }),
      kvHeads: fc.integer({ min: 1, max: 2 }),
      window: fc.constantFrom(0, 0, 20),
    });
    const lengths = fc.array(fc.integer({ min: 1, max: 150 }), { minLength: 2, maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(shape, lengths, fc.nat(), async (of, tokens, seed) => {
        const random = new Random(seed);
        const sequences = tokens.map((t) => randomRow(random, t, of));
        const row = pack(sequences, random, of);
        const packed = await run(arena, row, of);
        let end = 0;
        for (const sequence of sequences) {
          const start = Math.ceil(end / 128) * 128;
          end = start + sequence.t;
          const isLast = sequence === sequences.at(-1);
          // Queries behind a sequence that is not the last one see its keys: dk and dv take them in.
          const alone = await run(arena, sequence, of);
          for (const [i, name] of ['y', 'dq', 'dk', 'dv'].entries()) {
            if (i >= 2 && !isLast) continue;
            const width = packed[i]!.length / row.t;
            expectSameBits(packed[i]!.subarray(start * width, end * width), alone[i]!, name);
          }
        }
      }),
      { numRuns: 12, seed: 7 },
    );
  });
});
