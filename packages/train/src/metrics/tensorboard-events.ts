/**
 * @file TensorBoard's event records: TFRecord frames around `tensorflow.Event` messages. The field numbers are those of
 * tensorboard/compat/proto/{event,summary}.proto.
 */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { maskedCrc32c } from './crc32c.ts';

/** Field numbers of `tensorflow.Event`. */
const eventField = { wallTime: 1, step: 2, fileVersion: 3, summary: 5, sessionLog: 7 } as const;
/** Of `tensorflow.Summary`, `Summary.Value` and `SessionLog`. */
const summaryField = { value: 1 } as const;
const valueField = { tag: 1, simpleValue: 2 } as const;
const sessionLogField = { status: 1 } as const;
const sessionStart = 1;

/** Values of one step under their tags: `loss`, `seconds/data`. */
export type Scalars = Iterable<readonly [tag: string, value: number]>;

/** The record that a file begins with. @param seconds wall-clock time since 1970 */
export function fileVersionRecord(seconds: number): Uint8Array {
  return frame(event(seconds).tag(eventField.fileVersion, WireType.LengthDelimited).string('brain.Event:2').finish());
}

/** Says that a run goes on: TensorBoard forgets what earlier files hold of `step` and later ones. */
export function sessionStartRecord(seconds: number, step: number): Uint8Array {
  const log = new BinaryWriter().tag(sessionLogField.status, WireType.Varint).int32(sessionStart).finish();
  return frame(withStep(seconds, step).tag(eventField.sessionLog, WireType.LengthDelimited).bytes(log).finish());
}

/** Scalars of one step; they are kept as f32. */
export function scalarsRecord(seconds: number, step: number, scalars: Scalars): Uint8Array {
  const summary = new BinaryWriter();
  for (const [tag, value] of scalars) {
    const message = new BinaryWriter().tag(valueField.tag, WireType.LengthDelimited).string(tag);
    message.tag(valueField.simpleValue, WireType.Bit32).float(Math.fround(value));
    summary.tag(summaryField.value, WireType.LengthDelimited).bytes(message.finish());
  }
  const writer = withStep(seconds, step).tag(eventField.summary, WireType.LengthDelimited);
  return frame(writer.bytes(summary.finish()).finish());
}

function event(seconds: number): BinaryWriter {
  return new BinaryWriter().tag(eventField.wallTime, WireType.Bit64).double(seconds);
}

function withStep(seconds: number, step: number): BinaryWriter {
  return event(seconds).tag(eventField.step, WireType.Varint).int64(step);
}

/** Length, checksum of the length, data, checksum of the data; little-endian. */
function frame(data: Uint8Array): Uint8Array {
  const record = new Uint8Array(16 + data.byteLength);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(data.byteLength), true);
  view.setUint32(8, maskedCrc32c(record.subarray(0, 8)), true);
  record.set(data, 12);
  view.setUint32(12 + data.byteLength, maskedCrc32c(data), true);
  return record;
}
