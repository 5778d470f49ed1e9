/** What went wrong, where, and what to do about it; the fields that every Quaver error carries. */
export interface QuaverErrorDetails {
  /** How to put it right, in one sentence. */
  readonly hint?: string;
  /** Where: file, tensor, node, byte offset, … whatever names the place. */
  readonly where?: Readonly<Record<string, string | number>>;
  readonly cause?: unknown;
}

/**
 * The one error class of the SDK. `code` is stable across releases and kebab-case (`safetensors-truncated`);
 * the message names the place and says what was expected and what was found.
 */
export class QuaverError extends Error {
  override readonly name: string = 'QuaverError';
  readonly code: string;
  readonly hint: string | undefined;
  readonly where: Readonly<Record<string, string | number>>;

  constructor(code: string, message: string, details: QuaverErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.hint = details.hint;
    this.where = details.where ?? {};
  }
}
