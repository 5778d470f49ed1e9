import { homedir } from 'node:os';
import path from 'node:path';

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Where pulled models are kept: `QUAVER_CACHE`, else `quaver` under `XDG_CACHE_HOME`, else under the platform's cache
 * folder. An absolute path; the folder need not exist yet.
 */
export function cacheFolder(env: Environment = process.env): string {
  if (env.QUAVER_CACHE) return path.resolve(env.QUAVER_CACHE);
  // The XDG specification says that a relative value is to be ignored.
  if (env.XDG_CACHE_HOME && path.isAbsolute(env.XDG_CACHE_HOME)) return path.join(env.XDG_CACHE_HOME, 'quaver');
  const home = env.HOME || homedir();
  if (process.platform === 'win32') {
    return path.join(env.LOCALAPPDATA || path.join(homedir(), 'AppData', 'Local'), 'quaver', 'cache');
  }
  return process.platform === 'darwin'
    ? path.join(home, 'Library', 'Caches', 'quaver')
    : path.join(home, '.cache', 'quaver');
}
