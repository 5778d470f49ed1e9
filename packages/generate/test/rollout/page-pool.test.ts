import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PagePool } from '../../src/rollout/page-pool.ts';

test('a page is free exactly when as many have given it back as have used it', () => {
  const action = fc.record({ kind: fc.constantFrom('take', 'share', 'giveBack'), pick: fc.nat() });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 9 }), fc.array(action, { maxLength: 200 }), (size, actions) => {
      const pool = new PagePool(size);
      const users = new Map<number, number>();
      let most = 0;
      for (const { kind, pick } of actions) {
        const page = [...users.keys()][pick % Math.max(1, users.size)];
        if (kind === 'take' && users.size < size) {
          const taken = pool.take();
          expect(users.has(taken), 'nobody else has it').toBe(false);
          users.set(taken, 1);
        } else if (kind === 'take') expect(() => pool.take()).toThrow(`all ${size} pages are in use`);
        else if (page === undefined) continue;
        else if (kind === 'share') {
          pool.share(page);
          users.set(page, users.get(page)! + 1);
        } else {
          pool.giveBack(page);
          users.set(page, users.get(page)! - 1);
          if (users.get(page) === 0) users.delete(page);
        }
        most = Math.max(most, users.size);
        expect([pool.used, pool.free, pool.mostUsed]).toEqual([users.size, size - users.size, most]);
      }
    }),
  );
});

test.each([-1, 0, 7])('page %d without a user can neither be shared nor given back', (page) => {
  const pool = new PagePool(4);
  pool.giveBack(pool.take());
  for (const use of [() => pool.share(page), () => pool.giveBack(page)]) {
    expect(use).toThrow(expect.objectContaining({ code: 'page-not-used' }));
  }
});
