import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

it('examples/train lowers the validation loss and generates', async () => {
  const script = fileURLToPath(new URL('../../../examples/train/train.mjs', import.meta.url));
  const flags = [
    '--conditions=@quaver/source',
    '--experimental-transform-types',
    '--disable-warning=ExperimentalWarning',
  ];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [...flags, script, '10']);
  const lossOf = (when: string) => Number(new RegExp(`^${when}: validation loss (.*)$`, 'm').exec(stdout)?.[1]);
  expect(lossOf('before')).toBeGreaterThan(5.5);
  expect(lossOf('after')).toBeLessThan(4);
  expect(stdout).toMatch(/^step 10: loss .*\n/m);
  expect(stderr).toBe('');
}, 120_000);
