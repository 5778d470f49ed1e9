import { z } from 'zod';

type JsonSchema = z.core.JSONSchema.BaseSchema;

/** The fields that an object at a place of a document may have, by the schema; empty where the place has no fields of its own. */
export function knownFields(schema: z.ZodType, path: readonly PropertyKey[], document: unknown): readonly string[] {
  let value = document;
  let nodes = alternatives(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }), value);
  for (const key of path) {
    value = (value as Readonly<Record<PropertyKey, unknown>>)[key];
    nodes = nodes.flatMap((node) => {
      const child = node.properties?.[String(key)];
      return typeof child === 'object' ? alternatives(child, value) : [];
    });
  }
  return [...new Set(nodes.flatMap(({ properties }) => Object.keys(properties ?? {})))];
}

/** What a node may be, without what a field with one possible value, such as the name of an optimizer, rules out. */
function alternatives(node: JsonSchema, value: unknown): JsonSchema[] {
  const branches = node.anyOf ?? node.oneOf;
  if (branches) return branches.flatMap((branch) => (typeof branch === 'object' ? alternatives(branch, value) : []));
  const given = value as Readonly<Record<string, unknown>>;
  const ruledOut = Object.entries(node.properties ?? {}).some(
    ([name, child]) => typeof child === 'object' && child.const !== undefined && child.const !== given[name],
  );
  return ruledOut ? [] : [node];
}
