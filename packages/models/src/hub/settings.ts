import { QuaverError } from '@quaver/numerics';
import { cacheFolder, type Environment } from './cache-folder.ts';
import type { PullOptions, PullProgress, PullTiming } from './pull-options.ts';

/** Options and environment, resolved once per pull. */
export interface PullSettings {
  readonly cache: string;
  readonly endpoint: string;
  readonly token: string | undefined;
  readonly offline: boolean;
  readonly gguf: string | undefined;
  readonly signal: AbortSignal | undefined;
  readonly env: Environment;
  readonly timing: PullTiming;
  report(event: PullProgress): void;
}

const PUBLIC_HUB = 'https://huggingface.co';

export function resolveSettings(options: PullOptions): PullSettings {
  const env = options.env ?? process.env;
  return {
    cache: options.cacheFolder ?? cacheFolder(env),
    endpoint: checkEndpoint(options.endpoint ?? (env.HF_ENDPOINT || PUBLIC_HUB)),
    token: options.token ?? (env.HF_TOKEN || undefined),
    offline: options.offline ?? ['1', 'true', 'yes', 'on'].includes((env.HF_HUB_OFFLINE ?? '').toLowerCase()),
    gguf: options.gguf,
    signal: options.signal,
    env,
    timing: { reachMs: 5_000, stallMs: 30_000, retryMs: 500, retries: 5, ...options.timing },
    report: options.onProgress ?? (() => {}),
  };
}

function checkEndpoint(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new QuaverError(
      'hub-bad-endpoint',
      `HF_ENDPOINT is ${JSON.stringify(text)}: expected an http or https address`,
      {
        hint: `Unset HF_ENDPOINT to use ${PUBLIC_HUB}.`,
      },
    );
  }
  return text.replace(/\/+$/, '');
}

/** @throws QuaverError `aborted` once the caller's signal has fired. */
export function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) {
    throw new QuaverError('aborted', 'the pull was stopped on request', {
      hint: 'Pull again to go on where it stopped.',
      cause: signal.reason,
    });
  }
}
