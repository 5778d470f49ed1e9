import { expect, test } from 'vitest';
import { sparkline } from '../src/terminal/sparkline.ts';

test('the lowest number is a low block and the highest a full one', () => {
  expect(sparkline([0, 1])).toBe('▁█');
  expect(sparkline([3, 1, 2, 1.5])).toBe('█▁▅▃');
  expect(sparkline([2, 2, 2])).toBe('▁▁▁');
  expect(sparkline([])).toBe('');
});
