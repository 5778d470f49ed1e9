/**
 * @file A conversation as text in pieces, those that the assistant writes apart from the rest. Templates are programs, so
 * the pieces are found by rendering: the prompt before each answer, as generation would render it, and the conversation
 * up to and with the answer. Each must begin with the one before it; a template for which that does not hold shows the
 * model other prompts in training than in generation.
 */
import type { ChatMessage, Tokenizer } from '@quaver/generate';
import { QuaverError } from '@quaver/numerics';
import { dataError, type Place } from './example.ts';

/** A piece of text, and whether it is predicted. */
export interface Span {
  readonly text: string;
  readonly loss: boolean;
}

/**
 * @returns pieces whose texts together are the rendered conversation; those with `loss` are the answers with whatever ends a turn
 * @throws QuaverError `data-no-answer`, `chat-template-unstable`, `chat-template-missing`, `chat-template-invalid`
 */
export function chatTurns(tokenizer: Tokenizer, messages: readonly ChatMessage[], place: Place): Span[] {
  const render = (count: number, generationPrompt: boolean) =>
    placed(place, () => tokenizer.applyChatTemplate(messages.slice(0, count), { generationPrompt }));
  const whole = render(messages.length, false);
  const spans: Span[] = [];
  let done = '';
  const advance = (text: string, loss: boolean, message: number) => {
    if (!text.startsWith(done) || !whole.startsWith(text)) throw unstable(place, message);
    spans.push({ text: text.slice(done.length), loss });
    done = text;
  };
  for (const [index, { role }] of messages.entries()) {
    if (role !== 'assistant') continue;
    advance(render(index, true), false, index);
    advance(index + 1 === messages.length ? whole : render(index + 1, false), true, index);
  }
  if (spans.length === 0) {
    throw dataError(
      'data-no-answer',
      place,
      'no message is of the assistant',
      'Only what the assistant says is trained on.',
    );
  }
  spans.push({ text: whole.slice(done.length), loss: false });
  return spans.filter((span) => span.text !== '');
}

function unstable(place: Place, message: number): QuaverError {
  return dataError(
    'chat-template-unstable',
    place,
    `the chat template renders what comes before and with message ${message + 1} differently when more messages follow`,
    'The model would train on other prompts than it sees in generation: use a template that only appends, or split the conversation.',
  );
}

/** What a template throws says what, not where. */
function placed<T>(place: Place, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof QuaverError)) throw error;
    throw dataError(
      error.code,
      place,
      error.message,
      error.hint ?? 'Look at the chat template of the tokenizer.',
      error,
    );
  }
}
