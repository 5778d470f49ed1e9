import { Template } from '@huggingface/jinja';
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import type { Module } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';

/** One turn of a conversation. */
export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant' | 'tool';
  readonly content: string;
}

type Json = Readonly<Record<string, unknown>>;

/** What a tokenizer is made of: plain data, which can be sent to a worker. */
export interface TokenizerFiles {
  /** The contents of tokenizer.json. */
  readonly tokenizer: Json;
  /** The contents of tokenizer_config.json. */
  readonly config: Json;
  /** The chat template, when it is a file of its own. */
  readonly chatTemplate?: string;
}

/** Text to token ids and back, and conversations to prompts, from the files that a module carries. */
export class Tokenizer {
  /** The same tokenizer again: `new Tokenizer(files.tokenizer, files.config, files.chatTemplate)`. */
  readonly files: TokenizerFiles;
  readonly #tokenizer: HuggingFaceTokenizer;
  readonly #config: Json;
  readonly #template: string | undefined;

  /**
   * @param tokenizer the contents of tokenizer.json
   * @param config the contents of tokenizer_config.json
   * @param chatTemplate of a file of its own; default what the configuration holds
   * @throws QuaverError `tokenizer-invalid`
   */
  constructor(tokenizer: Json, config: Json, chatTemplate?: string) {
    try {
      this.#tokenizer = new HuggingFaceTokenizer(tokenizer, config);
    } catch (cause) {
      throw new QuaverError('tokenizer-invalid', `tokenizer.json cannot be used: ${(cause as Error).message}`, {
        hint: 'The file is damaged, or of a kind that is not supported: import the model again.',
        cause,
      });
    }
    this.files = { tokenizer, config, ...(chatTemplate !== undefined && { chatTemplate }) };
    this.#config = config;
    this.#template = chatTemplate ?? defaultTemplate(config.chat_template);
  }

  /**
   * The tokenizer that travels in a module.
   * @throws QuaverError `tokenizer-missing`, `tokenizer-invalid`
   */
  static async fromModule(module: Module): Promise<Tokenizer> {
    const text = async (name: string) => {
      const data = module.attachments.get(name);
      return data ? new TextDecoder().decode(await data.read()) : undefined;
    };
    const tokenizer = await text('tokenizer.json');
    if (tokenizer === undefined) {
      throw new QuaverError('tokenizer-missing', `module '${module.name}' carries no tokenizer`, {
        hint: 'Import a folder with tokenizer.json, or a GGUF file with its tokenizer.',
      });
    }
    const config = (await text('tokenizer_config.json')) ?? '{}';
    return new Tokenizer(
      parse('tokenizer.json', tokenizer),
      parse('tokenizer_config.json', config),
      await text('chat_template.jinja'),
    );
  }

  /**
   * Token ids of `text`; with `special` (the default) the tokenizer adds what the model expects around a text, such as
   * BOS. Characters that the vocabulary cannot write are left out where it has no token for the unknown.
   */
  encode(text: string, options: { readonly special?: boolean } = {}): number[] {
    const { ids } = this.#tokenizer.encode(text, { add_special_tokens: options.special ?? true });
    return ids.filter((id: number | undefined) => id !== undefined);
  }

  /**
   * Text of token ids; special tokens are left out unless asked for, and so are ids without a token: a model may have
   * more rows than its tokenizer has tokens.
   */
  decode(tokens: readonly number[], options: { readonly special?: boolean } = {}): string {
    const known = tokens.filter((token) => this.#tokenizer.id_to_token(token) !== undefined);
    if (known.length === 0) return '';
    return this.#tokenizer.decode(known, {
      skip_special_tokens: !(options.special ?? false),
      clean_up_tokenization_spaces: false,
    });
  }

  /**
   * The prompt of a conversation, ending where the assistant's turn begins; without `generationPrompt`, the conversation
   * as it is.
   * @throws QuaverError `chat-template-missing`, `chat-template-invalid`
   */
  applyChatTemplate(messages: readonly ChatMessage[], options: { readonly generationPrompt?: boolean } = {}): string {
    if (this.#template === undefined) {
      throw new QuaverError('chat-template-missing', 'the model has no chat template', {
        hint: 'Give the prompt as plain text (without --chat).',
      });
    }
    const token = (name: string) => {
      const value = this.#config[name];
      return typeof value === 'string' ? value : ((value as { content?: string } | undefined)?.content ?? '');
    };
    try {
      return new Template(this.#template).render({
        messages: messages.map((message) => ({ ...message })),
        add_generation_prompt: options.generationPrompt ?? true,
        bos_token: token('bos_token'),
        eos_token: token('eos_token'),
        pad_token: token('pad_token'),
        unk_token: token('unk_token'),
      });
    } catch (cause) {
      throw new QuaverError('chat-template-invalid', `the chat template failed: ${(cause as Error).message}`, {
        hint: 'The template may refuse this conversation (for example a system message), or be damaged.',
        cause,
      });
    }
  }
}

function parse(name: string, text: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw invalidFile(name, `is not JSON: ${(cause as Error).message}`, cause);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  throw invalidFile(name, 'is not a JSON object');
}

function invalidFile(name: string, problem: string, cause?: unknown): QuaverError {
  return new QuaverError('tokenizer-invalid', `${name} ${problem}`, {
    hint: 'The file is damaged: fetch it and import the model again.',
    where: { file: name },
    cause,
  });
}

/** `chat_template` is a string, or a list of named ones. */
function defaultTemplate(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) return undefined;
  const named = value as readonly { readonly name?: string; readonly template?: string }[];
  return (named.find((item) => item.name === 'default') ?? named[0])?.template;
}
