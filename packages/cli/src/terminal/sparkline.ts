const levels = '▁▂▃▄▅▆▇█';

/** Numbers as a plot of one line, between the lowest and the highest of them. */
export function sparkline(values: readonly number[]): string {
  const lowest = Math.min(...values);
  const range = Math.max(...values) - lowest;
  const level = (value: number) =>
    range === 0 ? 0 : Math.min(levels.length - 1, Math.floor(((value - lowest) / range) * levels.length));
  return values.map((value) => (Number.isFinite(value) ? levels[level(value)]! : ' ')).join('');
}
