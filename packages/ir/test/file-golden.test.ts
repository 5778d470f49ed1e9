/** Files of past releases stay readable; see data/golden/README.md. */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseModule, printModule, readModuleBytes } from '@quaver/ir';
import { readModuleFile } from '@quaver/ir/node';
import { describe, expect, test } from 'vitest';
import { noise } from './support/sample-modules.ts';

const golden = (name: string) => fileURLToPath(new URL(`data/golden/${name}`, import.meta.url));

describe.each(['v1'])('golden %s', (name) => {
  const text = readFileSync(golden(`${name}.txt`), 'utf8');

  test('is read, and prints as it did', async () => {
    expect(printModule(readModuleBytes(await readFile(golden(`${name}.qvr`))))).toBe(text);
    expect(printModule(parseModule(text))).toBe(text);
  });

  test('holds the tensors it held', async () => {
    await using file = await readModuleFile(golden(`${name}.qvr`));
    expect(file.info).toMatchObject({ formatVersion: 1, producer: 'quaver 0.0.0' });
    expect(await file.verifyData()).toMatchObject({ unchecked: 0 });
    for (const { name: key, data } of file.parameters) expect(await data!.read()).toEqual(noise(data!.byteLength, key));
    expect(new TextDecoder().decode(await file.attachments.get('tokenizer.json')!.read())).toBe('{"model": {}}');
  });
});
