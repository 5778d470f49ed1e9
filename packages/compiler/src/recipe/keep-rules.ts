import type { HighPrecision, KeepRule } from './recipe.ts';

/** Why a layer stays in high precision. */
export interface Kept {
  readonly precision: HighPrecision;
  /** The rule in words, as reports print it. */
  readonly rule: string;
}

/**
 * A function that says which rule, if any, keeps the node at a location (`model.layers.0.mlp.up_proj`).
 * The first rule that matches wins. `layerCount` is what `last_layers` counts back from.
 */
export function keepMatcher(rules: readonly KeepRule[], layerCount: number): (location: string) => Kept | undefined {
  const matchers = rules.map((rule) => ({ ...describeRule(rule, layerCount), precision: rule.precision }));
  return (location) => {
    const found = matchers.find(({ matches }) => matches(location));
    return found && { precision: found.precision, rule: found.rule };
  };
}

function describeRule(rule: KeepRule, layerCount: number): { rule: string; matches: (location: string) => boolean } {
  if ('match' in rule) {
    const pattern = globPattern(rule.match);
    return { rule: rule.match, matches: (location) => pattern.test(location) };
  }
  const first = 'first_layers' in rule;
  const count = first ? rule.first_layers : rule.last_layers;
  return {
    rule: first ? `first ${count} layers` : `last ${count} layers`,
    matches(location) {
      const layer = layerIndex(location);
      return layer !== undefined && (first ? layer < count : layer >= layerCount - count);
    },
  };
}

/** The number of the layer that a location lies in: the first part of it that is a number. */
export function layerIndex(location: string): number | undefined {
  const part = location.split('.').find((name) => /^\d+$/.test(name));
  return part === undefined ? undefined : Number(part);
}

/**
 * A glob over whole locations: `*` is any run of characters, `?` any one character, `{a,b}` one of the alternatives.
 * Alternatives do not nest.
 */
export function globPattern(glob: string): RegExp {
  const source = glob.replaceAll(/\{([^{}]*)\}|\*+|\?|[^*?{}]+|[{}]/g, (part, alternatives: string | undefined) => {
    if (alternatives !== undefined) return `(?:${alternatives.split(',').map(escapePattern).join('|')})`;
    if (part.startsWith('*')) return '.*';
    return part === '?' ? '.' : escapePattern(part);
  });
  return new RegExp(`^${source}$`, 's');
}

function escapePattern(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}
