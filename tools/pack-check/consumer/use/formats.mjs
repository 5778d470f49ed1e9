import { bytesSource, encodeSafetensors, openSafetensors } from '@quaver/formats';

export default async () => {
  const tensor = { name: 'w', dtype: 'bf16', shape: [2, 1], read: async () => Uint8Array.of(0x80, 0x3f, 0x00, 0x40) };
  const checkpoint = await openSafetensors(bytesSource('w.safetensors', await encodeSafetensors([tensor])));
  const { storage, shape, read } = checkpoint.tensors.get('w');
  return { storage, shape, bytes: [...(await read())] };
};

export const expected = { storage: 'BF16', shape: [2, 1], bytes: [0x80, 0x3f, 0x00, 0x40] };
