/** @file Conversations between the policy and a task: as many turns as the task wants, all sequences together. */
import type {
  ChatMessage,
  RolloutEngine,
  RolloutMetrics,
  RolloutOutcome,
  RolloutRequest,
  RolloutResult,
  Tokenizer,
} from '@quaver/generate';
import type { Reward, RlProblem, RlResponse, RlTask } from '../tasks/environment.ts';

export interface ConversationParts {
  readonly engine: RolloutEngine;
  readonly task: RlTask;
  readonly tokenizer: Tokenizer;
  /** Told how the engine generated each turn of all conversations. */
  readonly onGenerated?: ((metrics: RolloutMetrics) => void) | undefined;
}

/** One sample of a problem. */
export interface Conversation {
  readonly problem: RlProblem;
  /** Of the problem. */
  readonly index: number;
  readonly turns: readonly RolloutResult[];
  /** The last turn's. */
  readonly response: RlResponse;
  /** Why the conversation could not go on, where the task failed. */
  readonly failure?: Extract<Reward, { readonly status: 'failed' }> | undefined;
}

/** Tasks that never end a conversation are ended. */
const mostTurns = 32;

/**
 * @param requestOf the samples of a problem; its id is the problem's index
 * @returns in the order of the problems, and by sample within each
 * @throws QuaverError of the first request that could not be met, `aborted`
 */
export async function converse(
  parts: ConversationParts,
  problems: readonly RlProblem[],
  requestOf: (problem: RlProblem, index: number) => RolloutRequest,
  signal?: AbortSignal,
): Promise<readonly Conversation[]> {
  const requests = problems.map(requestOf);
  const results = await generated(parts, requests, signal);
  const conversations = results.map((turn) => {
    const index = Number(turn.id);
    return new OpenConversation(parts, problems[index]!, requests[index]!, turn);
  });
  let open: readonly OpenConversation[] = parts.task.respond ? conversations : [];
  for (let turn = 1; open.length > 0 && turn < mostTurns; turn++) {
    const next = await Promise.all(open.map((conversation) => conversation.answered(signal)));
    const going = open.flatMap((conversation, i) => (next[i] ? [{ conversation, request: next[i] }] : []));
    const turns = await generated(
      parts,
      going.map(({ request }) => request),
      signal,
    );
    for (const [i, { conversation }] of going.entries()) conversation.add(turns[i]!);
    open = going.map(({ conversation }) => conversation);
  }
  return conversations;
}

class OpenConversation implements Conversation {
  readonly problem: RlProblem;
  readonly turns: RolloutResult[];
  failure: Conversation['failure'];
  readonly #parts: ConversationParts;
  readonly #request: RolloutRequest;
  readonly #messages: ChatMessage[] = [];

  constructor(parts: ConversationParts, problem: RlProblem, request: RolloutRequest, turn: RolloutResult) {
    this.#parts = parts;
    this.#request = request;
    this.problem = problem;
    this.turns = [];
    this.add(turn);
  }

  get index(): number {
    return Number(this.#request.id);
  }

  get response(): RlResponse {
    const { tokens, stopReason } = this.turns.at(-1)!;
    return { text: this.#messages.at(-1)!.content, tokens, stopReason, messages: this.#messages };
  }

  add(turn: RolloutResult): void {
    this.turns.push(turn);
    this.#messages.push({ role: 'assistant', content: this.#parts.tokenizer.decode(turn.tokens) });
  }

  /** The request for the next turn; undefined where the task says nothing more, or there is no room for it. */
  async answered(signal: AbortSignal | undefined): Promise<RolloutRequest | undefined> {
    const { task, tokenizer, engine } = this.#parts;
    const said = await task.respond!(this.problem, this.response, signal ? { signal } : {});
    if (said === undefined) return undefined;
    if (typeof said === 'object') {
      this.failure = said;
      return undefined;
    }
    const answer: ChatMessage = { role: 'user', content: said };
    const text = tokenizer.applyChatTemplate([...this.problem.messages, ...this.#messages, answer]);
    const prompt = tokenizer.encode(text, { special: false });
    if (prompt.length >= engine.capacity) return undefined;
    this.#messages.push(answer);
    const { sample } = this.turns[0]!;
    return {
      ...this.#request,
      prompt,
      samples: 1,
      key: [...this.#request.key!, sample, this.turns.length],
    };
  }
}

async function generated(
  { engine, onGenerated }: ConversationParts,
  requests: readonly RolloutRequest[],
  signal: AbortSignal | undefined,
): Promise<RolloutResult[]> {
  if (requests.length === 0) return [];
  const outcomes: readonly RolloutOutcome[] = await engine.generate(requests, signal ? { signal } : {});
  onGenerated?.(engine.metrics);
  return outcomes.map((outcome) => {
    if (outcome.error) throw outcome.error;
    return outcome;
  });
}
