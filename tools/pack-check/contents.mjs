/** @file What a published package may contain. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { root } from '../process.mjs';

const forbidden =
  /(^|\/)(tests?|bench|__tests__)\/|\.(test|spec|heavy)\.|\.tsbuildinfo$|(^|\/)tsconfig|(^|\/)\.|\.(tgz|log)$/;
const machinePaths = [root.replace(/\/$/, ''), `${homedir()}/`, 'file:///'];

function mapProblems(folder, file, text) {
  const { sources = [], sourceRoot = '' } = JSON.parse(text);
  const missing = sources.filter((source) => {
    const target = path.resolve(folder, path.dirname(file), sourceRoot, source);
    return !target.startsWith(folder + path.sep) || !existsSync(target);
  });
  return missing.map((source) => `${file}: its source ${source} is not in the package`);
}

/** Describes each file of the installed package in `folder` that should not be there, and each one that is missing. */
export function contentProblems(folder) {
  const problems = ['LICENSE', 'README.md', 'package.json'].filter((name) => !existsSync(path.join(folder, name)));
  for (const [index, name] of problems.entries()) problems[index] = `${name} is missing`;
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const at = path.join(entry.parentPath, entry.name);
    const file = path.relative(folder, at).replaceAll(path.sep, '/');
    if (file.startsWith('node_modules/')) continue;
    if (forbidden.test(file)) problems.push(`${file}: must not be published`);
    const compiled = /^dist\/(.*)\.(d\.ts|js)(\.map)?$/.exec(file);
    if (compiled && !existsSync(path.join(folder, 'src', `${compiled[1]}.ts`)))
      problems.push(`${file}: has no source in src`);
    const text = readFileSync(at, 'latin1');
    for (const place of machinePaths)
      if (text.includes(place)) problems.push(`${file}: contains the path of this machine, ${place}`);
    if (file.endsWith('.map')) problems.push(...mapProblems(folder, file, text));
  }
  return problems;
}
