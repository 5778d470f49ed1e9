import { setTimeout as sleep } from 'node:timers/promises';
import { QuaverError } from '@quaver/numerics';
import { checkAborted, type PullSettings } from './settings.ts';

/** A failure that may go away by itself: a lost connection, a busy server. */
export class TransientFailure extends Error {
  readonly error: QuaverError;
  readonly retryAfterMs: number | undefined;

  constructor(error: QuaverError, retryAfterMs?: number) {
    super(error.message);
    this.error = error;
    this.retryAfterMs = retryAfterMs;
  }
}

export interface HubResponse {
  readonly response: Response;
  /** Headers with which the hub describes a large file before it redirects to where the bytes lie. */
  readonly linkedSha256: string | undefined;
  readonly linkedBytes: number | undefined;
}

const MAX_REDIRECTS = 8;
const MAX_PAUSE_MS = 30_000;

/**
 * One GET with its redirects. Statuses other than 200, 206 and 416 become errors. The token goes to the endpoint's own
 * origin only, never to the storage that it redirects to.
 * @throws TransientFailure (connection, 408, 429, 5xx); QuaverError `hub-unauthorized`, `hub-gated`, `hub-not-found`,
 * `hub-http-error`, `hub-bad-redirect`
 */
export async function hubGet(
  url: string,
  headers: Readonly<Record<string, string>>,
  settings: PullSettings,
  signal: AbortSignal,
): Promise<HubResponse> {
  const home = new URL(settings.endpoint).origin;
  let linkedSha256: string | undefined;
  let linkedBytes: number | undefined;
  let at = new URL(url);
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const authorization: Record<string, string> =
      settings.token && at.origin === home ? { authorization: `Bearer ${settings.token}` } : {};
    const response = await connect(at, { ...headers, ...authorization }, signal);
    linkedSha256 ??= /^(?:W\/)?"?([0-9a-f]{64})"?$/.exec(response.headers.get('x-linked-etag') ?? '')?.[1];
    linkedBytes ??= parseBytes(response.headers.get('x-linked-size'));
    const location = response.headers.get('location');
    if (response.status < 300 || response.status >= 400 || location === null) {
      if ([200, 206, 416].includes(response.status)) return { response, linkedSha256, linkedBytes };
      await response.body?.cancel();
      throw statusFailure(response, url, settings);
    }
    await response.body?.cancel();
    at = redirectTarget(at, location);
  }
  throw new QuaverError('hub-bad-redirect', `${url}: more than ${MAX_REDIRECTS} redirects`);
}

async function connect(url: URL, headers: Record<string, string>, signal: AbortSignal): Promise<Response> {
  try {
    // Compressed answers would make lengths and ranges meaningless.
    return await fetch(url, { headers: { ...headers, 'accept-encoding': 'identity' }, redirect: 'manual', signal });
  } catch (cause) {
    throw connectionFailure(url.origin, cause);
  }
}

function redirectTarget(from: URL, location: string): URL {
  const target = URL.canParse(location, from) ? new URL(location, from) : undefined;
  const downgraded = from.protocol === 'https:' && target?.protocol === 'http:';
  if (target === undefined || !/^https?:$/.test(target.protocol) || downgraded) {
    throw new QuaverError('hub-bad-redirect', `${from.origin} redirects to ${JSON.stringify(location)}`, {
      hint: 'Only http and https addresses are followed, and never from https to http.',
    });
  }
  return target;
}

export function parseBytes(text: string | null | undefined): number | undefined {
  if (text === null || text === undefined || !/^\d{1,15}$/.test(text)) return undefined;
  return Number(text);
}

export function connectionFailure(origin: string, cause: unknown): TransientFailure {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  const reason =
    inner instanceof Error ? inner.message || (inner as NodeJS.ErrnoException).code || inner.name : `${inner}`;
  return new TransientFailure(
    new QuaverError('hub-unreachable', `no connection to ${origin}: ${reason}`, {
      hint: 'Check the network. HF_ENDPOINT names a mirror; behind a proxy, Node 24 reads HTTPS_PROXY with NODE_USE_ENV_PROXY=1.',
      cause,
    }),
  );
}

/** Transient statuses; 5xx other than 501 are the server's trouble and pass. */
const isTransient = (status: number) => status === 408 || status === 429 || (status >= 500 && status !== 501);

function statusFailure(response: Response, url: string, settings: PullSettings): Error {
  const { status, headers } = response;
  const code = headers.get('x-error-code');
  const said = headers.get('x-error-message') ?? response.statusText;
  const where = { url, status };
  const withToken = settings.token ? 'The token of HF_TOKEN does not open it.' : 'Set HF_TOKEN to an access token.';
  if (isTransient(status)) {
    const error = new QuaverError('hub-unavailable', `${url}: the hub answers ${status} ${said}`, {
      hint: 'Try again later.',
      where,
    });
    return new TransientFailure(error, retryAfter(headers.get('retry-after')));
  }
  if (code === 'GatedRepo' || status === 403) {
    return new QuaverError('hub-gated', `${url}: access is refused (${status} ${said})`, {
      hint: `Accept the model's terms on its page. ${withToken}`,
      where,
    });
  }
  if (status === 404 || code === 'RepoNotFound' || code === 'RevisionNotFound' || code === 'EntryNotFound') {
    return new QuaverError('hub-not-found', `${url}: not found (${status} ${said})`, {
      hint: 'Check the organization, the model and the revision. Private models need HF_TOKEN.',
      where,
    });
  }
  if (status === 401) {
    return new QuaverError('hub-unauthorized', `${url}: the model does not exist or is private (401 ${said})`, {
      hint: `Check the spelling. ${withToken}`,
      where,
    });
  }
  return new QuaverError('hub-http-error', `${url}: expected 200, found ${status} ${said}`, { where });
}

function retryAfter(text: string | null): number | undefined {
  if (text === null) return undefined;
  const seconds = /^\d+$/.test(text) ? Number(text) : (Date.parse(text) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(Math.max(0, seconds * 1000), MAX_PAUSE_MS) : undefined;
}

/** The pause before retry number `failures` (1, 2, …): what the server asked for, else doubling, with jitter. */
export async function pauseBeforeRetry(
  failures: number,
  failure: TransientFailure,
  settings: PullSettings,
): Promise<void> {
  const doubled = Math.min(settings.timing.retryMs * 2 ** (failures - 1), MAX_PAUSE_MS);
  const pause = failure.retryAfterMs ?? doubled * (0.75 + Math.random() / 2);
  await sleep(pause, undefined, settings.signal ? { signal: settings.signal } : {}).catch(() => {});
  checkAborted(settings.signal);
}

/** A signal that fires with the caller's, or when `touch` was not called for `ms`. `stop` releases the timer. */
export function stallGuard(ms: number, outer: AbortSignal | undefined): StallGuard {
  const controller = new AbortController();
  const expire = () => controller.abort(new Error(`no answer for ${ms / 1000} s`));
  let timer = setTimeout(expire, ms);
  return {
    signal: outer ? AbortSignal.any([outer, controller.signal]) : controller.signal,
    touch() {
      clearTimeout(timer);
      timer = setTimeout(expire, ms);
    },
    stop: () => clearTimeout(timer),
  };
}

export interface StallGuard {
  readonly signal: AbortSignal;
  touch(): void;
  stop(): void;
}
