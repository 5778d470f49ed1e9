import { type ChatMessage, type GenerateEvent, type GenerateRequest, generate } from '@quaver/generate';
import { QuaverError } from '@quaver/numerics';
import type { ModelSession } from './model-session.ts';

/** What to continue: plain text, or a conversation whose next turn is the assistant's. */
export type TextPrompt =
  | { readonly prompt: string; readonly messages?: never }
  | { readonly messages: readonly ChatMessage[]; readonly prompt?: never };

export type TextRequest = TextPrompt & Omit<GenerateRequest, 'prompt'>;

/**
 * Generates one continuation, event by event; the last event is `end`.
 * @throws QuaverError `tokenizer-missing`, `chat-template-…`, `prompt-…`, `sampling-invalid`, `aborted`
 */
export async function* generateText(
  model: ModelSession,
  request: TextRequest,
): AsyncGenerator<GenerateEvent, void, undefined> {
  const tokenizer = await model.tokenizer();
  const { prompt, messages, ...options } = request;
  if ((prompt === undefined) === (messages === undefined)) {
    throw new QuaverError('prompt-ambiguous', 'give either a prompt or messages', {
      hint: '`prompt` is plain text to continue, `messages` is a conversation.',
    });
  }
  // A chat template writes the special tokens itself.
  const tokens =
    messages === undefined
      ? tokenizer.encode(prompt!)
      : tokenizer.encode(tokenizer.applyChatTemplate(messages), { special: false });
  yield* generate(model.session, tokenizer, { ...options, prompt: tokens });
}

/** The text of a continuation, piece by piece, as soon as each piece is certain. */
export async function* streamText(model: ModelSession, request: TextRequest): AsyncGenerator<string, void, undefined> {
  for await (const event of generateText(model, request)) {
    if (event.type === 'token' && event.text !== '') yield event.text;
  }
}
