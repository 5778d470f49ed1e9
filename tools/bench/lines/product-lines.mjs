/** @file Matrix products against the measured limits of the machine and against onnxruntime; WebAssembly; the limits themselves. */
import { model, op, roofline, threadsText } from './line.mjs';

/** Weights of 512 MiB and more: no cache holds them. */
const FAR = { k: 4096, n: 131072 };

const limitLines = (threads) =>
  [
    ['read', 'GB/s', 'memory read, far past the caches'],
    ['copy', 'GB/s', 'memory copied, bytes read and written'],
    ['fma', 'GFLOP/s', 'f32 fused multiply-adds'],
    ['bf16', 'GFLOP/s', 'vdpbf16ps; 0 where the processor has none'],
  ].map(([what, unit, title]) => ({
    ...{ id: `roofline.${what}.t${threads}`, unit, group: `roofline.t${threads}`, threads },
    title: `${title}, ${threadsText(threads)}`,
    ours: roofline(what, threads),
  }));

const gemmLine = (threads, kind, label, shape, target) => {
  const options = { kind, ...shape, threads };
  return {
    ...{
      id: `gemm.${kind}.${label}.t${threads}`,
      unit: 'GFLOP/s',
      group: `gemm.${kind}.${label}.t${threads}`,
      threads,
    },
    title: `${kind} product ${shape.m}×${shape.k}×${shape.n}, ${threadsText(threads)}`,
    ours: op(options, 'gflops'),
    against: op(options, 'peak'),
    peer: 'measured peak (the larger of f32 FMA and vdpbf16ps)',
    target,
  };
};

const smallBatchLine = (threads, m) => {
  const options = { kind: 'fp8', m, ...FAR, threads };
  return {
    ...{ id: `gemm.fp8.m${m}.t${threads}`, unit: 'GFLOP/s', group: `gemm.m${m}.t${threads}`, threads },
    title: `fp8 product of ${m} rows with ${FAR.n}×${FAR.k} weights, ${threadsText(threads)}`,
    ours: op(options, 'gflops'),
    against: op(options, 'bound'),
    peer: 'measured peak or read bandwidth, whichever binds',
    target: 0.6,
    binds: { rows: m },
  };
};

const gemvLine = (threads, kind) => {
  const options = { kind, m: 1, ...(kind === 'fp8' ? FAR : { ...FAR, n: FAR.n / 2 }), threads };
  return {
    ...{ id: `gemv.${kind}.t${threads}`, unit: 'GB/s', group: `gemv.${kind}.t${threads}`, threads },
    title: `${kind} product of one row with 512 MiB of weights, ${threadsText(threads)}`,
    ours: op(options, 'gbs'),
    against: op(options, 'bandwidth'),
    peer: 'measured read bandwidth',
    target: 0.85,
  };
};

const onnxLine = (threads, kind, label, shape, { runtime, peerKind, device, target }) => {
  const wasm = device === 'wasm';
  const vs = wasm ? '' : peerKind === 'f32' ? '-vs-onnxruntime' : '-vs-onnxruntime-nbits8';
  const id = wasm ? `wasm.${label}.${kind}.t${threads}` : `${label}.${kind}${vs}.t${threads}`;
  return {
    ...{ id, unit: 'GFLOP/s', group: id, threads, needsPeers: true, target },
    title: `${kind} product ${shape.m}×${shape.k}×${shape.n}${wasm ? ' in WebAssembly' : ''}, operands copied in and out, ${threadsText(threads)}`,
    ours: op({ kind, ...shape, threads, ...(device ? { device } : {}) }, 'gflops-with-copies'),
    against: { module: 'onnxruntime', options: { runtime, kind: peerKind, ...shape, threads }, what: 'gflops' },
    peer: `${runtime} ${peerKind === 'f32' ? 'MatMul f32' : 'MatMulNBits, 8 bits'}`,
  };
};

const square = { m: 1024, n: 1024, k: 1024 };
const row = { m: 1, k: 4096, n: 11008 };
const native = { runtime: 'onnxruntime-node' };
const web = { runtime: 'onnxruntime-web', peerKind: 'f32', device: 'wasm', target: 1.2 };

const linesFor = (threads) => [
  ...limitLines(threads),
  gemmLine(threads, 'fp8', '1024', square, 0.8),
  gemmLine(threads, 'fp8', '512x4096x4096', { m: 512, k: 4096, n: 4096 }, 0.8),
  gemmLine(threads, 'bf16', '1024', square),
  gemmLine(threads, 'f32', '1024', square),
  gemvLine(threads, 'fp8'),
  gemvLine(threads, 'bf16'),
  smallBatchLine(threads, 8),
  smallBatchLine(threads, 32),
  onnxLine(threads, 'f32', 'gemm', square, { ...native, peerKind: 'f32' }),
  onnxLine(threads, 'fp8', 'gemm', square, { ...native, peerKind: 'nbits8' }),
  onnxLine(threads, 'fp8', 'gemv', row, { ...native, peerKind: 'nbits8' }),
  onnxLine(threads, 'f32', 'matmul', square, web),
];

const wasmDecode = {
  id: 'wasm.decode.fp8-vs-bf16',
  title: 'decoding in WebAssembly, fp8 against our own BF16, 1 thread',
  ...{ unit: 'tokens/s', group: 'wasm.decode', threads: 1 },
  ours: model('fp8', 'decode-greedy', { threads: 1, device: 'wasm' }),
  against: model('bf16', 'decode-greedy', { threads: 1, device: 'wasm' }),
  peer: 'quaver bf16, WebAssembly',
  target: 0.95,
  binds: {
    text: 'where reading does not bind, decoding FP8 to f32 takes ten instructions for sixteen numbers, BF16 six',
  },
};

export const productLines = [...[1, 2].flatMap(linesFor), wasmDecode];
