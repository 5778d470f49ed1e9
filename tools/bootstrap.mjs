/**
 * @file The one way into the repository on a machine that has only Node and npm: `node tools/bootstrap.mjs COMMAND [ARGS]`.
 *
 * Installs the pinned tools and packages when the lockfile or a package.json changed, builds when the command needs the
 * compiled packages and a source changed, then runs the command under the pinned Node. Has no dependencies, runs on
 * Node 20.19. What it says itself goes to standard error; for `quaver` it says nothing unless something fails.
 */
import path from 'node:path';
import { endLike, pinnedNode, root, run, toolEnv } from './process.mjs';
import { build, install, SetupError } from './workspace.mjs';

const commands = {
  demo: { build: true, script: 'tools/demo.mjs' },
  test: { script: 'tools/check.mjs' },
  'test:heavy': { build: true, script: 'tools/check.mjs', args: ['--heavy'] },
  build: { build: true },
  codegen: { script: 'tools/codegen.mjs' },
  bench: { build: true, script: 'tools/bench/bench.mjs' },
  'train:recipes': { build: true, script: 'tools/train-recipes.mjs' },
  'train:arithmetic': { build: true, script: 'tools/train-arithmetic.mjs' },
  quaver: { build: true, quiet: true, script: 'packages/cli/bin/quaver.js' },
};

const [name, ...args] = process.argv.slice(2);
const command = Object.hasOwn(commands, name ?? '') ? commands[name] : undefined;
if (!command) {
  console.error(`Usage: node tools/bootstrap.mjs ${Object.keys(commands).join('|')} [ARGS]`);
  process.exit(2);
}

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`Quaver needs Node 20.19 or newer; this is ${process.version} (${process.execPath}).`);
  process.exit(1);
}

const say = command.quiet ? () => {} : (line) => console.error(line);

try {
  await install(say);
  if (command.build) await build(say);
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(error.message);
  process.exit(1);
}

if (command.script) {
  // npm changes to the repository root before it runs a script; the user's relative paths mean the folder they stand in.
  const { npm_lifecycle_event: script, INIT_CWD: caller } = process.env;
  const cwd = name !== 'quaver' ? root : script === name && caller ? caller : process.cwd();
  // npm puts node_modules/.bin, and with it the pinned Node, on PATH: its own Node is the one that the user has.
  const env = { ...toolEnv(), QUAVER_HOST_NODE: process.env.npm_node_execpath ?? process.execPath };
  endLike(await run(pinnedNode(), [path.join(root, command.script), ...(command.args ?? []), ...args], { cwd, env }));
}
