/** @file OpenTelemetry spans of what a run does, where `@opentelemetry/api` is installed. */
import type { Spans } from '../loop/spans.ts';

const packageName = '@opentelemetry/api';

/** Spans of the tracer `@quaver/rl`; undefined where OpenTelemetry is not installed. What happens to them is the application's business. */
export async function openSpans(): Promise<Spans | undefined> {
  const api = await load();
  if (!api) return undefined;
  const tracer = api.trace.getTracer('@quaver/rl');
  return {
    run: (name, attributes, work) =>
      tracer.startActiveSpan(`quaver.rl.${name}`, { attributes }, async (span) => {
        try {
          return await work();
        } catch (error) {
          span.recordException(error as Error);
          span.setStatus({ code: api.SpanStatusCode.ERROR });
          throw error;
        } finally {
          span.end();
        }
      }),
  };
}

async function load(): Promise<typeof import('@opentelemetry/api') | undefined> {
  try {
    return await import('@opentelemetry/api');
  } catch (error) {
    // Another failure is that of an installed package, and shall be seen.
    if ((error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND' && String(error).includes(packageName))
      return undefined;
    throw error;
  }
}
