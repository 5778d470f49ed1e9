import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { algorithms, corrections } from '../src/index.ts';
import { tasks } from '../src/node.ts';

const page = readFileSync(new URL('../../../docs/rl.md', import.meta.url), 'utf8');
/** What is said of all algorithms, and of those that repeat steps. */
const [shared] = /^All have .*?\n\n/ms.exec(page)!;

const rowOf = (name: string) => page.split('\n').find((line) => line.startsWith(`| \`${name}\` |`));

test.each([...algorithms, ...corrections])(
  'docs/rl.md has a row for $name, with all of its options',
  ({ name, defaults }) => {
    const told = `${rowOf(name)} ${algorithms.some((algorithm) => algorithm.name === name) ? shared : ''}`;
    for (const option of Object.keys(defaults)) expect(told, option).toContain(`\`${option}\``);
  },
);

test.each(algorithms)('docs/rl.md says of $name whether it repeats steps', ({ name, defaults }) => {
  const [without] = /all but (.*?) have `epochs`/s.exec(shared)!;
  expect(without.includes(`\`${name}\``)).toBe(!('epochs' in defaults));
});

test.each(tasks)('docs/rl.md has a row for the task $name', ({ name }) => {
  expect(rowOf(name)).toBeDefined();
});
