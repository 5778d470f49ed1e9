import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, expect, it } from 'vitest';
import { compileModel, importModelFile, openSession, streamText } from '../src/node.ts';
import { pathOf, temporaryFolder, tinyCheckpoint } from './tiny-checkpoint.ts';

const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('examples/generate prints the text that the SDK generates', async () => {
  const checkpoint = tinyCheckpoint(folder);
  const script = pathOf('../../../examples/generate/generate.mjs');
  const flags = [
    '--conditions=@quaver/source',
    '--experimental-transform-types',
    '--disable-warning=ExperimentalWarning',
  ];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [...flags, script, checkpoint, 'Hi']);
  await using imported = await importModelFile(checkpoint);
  const { module, report } = await compileModel(imported.module);
  const ratio = report.linear_weights!.ratio.toFixed(3);
  await using model = await openSession(module, { executor: 'reference', functions: ['prefill', 'decode'] });
  let text = '';
  for await (const piece of streamText(model, { messages: [{ role: 'user', content: 'Hi' }], maxNewTokens: 64 })) {
    text += piece;
  }
  expect([stdout, stderr]).toEqual([`5 linear layers in FP8; linear weights take ${ratio} of BF16\n\n${text}\n`, '']);
});
