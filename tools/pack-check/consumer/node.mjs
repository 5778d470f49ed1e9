// Loads the given entry points, and runs the example in use/ of the package that they belong to.
import { deepStrictEqual } from 'node:assert';
import { existsSync } from 'node:fs';

const loaded = await Promise.all(process.argv.slice(2).map((specifier) => import(specifier)));
const [main] = process.argv.slice(2);
const use = new URL(`use/${main.split('/')[1]}.mjs`, import.meta.url);
if (existsSync(use)) {
  const { default: run, expected } = await import(use.href);
  deepStrictEqual(await run(), expected);
} else if (loaded.some((module) => Object.keys(module).length > 0)) {
  throw new Error(`${main} has exports: let tools/pack-check/consumer/use/${main.split('/')[1]}.mjs use one of them`);
}
console.log(`${loaded.length} on Node ${process.versions.node}`);
