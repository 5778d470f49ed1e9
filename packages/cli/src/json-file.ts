import { writeFileAtomically } from '@quaver/formats/node';

/** Writes a document as JSON that people can read. @throws QuaverError as `writeFileAtomically` */
export async function writeJson(file: string, document: object): Promise<void> {
  const bytes = new TextEncoder().encode(`${JSON.stringify(document, null, 2)}\n`);
  const chunks = async function* () {
    yield bytes;
  };
  await writeFileAtomically(file, chunks(), bytes.byteLength);
}
