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

/** Text to token ids and back, and conversations to prompts, from the files that a module carries. */
export class Tokenizer {
  readonly #tokenizer: HuggingFaceTokenizer;
  readonly #config: Json;
  readonly #template: string | undefined;
  readonly #vocabSize: number;

  constructor(tokenizer: Json, config: Json, chatTemplate?: string) {
    try {
      this.#tokenizer = new HuggingFaceTokenizer(tokenizer, config);
    } catch (cause) {
      throw new QuaverError('tokenizer-invalid', `tokenizer.json cannot be used: ${(cause as Error).message}`, {
        cause,
      });
    }
    this.#config = config;
    this.#template = chatTemplate ?? defaultTemplate(config.chat_template);
    this.#vocabSize = this.#tokenizer.get_vocab(true).size;
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

  get vocabSize(): number {
    return this.#vocabSize;
  }

  get hasChatTemplate(): boolean {
    return this.#template !== undefined;
  }

  /** Token ids of `text`; with `special` the tokenizer adds what the model expects around a text (such as BOS). */
  encode(text: string, options: { readonly special?: boolean } = {}): number[] {
    return this.#tokenizer.encode(text, { add_special_tokens: options.special ?? true }).ids;
  }

  /** Text of token ids; special tokens are left out unless asked for. */
  decode(tokens: readonly number[], options: { readonly special?: boolean } = {}): string {
    if (tokens.length === 0) return '';
    return this.#tokenizer.decode([...tokens], {
      skip_special_tokens: !(options.special ?? false),
      clean_up_tokenization_spaces: false,
    });
  }

  /**
   * The prompt of a conversation, ending where the assistant's turn begins.
   * @throws QuaverError `chat-template-missing`, `chat-template-invalid`
   */
  applyChatTemplate(messages: readonly ChatMessage[]): string {
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
        add_generation_prompt: true,
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
  try {
    return JSON.parse(text) as Json;
  } catch (cause) {
    throw new QuaverError('tokenizer-invalid', `${name} is not JSON: ${(cause as Error).message}`, {
      where: { file: name },
    });
  }
}

/** `chat_template` is a string, or a list of named ones. */
function defaultTemplate(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) return undefined;
  const named = value as readonly { readonly name?: string; readonly template?: string }[];
  return (named.find((item) => item.name === 'default') ?? named[0])?.template;
}
