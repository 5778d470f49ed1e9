#!/usr/bin/env node
import { existsSync } from 'node:fs';
import module from 'node:module';

if (existsSync(new URL('../dist/main.js', import.meta.url))) {
  // Keeps compiled code between runs; Node 20 does not have it.
  module.enableCompileCache?.();
  await import('../dist/main.js');
} else {
  process.stderr.write('quaver: the command is not built yet; run `npm run build` in the checkout, then try again.\n');
  process.exitCode = 1;
}
