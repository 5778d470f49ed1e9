/** @file onnxruntime, native (`onnxruntime-node`) or in WebAssembly (`onnxruntime-web`): one matrix product. */
import { importPeer } from '../peers.mjs';
import { onnxProduct } from './onnx-model.mjs';
import { medianTime } from './repeat.mjs';

export async function open({ runtime, kind, m, n, k, threads }) {
  const { default: module, ...names } = await importPeer(runtime);
  const ort = names.InferenceSession ? names : module;
  if (runtime === 'onnxruntime-web') ort.env.wasm.numThreads = threads;
  const session = await ort.InferenceSession.create(onnxProduct({ kind, m, n, k }), {
    ...(runtime === 'onnxruntime-web'
      ? { executionProviders: ['wasm'] }
      : { intraOpNumThreads: threads, interOpNumThreads: 1 }),
  });
  const x = new ort.Tensor('float32', new Float32Array(m * k).fill(0.5), [m, k]);
  const call = () => session.run({ x });
  const measures = {
    gflops: async () => (2 * m * n * k) / (await medianTime(call)) / 1e6,
    gbs: async () => ((kind === 'f32' ? 4 : 1) * n * k) / (await medianTime(call)) / 1e6,
  };
  return {
    measure: (what) => measures[what](),
    details: () => ({ threads }),
    close: () => session.release(),
  };
}
