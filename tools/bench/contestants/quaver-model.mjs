/** @file Quaver with a whole model: decoding, prefill, batched decoding, perplexity, greedy tokens. */
import { cpuPlugin } from '../../../packages/executor-cpu/dist/index.js';
import { generate, ModelCalls, resolveSampling, sampleToken } from '../../../packages/generate/dist/index.js';
import { evaluatePerplexity, openSession, readModule } from '../../../packages/sdk/dist/node.js';
import { prose, quaverFile } from '../models.mjs';
import { BATCH_DECODE_TOKENS, BATCH_PROMPT_TOKENS, DECODE_TOKENS, prompts, SAMPLING } from './workload.mjs';

/** Bytes of the parameters that a decoding step reads as a whole: a table of which it picks a row is not one. */
function bytesPerToken(module) {
  const decode = module.functions.find(({ name }) => name === 'decode');
  if (!decode) return undefined;
  const read = new Set(decode.nodes.filter(({ op }) => op !== 'gather').flatMap(({ operands }) => operands));
  const names = new Set(decode.parameters.filter((value) => read.has(value)).map(({ ref }) => ref));
  return module.parameters.reduce((sum, { name, data }) => (names.has(name) ? sum + data.byteLength : sum), 0);
}

const now = () => performance.now();

/** `model` is a name in models.mjs; the rest goes to the executor: threads, device, reduction. */
export async function open({ model, functions = ['prefill', 'decode'], ...executorOptions }) {
  const file = await readModule(await quaverFile(model));
  const executor = await cpuPlugin.open(executorOptions);
  const session = await openSession(file, { executor, functions });
  const tokenizer = await session.tokenizer();
  const { short, long, batch } = await prompts();

  const generation = (prompt, maxNewTokens, sampling) =>
    generate(session.session, tokenizer, { prompt, maxNewTokens, eosTokenIds: [], ...sampling });

  /** Tokens a second after the first token, choosing and detokenizing included. */
  async function decode(sampling) {
    let first;
    for await (const { type } of generation(short, DECODE_TOKENS + 1, sampling)) if (type === 'token') first ??= now();
    return DECODE_TOKENS / ((now() - first) / 1000);
  }

  /** Prompt tokens a second until the first new token is there. */
  async function prefill() {
    const start = now();
    for await (const { type } of generation(long, 1, SAMPLING.greedy)) if (type === 'token') break;
    return long.length / ((now() - start) / 1000);
  }

  /** Tokens a second over all sequences. */
  async function batched(options) {
    const sampling = resolveSampling(options);
    const calls = new ModelCalls(session.session);
    const B = batch.length;
    const sequences = batch.map((row) => [...row]);
    using state = session.session.createState({ B, C: BATCH_PROMPT_TOKENS + BATCH_DECODE_TOKENS });
    const positions = () => sequences.map((row) => row.length - 1);
    await calls.fill(
      state,
      sequences.map((row) => row.slice(0, -1)),
      Array(B).fill(0),
    );
    const start = now();
    for (let step = 0; step < BATCH_DECODE_TOKENS; step++) {
      const last = sequences.map((row) => row.at(-1));
      await calls.decode(state, last, positions(), ({ logits }) => {
        for (const [r, row] of sequences.entries()) row.push(sampleToken(logits[r], row, sampling, r, step));
      });
    }
    return (B * BATCH_DECODE_TOKENS) / ((now() - start) / 1000);
  }

  const measures = {
    decode: () => decode(SAMPLING.sampled),
    'decode-greedy': () => decode(SAMPLING.greedy),
    prefill,
    batched: () => batched(SAMPLING.greedy),
    'batched-sampled': () => batched(SAMPLING.sampled),
    perplexity: async () => (await evaluatePerplexity(session, prose())).perplexity,
    async 'greedy-tokens'() {
      for await (const event of generation(short, 64, SAMPLING.greedy)) if (event.type === 'end') return event.tokens;
    },
  };

  return {
    measure: (what) => measures[what](),
    details: () => ({
      executor: { name: executor.device.name, ...executor.device.details },
      bytes_per_token: bytesPerToken(session.module),
    }),
    async close() {
      await session[Symbol.asyncDispose]();
      await executor[Symbol.asyncDispose]();
      await file.close();
    },
  };
}
