/** @file A vitest reporter that ends every run with the plain line `N passed, N failed, N skipped`. */
import { writeFileSync } from 'node:fs';
import type { Reporter, TestModule } from 'vitest/node';

/** With QUAVER_TOTALS=FILE it also writes the three numbers and the names of skipped tests to FILE as JSON. */
export class Totals implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[] = []): void {
    const totals = { passed: 0, failed: unhandledErrors.length, skipped: 0, skippedTests: [] as string[] };
    for (const module of modules) {
      let failed = 0;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === 'passed') totals.passed++;
        else if (state === 'failed') failed++;
        else totals.skippedTests.push(`${module.relativeModuleId}: ${test.fullName}`);
      }
      // A file that does not load, or a hook that fails, has no failing test of its own.
      totals.failed += module.ok() ? failed : Math.max(failed, 1);
    }
    totals.skipped = totals.skippedTests.length;
    if (process.env.QUAVER_TOTALS) writeFileSync(process.env.QUAVER_TOTALS, JSON.stringify(totals));
    console.log(`\n${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
  }
}
