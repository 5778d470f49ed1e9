#!/usr/bin/env node
/**
 * @file Writes docs/ops.md, the reference of the core ops, from the op registry. Needs `tsc -b` to have run. `--check`
 * writes nothing and fails when the committed file differs.
 */
import fs from 'node:fs';
import path from 'node:path';
import { dtypes as allDTypes, coreOps } from '../packages/ir/dist/index.js';

const target = path.resolve(import.meta.dirname, '../docs/ops.md');

const header = `# Core ops
<!-- Generated from packages/ir/src/ops by tools/docs-ops.mjs; do not edit. -->

Domain \`core\`. Shapes are strict: nothing broadcasts by itself, and axes count from 0. An operand in brackets may be absent;
\`= value\` is an attribute's default. A primitive's meaning is its evaluation in the canonical order; a composite's is its body of
simpler ops, and an executor that claims one gives the body's bits. Narrow floats are named as in the text form, in which a
type reads \`bf16[B,4096]\`.
`;

const escapeCell = (text) => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');

function operandText([name, { dtypes, rank, optional }]) {
  const accepted = dtypes.length === allDTypes.length ? 'any' : dtypes.join(' ');
  const text = `\`${name}\` ${accepted}${rank === undefined ? '' : `, rank ${rank}`}`;
  return optional ? `[${text}]` : text;
}

function attributeText([name, { kind, oneOf, default: value }]) {
  const type = oneOf ? oneOf.join(' \\| ') : kind;
  return `\`${name}\` ${type}${value === undefined ? '' : ` = ${Array.isArray(value) ? `[${value}]` : value}`}`;
}

function gradientText(op) {
  if (op.hasGradient) return 'gradient';
  return op.isComposite ? 'gradient through its body' : 'no gradient';
}

function row(op) {
  const cells = [
    `\`${op.name}\` @${op.version}`,
    Object.entries(op.operands).map(operandText).join('<br>'),
    Object.entries(op.attributes).map(attributeText).join('<br>'),
    op.results.map((name) => `\`${name}\``).join(' '),
    `${escapeCell(op.summary)} *${[...op.traits, gradientText(op)].join(', ')}*`,
  ];
  return `| ${cells.join(' | ')} |`;
}

function table(title, ops) {
  const head = '| op | operands | attributes | results | meaning, *traits, gradient* |\n|---|---|---|---|---|';
  return `## ${title}\n${head}\n${ops.map(row).join('\n')}\n`;
}

const ops = coreOps.list();
const text = [
  header,
  table(
    'Primitives',
    ops.filter((op) => !op.isComposite),
  ),
  table(
    'Composites',
    ops.filter((op) => op.isComposite),
  ),
].join('\n');

if (process.argv.includes('--check')) {
  const committed = fs.existsSync(target) ? fs.readFileSync(target, 'utf8') : '';
  if (committed !== text) {
    console.error('docs/ops.md differs from the op registry: run `node tools/docs-ops.mjs` and commit it');
    process.exitCode = 1;
  }
} else fs.writeFileSync(target, text);
