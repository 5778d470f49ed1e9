import { Session } from '@quaver/executor';
import { cpuPlugin } from '@quaver/executor-cpu';
import { describe, expect, test } from 'vitest';
import {
  type GenerateEvent,
  type GenerateRequest,
  type GenerateResult,
  generate,
  ModelCalls,
  modelLimits,
  type TokenEvent,
  Tokenizer,
} from '../src/index.ts';
import { bits, goldenArgmax, goldenLogprob, loadTiny, type TinyModel, tinyModels } from './support/tiny-models.ts';
import { WatchedExecutor } from './support/watched-executor.ts';

async function openTiny(name: TinyModel, context?: number) {
  const tiny = await loadTiny(name, context);
  const executor = new WatchedExecutor(await cpuPlugin.open());
  const session = await Session.open(tiny.module, executor);
  const tokenizer = await Tokenizer.fromModule(tiny.module);
  const events = async (request: GenerateRequest): Promise<GenerateEvent[]> => {
    const all: GenerateEvent[] = [];
    for await (const event of generate(session, tokenizer, request)) all.push(event);
    return all;
  };
  const run = async (request: GenerateRequest): Promise<GenerateResult> => {
    const all = await events(request);
    const last = all.at(-1)!;
    const texts = all.filter((event): event is TokenEvent => event.type === 'token').map(({ text }) => text);
    expect(last.type).toBe('end');
    expect(executor.liveStates.size, 'the cache is given back').toBe(0);
    const result = last as Extract<GenerateEvent, { type: 'end' }>;
    expect(texts.join(''), 'the pieces are the text').toBe(result.text);
    return result;
  };
  return { ...tiny, executor, session, tokenizer, events, run };
}

describe.each(tinyModels)('%s', (name) => {
  test('greedy takes the argmax of the float64 logits after every prefix, with its log-probability', async () => {
    const { tokens, golden, run } = await openTiny(name);
    for (const [last, logits] of golden.entries()) {
      const result = await run({ prompt: tokens.slice(0, last + 1), maxNewTokens: 1 });
      expect(result.tokens).toEqual([goldenArgmax(logits)]);
      expect(result.logprobs[0]).toBeCloseTo(goldenLogprob(logits, result.tokens[0]!), 4);
      expect(result.stopReason).toBe('max_new_tokens');
    }
  });

  test('log-probabilities of prompt and text have the bits of whole sequences', async () => {
    const { tokens, session, run } = await openTiny(name);
    const result = await run({
      prompt: tokens,
      maxNewTokens: 12,
      temperature: 1,
      promptLogprobs: true,
      eosTokenIds: [],
    });
    const whole = [...tokens, ...result.tokens];
    const [trained] = await new ModelCalls(session).logprobs([whole.slice(0, -1)], [whole.slice(1)]);
    expect(result.promptLogprobs).toHaveLength(tokens.length - 1);
    expect(bits([...result.promptLogprobs!, ...result.logprobs])).toEqual(bits(trained!));
  });
});

describe('the same seed', () => {
  test('gives the same tokens and the same bits, another one others', async () => {
    const { tokens, run } = await openTiny('llama3');
    const sample = (seed: number) =>
      run({ prompt: tokens, maxNewTokens: 24, temperature: 1, topP: 0.95, seed, eosTokenIds: [] });
    const [first, again, other] = [await sample(5), await sample(5), await sample(6)];
    expect(again.tokens).toEqual(first.tokens);
    expect(bits(again.logprobs)).toEqual(bits(first.logprobs));
    expect(again.text).toBe(first.text);
    expect(other.tokens).not.toEqual(first.tokens);
  });

  test('a longer generation begins like a shorter one', async () => {
    const { tokens, run } = await openTiny('qwen3');
    const sample = (maxNewTokens: number) =>
      run({ prompt: tokens, maxNewTokens, temperature: 0.8, seed: 3, repetitionPenalty: 1.2, eosTokenIds: [] });
    const [short, long] = [await sample(10), await sample(40)];
    expect(long.tokens.slice(0, 10)).toEqual(short.tokens);
    expect(bits(long.logprobs.slice(0, 10))).toEqual(bits(short.logprobs));
  });
});

test('log-probabilities are the model’s own, whatever temperature and filters choose', async () => {
  const { tokens, golden, run } = await openTiny('smollm2');
  const result = await run({ prompt: tokens, maxNewTokens: 1, temperature: 3, topK: 20, minP: 0.01, seed: 9 });
  expect(result.tokens[0]).not.toBe(goldenArgmax(golden.at(-1)!));
  expect(result.logprobs[0]).toBeCloseTo(goldenLogprob(golden.at(-1)!, result.tokens[0]!), 4);
});

describe('the reason to stop', () => {
  const sampled = { temperature: 1, seed: 2, eosTokenIds: [] };

  test('is an id that ends the text: it is a token, and no text', async () => {
    const { tokens, tokenizer, run } = await openTiny('llama2');
    const free = await run({ prompt: tokens, maxNewTokens: 20, ...sampled });
    const end = free.tokens[7]!;
    const first = free.tokens.indexOf(end);
    const result = await run({ prompt: tokens, maxNewTokens: 20, ...sampled, eosTokenIds: [96, end] });
    expect(result).toMatchObject({ stopReason: 'eos', tokens: free.tokens.slice(0, first + 1) });
    expect(result.logprobs).toEqual(free.logprobs.slice(0, first + 1));
    expect(result.text).toBe(tokenizer.decode(free.tokens.slice(0, first)));
  });

  test('is by default the id that the model names', async () => {
    const { module, session } = await openTiny('llama2');
    expect(modelLimits(module)).toEqual({ context: 128, vocabSize: 97, eosTokenIds: [2] });
    const tokenizer = await Tokenizer.fromModule(module);
    // Every token is as good as another at this temperature: id 2 comes within 128 in 3 of 4 runs.
    const reasons = new Set<string>();
    for (let seed = 0; seed < 12; seed++) {
      for await (const event of generate(session, tokenizer, {
        prompt: [5],
        temperature: 1e6,
        seed,
        maxNewTokens: 126,
      })) {
        if (event.type === 'end') {
          reasons.add(event.stopReason);
          expect(event.tokens.indexOf(2)).toBe(event.stopReason === 'eos' ? event.tokens.length - 1 : -1);
        }
      }
    }
    expect(reasons).toContain('eos');
  });

  test('is a stop string, which is not shown, wherever it lies in the tokens', async () => {
    const { tokens, run } = await openTiny('mistral');
    const free = await run({ prompt: tokens, maxNewTokens: 40, ...sampled });
    expect(free.stopReason).toBe('max_new_tokens');
    for (let from = 3; from + 4 < free.text.length; from += 5) {
      const stop = [...free.text.slice(from, from + 3)].join('');
      if (stop.includes('\uFFFD')) continue;
      const result = await run({ prompt: tokens, maxNewTokens: 40, ...sampled, stop: ['never this', stop] });
      expect(await run({ prompt: tokens, maxNewTokens: 40, ...sampled, stop })).toMatchObject({ text: result.text });
      expect(result.stopReason).toBe('stop_string');
      expect(result.text).toBe(free.text.slice(0, free.text.indexOf(stop)));
      expect(result.tokens).toEqual(free.tokens.slice(0, result.tokens.length));
      expect(result.tokens.length).toBeLessThanOrEqual(free.tokens.length);
    }
  });

  test('is the limit that was asked for, or a full context', async () => {
    const { tokens, session, run } = await openTiny('smollm2', 24);
    const reason = async (maxNewTokens?: number) => {
      const { stopReason, tokens: made } = await run({
        prompt: tokens,
        ...sampled,
        ...(maxNewTokens === undefined ? {} : { maxNewTokens }),
      });
      return [stopReason, made.length];
    };
    expect(await reason(3)).toEqual(['max_new_tokens', 3]);
    expect(await reason(4)).toEqual(['max_new_tokens', 4]);
    expect(await reason(5)).toEqual(['context', 4]);
    expect(await reason()).toEqual(['context', 4]);
    expect(session.module.metadata['model.context']).toBe('24');
  });
});

test('text that is held back when the limit comes is given with the last token', async () => {
  const { tokenizer, tokens, run } = await openTiny('qwen2');
  const euro = tokenizer.encode('€', { special: false })[0]!;
  const free = await run({ prompt: tokens, maxNewTokens: 5, eosTokenIds: [] });
  const lastPiece = tokenizer.decode([free.tokens[4]!]);
  const held = await run({
    prompt: tokens,
    maxNewTokens: 5,
    eosTokenIds: [],
    stop: [`${lastPiece}${lastPiece}!never`],
  });
  expect(held.text).toBe(free.text);
  expect(tokenizer.decode([euro])).toBe('\uFFFD');
});

describe('prompts', () => {
  test('of no new tokens are scored alone', async () => {
    const { tokens, golden, run } = await openTiny('llama3');
    const result = await run({ prompt: tokens, maxNewTokens: 0, promptLogprobs: true });
    expect(result).toMatchObject({ text: '', tokens: [], stopReason: 'max_new_tokens', promptTokens: 20 });
    for (const [i, logprob] of result.promptLogprobs!.entries()) {
      expect(logprob).toBeCloseTo(goldenLogprob(golden[i]!, tokens[i + 1]!), 4);
    }
    expect((await run({ prompt: tokens.slice(0, 1), maxNewTokens: 0, promptLogprobs: true })).promptLogprobs).toEqual(
      [],
    );
    expect((await run({ prompt: tokens, maxNewTokens: 0 })).promptLogprobs).toBeUndefined();
  });

  test('longer than a chunk are processed in chunks, with the bits of one piece', async () => {
    const { executor, session, tokens, events, run } = await openTiny('llama2', 1536);
    const prompt = Array.from({ length: 1100 }, (_, i) => tokens[(i * 7) % 20]!);
    const all = await events({ prompt, maxNewTokens: 2, eosTokenIds: [] });
    expect(all.map((event) => (event.type === 'prefill' ? event.processedTokens : event.type))).toEqual([
      ...[512, 1024, 1100],
      ...['token', 'token', 'end'],
    ]);
    expect(executor.calls).toEqual(['prefill', 'prefill', 'prefill', 'decode']);
    for (const length of [512, 513, 1024, 1100]) {
      const part = prompt.slice(0, length);
      const result = await run({ prompt: part, maxNewTokens: 2, eosTokenIds: [], promptLogprobs: true });
      const plain = await run({ prompt: part, maxNewTokens: 2, eosTokenIds: [] });
      expect(bits(plain.logprobs)).toEqual(bits(result.logprobs));
      const whole = [...part, ...result.tokens];
      const [trained] = await new ModelCalls(session).logprobs([whole.slice(0, -1)], [whole.slice(1)]);
      expect(bits([...result.promptLogprobs!, ...result.logprobs])).toEqual(bits(trained!));
    }
  });

  test.each<[string, GenerateRequest, string]>([
    ['empty', { prompt: [] }, 'prompt-empty'],
    ['as long as the context', { prompt: new Array(24).fill(3) }, 'prompt-too-long'],
    ['with an id that the model does not have', { prompt: [3, 97] }, 'prompt-token-range'],
    ['with a negative id', { prompt: [-1] }, 'prompt-token-range'],
    ['with half an id', { prompt: [1.5] }, 'prompt-token-range'],
    ['with a limit below zero', { prompt: [3], maxNewTokens: -1 }, 'sampling-invalid'],
    ['with a limit that is no integer', { prompt: [3], maxNewTokens: Number.NaN }, 'sampling-invalid'],
    ['with an impossible temperature', { prompt: [3], temperature: -1 }, 'sampling-invalid'],
  ])('%s are refused before anything runs', async (_, request, code) => {
    const { executor, run } = await openTiny('smollm2', 24);
    await expect(run(request)).rejects.toMatchObject({ code });
    expect(executor.calls).toEqual([]);
    expect(executor.liveStates.size).toBe(0);
  });
});

describe('ending early', () => {
  test('an abort in the middle raises `aborted`; the session can be used on', async () => {
    const { executor, session, tokenizer, tokens, run } = await openTiny('llama2');
    const controller = new AbortController();
    const seen: number[] = [];
    const aborting = async () => {
      const request = { prompt: tokens, maxNewTokens: 50, eosTokenIds: [], signal: controller.signal };
      for await (const event of generate(session, tokenizer, request)) {
        if (event.type !== 'token') continue;
        seen.push(event.token);
        if (seen.length === 3) controller.abort();
      }
    };
    await expect(aborting()).rejects.toMatchObject({ code: 'aborted' });
    expect(seen).toHaveLength(3);
    expect(executor.liveStates.size).toBe(0);
    expect((await run({ prompt: tokens, maxNewTokens: 5, eosTokenIds: [] })).tokens.slice(0, 3)).toEqual(seen);
    await expect(run({ prompt: tokens, signal: controller.signal })).rejects.toMatchObject({ code: 'aborted' });
  });

  test('leaving the loop gives the cache back', async () => {
    const { executor, session, tokenizer, tokens } = await openTiny('llama2');
    for await (const event of generate(session, tokenizer, { prompt: tokens })) {
      expect(executor.liveStates.size).toBeGreaterThan(0);
      if (event.type === 'token') break;
    }
    expect(executor.liveStates.size).toBe(0);
  });

  test('logits that are not finite are an error, not a token', async () => {
    const { executor, tokens, run } = await openTiny('llama2');
    executor.meddle = (fn, output, call, values) => {
      if (fn === 'decode' && output === 'logits' && call === 2) values[50] = Number.NaN;
    };
    await expect(run({ prompt: tokens, maxNewTokens: 9, eosTokenIds: [] })).rejects.toMatchObject({
      code: 'logits-not-finite',
    });
    expect(executor.liveStates.size).toBe(0);
  });
});

test('speeds are of the model’s work, not of the reader’s', async () => {
  const { session, tokenizer, tokens } = await openTiny('llama2');
  let spent = 0;
  const started = performance.now();
  for await (const event of generate(session, tokenizer, { prompt: tokens, maxNewTokens: 3, eosTokenIds: [] })) {
    if (event.type === 'token') await new Promise((resolve) => setTimeout(resolve, 100));
    if (event.type !== 'end') continue;
    spent = 20 / event.prefillTokensPerSecond + 2 / event.decodeTokensPerSecond;
  }
  const total = (performance.now() - started) / 1000;
  expect(spent).toBeGreaterThan(0);
  expect(spent).toBeLessThan(total - 0.29);
});

test.each([
  ['model.context', undefined],
  ['model.context', '0'],
  ['model.vocab_size', 'many'],
  ['model.eos_token_ids', '7'],
  ['model.eos_token_ids', '[1, "2"]'],
  ['model.eos_token_ids', '[1'],
])('a module whose %s is %s is no language model', async (key, value) => {
  const { module } = await loadTiny('llama2');
  const { [key]: _, ...others } = module.metadata;
  const metadata = value === undefined ? others : { ...others, [key]: value };
  expect(() => modelLimits({ ...module, metadata })).toThrow(
    expect.objectContaining({ code: 'module-not-a-language-model', where: { key } }),
  );
});
