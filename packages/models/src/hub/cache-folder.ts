import { homedir } from 'node:os';
import path from 'node:path';

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Where pulled models are kept: `QUAVER_CACHE`, else `quaver` under `XDG_CACHE_HOME`, else under the platform's cache
 * folder. An absolute path; the folder need not exist yet.
 */
export function cacheFolder(env: Environment = process.env, platform: NodeJS.Platform = process.platform): string {
  const { isAbsolute, join, resolve } = platform === 'win32' ? path.win32 : path.posix;
  if (env.QUAVER_CACHE) return resolve(env.QUAVER_CACHE);
  // The XDG specification says that a relative value is to be ignored.
  if (env.XDG_CACHE_HOME && isAbsolute(env.XDG_CACHE_HOME)) return join(env.XDG_CACHE_HOME, 'quaver');
  if (platform === 'win32') {
    return join(env.LOCALAPPDATA || join(env.USERPROFILE || homedir(), 'AppData', 'Local'), 'quaver', 'cache');
  }
  const home = env.HOME || homedir();
  return platform === 'darwin' ? join(home, 'Library', 'Caches', 'quaver') : join(home, '.cache', 'quaver');
}
