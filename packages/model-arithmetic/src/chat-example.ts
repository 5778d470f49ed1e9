import type { Problem } from './problem.ts';

/** A line of a chat dataset. */
export interface ChatExample {
  readonly messages: readonly [
    { readonly role: 'user'; readonly content: string },
    { readonly role: 'assistant'; readonly content: string },
  ];
}

/** A problem and its response as a conversation to learn from. */
export function chatExample({ prompt, response }: Problem): ChatExample {
  return {
    messages: [
      { role: 'user', content: prompt },
      { role: 'assistant', content: response },
    ],
  };
}
