import { workspace } from './vitest.config.ts';

/** What takes too long for every commit (long fuzz runs, the real model): `test/**\/*.heavy.ts`. */
export default workspace('test/**/*.heavy.ts');
