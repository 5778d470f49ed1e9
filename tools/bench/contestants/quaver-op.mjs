/**
 * @file One matrix product on a Quaver executor, as it stands in a compiled model, and the roofline of the machine measured in the
 * same process. Weights have the distribution of real ones.
 */
import { nodeView } from '../../../packages/executor/dist/index.js';
import { cpuPlugin } from '../../../packages/executor-cpu/dist/index.js';
import { GraphBuilder, legalizeFunction, memoryData, planMemory } from '../../../packages/ir/dist/index.js';
import { bf16, f8e4m3fn } from '../../../packages/numerics/dist/index.js';
import { loadRoofline } from '../roofline.mjs';
import { medianTime } from './repeat.mjs';

const FORMATS = {
  fp8: { dtype: 'f8e4m3fn', bytes: 1, encode: (x) => f8e4m3fn.encode(x * 100), array: Uint8Array },
  bf16: { dtype: 'bf16', bytes: 2, encode: (x) => bf16.encode(x), array: Uint16Array },
  f32: { dtype: 'f32', bytes: 4, encode: (x) => x, array: Float32Array },
};

const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

/** Bytes of `count` normally distributed elements, a sample repeated. */
function randomBytes({ encode, array }, count) {
  const sample = array.from({ length: Math.min(count, 1 << 20) }, () => encode(normal()));
  const all = new array(count);
  for (let at = 0; at < count; at += sample.length)
    all.set(sample.subarray(0, Math.min(sample.length, count - at)), at);
  return new Uint8Array(all.buffer);
}

const scales = (count) => new Uint8Array(new Float32Array(count).fill(2 ** -7).buffer);

/** y[m,n] = x[m,k] · w[n,k]ᵀ with its data: FP8 has scales of 1×128 and 128×128, as in the recipe fp8-block. */
function product({ kind, m, n, k }) {
  const format = FORMATS[kind];
  const kBlocks = Math.ceil(k / 128);
  const nBlocks = Math.ceil(n / 128);
  const inputs = { x: [format.dtype, [m, k], randomBytes(format, m * k)] };
  const weights = { w: [format.dtype, [n, k], randomBytes(format, n * k)] };
  if (kind === 'fp8') {
    inputs.x_scale = ['f32', [m, kBlocks], scales(m * kBlocks)];
    weights.w_scale = ['f32', [nBlocks, kBlocks], scales(nBlocks * kBlocks)];
  }
  const g = new GraphBuilder('main');
  const operand = Object.fromEntries([
    ...Object.entries(inputs).map(([name, [dtype, shape]]) => [name, g.input(name, dtype, shape)]),
    ...Object.entries(weights).map(([name, [dtype, shape, bytes]]) => [
      name,
      g.parameter({ name, type: { dtype, shape }, data: memoryData(bytes), trainable: true }),
    ]),
  ]);
  const contract = { lhs_contract: [1], rhs_contract: [1] };
  const y =
    kind === 'fp8'
      ? g.op('scaled_dot', [operand.x, operand.w, operand.x_scale, operand.w_scale], {
          ...contract,
          ...{ lhs_block: [1, 128], rhs_block: [128, 128] },
        })
      : g.op('dot_general', [operand.x, operand.w], contract);
  g.output('y', y);
  return { fn: g.finish(), inputs, weights, weightBytes: n * k * format.bytes };
}

/** Uploads `[dtype, shape, bytes]` by name. */
async function uploaded(executor, tensors, usage) {
  const buffers = {};
  for (const [name, [, , bytes]] of Object.entries(tensors)) {
    buffers[name] = executor.allocate(bytes.byteLength, usage);
    await executor.upload(buffers[name], bytes);
  }
  return buffers;
}

export async function open({ kind, m, n, k, ...executorOptions }) {
  const executor = await cpuPlugin.open(executorOptions);
  const { fn, inputs, weights, weightBytes } = product({ kind, m, n, k });
  const legal = planMemory(legalizeFunction(fn, (node) => executor.supports(nodeView(node))));
  const program = await executor.compile(legal);
  const parameters = await uploaded(executor, weights, 'parameter');
  await executor.prepare?.(program, parameters);
  const bindings = {
    symbols: {},
    parameters,
    inputs: await uploaded(executor, inputs, 'input'),
    states: {},
    outputs: { y: executor.allocate(4 * m * n, 'output') },
  };

  const call = () => executor.wait(executor.submit(program, bindings));
  /** With the copies in and out that other runtimes' calls include. */
  async function callWithCopies() {
    for (const [name, [, , bytes]] of Object.entries(inputs)) await executor.upload(bindings.inputs[name], bytes);
    await call();
    await executor.download(bindings.outputs.y);
  }
  const operations = 2 * m * n * k;
  const rate = async (of, amount) => amount / (await medianTime(of)) / 1e6;
  const { threads = 1 } = executorOptions;
  const limits = { fma_gflops: 0, bf16_gflops: 0, read_gbs: 0 };
  let roofline;
  function peak() {
    roofline ??= loadRoofline();
    limits.fma_gflops = roofline.fmaGflops(threads);
    limits.bf16_gflops = roofline.bf16Gflops(threads);
    return Math.max(limits.fma_gflops, limits.bf16_gflops);
  }
  function bandwidth() {
    roofline ??= loadRoofline();
    limits.read_gbs = roofline.readGBs(threads);
    return limits.read_gbs;
  }
  const measures = {
    gflops: () => rate(call, operations),
    gbs: () => rate(call, weightBytes),
    'gflops-with-copies': () => rate(callWithCopies, operations),
    peak,
    bandwidth,
    /** GFLOP/s that this product can have at most. */
    bound: () => Math.min(peak(), (bandwidth() * operations) / weightBytes),
  };
  return {
    measure: async (what) => measures[what](),
    details: () => ({
      executor: { name: executor.device.name, ...executor.device.details },
      ...(roofline ? { last_measured_limits: limits } : {}),
    }),
    async close() {
      program.dispose();
      await executor[Symbol.asyncDispose]();
    },
  };
}
