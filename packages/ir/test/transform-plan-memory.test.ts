import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  coreOps,
  evaluateDim,
  GraphBuilder,
  type GraphFunction,
  planMemory,
  type Value,
  verifyModule,
} from '../src/index.ts';

const state = { name: 'cache', type: { dtype: 'f32', shape: ['B', 16, 4] } } as const;

const stateNamed = (name: string) => ({ name, type: { dtype: 'f32', shape: ['B', 'T', 4] } }) as const;

/**
 * Runs a plan with tokens for contents: reads must find what was written last by the value they name. A value without a
 * slot lives where it goes: in its output, or else in the first state or parameter that it updates.
 */
function simulate(fn: GraphFunction): string[] {
  const memory = new Map<number | string, Value>();
  const problems: string[] = [];
  const { slotOf } = fn.plan!;
  const outputs = new Set(fn.outputs.map(({ value }) => value));
  const homeOf = (value: Value): number | string | undefined => {
    const slot = slotOf[value.name];
    if (slot !== undefined || value.kind === 'input') return slot;
    if (value.ref !== undefined) return `${value.kind} ${value.ref}`;
    const update = fn.updates.find((candidate) => candidate.value === value);
    return update && !outputs.has(value) ? `${update.target} ${update.name}` : undefined;
  };
  const read = (value: Value, reader: string) => {
    const home = homeOf(value);
    const found = home === undefined ? value : memory.get(home);
    if (found !== undefined && found !== value) problems.push(`${reader} reads %${value.name}, overwritten`);
  };
  for (const node of fn.nodes) {
    for (const value of node.operands) if (value) read(value, node.op);
    for (const value of node.results) {
      const home = homeOf(value);
      if (home === undefined) continue;
      const inUse = node.operands.some((operand) => operand && homeOf(operand) === home);
      const atOnce = typeof home === 'string' && coreOps.latest('core', node.op).traits.includes('elementwise');
      const isSlice = node.op === 'dynamic_update_slice';
      if (inUse && !atOnce && !isSlice) problems.push(`${node.op} writes %${value.name} over an operand`);
      memory.set(home, value);
    }
  }
  for (const { value } of [...fn.outputs, ...fn.updates]) read(value, 'the end');
  return problems;
}

interface Step {
  readonly kind: number;
  readonly a: number;
  readonly b: number;
}

function randomFunction(steps: readonly Step[]): GraphFunction {
  const g = new GraphBuilder('main');
  const position = g.input('position', 'i32', ['B']);
  const states = ['m', 'n', 'o'].map(stateNamed);
  const values: Value[] = [g.input('x', 'f32', ['B', 'T', 4]), g.input('y', 'f32', ['B', 8, 4])];
  values.push(...states.slice(1).map((item) => g.state(item)));
  const pick = (n: number) => values[n % values.length]!;
  for (const { kind, a, b } of steps) {
    const x = pick(a);
    const partner = values.filter(
      ({ type }) => type.dtype === x.type.dtype && type.shape.join() === x.type.shape.join(),
    );
    const fp32 = g.convert(x, 'f32');
    const made = [
      () => g.op('add', [fp32, g.convert(partner[b % partner.length]!, 'f32')]),
      () => g.op('negate', [fp32]),
      () => g.convert(x, 'bf16'),
      () => g.op('concatenate', [fp32, fp32], { axis: 2 }),
      () => g.op('dynamic_quantize', [fp32], { to: 'f8e4m3fn', block: [1, 1, 0], max: 448, rounding: 'none' }),
    ][kind % 5]!();
    if (made.type.shape[2] !== undefined && Number(made.type.shape[2]) < 4096) values.push(made);
  }
  const token = g.input('token', 'f32', ['B', 1, 4]);
  g.update(state, g.op('dynamic_update_slice', [g.state(state), token, position], { axis: 1 }));
  const fitting = values.filter(({ type }) => type.dtype === 'f32' && type.shape.join() === 'B,T,4');
  for (const [i, item] of states.entries())
    g.update(item, fitting[(steps[0]!.a * (i + 1) + steps[0]!.b) % fitting.length]!);
  for (const [i, value] of values.slice(-2).entries()) g.output(`out${i}`, value);
  return g.finish();
}

const step = fc.record({ kind: fc.nat(100), a: fc.nat(100), b: fc.nat(100) });

describe('planMemory', () => {
  it('never lets two living values share a slot, and gives every slot room for its values', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
        const fn = planMemory(randomFunction(steps));
        expect(simulate(fn)).toEqual([]);
        const sizes = { B: 3, T: 5 };
        for (const node of fn.nodes) {
          for (const { name, type } of node.results) {
            const slot = fn.plan!.slotOf[name];
            if (slot === undefined) continue;
            const bytes = { f32: 4, bf16: 2, f8e4m3fn: 1 }[type.dtype as 'f32'] ?? 0;
            const needed = type.shape.reduce<number>((product, dim) => product * evaluateDim(dim, sizes), bytes);
            expect(evaluateDim(fn.plan!.slots[slot]!, sizes)).toBeGreaterThanOrEqual(needed);
          }
        }
        expect(planMemory(randomFunction(steps)).plan).toEqual(fn.plan);
        const symbols = ['B', 'T'].map((name) => ({ name, min: 1, max: 8, multiple: 1 }));
        const states = [state, ...['m', 'n', 'o'].map(stateNamed)];
        const module = { name: 'm', symbols, parameters: [], states, metadata: {}, attachments: new Map() };
        verifyModule({ ...module, functions: [fn] }, { registry: coreOps });
      }),
      { numRuns: 300 },
    );
  });

  it('needs two slots for a chain of any length, and none for its output', () => {
    const g = new GraphBuilder('main');
    let x = g.input('x', 'f32', ['B', 4]);
    for (let i = 0; i < 10; i++) x = g.op('negate', [x]);
    g.output('y', x);
    const { plan } = planMemory(g.finish());
    expect(plan!.slots).toEqual(['16*B', '16*B']);
    expect(Object.keys(plan!.slotOf)).toHaveLength(9);
  });

  it('shares a slot between sizes with the same symbols only, as large as the largest', () => {
    const g = new GraphBuilder('main');
    const x = g.input('x', 'f32', ['B', 4]);
    const fixed = g.input('fixed', 'f32', [1000]);
    const narrow = g.op('convert', [g.op('negate', [x])], { to: 'bf16' });
    g.output('a', g.op('convert', [g.op('concatenate', [narrow, narrow], { axis: 1 })], { to: 'f32' }));
    g.output('b', g.op('negate', [g.op('abs', [fixed])]));
    const { plan } = planMemory(g.finish());
    expect(plan!.slots).toEqual(['16*B', '8*B', 4000]);
    expect(plan!.slotOf).toEqual({ negate: 0, convert: 1, concatenate: 0, abs: 2 });
  });

  it('writes a cache in place, and not when its old contents are read later', () => {
    const build = (readsOld: boolean) => {
      const g = new GraphBuilder('main');
      const position = g.input('position', 'i32', ['B']);
      const token = g.input('token', 'f32', ['B', 1, 4]);
      const old = g.state(state);
      const first = g.op('dynamic_update_slice', [old, token, position], { axis: 1 });
      const second = g.op('dynamic_update_slice', [first, token, position], { axis: 1 });
      g.update(state, second);
      if (readsOld) g.output('sum', g.op('add', [second, old]));
      else g.output('sum', g.op('add', [second, second]));
      return planMemory(g.finish());
    };
    expect(build(false).plan).toEqual({ slots: [], slotOf: {} });
    expect(Object.keys(build(true).plan!.slotOf)).toEqual(['dynamic_update_slice', 'dynamic_update_slice_1']);
  });

  it('writes pages in place', () => {
    const paged = { name: 'pages', type: { dtype: 'f32', shape: ['P', 16, 4] } } as const;
    const build = (readsOld: boolean) => {
      const g = new GraphBuilder('main');
      const inputs = [g.input('token', 'f32', ['B', 1, 4]), g.input('table', 'i32', ['B', 'N'])];
      const old = g.state(paged);
      const updated = g.op('paged_update', [old, ...inputs, g.input('position', 'i32', ['B'])]);
      g.update(paged, updated);
      g.output('sum', g.op('add', [updated, readsOld ? old : updated]));
      return planMemory(g.finish()).plan;
    };
    expect(build(false)).toEqual({ slots: [], slotOf: {} });
    expect(build(true)).toEqual({ slots: ['256*P'], slotOf: { paged_update: 0 } });
  });

  it('keeps the slot of an update that is not written in place until the end', () => {
    const g = new GraphBuilder('main');
    const old = g.state(state);
    g.update(state, g.op('negate', [old]));
    let x = g.op('abs', [old]);
    for (let i = 0; i < 3; i++) x = g.op('abs', [x]);
    g.output('y', x);
    const fn = planMemory(g.finish());
    expect(fn.plan!.slotOf.negate).toBe(0);
    expect(Object.values(fn.plan!.slotOf).filter((slot) => slot === 0)).toHaveLength(1);
    expect(simulate(fn)).toEqual([]);
  });
});
