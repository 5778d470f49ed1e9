import { QuaverError } from '@quaver/numerics';
import type { MetadataValue } from '../checkpoint.ts';
import type { JsonObject, JsonValue } from '../json.ts';

/** A vocabulary entry's `tokenizer.ggml.token_type`. */
export const tokenTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** What the parts of `tokenizer.json` are built from. */
export interface GgufVocabulary {
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  readonly tokens: readonly string[];
  readonly types: ArrayLike<number>;
  /** Token to id, without a prototype: `__proto__` is a token like any other. */
  readonly ids: Readonly<Record<string, number>>;
}

/** The parts that differ between the kinds of tokenizers. */
export interface TokenizerParts {
  readonly model: JsonObject;
  readonly normalizer: JsonValue;
  readonly preTokenizer: JsonValue;
  readonly decoder: JsonValue;
  /** Whether a beginning-of-text token is added where the file does not say. */
  readonly addBosByDefault: boolean;
}

/** @throws QuaverError `gguf-bad-tokenizer` */
export function readVocabulary(metadata: ReadonlyMap<string, MetadataValue>): GgufVocabulary {
  const tokens = stringArray(metadata, 'tokenizer.ggml.tokens');
  const stored = metadata.get('tokenizer.ggml.token_type');
  const types = stored === undefined ? new Int32Array(tokens.length).fill(tokenTypes.normal) : stored;
  if (!(types instanceof Int32Array || types instanceof Uint32Array) || types.length !== tokens.length) {
    throw badTokenizer(`"tokenizer.ggml.token_type" must hold ${tokens.length} integers, one per token`);
  }
  const ids: Record<string, number> = Object.create(null);
  for (const [id, token] of tokens.entries()) {
    if (token in ids) throw badTokenizer(`the tokens ${ids[token]} and ${id} are both ${JSON.stringify(token)}`);
    ids[token] = id;
  }
  return { metadata, tokens, types, ids };
}

/** A metadata array of strings. @throws QuaverError `gguf-bad-tokenizer` */
export function stringArray(metadata: ReadonlyMap<string, MetadataValue>, key: string): readonly string[] {
  const value = metadata.get(key);
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
  throw badTokenizer(`"${key}" must be an array of strings`);
}

/** A metadata truth value, or `otherwise` where there is none. @throws QuaverError `gguf-bad-tokenizer` */
export function flag(metadata: ReadonlyMap<string, MetadataValue>, key: string, otherwise: boolean): boolean {
  const value = metadata.get(key) ?? otherwise;
  if (typeof value === 'boolean') return value;
  throw badTokenizer(`"${key}" must be true or false`);
}

export function badTokenizer(problem: string): QuaverError {
  return new QuaverError('gguf-bad-tokenizer', `the GGUF tokenizer is damaged: ${problem}`);
}
