import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { algorithms, corrections } from '../src/index.ts';
import { tasks } from '../src/node.ts';

const page = readFileSync(new URL('../../../docs/rl.md', import.meta.url), 'utf8');

test.each([...algorithms, ...corrections])(
  'docs/rl.md has a row for $name, and all of its options',
  ({ name, defaults }) => {
    expect(page).toContain(`\n| \`${name}\` |`);
    for (const option of Object.keys(defaults)) expect(page, option).toContain(`\`${option}\``);
  },
);

test.each(tasks)('docs/rl.md has a row for the task $name', ({ name }) => {
  expect(page).toContain(`\n| \`${name}\` |`);
});
