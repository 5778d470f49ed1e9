/**
 * @file Prints GFLOP/s and GB/s of the kernels on the shapes of SmolLM2-135M, one thread, best of many runs.
 *
 *   node --conditions=@quaver/source packages/executor-cpu/bench/kernels.mjs [seconds per line, default 0.5]
 *
 * Needs a Node that strips types (24). GB/s counts the weights (or the cache) once; the figures assert nothing.
 */
import { bf16, f8e4m3fn } from '@quaver/numerics';
import { loadKernels } from '../src/kernels.ts';

const seconds = Number(process.argv[2] ?? 0.5);
const kernels = await loadKernels();
let end = kernels.heapBase;

function allocate(bytes) {
  const at = end;
  end += Math.ceil(bytes / 64) * 64;
  kernels.reserve(end);
  return at;
}

const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
const sample = Float32Array.from({ length: 65536 }, normal);
const element = {
  f32: { array: Float32Array, of: (x) => x },
  bf16: { array: Uint16Array, of: (x) => bf16.encode(x) },
  f8e4m3fn: { array: Uint8Array, of: (x) => f8e4m3fn.encode(x * 100) },
};

/** Offset of `count` normally distributed elements. */
function random(format, count) {
  const { array, of } = element[format];
  const some = array.from(sample, of);
  const at = allocate(count * array.BYTES_PER_ELEMENT);
  const target = new array(kernels.memory.buffer, at, count);
  for (let i = 0; i < count; i += some.length) target.set(some.subarray(0, Math.min(some.length, count - i)), i);
  return at;
}

function report(name, flops, bytes, run) {
  let best = Infinity;
  for (const stop = performance.now() + seconds * 1000; performance.now() < stop; ) {
    const start = performance.now();
    run();
    best = Math.min(best, performance.now() - start);
  }
  const figures = [
    `${best.toFixed(3)} ms`,
    `${(flops / best / 1e6).toFixed(1)} GFLOP/s`,
    `${(bytes / best / 1e6).toFixed(1)} GB/s`,
  ];
  console.log(name.padEnd(44), ...figures.map((figure) => figure.padStart(15)));
}

function gemm(format, m, n, k) {
  const start = end;
  const size = element[format].array.BYTES_PER_ELEMENT;
  const packed = allocate(kernels.packedBytes(format, n, k));
  kernels.packWeights(format, random(format, n * k), packed, k, 0, n);
  const scratch = allocate(kernels.gemmScratchBytes(m, k));
  const g = { a: random(format, m * k), packed, out: allocate(4 * m * n), scratch, m, n, k };
  const blocks = Math.ceil(k / 128);
  const fp8 = {
    ...{ aFormat: 'f8e4m3fn', wFormat: 'f8e4m3fn', blockK: 128, blockN: 128 },
    ...{ aScales: random('f32', m * blocks), wScales: random('f32', Math.ceil(n / 128) * blocks) },
  };
  const run = {
    f32: () => kernels.gemmF32(g),
    bf16: () => kernels.gemmBf16(g),
    f8e4m3fn: () => kernels.gemmFp8({ ...g, ...fp8 }),
  }[format];
  report(`gemm ${format} m=${m} n=${n} k=${k}`, 2 * m * n * k, n * k * size, run);
  end = start;
}

function attention(cache, t, s) {
  const start = end;
  const [qHeads, kvHeads, d] = [9, 3, 64];
  const count = s * kvHeads * d;
  const scales = allocate(s * kvHeads);
  new Uint8Array(kernels.memory.buffer, scales, s * kvHeads).fill(120);
  const position = allocate(4);
  new Int32Array(kernels.memory.buffer, position, 1)[0] = s - t;
  const x = {
    ...{ cache, b: 1, t, s, qHeads, kvHeads, d, scale: 0.125, kScales: scales, vScales: scales, start: position },
    ...{ q: random('bf16', t * qHeads * d), k: random(cache, count), v: random(cache, count) },
    ...{ out: allocate(4 * t * qHeads * d), scratch: allocate(kernels.attentionScratchBytes(s, d)) },
  };
  const scores = qHeads * t * (s - (t - 1) / 2);
  const bytes = 2 * count * element[cache].array.BYTES_PER_ELEMENT;
  report(`attention ${cache} t=${t} s=${s}`, 4 * scores * d, bytes, () => kernels.attention(x));
  end = start;
}

function rows(name, count, n, run) {
  const start = end;
  const [x, y, out] = [random('f32', count * n), random('f32', count * n), allocate(8 * count * n)];
  report(`${name} ${count} × ${n}`, count * n, 4 * count * n, () => run(x, y, out, count, n));
  end = start;
}

for (const m of [1, 8, 256]) {
  for (const [n, k] of [
    [576, 576],
    [192, 576],
    [1536, 576],
    [576, 1536],
  ])
    gemm('f8e4m3fn', m, n, k);
  gemm('bf16', m, 1536, 576);
  gemm('f32', m, 1536, 576);
  gemm('bf16', m, 49152, 576);
}
for (const cache of ['bf16', 'f8e4m3fn'])
  for (const [t, s] of [
    [1, 500],
    [1, 2000],
    [256, 256],
    [256, 2000],
  ])
    attention(cache, t, s);
rows('rms_norm', 256, 576, (x, y, out, count, n) => kernels.rmsNorm(x, y, out, count, n, 1e-5));
rows('log_softmax', 8, 49152, (x, _, out, count, n) => kernels.logSoftmax(x, out, count, n));
rows('swiglu', 256, 1536, (x, y, out, count, n) => kernels.swiglu(x, y, out, count * n));
rows('quantize 1×128', 256, 1536, (x, _, out, count, n) =>
  kernels.quantizeRows('f8e4m3fn', x, out, out + count * n, count, n, 128, 'pow2_up'),
);
