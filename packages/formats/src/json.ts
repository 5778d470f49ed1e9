import { QuaverError } from '@quaver/numerics';

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: JsonValue | undefined;
}

export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Strict UTF-8 JSON whose top level is an object and in which no object names a key twice (`JSON.parse` would keep
 * the last one silently).
 * @param baseByte where `bytes` starts in the file, for the error
 * @throws QuaverError `json-invalid`, `json-duplicate-key`
 */
export function parseJsonObject(file: string, bytes: Uint8Array, baseByte = 0): JsonObject {
  const where = { file, byte: baseByte };
  let text: string;
  let value: JsonValue;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text) as JsonValue;
  } catch (cause) {
    const reason = cause instanceof SyntaxError ? cause.message : 'not valid UTF-8';
    throw new QuaverError('json-invalid', `${file}: the JSON at byte ${baseByte} is damaged: ${reason}`, {
      where,
      cause,
    });
  }
  if (!isJsonObject(value)) {
    throw new QuaverError('json-invalid', `${file}: the JSON at byte ${baseByte} must be an object`, { where });
  }
  const duplicate = firstDuplicateKey(text);
  if (duplicate !== undefined) {
    throw new QuaverError('json-duplicate-key', `${file}: the key ${JSON.stringify(duplicate)} occurs twice`, {
      where,
    });
  }
  return value;
}

/** The first key that an object of the valid JSON `text` repeats. */
function firstDuplicateKey(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = []; // one per open object (its keys) or array (undefined)
  let expectsKey = false;
  for (let i = 0; i < text.length; i++) {
    const char = text.charCodeAt(i);
    if (char === 0x22 /* " */) {
      const start = i++;
      let escaped = false;
      for (; text.charCodeAt(i) !== 0x22; i++) {
        if (text.charCodeAt(i) !== 0x5c /* \ */) continue;
        escaped = true;
        i++;
      }
      const keys = open.at(-1);
      if (!expectsKey || keys === undefined) continue;
      const key = escaped ? (JSON.parse(text.slice(start, i + 1)) as string) : text.slice(start + 1, i);
      if (keys.has(key)) return key;
      keys.add(key);
      expectsKey = false;
    } else if (char === 0x7b /* { */) {
      open.push(new Set());
      expectsKey = true;
    } else if (char === 0x5b /* [ */) {
      open.push(undefined);
      expectsKey = false;
    } else if (char === 0x7d /* } */ || char === 0x5d /* ] */) {
      open.pop();
      expectsKey = false;
    } else if (char === 0x2c /* , */) {
      expectsKey = open.at(-1) !== undefined;
    }
  }
  return undefined;
}
