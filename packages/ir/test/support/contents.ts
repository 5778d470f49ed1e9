import type { Module, TensorData } from '@quaver/ir';

const withoutData = (data: TensorData | undefined) => data && { byteLength: data.byteLength };

/** A module as plain data without tensor bytes, to compare structure. Value identity becomes the value's name. */
export function structure(module: Module): unknown {
  return {
    ...module,
    parameters: module.parameters.map(({ data, ...rest }) => ({ ...rest, bytes: data?.byteLength })),
    attachments: [...module.attachments].map(([name, data]) => [name, withoutData(data)]),
  };
}

/** The same, without what a text form cannot say about parameters. */
export function structureWithoutData(module: Module): unknown {
  return { ...(structure(module) as object), parameters: module.parameters.map(({ data: _, ...rest }) => rest) };
}

/** All tensor and attachment bytes, by name. */
export async function contents(module: Module): Promise<Map<string, string | undefined>> {
  const read = async (data: TensorData | undefined) => data && Buffer.from(await data.read()).toString('hex');
  const entries: [string, string | undefined][] = [];
  for (const { name, data } of module.parameters) entries.push([`parameter ${name}`, await read(data)]);
  for (const [name, data] of module.attachments) entries.push([`attachment ${name}`, await read(data)]);
  return new Map(entries);
}
