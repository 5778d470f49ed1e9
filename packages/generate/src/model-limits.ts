import type { Module } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';

/** What generation must know about a language model. */
export interface ModelLimits {
  /** Positions that a sequence may have. */
  readonly context: number;
  readonly vocabSize: number;
  /** Token ids that end a text. */
  readonly eosTokenIds: readonly number[];
}

/**
 * What the metadata of a module says about the model.
 * @throws QuaverError `module-not-a-language-model`
 */
export function modelLimits(module: Pick<Module, 'metadata' | 'name'>): ModelLimits {
  return {
    context: readCount(module, 'model.context'),
    vocabSize: readCount(module, 'model.vocab_size'),
    eosTokenIds: readIds(module, 'model.eos_token_ids'),
  };
}

function readCount(module: Pick<Module, 'metadata' | 'name'>, key: string): number {
  const value = Number(module.metadata[key]);
  if (Number.isInteger(value) && value > 0) return value;
  throw invalid(module, key);
}

/** A JSON list of token ids; none where the module says nothing. */
function readIds(module: Pick<Module, 'metadata' | 'name'>, key: string): readonly number[] {
  try {
    const ids: unknown = JSON.parse(module.metadata[key] ?? '[]');
    if (Array.isArray(ids) && ids.every((id) => Number.isInteger(id))) return ids;
  } catch {
    // Reported below, like JSON of something else.
  }
  throw invalid(module, key);
}

function invalid({ metadata, name }: Pick<Module, 'metadata' | 'name'>, key: string): QuaverError {
  const found = metadata[key] === undefined ? 'is missing' : `is '${metadata[key]}'`;
  return new QuaverError('module-not-a-language-model', `module '${name}': its '${key}' ${found}`, {
    hint: 'Generation needs a module made by `quaver import`.',
    where: { key },
  });
}
