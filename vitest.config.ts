import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defaultServerConditions } from 'vite';
import { defineConfig, type TestProjectInlineConfiguration, type ViteUserConfig } from 'vitest/config';
import { Totals } from './tools/vitest-totals.ts';

const conditions = ['@quaver/source', ...defaultServerConditions];
const packages = new URL('packages/', import.meta.url);

/** One project per package, tested from its sources: no build needed. */
const project =
  (include: string) =>
  (name: string): TestProjectInlineConfiguration => ({
    resolve: { conditions },
    ssr: { resolve: { conditions } },
    test: {
      name,
      root: fileURLToPath(new URL(name, packages)),
      include: [include],
      testTimeout: 120_000,
      hookTimeout: 120_000,
    },
  });

export const workspace = (include: string): ViteUserConfig =>
  defineConfig({
    test: { reporters: ['default', new Totals()], projects: readdirSync(packages).map(project(include)) },
  });

export default workspace('test/**/*.test.ts');
