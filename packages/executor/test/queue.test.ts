import { SubmissionQueue } from '@quaver/executor';
import { expect, test } from 'vitest';

const after = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

test('submissions run one after the other, in order', async () => {
  const queue = new SubmissionQueue();
  const log: string[] = [];
  const submit = (name: string, milliseconds: number) =>
    queue.submit(async () => {
      log.push(`${name} starts`);
      await after(milliseconds);
      log.push(`${name} ends`);
    });
  const fences = [submit('a', 20), submit('b', 1), submit('c', 5)];
  await queue.wait(fences[2]!);
  expect(log).toEqual(['a starts', 'a ends', 'b starts', 'b ends', 'c starts', 'c ends']);
  await queue.wait(fences[0]!);
});

test('an error reaches who waits for it, and nobody else', async () => {
  const queue = new SubmissionQueue();
  const bad = queue.submit(() => Promise.reject(new Error('bad')));
  const unwatched = queue.submit(() => Promise.reject(new Error('unwatched')));
  const good = queue.submit(async () => undefined);
  await queue.wait(good);
  await expect(queue.wait(bad)).rejects.toThrow('bad');
  expect(unwatched.id).toBeGreaterThan(bad.id);
});

test('a fence can be waited for once, and only where it was made', async () => {
  const [queue, other] = [new SubmissionQueue(), new SubmissionQueue()];
  const fence = queue.submit(async () => undefined);
  other.submit(async () => undefined);
  await expect(other.wait(fence)).rejects.toMatchObject({ code: 'fence-unknown' });
  await queue.wait(fence);
  await expect(queue.wait(fence)).rejects.toMatchObject({ code: 'fence-unknown' });
});

test('closing lets what was submitted end, and takes nothing more', async () => {
  const queue = new SubmissionQueue();
  let ended = false;
  const fence = queue.submit(async () => {
    await after(10);
    ended = true;
  });
  const closed = queue.close();
  expect(() => queue.submit(async () => undefined)).toThrow(expect.objectContaining({ code: 'executor-disposed' }));
  await closed;
  expect(ended).toBe(true);
  await queue.wait(fence);
});
