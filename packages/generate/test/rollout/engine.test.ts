import { compile, withOptions } from '@quaver/compiler';
import { Session } from '@quaver/executor';
import { cpuPlugin } from '@quaver/executor-cpu';
import { philox4x32 } from '@quaver/numerics';
import { describe, expect, test } from 'vitest';
import {
  generate,
  ModelCalls,
  RolloutEngine,
  type RolloutEvent,
  type RolloutRequest,
  Tokenizer,
} from '../../src/index.ts';
import { bits, loadTiny } from '../support/tiny-models.ts';
import { WatchedExecutor } from '../support/watched-executor.ts';
import { completed, openEngine, sampledAlone, told } from './support/paged-engine.ts';

const { module, tokens: text, golden } = await loadTiny('llama3');
const vocabulary = 97;

async function openDense(of = module) {
  const executor = await cpuPlugin.open();
  const session = await Session.open(of, executor);
  const close = async () => {
    await session[Symbol.asyncDispose]();
    await executor[Symbol.asyncDispose]();
  };
  return { session, [Symbol.asyncDispose]: close };
}

/** Prompts of 1 to 40 tokens, with one to three samples each. */
function mixedRequests(count: number): RolloutRequest[] {
  return Array.from({ length: count }, (_, id) => {
    const [a, b, c] = philox4x32([id, 0, 0, 0], [1, 0]);
    const prompt = Array.from({ length: 1 + (a % 40) }, (_, i) => philox4x32([id, i, 1, 0], [1, 0])[0] % vocabulary);
    const temperature = id % 4 === 0 ? 0 : 1;
    const key = [11, 2, id];
    return { id, prompt, key, samples: 1 + (b % 3), maxNewTokens: 2 + (c % 23), temperature, eosTokenIds: [2] };
  });
}

/** What was told of each sample, by request and sample. */
async function tellAll(engine: RolloutEngine, requests: readonly RolloutRequest[]) {
  const outcomes = await engine.generate(requests);
  return new Map(outcomes.map((outcome) => [`${outcome.id}/${outcome.sample}`, told(outcome)]));
}

describe('a sample', () => {
  test('has the tokens and the bits of a cache of its own', async () => {
    await using dense = await openDense();
    await using opened = await openEngine(module);
    const requests = mixedRequests(12);
    const all = await tellAll(opened.engine, requests);
    for (const request of requests) {
      for (let sample = 0; sample < request.samples!; sample++) {
        const alone = await sampledAlone(dense.session, request, sample);
        expect(all.get(`${request.id}/${sample}`), `${request.id}/${sample}`).toEqual(alone);
      }
    }
  });

  test('has the log-probabilities of training, bit for bit', async () => {
    await using dense = await openDense();
    await using opened = await openEngine(module);
    const requests = mixedRequests(8);
    for (const outcome of await opened.engine.generate(requests)) {
      const { prompt, tokens, logprobs } = completed(outcome);
      const whole = [...prompt, ...tokens];
      const [trained] = await new ModelCalls(dense.session).logprobs([whole.slice(0, -1)], [whole.slice(1)]);
      expect(bits(logprobs)).toEqual(bits(trained!.subarray(prompt.length - 1)));
    }
  });

  test('is the same alone and among 64, in any order, with any limits', async () => {
    const requests = mixedRequests(40);
    await using opened = await openEngine(module, { maxSequences: 64 });
    const all = await tellAll(opened.engine, requests);
    expect(opened.engine.metrics.meanBatch).toBeGreaterThan(20);
    for (const id of [3, 17, 38]) {
      for (const [name, alone] of await tellAll(opened.engine, [requests[id]!])) expect(alone).toEqual(all.get(name));
    }
    const settings = [
      { maxSequences: 7, prefillTokens: 16 },
      { maxSequences: 64, cacheTokens: 400, pageTokens: 32 },
    ];
    for (const setting of settings) {
      await using other = await openEngine(module, setting);
      expect(await tellAll(other.engine, requests.toReversed())).toEqual(all);
    }
  });

  test('has the same bits after it gave its pages away', async () => {
    const requests = [0, 1, 2, 3].map((id) => ({
      ...{ id, key: [id], prompt: text.slice(0, 5 + id), maxNewTokens: 60 },
      ...{ temperature: 1, eosTokenIds: [] },
    }));
    await using roomy = await openEngine(module);
    await using tight = await openEngine(module, { cacheTokens: 96 });
    const all = await tellAll(roomy.engine, requests);
    expect(await tellAll(tight.engine, requests)).toEqual(all);
    expect(roomy.engine.metrics.preemptions).toBe(0);
    expect(tight.engine.metrics.preemptions).toBeGreaterThan(0);
    expect(tight.engine.metrics).toMatchObject({ pages: 6, mostPagesUsed: 6 });
  });

  test('does not depend on how many there are of its prompt', async () => {
    await using opened = await openEngine(module);
    const ask = (samples: number) => ({
      id: 'p',
      prompt: [...text, ...text],
      samples,
      maxNewTokens: 12,
      temperature: 1,
    });
    const [two, nine] = [await opened.engine.generate([ask(2)]), await opened.engine.generate([ask(9)])];
    expect(two.map(told)).toEqual(nine.slice(0, 2).map(told));
    expect(new Set(nine.map((outcome) => JSON.stringify(told(outcome).tokens))).size).toBe(9);
    // 40 tokens: two pages of 16 are shared.
    expect(opened.engine.metrics).toMatchObject({ sharedTokens: 8 * 32, requests: 1, sequences: 9 });
  });

  test('depends on the key, the seed of the request and the seed of the engine', async () => {
    await using opened = await openEngine(module);
    await using other = await openEngine(module, { seed: 1 });
    const ask = { id: 5, prompt: text, maxNewTokens: 16, temperature: 1, eosTokenIds: [] };
    const tokensOf = async (engine: RolloutEngine, part: Partial<RolloutRequest>) =>
      JSON.stringify(told((await engine.generate([{ ...ask, ...part }]))[0]).tokens);
    const drawn = [
      await tokensOf(opened.engine, {}),
      await tokensOf(opened.engine, { key: [5, 0] }),
      await tokensOf(opened.engine, { seed: 1 }),
      await tokensOf(other.engine, {}),
    ];
    expect(new Set(drawn).size).toBe(4);
    expect(await tokensOf(opened.engine, { key: [5], id: 6 })).toBe(drawn[0]);
  });
});

test('prompts that end near the end of the context are padded no further', async () => {
  await using dense = await openDense();
  await using opened = await openEngine(module, { prefillTokens: 100 });
  const requests = [122, 127].map((length, id) => ({
    ...{ id, maxNewTokens: 9, eosTokenIds: [] },
    prompt: Array.from({ length }, (_, i) => (7 * i + id) % vocabulary),
  }));
  const outcomes = await opened.engine.generate(requests);
  expect(outcomes.map((outcome) => completed(outcome).stopReason)).toEqual(['context', 'context']);
  for (const request of requests) {
    expect(told(outcomes[request.id])).toEqual(await sampledAlone(dense.session, request, 0));
  }
});

describe('greedy', () => {
  test('gives what generate gives: tokens, bits, text and the reason to stop', async () => {
    await using dense = await openDense();
    const tokenizer = await Tokenizer.fromModule(module);
    await using opened = await openEngine(module, { tokenizer });
    const plain = [1, 7, 16, 20].map((length, id) => ({ id, prompt: text.slice(0, length), maxNewTokens: 30 }));
    const [free] = await opened.engine.generate([{ ...plain[3]!, eosTokenIds: [] }]);
    const words = tokenizer.decode(told(free).tokens);
    const requests = [
      ...plain,
      { ...plain[3]!, id: 4, maxNewTokens: 500, eosTokenIds: [] },
      { ...plain[3]!, id: 5, stop: words.slice(8, 11), eosTokenIds: [] },
      { ...plain[3]!, id: 6, eosTokenIds: [told(free).tokens[9]!] },
      { ...plain[3]!, id: 7, eosTokenIds: [told(free).tokens[9]!], stop: 'no such text' },
    ];
    const outcomes = await opened.engine.generate(requests);
    const reasons = new Set<string>();
    for (const [i, request] of requests.entries()) {
      for await (const event of generate(dense.session, tokenizer, request)) {
        if (event.type !== 'end') continue;
        const { tokens, stopReason, text: written } = event;
        expect(completed(outcomes[i])).toMatchObject({ tokens, stopReason, text: written });
        expect(told(outcomes[i]).bits).toEqual(bits(event.logprobs));
        reasons.add(stopReason);
      }
    }
    expect([...reasons].sort()).toEqual(['context', 'eos', 'max_new_tokens', 'stop_string']);
  });
});

test('the most probable tokens come with every token', async () => {
  await using dense = await openDense();
  await using opened = await openEngine(module);
  const request = { id: 0, prompt: text, maxNewTokens: 4, temperature: 1, topLogprobs: 5, eosTokenIds: [] };
  const result = completed((await opened.engine.generate([request]))[0]);
  expect(result.topLogprobs).toHaveLength(4);
  const best = golden.at(-1)!.reduce((most, logit, token, all) => (logit > all[most]! ? token : most), 0);
  expect(result.topLogprobs![0]![0]!.token).toBe(best);
  for (const [step, top] of result.topLogprobs!.entries()) {
    const before = [...text, ...result.tokens.slice(0, step)];
    const candidates = top.map(({ token }) => token);
    const rows = candidates.map((token) => [...before, token]);
    const trained = await new ModelCalls(dense.session).logprobs(
      rows.map((row) => row.slice(0, -1)),
      rows.map((row) => row.slice(1)),
    );
    expect(bits(top.map(({ logprob }) => logprob))).toEqual(bits(trained.map((row) => row.at(-1)!)));
  }
});

test('FP8 with an FP8 cache: a sample is the same alone and among others', async () => {
  const recipe = withOptions('fp8-block', { kvCache: 'fp8', attention: 'fp8' });
  const compiled = (await compile(module, { recipe })).module;
  await using opened = await openEngine(compiled, { cacheTokens: 512 });
  await using dense = await openDense(compiled);
  const requests = mixedRequests(10);
  const all = await tellAll(opened.engine, requests);
  for (const request of requests.slice(0, 4)) {
    expect(all.get(`${request.id}/0`)).toEqual(await sampledAlone(dense.session, request, 0));
    expect((await tellAll(opened.engine, [request])).get(`${request.id}/0`)).toEqual(all.get(`${request.id}/0`));
  }
});

describe('requests', () => {
  test('are taken when there is room, and may come late', async () => {
    await using opened = await openEngine(module, { maxSequences: 3 });
    let taken = 0;
    let ended = 0;
    let most = 0;
    const late = async function* () {
      for (const request of mixedRequests(9)) {
        taken++;
        most = Math.max(most, taken - ended);
        yield { ...request, samples: 1 };
        await new Promise((resolve) => setTimeout(resolve, taken % 3));
      }
    };
    for await (const event of opened.engine.run(late())) if (event.type === 'end') ended++;
    expect([taken, ended]).toEqual([9, 9]);
    expect(most).toBeLessThanOrEqual(3);
  });

  test('that fail do so alone, in their place', async () => {
    await using opened = await openEngine(module, { cacheTokens: 64 });
    const [a, b] = mixedRequests(2);
    const long = { id: 'long', prompt: Array<number>(64).fill(1) };
    const outcomes = await opened.engine.generate([{ ...a!, samples: 2 }, long, { ...b!, samples: 1 }]);
    expect(outcomes.map(({ id, sample, error }) => [id, sample, error?.code])).toEqual([
      [0, 0, undefined],
      [0, 1, undefined],
      ['long', 0, 'prompt-too-long'],
      [1, 0, undefined],
    ]);
    expect(opened.engine.metrics).toMatchObject({ requests: 3, sequences: 3, failures: 1 });
  });

  test('that throw end the run', async () => {
    await using opened = await openEngine(module);
    const broken = function* () {
      yield mixedRequests(1)[0]!;
      throw new RangeError('no more');
    };
    await expect(opened.engine.generate(broken())).rejects.toThrow('no more');
    expect(opened.engine.usedPages).toBe(0);
  });

  test('that all fail are reported, too', async () => {
    await using opened = await openEngine(module);
    const events: RolloutEvent[] = [];
    for await (const event of opened.engine.run([{ id: 1, prompt: [] }])) events.push(event);
    expect(events).toEqual([
      { type: 'error', id: 1, sample: 0, error: expect.objectContaining({ code: 'prompt-empty' }) },
    ]);
    expect(await opened.engine.generate([])).toEqual([]);
  });
});

describe('a run that does not come to its end', () => {
  const requests = mixedRequests(12).map((request) => ({ ...request, maxNewTokens: 60, eosTokenIds: [] }));

  test.each([1, 30, 200])('is aborted after %d events, gives all pages back, and leaves no trace', async (count) => {
    await using opened = await openEngine(module);
    const { engine } = opened;
    const expected = await tellAll(engine, requests.slice(0, 2));
    const abort = new AbortController();
    let seen = 0;
    const run = async () => {
      for await (const _ of engine.run(requests, { signal: abort.signal })) if (++seen === count) abort.abort();
    };
    await expect(run()).rejects.toMatchObject({ code: 'aborted' });
    expect(engine.usedPages).toBe(0);
    expect(await tellAll(engine, requests.slice(0, 2))).toEqual(expected);
  });

  test('is aborted while it waits for requests', async () => {
    await using opened = await openEngine(module);
    const never = async function* (): AsyncGenerator<RolloutRequest> {
      yield requests[0]!;
      await new Promise(() => undefined);
    };
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 100);
    await expect(opened.engine.generate(never(), { signal: abort.signal })).rejects.toMatchObject({ code: 'aborted' });
  });

  test('is left by break', async () => {
    await using opened = await openEngine(module);
    for await (const event of opened.engine.run(requests)) if (event.type === 'end') break;
    expect(opened.engine.usedPages).toBe(0);
    expect(await opened.engine.generate([])).toEqual([]);
  });

  test('ends when the engine is disposed', async () => {
    await using opened = await openEngine(module);
    const run = opened.engine.run(requests);
    await run.next();
    opened.engine.dispose();
    const rest = async () => {
      for await (const _ of run);
    };
    const closed = { code: 'rollout-closed' };
    await expect(rest()).rejects.toMatchObject(closed);
    await expect(opened.engine.generate(requests)).rejects.toMatchObject(closed);
  });

  test('keeps others, and new weights, out', async () => {
    await using opened = await openEngine(module);
    const { engine } = opened;
    const busy = expect.objectContaining({ code: 'rollout-busy' });
    const run = engine.run(requests);
    await run.next();
    await expect(engine.generate(requests)).rejects.toEqual(busy);
    expect(() => engine.weightsChanged()).toThrow(busy);
    await run.return();
    engine.weightsChanged();
  });
});

test('after new weights nothing of the old ones is left', async () => {
  const other = await loadTiny('llama3');
  await using opened = await openEngine(module);
  const requests = mixedRequests(6);
  const before = await tellAll(opened.engine, requests);
  const name = module.parameters.find((parameter) => parameter.name.endsWith('layers.0.self_attn.k_proj.weight'))!.name;
  const old = await opened.session.readParameter(name);
  const bytes = Uint8Array.from([...old.subarray(old.length / 2), ...old.subarray(0, old.length / 2)]);
  const changed = other.module.parameters.map((parameter) =>
    parameter.name === name
      ? { ...parameter, data: { byteLength: bytes.byteLength, read: async () => bytes } }
      : parameter,
  );
  await opened.session.writeParameter(name, bytes);
  opened.engine.weightsChanged();
  await using fresh = await openEngine({ ...other.module, parameters: changed });
  const after = await tellAll(opened.engine, requests);
  expect(after).toEqual(await tellAll(fresh.engine, requests));
  expect(after).not.toEqual(before);
});

test('the cache is allocated once, and given back with the engine or for new weights', async () => {
  const executor = new WatchedExecutor(await cpuPlugin.open());
  await using opened = await openEngine(module, { cacheTokens: 100, executor });
  const { engine } = opened;
  const buffers = [...executor.liveStates];
  expect(engine.metrics.pages).toBe(7);
  expect(buffers.map(({ byteLength }) => byteLength)).toEqual(Array(4).fill(4 * 7 * 16 * 2 * 8));
  await engine.generate(mixedRequests(1));
  expect([...executor.liveStates]).toEqual(buffers);
  engine.weightsChanged();
  expect(executor.liveStates.size).toBe(0);
  await engine.generate(mixedRequests(1));
  expect(executor.liveStates.size).toBe(4);
  engine.dispose();
  expect(executor.liveStates.size).toBe(0);
});

test.each([
  [{ maxSequences: 0 }, 'maxSequences is 0'],
  [{ cacheTokens: 1.5 }, 'cacheTokens is 1.5'],
  [{ prefillTokens: -1 }, 'prefillTokens is -1'],
  [{ seed: -1 }, 'seed is -1'],
])('options %o are refused', async (options, message) => {
  await expect(openEngine(module, options)).rejects.toMatchObject({
    code: 'rollout-option',
    message: expect.stringContaining(message),
  });
});

test('a session without pages is refused', async () => {
  await using dense = await openDense();
  await expect(RolloutEngine.open(dense.session)).rejects.toMatchObject({ code: 'module-not-paged' });
});
