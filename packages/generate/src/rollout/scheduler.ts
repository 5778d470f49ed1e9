/**
 * @file Which sequences run, and on which pages. Sequences run in the order in which they came; where pages run out, the
 * youngest gives its own back and is computed again later.
 */
import { paddedSize } from './batch-size.ts';
import type { PagePool } from './page-pool.ts';
import type { RequestGroup } from './request-group.ts';
import type { Sequence } from './sequence.ts';

export interface SchedulerLimits {
  readonly maxSequences: number;
  readonly pageTokens: number;
  readonly prefillTokens: number;
  /** Positions that the model has. */
  readonly context: number;
}

/** Sequences for one call of `prefill`, each with up to `tokens` of what it has pending. */
export interface PrefillPlan {
  readonly sequences: readonly Sequence[];
  readonly tokens: number;
}

export class Scheduler {
  /** Sequences with pages, and those that wait for some, both by age. */
  readonly running: Sequence[] = [];
  readonly waiting: Sequence[] = [];
  readonly pool: PagePool;
  preemptions = 0;
  /** Prompt tokens that samples did not compute, because another one had. */
  savedTokens = 0;
  readonly #limits: SchedulerLimits;
  /** Groups that use pages themselves, by age. */
  readonly #groups: RequestGroup[] = [];

  constructor(pool: PagePool, limits: SchedulerLimits) {
    this.pool = pool;
    this.#limits = limits;
  }

  /** Sequences that have come and not ended. */
  get live(): number {
    return this.running.length + this.waiting.length;
  }

  add(group: RequestGroup): void {
    for (const sequence of group.sequences) insertByAge(this.waiting, sequence);
  }

  /**
   * Starts sequences that wait, as long as there is room and memory for all that they have pending. None overtakes one that
   * waits for memory, or old ones could wait for ever.
   */
  admit(): void {
    for (let i = 0; i < this.waiting.length && this.running.length < this.#limits.maxSequences; ) {
      const sequence = this.waiting[i]!;
      const { leader } = sequence.group;
      if (leader) i++;
      else if (this.#start(sequence)) this.waiting.splice(i, 1);
      else return;
    }
  }

  /** The oldest sequence with more than one token pending, and those that fill its call with about as many. */
  planPrefill(): PrefillPlan | undefined {
    const { prefillTokens, context } = this.#limits;
    const first = this.running.find(({ pending }) => pending > 1);
    if (!first) return undefined;
    // Padding has positions, too: they must be the model's.
    const tokens = Math.min(paddedSize(first.pending, prefillTokens), prefillTokens, context - first.computed);
    const fits = (sequence: Sequence) =>
      2 * sequence.pending > tokens && sequence.pending <= tokens && sequence.computed + tokens <= context;
    const others = this.running.filter((sequence) => sequence !== first && sequence.pending > 1 && fits(sequence));
    const rows = Math.max(1, Math.floor(prefillTokens / tokens));
    return { sequences: [first, ...others.slice(0, rows - 1)], tokens };
  }

  /** The sequences with one token pending, each with a page for it. */
  planDecode(): Sequence[] {
    const { pageTokens } = this.#limits;
    const planned: Sequence[] = [];
    // From the oldest: who gives way is younger than all that are planned.
    for (let i = 0; i < this.running.length; i++) {
      const sequence = this.running[i]!;
      if (sequence.pending !== 1) continue;
      if (sequence.computed === sequence.pages.length * pageTokens && !this.#grow(sequence)) break;
      planned.push(sequence);
    }
    return planned;
  }

  /** Notes that the pages hold `count` more tokens of a sequence. */
  computed(sequence: Sequence, count: number): void {
    sequence.computed += count;
    this.publish(sequence);
  }

  /** Lets the other samples use the prompt's pages, if this is the sequence that computes it and all is done. */
  publish(sequence: Sequence): void {
    const { group } = sequence;
    const { pageTokens } = this.#limits;
    const shared = group.sharedTokens(pageTokens);
    if (group.leader !== sequence || !group.drawn || sequence.computed < shared) return;
    group.leader = undefined;
    group.prefix = sequence.pages.slice(0, shared / pageTokens);
    for (const page of group.prefix) this.pool.share(page);
    this.#groups.push(group);
  }

  /** Takes a sequence that has ended out. */
  end(sequence: Sequence): void {
    const { group } = sequence;
    if (remove(this.running, sequence)) this.#giveBack(sequence);
    else remove(this.waiting, sequence);
    if (--group.open === 0) this.#dropPrefix(group);
  }

  /** Takes all pages back; whoever ran waits to be computed again. */
  restart(): void {
    while (this.running.length > 0) this.#wait(this.running.at(-1)!);
    for (const group of [...this.#groups]) this.#dropPrefix(group);
  }

  /** Forgets all sequences. */
  clear(): void {
    this.restart();
    this.waiting.length = 0;
  }

  #start(sequence: Sequence): boolean {
    const { group, pages, tokens } = sequence;
    const prefix = group.prefix ?? [];
    const needed = Math.ceil(tokens.length / this.#limits.pageTokens) - prefix.length;
    // Whoever runs will soon need a page more: who starts now must not be the one that gives way then.
    if (!this.#reserve(needed + this.running.length, group)) return false;
    for (const page of prefix) {
      this.pool.share(page);
      pages.push(page);
    }
    for (let i = 0; i < needed; i++) pages.push(this.pool.take());
    sequence.computed = prefix.length * this.#limits.pageTokens;
    this.savedTokens += Math.max(0, sequence.computed - sequence.lost);
    if (!group.prefix && group.sequences.length > 1) group.leader = sequence;
    group.running++;
    insertByAge(this.running, sequence);
    return true;
  }

  /** Gives a sequence one page more; others give way. False when it had to give way itself. */
  #grow(sequence: Sequence): boolean {
    while (!this.#reserve(1)) {
      const youngest = this.running.at(-1)!;
      this.#wait(youngest);
      this.preemptions++;
      if (youngest === sequence) return false;
    }
    sequence.pages.push(this.pool.take());
    return true;
  }

  /** Whether so many pages are free, after prompts that no running sequence uses were given up where needed. */
  #reserve(count: number, except?: RequestGroup): boolean {
    while (this.pool.free < count) {
      const idle = this.#groups.findLast((group) => group.running === 0 && group !== except);
      if (!idle) return false;
      this.#dropPrefix(idle);
    }
    return true;
  }

  #wait(sequence: Sequence): void {
    remove(this.running, sequence);
    sequence.lost = Math.max(sequence.lost, sequence.computed);
    this.#giveBack(sequence);
    insertByAge(this.waiting, sequence);
  }

  #giveBack(sequence: Sequence): void {
    const { group, pages } = sequence;
    for (const page of pages) this.pool.giveBack(page);
    pages.length = 0;
    sequence.computed = 0;
    group.running--;
    if (group.leader === sequence) group.leader = undefined;
  }

  #dropPrefix(group: RequestGroup): void {
    for (const page of group.prefix ?? []) this.pool.giveBack(page);
    group.prefix = undefined;
    remove(this.#groups, group);
  }
}

function insertByAge(sequences: Sequence[], sequence: Sequence): void {
  let at = sequences.length;
  while (at > 0 && sequences[at - 1]!.order > sequence.order) at--;
  sequences.splice(at, 0, sequence);
}

function remove<T>(list: T[], item: T): boolean {
  const at = list.indexOf(item);
  if (at >= 0) list.splice(at, 1);
  return at >= 0;
}
