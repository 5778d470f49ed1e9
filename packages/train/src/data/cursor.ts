import { QuaverError } from '@quaver/numerics';
import { z } from 'zod';

/** Segments of a row as [example, segment of it], in the order in which they stand in the row. */
type RowNumbers = [example: number, segment: number][];

/** A place between two batches, from which the same batches follow; plain JSON, some kilobytes. */
export interface DataCursor {
  readonly version: 1;
  /** Digest of the data. */
  readonly data: string;
  /** What the batches depend on beside the data. */
  readonly settings: Readonly<Record<string, number | string | null>>;
  /** Passes over the examples that are complete. */
  readonly epoch: number;
  /** Next example, as place in the order of the epoch. */
  readonly next: number;
  /** Its next segment. */
  readonly segment: number;
  /** Rows of this epoch that were given out. */
  readonly emitted: number;
  /** Rows that are not closed. */
  readonly open: readonly RowNumbers[];
  /** Rows that wait to be drawn. */
  readonly pool: readonly RowNumbers[];
}

const count = z.int().min(0);
const row = z.array(z.tuple([count, count])).min(1);

const cursorSchema: z.ZodType<DataCursor> = z.object({
  version: z.literal(1),
  data: z.string(),
  settings: z.record(z.string(), z.union([z.number(), z.string(), z.null()])),
  epoch: count,
  next: count,
  segment: count,
  emitted: count,
  open: z.array(row),
  pool: z.array(row),
});

/**
 * A cursor that belongs to this data and these settings.
 * @throws QuaverError `cursor-invalid`, `data-changed`, `data-settings-changed`
 */
export function checkCursor(value: unknown, data: string, settings: DataCursor['settings']): DataCursor {
  const parsed = cursorSchema.safeParse(value);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    throw invalidCursor(`'${path.map(String).join('.')}': ${message}`);
  }
  for (const [name, now] of Object.entries(settings)) {
    const before = parsed.data.settings[name];
    if (before === now) continue;
    throw new QuaverError(
      'data-settings-changed',
      `'${name}' was ${before} and is ${now}: other batches would follow`,
      {
        hint: 'Go on with the settings that the run was started with.',
        where: { setting: name },
      },
    );
  }
  if (parsed.data.data !== data) {
    throw new QuaverError(
      'data-changed',
      `the data is not what it was: expected the digest ${parsed.data.data}, found ${data}`,
      { hint: 'Restore the files as they were, or start a new run on these.' },
    );
  }
  return parsed.data;
}

export function invalidCursor(reason: string): QuaverError {
  return new QuaverError('cursor-invalid', `the position in the data cannot be used: ${reason}`, {
    hint: 'It was not written by this version, or was changed.',
  });
}
