import type { Environment } from './cache-folder.ts';

/** What a pull is doing; `totalBytes` is undefined where nobody has told it yet. */
export type PullProgress =
  | {
      readonly phase: 'download';
      readonly file: string;
      readonly receivedBytes: number;
      readonly totalBytes: number | undefined;
    }
  | { readonly phase: 'extract'; readonly file: string; readonly writtenBytes: number; readonly totalBytes: number }
  | { readonly phase: 'verify'; readonly file: string }
  /** The hub is out of reach for `reason`; the model comes from `source` instead. */
  | { readonly phase: 'fallback'; readonly reason: string; readonly source: string };

export interface PullOptions {
  /** Take this one GGUF file of the repository instead of its safetensors checkpoint. */
  readonly gguf?: string | undefined;
  /** Default: see `cacheFolder`. */
  readonly cacheFolder?: string | undefined;
  /** Default: `HF_ENDPOINT`, else the public hub. */
  readonly endpoint?: string | undefined;
  /** Default: `HF_TOKEN`. Sent to the endpoint only. */
  readonly token?: string | undefined;
  /** Use the cache only. Default: `HF_HUB_OFFLINE`. */
  readonly offline?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((event: PullProgress) => void) | undefined;
  /** Environment for all of the above and for pip. Default: `process.env`. */
  readonly env?: Environment | undefined;
  readonly timing?: Partial<PullTiming> | undefined;
}

export interface PullResult {
  /** The folder of the checkpoint, or the `.gguf` file. */
  readonly path: string;
  /** Of the `.gguf` file; of a folder: of its `sha256sum` lines sorted by name. */
  readonly sha256: string;
  /** Of all files together. */
  readonly bytes: number;
  /** Whether everything was in the cache already (and its digests held). */
  readonly cached: boolean;
}

/** Limits of the network code, in milliseconds and counts. */
export interface PullTiming {
  /** How long the first answer of the hub may take before it counts as out of reach. */
  readonly reachMs: number;
  /** How long a download may stand still before the connection counts as lost. */
  readonly stallMs: number;
  /** First pause before a retry; doubles with every further one, up to 30 s. */
  readonly retryMs: number;
  /** Failures in a row, without a megabyte of progress between them, before giving up. */
  readonly retries: number;
}
