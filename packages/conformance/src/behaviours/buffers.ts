/** @file Buffers are zero-filled, keep what was written, and refuse wrong use with an error instead of damage. */
import type { ConformanceCase } from '../runner/case.ts';
import { caseFailure } from '../runner/outcome.ts';
import { behaviour } from './behaviour.ts';
import { expectCode } from './expectations.ts';

const bytes = Uint8Array.from({ length: 100 }, (_, i) => i + 1);

function expectBytes(what: string, found: Uint8Array, expected: Uint8Array): void {
  const same = found.byteLength === expected.byteLength && found.every((byte, i) => byte === expected[i]);
  if (!same) throw caseFailure(`${what}: the bytes differ`);
}

export const bufferCases: readonly ConformanceCase[] = [
  behaviour('buffers/zero-filled, also where others were', async ({ executor }) => {
    for (const usage of ['parameter', 'state', 'input', 'output'] as const) {
      const used = executor.allocate(100, usage);
      await executor.upload(used, bytes);
      expectBytes(`what a ${usage} buffer holds`, await executor.download(used), bytes);
      used.dispose();
      const fresh = executor.allocate(100, usage);
      expectBytes(`a new ${usage} buffer`, await executor.download(fresh), new Uint8Array(100));
      if (fresh.byteLength !== 100 || fresh.usage !== usage) throw caseFailure('a buffer misstates its size or usage');
      fresh.dispose();
    }
  }),
  behaviour('buffers/of no bytes', async ({ executor }) => {
    const empty = executor.allocate(0, 'input');
    await executor.upload(empty, new Uint8Array(0));
    expectBytes('an empty buffer', await executor.download(empty), new Uint8Array(0));
    empty.dispose();
  }),
  behaviour('buffers/a download is a copy', async ({ executor }) => {
    const buffer = executor.allocate(100, 'input');
    await executor.upload(buffer, bytes);
    (await executor.download(buffer)).fill(0);
    expectBytes('the buffer after its download was written to', await executor.download(buffer), bytes);
    buffer.dispose();
  }),
  behaviour('buffers/a view shows what a download gives', async ({ executor }) => {
    for (const usage of ['parameter', 'state', 'input', 'output'] as const) {
      const buffer = executor.allocate(100, usage);
      await executor.upload(buffer, bytes);
      const seen = executor.view?.(buffer);
      if (seen !== undefined) expectBytes(`the view of a ${usage} buffer`, seen, bytes);
      buffer.dispose();
    }
  }),
  behaviour('buffers/wrong size', async ({ executor }) => {
    const buffer = executor.allocate(100, 'input');
    for (const size of [0, 99, 101]) {
      await expectCode(`upload of ${size} bytes to 100`, 'buffer-size', () =>
        executor.upload(buffer, new Uint8Array(size)),
      );
    }
    expectBytes('the buffer afterwards', await executor.download(buffer), new Uint8Array(100));
    buffer.dispose();
  }),
  behaviour('buffers/disposed', async ({ executor }) => {
    const buffer = executor.allocate(100, 'input');
    buffer.dispose();
    await expectCode('upload', 'buffer-disposed', () => executor.upload(buffer, bytes));
    await expectCode('download', 'buffer-disposed', () => executor.download(buffer));
    if (executor.view) await expectCode('view', 'buffer-disposed', async () => executor.view!(buffer));
  }),
  behaviour('buffers/of another executor', async ({ plugin, options, executor }) => {
    await using other = await plugin.open(options);
    const foreign = other.allocate(100, 'input');
    await expectCode('upload', 'buffer-foreign', () => executor.upload(foreign, bytes));
    await expectCode('download', 'buffer-foreign', () => executor.download(foreign));
    if (executor.view) await expectCode('view', 'buffer-foreign', async () => executor.view!(foreign));
    await other.upload(foreign, bytes);
    expectBytes('on its own executor', await other.download(foreign), bytes);
    foreign.dispose();
  }),
];
