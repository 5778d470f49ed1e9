import {
  coreOps,
  decodeModule,
  dtypes,
  encodeModule,
  GraphBuilder,
  memoryData,
  memorySource,
  OpRegistry,
  openModule,
  printModule,
  readModuleBytes,
  verifyModule,
  writeModuleBytes,
} from '@quaver/ir';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { contents, structure } from './support/contents.ts';
import { randomModule } from './support/random-module.ts';
import { decoderModule, moduleOf, parameter, richModule, tinyModule } from './support/sample-modules.ts';

const samples = [tinyModule(), richModule(), decoderModule(3), moduleOf([])];

describe('a module that was written and read', () => {
  test.each(samples)('is the same: $name', async (module) => {
    const read = readModuleBytes(await writeModuleBytes(module));
    expect(structure(read)).toEqual(structure(module));
    expect(await contents(read)).toEqual(await contents(module));
    expect(printModule(read)).toBe(printModule(module));
  });

  test('is the same for random modules', async () => {
    await fc.assert(
      fc.asyncProperty(randomModule, async (module) => {
        verifyModule(module);
        const bytes = await writeModuleBytes(module);
        const read = readModuleBytes(bytes);
        expect(structure(read)).toEqual(structure(module));
        expect(await contents(read)).toEqual(await contents(module));
        expect(await writeModuleBytes(read)).toEqual(bytes);
      }),
      { numRuns: 200 },
    );
  });

  test('keeps the sign of zero, NaN and infinities, and every dtype', async () => {
    const g = new GraphBuilder('f');
    for (const value of [0, -0, Number.NaN, Number.NEGATIVE_INFINITY, 5e-324])
      g.output(`v${value}${1 / value}`, g.constant(value));
    const parameters = dtypes.map((dtype) => parameter(dtype, dtype, [3]));
    const read = readModuleBytes(await writeModuleBytes(moduleOf([g.finish()], { parameters })));
    const values = read.functions[0]!.nodes.map((node) => node.attributes.value);
    expect(values.map((value) => Object.is(value, -0))).toEqual([false, true, false, false, false]);
    expect(values).toEqual([0, -0, Number.NaN, Number.NEGATIVE_INFINITY, 5e-324]);
    expect(read.parameters.map(({ type }) => type.dtype)).toEqual(dtypes);
  });

  test('reads by range from any source', async () => {
    const bytes = await writeModuleBytes(richModule());
    const ranges: [number, number][] = [];
    const source = {
      ...memorySource(bytes, 'remote.qvr'),
      read: (offset: number, length: number) => {
        ranges.push([offset, length]);
        return Promise.resolve(bytes.slice(offset, offset + length));
      },
    };
    const { module, info } = await openModule(source);
    const headerBytes = new DataView(bytes.buffer).getUint32(0, true) + 4;
    expect(ranges).toEqual([
      [0, 12],
      [0, headerBytes],
    ]);
    expect(info).toMatchObject({ formatVersion: 1, producer: 'quaver', headerBytes });
    await module.attachments.get('tokenizer.json')!.read();
    expect(ranges.at(-1)![1]).toBe(13);
    expect(ranges.at(-1)![0] % 64).toBe(0);
  });
});

describe('the layout', () => {
  test('is a size-prefixed FlatBuffer, zeros, and aligned segments in order', async () => {
    const module = richModule();
    const { header, segments, totalBytes } = encodeModule(module);
    const file = await writeModuleBytes(module);
    expect(file.byteLength).toBe(totalBytes);
    expect(header.byteLength % 64).toBe(0);
    expect(new TextDecoder().decode(file.subarray(8, 12))).toBe('QVR1');
    const used = new Uint8Array(totalBytes);
    let end = header.byteLength;
    for (const { offset, byteLength, data } of segments) {
      expect(offset % 64).toBe(0);
      expect(offset).toBeGreaterThanOrEqual(end);
      expect(file.subarray(offset, offset + byteLength)).toEqual(await data.read());
      used.fill(1, offset, offset + byteLength);
      end = offset + byteLength;
    }
    expect(end).toBe(totalBytes);
    const prefix = new DataView(file.buffer).getUint32(0, true) + 4;
    const padding = file.filter((_, i) => i >= prefix && used[i] === 0);
    expect(padding.every((byte) => byte === 0)).toBe(true);
  });

  test('stores tensors that share their data once', async () => {
    const a = parameter('a', 'f32', [1000]);
    const b = { ...a, name: 'b' };
    const module = moduleOf([], { parameters: [a, b] });
    expect(encodeModule(module).segments).toHaveLength(1);
    const read = readModuleBytes(await writeModuleBytes(module));
    expect(await contents(read)).toEqual(await contents(module));
  });

  test('does not depend on when or where it is written', async () => {
    expect(await writeModuleBytes(decoderModule(2))).toEqual(await writeModuleBytes(decoderModule(2)));
  });

  test('holds the sha256 of each segment', async () => {
    const { header, segments } = encodeModule(tinyModule());
    const bytes = await writeModuleBytes(tinyModule());
    const digest = new Uint8Array(
      await crypto.subtle.digest('SHA-256', (await segments[0]!.data.read()) as Uint8Array<ArrayBuffer>),
    );
    const { info } = decodeModule(bytes.subarray(0, header.byteLength), memorySource(bytes));
    expect(info.segments[0]!.sha256).toEqual(digest);
  });
});

describe('writing refuses', () => {
  test('text that UTF-8 cannot hold', () => {
    expect(() => encodeModule(moduleOf([], { name: 'half \ud800' }))).toThrow(
      expect.objectContaining({ code: 'module-string' }),
    );
  });

  test('an invalid module, before anything is written', () => {
    expect(() =>
      encodeModule(moduleOf([], { states: [{ name: 's', type: { dtype: 'f32', shape: ['Unknown'] } }] })),
    ).toThrow(expect.objectContaining({ code: 'verify-symbol' }));
  });

  test('data that is not as long as it says', async () => {
    const w = {
      ...parameter('w', 'f32', [4]),
      data: { byteLength: 16, read: () => Promise.resolve(new Uint8Array(15)) },
    };
    await expect(writeModuleBytes(moduleOf([], { parameters: [w] }))).rejects.toMatchObject({
      code: 'tensor-byte-length',
    });
  });

  test('an op that the registry does not know', () => {
    const registry = new OpRegistry(coreOps.list().filter((op) => op.name !== 'add'));
    expect(() => encodeModule(tinyModule(), { registry })).toThrow(expect.objectContaining({ code: 'op-unknown' }));
  });
});

test('an attachment without bytes and an empty module survive', async () => {
  const module = moduleOf([], { name: '', symbols: [], attachments: new Map([['', memoryData(new Uint8Array(0))]]) });
  const read = readModuleBytes(await writeModuleBytes(module));
  expect(structure(read)).toEqual(structure(module));
});
