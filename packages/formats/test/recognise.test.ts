import { describe, expect, test } from 'vitest';
import { bytesSource } from '../src/byte-source.ts';
import { openCheckpointFile } from '../src/recognise.ts';
import { dataBytes } from './data.ts';

describe('a file is known by its content', () => {
  test('whatever its name', async () => {
    const open = (name: string) => openCheckpointFile(bytesSource('wrong.bin', dataBytes(name)));
    expect((await open('types.gguf')).format).toBe('gguf');
    expect((await open('all-dtypes.safetensors')).format).toBe('safetensors');
  });

  const text = (content: string) => new Uint8Array(Buffer.from(content, 'latin1'));
  test.each([
    ['a Git LFS pointer', text('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n'), 'git lfs pull'],
    ['a PyTorch zip', text('PK\x03\x04 and so on'), 'safe_serialization'],
    ['a pickle', text('\x80\x02}q\x00.'), 'safe_serialization'],
    ['a Quaver module', text('\x10\0\0\0QVR1\0\0\0\0'), 'imported already'],
    ['an HTML error page', text('<!DOCTYPE html><html>'), 'folder of the checkpoint'],
    ['a config.json', text('{"model_type": "llama"}'), 'folder of the checkpoint'],
    ['nothing', new Uint8Array(0), 'fetch it again'],
    ['noise with a brace', text('\x01\x02\x03\x04\x05\x06\x07\x08{'), '.safetensors or .gguf'],
    ['noise', text('\x01\x02\x03\x04\x05\x06\x07\x08\x09'), '.safetensors or .gguf'],
  ])('%s', async (_, bytes, hint) => {
    await expect(openCheckpointFile(bytesSource('model.safetensors', bytes))).rejects.toMatchObject({
      name: 'QuaverError',
      code: 'checkpoint-unrecognised',
      message: expect.stringContaining('model.safetensors'),
      hint: expect.stringContaining(hint),
    });
  });
});
