import { readdirSync } from 'node:fs';
import { defaultServerConditions } from 'vite';
import { defineConfig } from 'vitest/config';

const conditions = ['@quaver/source', ...defaultServerConditions];

const project = (name: string) => ({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: { name, root: `packages/${name}`, include: ['test/**/*.test.ts'], testTimeout: 120_000 },
});

/** Ends every run with the plain line `N passed, N failed, N skipped`. */
const totals = {
  onTestRunEnd(modules: readonly { children: { allTests(): Iterable<{ result(): { state: string } }> } }[]) {
    const count = { passed: 0, failed: 0, skipped: 0 };
    for (const module of modules)
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === 'passed' || state === 'failed') count[state]++;
        else count.skipped++;
      }
    console.log(`\n${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`);
  },
};

export default defineConfig({
  test: { reporters: ['default', totals], projects: readdirSync('packages').map(project) },
});
