/**
 * @file The tokenizer inside a GGUF file, as the pair of objects that Hugging Face tokenizers are made of.
 *
 * GGUF keeps the vocabulary, a type per token and either merges (`gpt2`, byte-level BPE) or scores (`llama`,
 * SentencePiece BPE); how text is split before the merges is only named (`tokenizer.ggml.pre`).
 */
import { QuaverError } from '@quaver/numerics';
import type { MetadataValue } from '../checkpoint.ts';
import type { JsonObject, JsonValue } from '../json.ts';
import { byteLevelParts } from './tokenizer-bpe.ts';
import { sentencePieceParts } from './tokenizer-spm.ts';
import { badTokenizer, flag, type GgufVocabulary, readVocabulary, tokenTypes } from './vocabulary.ts';

export interface GgufTokenizer {
  /** The content of a `tokenizer.json`. */
  readonly tokenizer: JsonObject;
  /** The content of a `tokenizer_config.json`, chat template included. */
  readonly config: JsonObject;
}

/**
 * Builds `tokenizer.json` and `tokenizer_config.json` from GGUF metadata.
 * @param metadata of `openGguf` or `readGgufHeader`
 * @throws QuaverError `gguf-no-tokenizer`, `gguf-unsupported-tokenizer`, `gguf-bad-tokenizer`
 */
export function tokenizerFromGguf(metadata: ReadonlyMap<string, MetadataValue>): GgufTokenizer {
  const model = metadata.get('tokenizer.ggml.model');
  if (model === undefined) {
    throw new QuaverError('gguf-no-tokenizer', 'the GGUF metadata has no "tokenizer.ggml.model"', {
      hint: 'Take a GGUF file with a tokenizer, or give a tokenizer.json.',
    });
  }
  const vocabulary = readVocabulary(metadata);
  const parts =
    model === 'gpt2' ? byteLevelParts(vocabulary) : model === 'llama' ? sentencePieceParts(vocabulary) : undefined;
  if (parts === undefined) {
    throw new QuaverError('gguf-unsupported-tokenizer', `tokenizer.ggml.model is "${String(model)}"`, {
      hint: 'Supported are "gpt2" (byte-level BPE) and "llama" (SentencePiece BPE): give a tokenizer.json instead.',
    });
  }
  const special = specialTokens(vocabulary);
  const addBos = flag(metadata, 'tokenizer.ggml.add_bos_token', parts.addBosByDefault && special.bos !== undefined);
  const addEos = flag(metadata, 'tokenizer.ggml.add_eos_token', false);
  const tokenizer: JsonObject = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens(vocabulary),
    normalizer: parts.normalizer,
    pre_tokenizer: parts.preTokenizer,
    post_processor: postProcessor(
      addBos ? required(special.bos, 'bos') : undefined,
      addEos ? required(special.eos, 'eos') : undefined,
    ),
    decoder: parts.decoder,
    model: parts.model,
  };
  return { tokenizer, config: tokenizerConfig(metadata, special, addBos, addEos) };
}

interface SpecialToken {
  readonly id: number;
  readonly content: string;
}

interface SpecialTokens {
  readonly bos: SpecialToken | undefined;
  readonly eos: SpecialToken | undefined;
  readonly unk: SpecialToken | undefined;
  readonly pad: SpecialToken | undefined;
}

function specialTokens({ metadata, tokens }: GgufVocabulary): SpecialTokens {
  const named = (name: string): SpecialToken | undefined => {
    const key = `tokenizer.ggml.${name}_token_id`;
    const id = metadata.get(key);
    if (id === undefined) return undefined;
    const content = typeof id === 'number' ? tokens[id] : undefined;
    if (content === undefined)
      throw badTokenizer(`"${key}" is ${String(id)}, the vocabulary has ${tokens.length} tokens`);
    return { id: id as number, content };
  };
  return { bos: named('bos'), eos: named('eos'), unk: named('unknown'), pad: named('padding') };
}

function addedTokens({ tokens, types }: GgufVocabulary): JsonValue[] {
  const added: JsonValue[] = [];
  for (const [id, content] of tokens.entries()) {
    const special = types[id] === tokenTypes.control || types[id] === tokenTypes.unknown;
    if (!special && types[id] !== tokenTypes.userDefined) continue;
    if (content === '') continue; // would match everywhere
    added.push({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special });
  }
  return added;
}

function postProcessor(bos: SpecialToken | undefined, eos: SpecialToken | undefined): JsonValue {
  if (bos === undefined && eos === undefined) return null;
  const piece = (token: SpecialToken | undefined, type: number) =>
    token === undefined ? [] : [{ SpecialToken: { id: token.content, type_id: type } }];
  const sequence = (id: string, type: number) => [
    ...piece(bos, type),
    { Sequence: { id, type_id: type } },
    ...piece(eos, type),
  ];
  const used: Record<string, JsonValue> = Object.create(null);
  for (const token of [bos, eos]) {
    if (token) used[token.content] = { id: token.content, ids: [token.id], tokens: [token.content] };
  }
  return {
    type: 'TemplateProcessing',
    single: sequence('A', 0),
    pair: [...sequence('A', 0), ...sequence('B', 1)],
    special_tokens: used,
  };
}

function tokenizerConfig(
  metadata: ReadonlyMap<string, MetadataValue>,
  { bos, eos, unk, pad }: SpecialTokens,
  addBos: boolean,
  addEos: boolean,
): JsonObject {
  const template = metadata.get('tokenizer.chat_template');
  const context = metadata.get(`${String(metadata.get('general.architecture'))}.context_length`);
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    add_bos_token: addBos,
    add_eos_token: addEos,
    clean_up_tokenization_spaces: false,
    bos_token: bos?.content ?? null,
    eos_token: eos?.content ?? null,
    unk_token: unk?.content ?? null,
    pad_token: pad?.content ?? null,
    ...(typeof context === 'number' && { model_max_length: context }),
    ...(typeof template === 'string' && { chat_template: template }),
  };
}

function required(token: SpecialToken | undefined, name: string): SpecialToken {
  if (token !== undefined) return token;
  throw badTokenizer(`"tokenizer.ggml.add_${name}_token" is set, but there is no "tokenizer.ggml.${name}_token_id"`);
}
