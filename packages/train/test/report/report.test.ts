import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { compareRuns, renderComparison, renderRunReport, type StepRecord } from '../../src/index.ts';
import { lockRunFolder, openRunWriter, writeComparison, writeRunReport } from '../../src/node.ts';
import { quantizationRecord, stepRecord } from '../metrics/step-records.ts';
import { elementsOf, tableOf } from './read-page.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'quaver-report-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function writeRun(name: string, steps: readonly StepRecord[]): Promise<string> {
  const run = path.join(folder, name);
  await mkdir(run, { recursive: true });
  const lock = await lockRunFolder(run);
  const writer = await openRunWriter(lock);
  for (const record of steps) {
    await writer.step(record);
    await writer.quantization([quantizationRecord(record.step, 'layers.0.weight')]);
  }
  await writer.close();
  await lock.release();
  return run;
}

/** 100 steps, an evaluation every 10; losses are `scale` times 4/step + 2. */
const course = (scale: number) =>
  Array.from({ length: 100 }, (_, i) => {
    const step = i + 1;
    const loss = scale * (4 / step + 2);
    return stepRecord(step, { loss, grad_norm: 100 / step ** 2, ...(step % 10 === 0 && { val_loss: 2 * loss }) });
  });

test('the figures of a run stand in a table before its plots', async () => {
  const run = await writeRun('a', [...course(1), stepRecord(101, { loss: Number.NaN, skipped: 1 })]);
  await writeRunReport(run, path.join(folder, 'report.html'));
  const page = await readFile(path.join(folder, 'report.html'), 'utf8');
  expect(page.indexOf('<table')).toBeLessThan(page.indexOf('<figure'));
  expect(Object.fromEntries(tableOf(page, 0))).toEqual({
    steps: '101',
    tokens: '206,848',
    'training loss, last step': 'NaN',
    'validation loss, last': '4.08',
    'validation loss, best': '4.08 (step 100)',
    'tokens per second, median': '1,051',
    'skipped steps (gradient not finite)': '1',
    'steps whose loss is not finite': '1',
  });
  expect(elementsOf(page, 'figcaption')).toEqual([
    'Training loss',
    'Validation loss',
    'Learning rate',
    'Gradient norm, before clipping',
    'Speed',
    'Share of time per phase',
    'Saturation: elements clipped to the largest value of the format',
    'Underflow: elements that became zero',
  ]);
  // Shares of 0.01 + 1 + 0.25 seconds.
  expect(tableOf(page, 2).at(-1)).toEqual(['a', '127.26', '0.794 %', '79.4 %', '19.8 %']);
  expect(tableOf(page, 3)).toEqual([
    ['tensor', 'amax, last', 'saturated, most', 'underflow, most'],
    ['layers.0.weight', '3.5', '10.1 %', '2 %'],
  ]);
});

test('a page loads nothing, runs nothing and has both colour schemes', async () => {
  const runs = ['a', 'b'].map((name) => ({ name, steps: course(1), quantization: [quantizationRecord(1, 'w')] }));
  for (const page of [renderRunReport(runs[0]!), renderComparison(runs)]) {
    expect(page).not.toMatch(/<script|<link|<img|<iframe|\bon\w+=|\b(href|src)=|url\(|@import|https?:/i);
    expect(page).toContain(`content="default-src 'none'`);
    expect(page).toContain('prefers-color-scheme:dark');
    const named = page.match(/<svg [^>]*>/g)!.filter((tag) => !tag.includes('aria-hidden'));
    for (const tag of named) expect(tag).toMatch(/role="img" aria-label="[^"]+"/);
  }
});

test('names are text, whatever is in them', () => {
  const evil = `</title><script>alert('1')</script>" onload="x" & \u0000`;
  const run = {
    name: evil,
    steps: [stepRecord(1, { seconds: { [evil]: 1 } })],
    quantization: [quantizationRecord(1, evil)],
  };
  for (const page of [renderRunReport(run), renderComparison([run, run])]) {
    expect(page).not.toContain('<script');
    expect(page).not.toContain('" onload');
    expect(page).toContain(
      '&lt;/title&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot; onload=&quot;x&quot; &amp;',
    );
  }
});

test('a curve goes through its points, has gaps where it is not finite, and its axis fits', () => {
  const losses = [1, 3, Number.NaN, 2, Number.POSITIVE_INFINITY];
  const steps = losses.map((loss, i) => stepRecord(i, { loss }));
  const page = renderRunReport({ name: 'a', steps, quantization: [] });
  const [raw] = page.match(/<path class="curve c0 d0 faint" d="([^"]*)"/)!.slice(1);
  // x from 88 (step 0) to 744 (step 3, the last finite); y from 256 (1) to 12 (3).
  expect(raw).toBe('M88,256L306.7,12M744,134Z');
});

test('a smoothed curve is the moving average with the correction for its start', () => {
  const page = renderRunReport({
    name: 'a',
    steps: [10, 20].map((loss, i) => stepRecord(i, { loss })),
    quantization: [],
  });
  // (0.1·0.9·10 + 0.1·20) / (0.1·0.9 + 0.1) = 15.263
  expect(page).toContain('smoothed (moving average, 0.9) ends at 15.263');
});

test('a long run gives a page of bounded size that keeps the extremes', () => {
  const steps = Array.from({ length: 50_000 }, (_, i) => stepRecord(i + 1, { loss: 2 + Math.sin(i), grad_norm: 1 }));
  steps[31_234] = stepRecord(31_235, { loss: 50 });
  const page = renderRunReport({ name: 'a', steps, quantization: [] });
  expect(page.length).toBeLessThan(300_000);
  const [raw] = page.match(/<path class="curve c0 d0 faint" d="([^"]*)"/)!.slice(1);
  const heights = raw!.match(/,[\d.]+/g)!.map((text) => Number(text.slice(1)));
  expect(Math.min(...heights)).toBe(12); // 50 is the top of the axis
});

test('runs are compared with the first', async () => {
  const runs = [await writeRun('a', course(1)), await writeRun('b', course(1.005)), await writeRun('x/a', course(0.9))];
  const output = path.join(folder, 'compare.html');
  const compared = await writeComparison(runs.slice(0, 2), output);
  expect(compared[1]!.valLossDifference).toBeCloseTo(0.005, 12);
  expect(compared[0]).toMatchObject({ name: 'a', lossDifference: 0, steps: 100, best: { step: 100, valLoss: 4.08 } });
  const page = await readFile(output, 'utf8');
  expect(tableOf(page, 0)).toEqual([
    ['run', 'steps', 'final loss', 'to first', 'final val_loss', 'to first', 'best val_loss', 'tokens/s'],
    ['a', '100', '2.04', '–', '4.08', '–', '4.08', '1,050.5'],
    ['b', '100', '2.0502', '+0.5 %', '4.1004', '+0.5 %', '4.1004', '1,050.5'],
  ]);
  expect(page.match(/<path class="curve c1 d0"/g)).toHaveLength(7);
  // Two runs are called a: then all are called by their paths.
  const [, , third] = await writeComparison(runs, output);
  expect(third).toMatchObject({ name: runs[2] });
  expect(third!.lossDifference).toBeCloseTo(-0.1, 12);
});

test('differences to a run without a value, to itself and to infinity', () => {
  const run = (name: string, loss: number, val_loss?: number) => ({
    name,
    steps: [stepRecord(1, { loss, val_loss })],
    quantization: [],
  });
  const compared = compareRuns([run('a', 2), run('b', Number.POSITIVE_INFINITY, 3)]);
  expect(compared.map(({ lossDifference, valLossDifference }) => [lossDifference, valLossDifference])).toEqual([
    [0, undefined],
    [Number.POSITIVE_INFINITY, undefined],
  ]);
  expect(renderComparison([run('a', Number.NaN), run('b', 1)])).toContain('NaN');
});

test('runs that are none are named, and the report that was there stays', async () => {
  const output = path.join(folder, 'report.html');
  const run = await writeRun('a', course(1));
  await writeRunReport(run, output);
  const before = await readFile(output, 'utf8');
  await expect(writeRunReport(path.join(folder, 'no'), output)).rejects.toMatchObject({ code: 'run-not-found' });
  await expect(writeComparison([run, folder], output)).rejects.toMatchObject({ code: 'run-not-a-run' });
  await expect(writeComparison([], output)).rejects.toMatchObject({ code: 'comparison-without-runs' });
  await expect(writeRunReport(run, path.join(folder, 'no', 'x.html'))).rejects.toMatchObject({
    code: 'file-not-found',
  });
  expect(await readFile(output, 'utf8')).toBe(before);
});
