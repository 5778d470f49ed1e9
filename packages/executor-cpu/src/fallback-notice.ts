import { chooseNative } from './devices.ts';

let said = false;

/**
 * Says, once in a process, that WebAssembly computes although native code could. Nothing where no native engine exists,
 * such as in browsers, or where it was switched off: then WebAssembly is what was to be expected.
 */
export function noticeFallback(): void {
  const choice = chooseNative();
  if (said || !('reason' in choice) || choice.remedy === undefined) return;
  said = true;
  const message = `the CPU executor runs in WebAssembly, which is slower, because ${choice.reason}. ${choice.remedy}`;
  globalThis.process?.emitWarning?.(message, { type: 'QuaverWarning', code: 'QUAVER_NATIVE_FALLBACK' });
}
