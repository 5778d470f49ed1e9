import { context, trace } from '@opentelemetry/api';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { afterAll, expect, test } from 'vitest';
import { tinyRun } from '../support/tiny-rl.ts';

const exporter = new InMemorySpanExporter();
trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
afterAll(() => {
  trace.disable();
  context.disable();
});

test('every part of a step is a span', async () => {
  await tinyRun('spans', { steps: 2, evaluate: { every: 2, problems: 4 }, checkpoint: { every: 2 } });
  const spans = exporter.getFinishedSpans().map(({ name, attributes }) => [name, attributes.step]);
  const step = (n: number, parts: readonly string[]) => parts.map((part) => [`quaver.rl.${part}`, n]);
  expect(spans).toEqual([
    ...step(0, ['evaluate']),
    ...step(1, ['rollout', 'learn', 'sync', 'step']),
    ...step(2, ['rollout', 'learn', 'sync', 'evaluate', 'checkpoint', 'step']),
  ]);
});
