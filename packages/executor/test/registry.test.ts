import { type ExecutorPlugin, ExecutorRegistry, nullPlugin, referencePlugin, Session } from '@quaver/executor';
import { expect, test } from 'vitest';
import { accumulator, f32 } from './support/modules.ts';
import { plainDataPlugin } from './support/plain-data-executor.ts';

test('opens what is registered, a stranger’s plug-in like ours', async () => {
  const registry = new ExecutorRegistry([referencePlugin(), nullPlugin]);
  registry.register(plainDataPlugin);
  expect(registry.list().map(({ id }) => id)).toEqual(['reference', 'null', 'plain-data']);
  for (const id of ['reference', 'plain-data']) {
    await using executor = await registry.open(id);
    await using session = await Session.open(accumulator(), executor);
    using state = session.createState({ B: 1 });
    await session.run('step', { x: f32([1, 3], [1, 2, 3]) }, { state });
    const { total } = await session.run('step', { x: f32([1, 3], [1, 2, 3]) }, { state });
    expect([...total!.data]).toEqual([2, 40, 600]);
    await expect(session.run('step', { x: f32([2, 3], [1, 2, 3, 4, 5, 6]) }, { state })).rejects.toMatchObject({
      code: 'shape-mismatch',
    });
  }
});

test('an unknown executor is an error that names those there are', async () => {
  const registry = new ExecutorRegistry([nullPlugin]);
  await expect(registry.open('cuda')).rejects.toMatchObject({ code: 'executor-unknown', hint: 'Known are: null.' });
});

test('an id is taken once', () => {
  const registry = new ExecutorRegistry([nullPlugin]);
  expect(() => registry.register(nullPlugin)).toThrow(expect.objectContaining({ code: 'executor-duplicate' }));
});

const plugin = { apiVersion: 1, id: 'mine', listDevices: async () => [], open: async () => undefined };

test.each<[unknown, RegExp]>([
  [undefined, /undefined/],
  [null, /null/],
  ['cpu', /string/],
  [{ ...plugin, apiVersion: 2 }, /apiVersion is 2/],
  [{ ...plugin, id: '' }, /no id/],
  [{ ...plugin, id: 7 }, /no id/],
  [{ ...plugin, listDevices: undefined }, /'mine' has no function listDevices/],
  [{ ...plugin, open: 'x' }, /'mine' has no function open/],
])('%o is not a plug-in', (value, message) => {
  expect(() => new ExecutorRegistry([value as ExecutorPlugin])).toThrow(
    expect.objectContaining({ code: 'executor-plugin-invalid', message: expect.stringMatching(message) }),
  );
});

test.each([
  ['reference', 'host'],
  ['null', 'null'],
])('%s has the device %s and no other', async (id, device) => {
  const registry = new ExecutorRegistry([referencePlugin(), nullPlugin]);
  const devices = await registry
    .list()
    .find((plugin) => plugin.id === id)!
    .listDevices();
  expect(devices.map((info) => info.id)).toEqual([device]);
  await using executor = await registry.open(id, { device });
  expect(executor.device).toBe(devices[0]);
  await expect(registry.open(id, { device: 'gpu:7' })).rejects.toMatchObject({
    code: 'executor-device-unknown',
    hint: `It has: ${device}.`,
  });
});
