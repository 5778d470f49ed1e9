import { QuaverError } from '@quaver/numerics';
import { type PreTokenizerRule, preTokenizerRules } from './pre-tokenizers.ts';
import { badTokenizer, flag, type GgufVocabulary, stringArray, type TokenizerParts } from './vocabulary.ts';

/** Byte-level BPE: text is split, its UTF-8 bytes are written as printable characters, and merges apply by rank. */
export function byteLevelParts(vocabulary: GgufVocabulary): TokenizerParts {
  const { metadata, ids } = vocabulary;
  const rule = preTokenizerRule(vocabulary);
  const addPrefixSpace = flag(metadata, 'tokenizer.ggml.add_space_prefix', false);
  return {
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: rule.ignoreMerges,
      vocab: ids,
      merges: readMerges(vocabulary),
    },
    normalizer: rule.normalizer,
    preTokenizer: {
      type: 'Sequence',
      pretokenizers: [
        ...rule.patterns.map((pattern) => ({
          type: 'Split',
          pattern: { Regex: pattern },
          behavior: 'Isolated',
          invert: false,
        })),
        { type: 'ByteLevel', add_prefix_space: addPrefixSpace, trim_offsets: true, use_regex: false },
      ],
    },
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    addBosByDefault: rule.addBos,
  };
}

function preTokenizerRule({ metadata }: GgufVocabulary): PreTokenizerRule {
  const name = metadata.get('tokenizer.ggml.pre') ?? 'default';
  const rule = preTokenizerRules.get(String(name));
  if (rule !== undefined) return rule;
  throw new QuaverError(
    'gguf-unsupported-tokenizer',
    `the pre-tokenizer "${String(name)}" (tokenizer.ggml.pre) is not known`,
    {
      hint: `Known are ${[...preTokenizerRules.keys()].join(', ')}: give the model's tokenizer.json instead.`,
    },
  );
}

/** `"Ġ t"` becomes `["Ġ", "t"]`; both halves and their sum must be tokens. */
function readMerges({ metadata, ids }: GgufVocabulary): [string, string][] {
  return stringArray(metadata, 'tokenizer.ggml.merges').map((merge, rank) => {
    const space = merge.indexOf(' ', 1);
    const [left, right] = [merge.slice(0, space), merge.slice(space + 1)];
    const whole = space > 0 && left in ids && right in ids && left + right in ids;
    if (!whole) throw badTokenizer(`merge ${rank}, ${JSON.stringify(merge)}, does not join two tokens to a third`);
    return [left, right];
  });
}
