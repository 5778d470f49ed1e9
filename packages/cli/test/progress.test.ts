import { expect, it } from 'vitest';
import { LineProgress } from '../src/terminal/progress.ts';
import { styleFor } from '../src/terminal/style.ts';
import { formatBytes, formatDuration } from '../src/terminal/units.ts';

it('lines of progress come now and then, and not for work that is quickly done', () => {
  const lines: string[] = [];
  let now = 0;
  const progress = new LineProgress({ write: (text: string) => lines.push(text) > 0 }, () => now);
  for (const [time, label, done] of [
    [0, 'Quick', 0],
    [1999, 'Quick', 99],
    [2000, 'Long', 1],
    [3999, 'Long', 2],
    [4000, 'Long', 3],
    [8999, 'Long', 4],
    [9000, 'Long', 55.9],
  ] as const) {
    now = time;
    progress.update(label, done, 100);
  }
  now = 60_000;
  progress.update('Open end', 5);
  now = 62_000;
  progress.update('Open end', 6);
  expect(lines).toEqual(['Long 3 %\n', 'Long 55 %\n', 'Open end …\n']);
});

it('colours are for terminals, unless NO_COLOR asks for none', () => {
  const terminal = { isTTY: true, write: () => true };
  expect(styleFor(terminal, {})('red', 'x')).toBe('\u001b[31mx\u001b[39m');
  expect(styleFor(terminal, { NO_COLOR: '1' })('red', 'x')).toBe('x');
  expect(styleFor(terminal, { TERM: 'dumb' })('red', 'x')).toBe('x');
  expect(styleFor({ write: () => true }, {})('red', 'x')).toBe('x');
});

it('figures for people have a unit and three digits', () => {
  expect([0, 999, 1000, 94_200_000, 999_600_000].map(formatBytes)).toEqual([
    '0 B',
    '999 B',
    '1.00 kB',
    '94.2 MB',
    '1.00 GB',
  ]);
  expect([0, 999, 12_340, 250_000].map(formatDuration)).toEqual(['0 ms', '999 ms', '12.3 s', '4 min 10 s']);
});

it('details change without a new beginning', () => {
  const lines: string[] = [];
  let now = 0;
  const progress = new LineProgress({ write: (text: string) => lines.push(text) > 0 }, () => now);
  for (let step = 1; step <= 100; step++) {
    progress.update('Training', step, 100, `step ${step}, loss ${(9 / step).toFixed(2)}`);
    now += 100;
  }
  expect(lines).toEqual(['Training 21 %: step 21, loss 0.43\n', 'Training 71 %: step 71, loss 0.13\n']);
});
