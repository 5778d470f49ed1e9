/**
 * @file The arrows of docs/architecture.md as rules. A package may import the packages of its row and nothing else;
 * it reaches them through their entry points; and what must run in a browser knows nothing of Node.
 */
import { readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';

/** Package → the packages that it may import, in the order in which data flows. */
const arrows = {
  numerics: [],
  'model-arithmetic': ['numerics'],
  ir: ['numerics'],
  formats: ['numerics'],
  models: ['numerics', 'ir', 'formats'],
  compiler: ['numerics', 'ir'],
  executor: ['numerics', 'ir'],
  'executor-cpu': ['numerics', 'ir', 'executor'],
  conformance: ['numerics', 'ir', 'formats', 'executor'],
  generate: ['numerics', 'ir', 'models', 'executor'],
  train: ['numerics', 'ir', 'formats', 'compiler', 'executor', 'generate'],
  rl: ['numerics', 'ir', 'formats', 'compiler', 'executor', 'generate', 'train', 'model-arithmetic'],
  sdk: ['numerics', 'ir', 'formats', 'models', 'compiler', 'executor', 'executor-cpu', 'generate', 'train', 'rl'],
  cli: [
    'numerics',
    'ir',
    'formats',
    'models',
    'compiler',
    'executor',
    'executor-cpu',
    'conformance',
    'generate',
    'train',
    'rl',
    'sdk',
  ],
};

/** Packages whose main entry runs in a browser. */
const portable = Object.keys(arrows).filter((name) => name !== 'cli');

const packages = Object.keys(arrows);
const src = (names) => `^packages/(${names.join('|')})/src/`;
/** The command: bin/quaver.js loads it from dist/. */
const commandEntry = '^packages/cli/src/main\\.ts$';

const literal = (file) => file.replaceAll('.', '\\.');

/** The files that a package's `exports` name under the condition `@quaver/source`. */
const entriesOf = (name) =>
  Object.values(JSON.parse(readFileSync(new URL(`packages/${name}/package.json`, import.meta.url), 'utf8')).exports)
    .map((target) => target['@quaver/source'])
    .filter(Boolean)
    .map((file) => `packages/${name}/${file.replace(/^\.\//, '')}`);

const arrowRules = packages.map((name) => ({
  name: `arrows-${name}`,
  comment: `@quaver/${name} may import ${arrows[name].join(', ') || 'no other package'} (docs/architecture.md).`,
  severity: 'error',
  from: { path: src([name]) },
  to: { path: '^packages/', pathNot: src([name, ...arrows[name]]) },
}));

/** Tests may be built with the instruments of another package's tests: a meter of memory, for example. */
const internalsRules = packages.map((name) => ({
  name: `no-internals-of-${name}`,
  comment: `Import @quaver/${name} through an entry point of its package.json.`,
  severity: 'error',
  from: { path: '^(packages|examples)/', pathNot: `^packages/${name}/` },
  to: {
    path: `^packages/${name}/`,
    pathNot: [`^(${entriesOf(name).map(literal).join('|')})$`, `^packages/${name}/test/`],
  },
}));

export default {
  forbidden: [
    ...arrowRules,
    ...internalsRules,
    {
      name: 'no-cycle',
      comment:
        'Modules that need each other belong together, or one of them needs less than it takes. Types may refer to each other.',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'no-dev-dependency-in-src',
      comment: 'Whoever installs the package gets its dependencies only.',
      severity: 'error',
      from: { path: src(packages) },
      to: {
        dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'],
        // A type-only import of @types/node is the one exception.
        dependencyTypesNot: ['type-only'],
      },
    },
    {
      name: 'no-unresolvable',
      comment: 'The imported file or package does not exist here.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'no-way-to-node',
      comment:
        'The main entry runs in browsers: what needs Node belongs behind an entry point of its own, such as src/node.ts.',
      severity: 'error',
      from: { path: `^packages/(${portable.join('|')})/src/index\\.ts$` },
      to: { path: `^(node:)?(${builtinModules.join('|')})$`, reachable: true },
    },
    {
      name: 'no-src-import-of-tests',
      comment: 'Sources must not import tests.',
      severity: 'error',
      from: { path: src(packages) },
      to: { path: '^packages/[^/]+/(test|bench)/' },
    },
    {
      name: 'no-orphan',
      comment: 'Nothing imports this module and it imports nothing: delete it, or connect it.',
      severity: 'error',
      from: {
        orphan: true,
        path: src(packages),
        pathNot: [...packages.flatMap(entriesOf).map((file) => `^${literal(file)}$`), commandEntry, '\\.d\\.ts$'],
      },
      to: {},
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: ['/dist/', '/test/data/'] },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.tests.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['@quaver/source', 'import', 'node', 'types', 'default'],
      extensions: ['.ts', '.mts', '.js', '.mjs', '.json', '.d.ts'],
    },
  },
};
