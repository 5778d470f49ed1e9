import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { QuaverError } from '@quaver/numerics';
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { extractZipMember } from '../src/hub/zip-member.ts';
import { emptyCache, failureOf, noise, sha256 } from './hub-imitation.ts';

/** An archive written by Python's zipfile: one deflated member, one stored, one empty, and a comment. */
let archive: Buffer;
const content = Buffer.concat([Buffer.alloc(3000, 'quaver '), noise(200)]);

beforeAll(() => {
  const script = [
    'import sys, zipfile',
    'data = sys.stdin.buffer.read()',
    "z = zipfile.ZipFile(sys.stdout.buffer, 'w')",
    "z.writestr('stored.bin', data, zipfile.ZIP_STORED)",
    "z.writestr('folder/deflated.bin', data, zipfile.ZIP_DEFLATED)",
    "z.writestr('empty', b'')",
    "z.writestr('packed.bz2', data, zipfile.ZIP_BZIP2)",
    "z.comment = b'a comment'",
    'z.close()',
  ];
  archive = execFileSync('python3', ['-c', script.join('\n')], { input: content });
});

async function extract(bytes: Buffer, member: string, size: number) {
  const folder = emptyCache();
  const file = path.join(folder, 'a.zip');
  writeFileSync(file, bytes);
  const destination = path.join(folder, 'out');
  const digest = await extractZipMember(file, member, size, destination);
  return { digest, unpacked: readFileSync(destination) };
}

test.each(['stored.bin', 'folder/deflated.bin'])('%s comes out as it went in', async (member) => {
  const { digest, unpacked } = await extract(archive, member, content.length);
  expect(unpacked.equals(content)).toBe(true);
  expect(digest).toEqual({ bytes: content.length, sha256: sha256(content) });
});

test.each([
  ['absent', content.length, 'zip-member-missing'],
  ['packed.bz2', content.length, 'zip-unsupported'],
  ['stored.bin', content.length - 1, 'zip-damaged'],
])('member %s of %i bytes: %s', async (member, size, code) => {
  expect(await failureOf(extract(archive, member, size))).toMatchObject({ code });
});

test('every truncated archive is refused by name', async () => {
  const folder = emptyCache();
  const file = path.join(folder, 'cut.zip');
  for (let length = 0; length < archive.length; length += length < archive.length - 400 ? 97 : 1) {
    // A cut inside the comment loses nothing.
    if (length >= archive.length - 'a comment'.length) break;
    writeFileSync(file, archive.subarray(0, length));
    const error = await failureOf(
      extractZipMember(file, 'folder/deflated.bin', content.length, path.join(folder, 'out')),
    );
    expect(error, `${length} bytes`).toMatchObject({ code: 'zip-damaged', where: { file } });
  }
});

test('no forged archive gives other bytes, hangs or crashes', async () => {
  const folder = emptyCache();
  const file = path.join(folder, 'forged.zip');
  const destination = path.join(folder, 'out');
  // The member's data, and the directory: where a change matters.
  const position = fc.oneof(
    fc.nat(archive.length - 1),
    fc.integer({ min: archive.length - 330, max: archive.length - 1 }),
  );
  const change = fc.tuple(position, fc.integer({ min: 1, max: 255 }));
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
      const forged = Buffer.from(archive);
      for (const [at, flip] of changes) forged[at]! ^= flip;
      writeFileSync(file, forged);
      if (existsSync(destination)) rmSync(destination);
      try {
        await extractZipMember(file, 'folder/deflated.bin', content.length, destination);
        expect(readFileSync(destination).equals(content)).toBe(true);
      } catch (error) {
        expect(error).toBeInstanceOf(QuaverError);
        expect((error as QuaverError).code).toMatch(/^zip-/);
      }
    }),
    { numRuns: 500 },
  );
});
