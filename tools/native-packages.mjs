/**
 * @file Writes the packages that bring the native engine, one for each platform: `packages/executor-cpu/npm/TARGET`. With --check
 * it writes nothing and fails where one is not what `native-targets.mjs` says. `build-native.mjs` puts the addon into them.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { targets } from './native-targets.mjs';
import { root } from './process.mjs';

const parent = path.join(root, 'packages/executor-cpu');
const parentManifest = JSON.parse(readFileSync(path.join(parent, 'package.json'), 'utf8'));

const nameOf = (target) => `@quaver/executor-cpu-${target}`;
export const platformFolder = (target) => path.join(parent, 'npm', target);

function manifestOf(target) {
  const [os, cpu] = target.split('-');
  const { version, license, repository, engines } = parentManifest;
  return {
    name: nameOf(target),
    version,
    description: `The native engine of @quaver/executor-cpu for ${targets[target].title}`,
    license,
    repository: { ...repository, directory: `packages/executor-cpu/npm/${target}` },
    main: 'quaver.node',
    files: ['quaver.node'],
    os: [os],
    cpu: [cpu],
    ...(os === 'linux' ? { libc: ['glibc'] } : {}),
    engines,
    preferUnplugged: true,
    publishConfig: { access: 'public' },
  };
}

const readmeOf = (target) => `# ${nameOf(target)}

The native engine of [@quaver/executor-cpu](https://github.com/quaver-ml/quaver/tree/main/packages/executor-cpu) for
${targets[target].title}. Package managers install it with \`@quaver/executor-cpu\` on this platform, and
on no other; it has no install scripts. Without it \`@quaver/executor-cpu\` runs in WebAssembly. Instruction sets, of which the best
that the processor has is used: ${Object.keys(targets[target].isas).join(', ')}.

It is not for direct use: its interface changes with every version of \`@quaver/executor-cpu\`.
`;

/** File → text, of everything that this tool writes. */
function* files() {
  for (const target of Object.keys(targets)) {
    yield [path.join(platformFolder(target), 'package.json'), `${JSON.stringify(manifestOf(target), null, 2)}\n`];
    yield [path.join(platformFolder(target), 'README.md'), readmeOf(target)];
  }
  const optionalDependencies = Object.fromEntries(
    Object.keys(targets).map((target) => [nameOf(target), 'workspace:*']),
  );
  const manifest = { ...parentManifest, optionalDependencies };
  yield [path.join(parent, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`];
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const check = process.argv.includes('--check');
  for (const [file, text] of files()) {
    mkdirSync(path.dirname(file), { recursive: true });
    if (existsSync(file) && readFileSync(file, 'utf8') === text) continue;
    if (check) {
      console.error(`${path.relative(root, file)} is not current: node tools/native-packages.mjs writes it`);
      process.exitCode = 1;
    } else writeFileSync(file, text);
  }
}
