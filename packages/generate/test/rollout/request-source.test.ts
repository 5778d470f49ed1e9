import { expect, test } from 'vitest';
import { RequestSource } from '../../src/rollout/request-source.ts';

const request = (id: number) => ({ id, prompt: [1] });

test('an array is taken in order, one at a time', () => {
  const taken: number[] = [];
  const source = new RequestSource(
    (function* () {
      for (const id of [1, 2]) {
        taken.push(id);
        yield request(id);
      }
    })(),
  );
  expect(taken).toEqual([]);
  expect([source.poll()?.id, [...taken], source.ended]).toEqual([1, [1], false]);
  expect([source.poll()?.id, [...taken]]).toEqual([2, [1, 2]]);
  expect([source.poll(), source.ended]).toEqual([undefined, true]);
});

test('what is not there yet can be waited for, and is asked for once', async () => {
  let asked = 0;
  const source = new RequestSource({
    [Symbol.asyncIterator]: () => ({
      next: async () => {
        asked++;
        await new Promise((resolve) => setTimeout(resolve, 1));
        return asked < 3 ? { done: false, value: request(asked) } : { done: true, value: undefined };
      },
    }),
  });
  expect([source.poll(), source.poll(), asked]).toEqual([undefined, undefined, 1]);
  await source.wait(undefined);
  expect(source.poll()?.id).toBe(1);
  expect(asked).toBe(1);
  await source.wait(undefined);
  expect([source.poll()?.id, source.poll()]).toEqual([2, undefined]);
  await source.wait(undefined);
  expect(source.ended).toBe(true);
});

test('an abort ends the waiting', async () => {
  const abort = new AbortController();
  const source = new RequestSource({
    [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => undefined) }),
  });
  const waiting = source.wait(abort.signal);
  abort.abort();
  await expect(waiting).rejects.toMatchObject({ code: 'aborted' });
  await expect(source.wait(abort.signal)).rejects.toMatchObject({ code: 'aborted' });
});

test('what an iterator throws comes out of poll', async () => {
  const sync = new RequestSource(
    // biome-ignore lint/correctness/useYield: it throws before.
    (function* (): Generator<never> {
      throw new RangeError('sync');
    })(),
  );
  expect(() => sync.poll()).toThrow('sync');
  const late = new RequestSource(
    // biome-ignore lint/correctness/useYield: it throws before.
    (async function* (): AsyncGenerator<never> {
      throw new RangeError('late');
    })(),
  );
  await late.wait(undefined);
  expect(() => late.poll()).toThrow('late');
});

test('an iterator is told when nothing more will be asked for, but not after its end', async () => {
  const told: string[] = [];
  const iterable = function* () {
    try {
      yield request(1);
      yield request(2);
    } finally {
      told.push('end');
    }
  };
  const source = new RequestSource(iterable());
  source.poll();
  source.close();
  source.close();
  await Promise.resolve();
  await Promise.resolve();
  expect(told).toEqual(['end']);
});
