import type { ChatMessage } from '@quaver/generate';
import { QuaverError } from '@quaver/numerics';

/** A document. Every token of it is predicted; where it is longer than a row, it is cut into windows. */
export interface TextExample {
  readonly text: string;
}

/** A piece of a document that is too long to be tokenized at once. */
export interface TextPart extends TextExample {
  /** The first one: BOS stands before it. */
  readonly begins: boolean;
  /** The last one: the end token follows. */
  readonly ends: boolean;
}

/** A prompt and what shall follow it; only the completion is predicted. */
export interface CompletionExample {
  readonly prompt: string;
  readonly completion: string;
}

/** A conversation in the words of the tokenizer's chat template; only what the assistant says is predicted. */
export interface ChatExample {
  readonly messages: readonly ChatMessage[];
}

export type Example = TextExample | CompletionExample | ChatExample;

/** Where an example comes from, for errors. */
export interface Place {
  /** A path, or `<memory>`. */
  readonly file: string;
  /** 1-based line of the file, or number of the example in memory. */
  readonly line: number;
}

/** The tokens of one example. */
export interface TokenizedExample {
  readonly tokens: Int32Array;
  /** 1 where predicting this token counts, else 0; as long as `tokens`. */
  readonly loss: Uint8Array;
  /** May be cut into windows; otherwise it is one piece, or too long. */
  readonly divisible: boolean;
}

/** An error about one place of the data: `<file>:<line>: <reason>`. */
export function dataError(code: string, place: Place, reason: string, hint: string, cause?: unknown): QuaverError {
  return new QuaverError(code, `${place.file}:${place.line}: ${reason}`, {
    hint,
    where: { file: place.file, line: place.line },
    ...(cause !== undefined && { cause }),
  });
}
