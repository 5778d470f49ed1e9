import type { Module, TensorData } from '@quaver/ir';
import type { LlamaGraph } from './llama/graph.ts';

/** What makes the graph of a language model a module that generates and trains. */
export interface ModuleParts {
  readonly name: string;
  /** Tokens that end a text. */
  readonly eosTokenIds: readonly number[];
  /** Tokenizer and configuration files, by name. */
  readonly attachments: ReadonlyMap<string, TensorData>;
}

/** A module with the metadata that generation and training read. */
export function languageModule(graph: LlamaGraph, { name, eosTokenIds, attachments }: ModuleParts): Module {
  const { config, context, symbols, parameters, states, functions } = graph;
  return {
    name,
    symbols,
    parameters,
    states,
    functions,
    metadata: {
      'model.family': config.family,
      'model.context': String(context),
      'model.vocab_size': String(config.vocabSize),
      'model.layers': String(config.layers),
      'model.eos_token_ids': JSON.stringify(eosTokenIds),
      'phase.prefill': 'generate',
      'phase.decode': 'generate',
      'phase.score': 'generate',
      'phase.logprobs': 'train',
    },
    attachments,
  };
}
