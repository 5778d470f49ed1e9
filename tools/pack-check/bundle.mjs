/** @file Bundles the portable packages with Vite for a browser and runs the bundle where Node does not exist. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import vm from 'node:vm';
import { build, createLogger } from 'vite';

/** What the bundle may use beyond ECMAScript and WebAssembly: the intersection of browsers and workers. */
const webGlobals = [
  'AbortController',
  'AbortSignal',
  'Blob',
  'DecompressionStream',
  'DOMException',
  'Event',
  'EventTarget',
  'ReadableStream',
  'TextDecoder',
  'TextEncoder',
  'URL',
  'WebAssembly',
  'atob',
  'btoa',
  'clearTimeout',
  'console',
  'crypto',
  'fetch',
  'performance',
  'queueMicrotask',
  'setTimeout',
  'structuredClone',
];

const nodeTraces = /__vite-browser-external|\bfrom\s*["']node:|\brequire\(["']|\bimport\(["']node:/;

async function bundle(folder) {
  const warnings = [];
  const warn = (message) => warnings.push(message);
  const customLogger = { ...createLogger('silent'), warn, warnOnce: warn };
  await build({
    root: folder,
    configFile: false,
    logLevel: 'silent',
    customLogger,
    build: {
      lib: { entry: 'browser.mjs', name: 'quaver', formats: ['iife'], fileName: () => 'bundle.js' },
      minify: true,
    },
  });
  if (warnings.length) throw new Error(`Vite warns:\n${warnings.join('\n')}`);
  return readFileSync(path.join(folder, 'dist', 'bundle.js'), 'utf8');
}

/** Throws unless the bundle of `folder`/browser.mjs runs with nothing but web globals. Resolves to its size in words. */
export async function runBundle(folder) {
  const code = await bundle(folder);
  const trace = nodeTraces.exec(code);
  if (trace)
    throw new Error(`the bundle refers to Node: ${code.slice(Math.max(0, trace.index - 80), trace.index + 80)}`);
  const context = vm.createContext(Object.fromEntries(webGlobals.map((name) => [name, globalThis[name]])));
  vm.runInContext(`${code}\nglobalThis.quaver = quaver;`, context, { filename: 'bundle.js' });
  for (const { name, actual, expected } of await context.quaver.results()) {
    const [found, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
    if (found !== wanted) throw new Error(`${name}: expected ${wanted}, found ${found}`);
  }
  return `${(code.length / 1024).toFixed(0)} kB minified`;
}
