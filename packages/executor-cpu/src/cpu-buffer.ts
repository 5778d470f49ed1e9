/**
 * @file Memory of the CPU executor. A parameter has forms: the bytes as they are, packed for the matrix kernels, scales
 * decoded. What programs read is made once, and the bytes as they are go when nobody reads them any more.
 */
import type { BufferUsage, DeviceBuffer } from '@quaver/executor';
import { QuaverError } from '@quaver/numerics';
import { type Form, memoryOf, type Need } from './code/code-builder.ts';
import { runOnce } from './code/run-once.ts';
import { type Engine, type EngineMemory, formatCode, type KernelFormat } from './engine/engine.ts';

/** A matrix w[n, k] whose element (r, c) is at r · rowStride + c · columnStride. */
export interface PackedShape {
  readonly format: KernelFormat;
  readonly n: number;
  readonly k: number;
  readonly rowStride: number;
  readonly columnStride: number;
}

class MadeForm implements Form {
  memory: EngineMemory | undefined;
  /** Its memory holds what the bytes were before a program wrote them. */
  isStale = false;
  readonly #make: (form: MadeForm) => Promise<void>;
  #making: Promise<void> | undefined;

  /** @param make puts the form into its memory, or into new memory where it has none */
  constructor(make: (form: MadeForm) => Promise<void>, memory?: EngineMemory) {
    this.memory = memory;
    this.#make = make;
  }

  /** Makes it once, also for several who wait. */
  async make(): Promise<void> {
    if (this.memory && !this.isStale) return;
    this.#making ??= this.#make(this).finally(() => {
      this.#making = undefined;
    });
    await this.#making;
    this.isStale = false;
  }
}

interface PackedForm {
  readonly form: MadeForm;
  readonly shape: PackedShape;
  /** Whether unpacking gives the bytes back; known when it was made. */
  exact: boolean;
}

export class CpuBuffer implements DeviceBuffer {
  readonly byteLength: number;
  readonly usage: BufferUsage;
  readonly engine: Engine;
  /** Changes when memory that code was bound to is gone or stale: bind anew. */
  generation = 0;
  readonly #raw: MadeForm;
  /** The forms that prepared programs read; the bytes as they are `table` when rows of a packed form would do. */
  readonly #wanted = new Map<Form, Need>();
  readonly #packed = new Map<string, PackedForm>();
  #decoded: MadeForm | undefined;
  /** Programs write it: a parameter that trains. */
  #mutable = false;
  #disposed = false;

  constructor(engine: Engine, byteLength: number, usage: BufferUsage) {
    this.engine = engine;
    this.byteLength = byteLength;
    this.usage = usage;
    // Parameters get memory when they are written; what can never fit is refused now.
    if (!(byteLength <= engine.maxBytes)) throw outOfMemory(byteLength, engine.maxBytes);
    this.#raw = new MadeForm((form) => this.#unpack(form), this.isParameter ? undefined : engine.allocate(byteLength));
  }

  get isParameter(): boolean {
    return this.usage === 'parameter';
  }

  get isDisposed(): boolean {
    return this.#disposed;
  }

  get isStale(): boolean {
    if (!this.#mutable) return false;
    for (const { isStale } of this.#derived()) if (isStale) return true;
    return false;
  }

  /** A parameter that programs write keeps its bytes as they are beside other forms; code that did without is bound anew. */
  makeMutable(): void {
    this.#alive();
    if (this.#mutable || !this.isParameter) return;
    this.#mutable = true;
    this.generation++;
  }

  /** A program wrote the bytes. */
  markWritten(): void {
    for (const form of this.#derived()) form.isStale = form.memory !== undefined;
  }

  /** Makes forms anew, in the memory that they have, after the bytes were written. */
  async renew(): Promise<void> {
    for (const form of this.#derived()) if (form.isStale) await form.make();
  }

  /** Parameters are brought into the forms that prepared programs read. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#alive();
    this.#raw.memory ??= this.engine.allocate(this.byteLength);
    this.#raw.memory.bytes().set(bytes);
    for (const form of this.#derived()) this.#forget(form);
    await this.#settle();
  }

  /** From now on programs read these forms; those of other buffers are left out. */
  async want(forms: ReadonlyMap<Form, Need>): Promise<void> {
    for (const form of [this.#raw, ...this.#derived()]) {
      const need = forms.get(form);
      if (need && this.#wanted.get(form) !== 'bytes') this.#wanted.set(form, need);
    }
    if (this.#raw.memory) await this.#settle();
  }

  async read(): Promise<Uint8Array> {
    this.#alive();
    await this.#raw.make();
    return memoryOf(this.#raw).bytes().slice(0, this.byteLength);
  }

  /** The bytes in place; undefined for parameters, which may have other forms only. */
  view(): Uint8Array | undefined {
    this.#alive();
    return this.isParameter ? undefined : this.#raw.memory?.bytes().subarray(0, this.byteLength);
  }

  /** The bytes as they are. */
  rawForm(): Form {
    this.#alive();
    return this.#raw;
  }

  /** Weights in the layout of the matrix kernels. */
  packedForm(shape: PackedShape): Form {
    this.#alive();
    const { format, n, k, rowStride, columnStride } = shape;
    const key = `${format} ${n} ${k} ${rowStride} ${columnStride}`;
    let packed = this.#packed.get(key);
    if (!packed) {
      packed = { shape, exact: false, form: new MadeForm((form) => this.#pack(form, key)) };
      this.#packed.set(key, packed);
    }
    return packed.form;
  }

  /** The table [n, k] packed, where it was packed already and gives its rows back exactly. */
  packedTable(n: number, k: number): Form | undefined {
    return this.#mutable ? undefined : this.#exactForm(n, k)?.form;
  }

  /** E8M0 scales in f32. */
  decodedScales(count: number): Form {
    this.#alive();
    this.#decoded ??= new MadeForm(async (form) => {
      const source = await this.#rawMemory();
      const target = form.memory ?? this.engine.allocate(4 * count);
      await runOnce(this.engine, 'decode_e8m0', [source, target], [count]);
      form.memory = target;
    });
    return this.#decoded;
  }

  /**
   * Bytes that the forms take once they are made, by a name that says what is in them. The bytes as they are, `bytes`, are
   * left out where a packed form gives them back.
   */
  formBytes(forms: ReadonlyMap<Form, Need>): ReadonlyMap<string, number> {
    const found = new Map<string, number>();
    let restores = false;
    for (const [key, { form, shape }] of this.#packed) {
      if (!forms.has(form)) continue;
      const { format, n, k } = shape;
      found.set(`packed ${key}`, this.engine.packedBytes(format, n, k));
      restores ||= !this.#mutable;
    }
    // Decoded scales are f32 of one byte each.
    if (this.#decoded && forms.has(this.#decoded)) found.set('decoded', 4 * this.byteLength);
    if (!restores || forms.get(this.#raw) === 'bytes') found.set('bytes', this.byteLength);
    return found;
  }

  /** Makes those of the forms that belong to this buffer. */
  async make(forms: ReadonlyMap<Form, Need>): Promise<void> {
    for (const form of [this.#raw, ...this.#derived()]) if (forms.has(form)) await form.make();
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const form of [this.#raw, ...this.#derived()]) this.#forget(form);
  }

  /** Makes what is wanted, then gives the bytes as they are back if nobody reads them and another form can bring them. */
  async #settle(): Promise<void> {
    if (this.#wanted.size === 0) return;
    await this.make(this.#wanted);
    if (this.#mutable) return;
    const exact = [...this.#packed.values()].some((packed) => packed.exact && packed.form.memory);
    if (exact && this.#wanted.get(this.#raw) !== 'bytes') this.#forget(this.#raw);
  }

  #forget(form: MadeForm): void {
    if (form.memory) this.generation++;
    form.memory?.release();
    form.memory = undefined;
    form.isStale = false;
  }

  *#derived(): Generator<MadeForm> {
    for (const { form } of this.#packed.values()) yield form;
    if (this.#decoded) yield this.#decoded;
  }

  #exactForm(n: number, k: number): PackedForm | undefined {
    for (const packed of this.#packed.values()) {
      const { shape, form, exact } = packed;
      const dense = shape.n === n && shape.k === k && shape.columnStride === 1 && shape.rowStride === k;
      if (dense && exact && form.memory) return packed;
    }
    return undefined;
  }

  async #rawMemory(): Promise<EngineMemory> {
    await this.#raw.make();
    return memoryOf(this.#raw);
  }

  async #pack(form: MadeForm, key: string): Promise<void> {
    const packed = this.#packed.get(key)!;
    const { format, n, k, rowStride, columnStride } = packed.shape;
    const source = await this.#rawMemory();
    const target = form.memory ?? this.engine.allocate(this.engine.packedBytes(format, n, k), true);
    try {
      await runOnce(this.engine, 'pack', [source, target], [formatCode[format], n, k, rowStride, columnStride]);
    } catch (error) {
      if (target !== form.memory) target.release();
      throw error;
    }
    packed.exact = !this.#mutable && (format !== 'bf16' || packsExactly(source.bytes().subarray(0, this.byteLength)));
    form.memory = target;
  }

  async #unpack(form: MadeForm): Promise<void> {
    const packed = [...this.#packed.values()].find(({ exact, form: { memory } }) => exact && memory);
    // Never written: zeros.
    if (!packed) {
      form.memory = this.engine.allocate(this.byteLength);
      return;
    }
    const { format, n, k, columnStride } = packed.shape;
    const target = this.engine.allocate(this.byteLength);
    const rows = columnStride === 1 ? target : this.engine.allocate(this.byteLength);
    await runOnce(this.engine, 'unpack', [memoryOf(packed.form), rows], [formatCode[format], n, k]);
    if (rows !== target) {
      const bytes = this.byteLength / (n * k);
      await runOnce(
        this.engine,
        'strided_copy',
        [rows, target],
        [...[bytes, n, 1, 1, 1, 1, k], ...[k, 0, 0, 0, 0, 1], ...[1, 0, 0, 0, 0, n], ...[0, 0]],
      );
      rows.release();
    }
    form.memory = target;
  }

  #alive(): void {
    if (this.#disposed) throw new QuaverError('buffer-disposed', `a ${this.usage} buffer is used after dispose()`);
  }
}

function outOfMemory(byteLength: number, limit: number): QuaverError {
  return new QuaverError(
    'executor-out-of-memory',
    `a buffer of ${byteLength} bytes is larger than the CPU executor can have`,
    {
      hint: `All together may have ${limit} bytes. Use a smaller model, context or batch.`,
    },
  );
}

/** Packing BF16 makes magnitudes below 2^-56 +0, −0 among them; weights seldom have any. */
function packsExactly(bytes: Uint8Array): boolean {
  const least = (127 - 56) << 7;
  const codes = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i]!;
    if (code !== 0 && (code & 0x7fff) < least) return false;
  }
  return true;
}
