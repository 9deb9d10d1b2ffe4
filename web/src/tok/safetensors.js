// Tensors of a safetensors file: length of the header (u64), a header of JSON, the data.

import { TokError } from "./errors.js";

const TYPES = {
  I8: [Int8Array, "int8"],
  I16: [Int16Array, "int16"],
  I32: [Int32Array, "int32"],
};

/**
 * @param {Uint8Array} bytes
 * @returns {Map<string, {data: Int8Array | Int16Array | Int32Array, shape: number[], type: string}>}
 *   by name; `type` is NumPy's name
 */
export function readSafetensors(bytes) {
  const damaged = new TokError("damaged or not a safetensors file");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < 8 || view.getUint32(4, true)) throw damaged;
  const first = 8 + view.getUint32(0, true);
  if (first > bytes.length) throw damaged;
  let header;
  try {
    header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, first)));
  } catch {
    throw damaged;
  }
  const tensors = new Map();
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const [kind, type] = TYPES[entry.dtype] ?? [];
    const [start, stop] = entry.data_offsets ?? [];
    const size = entry.shape?.reduce((product, length) => product * length, 1);
    if (!kind || stop - start !== size * kind.BYTES_PER_ELEMENT || first + stop > bytes.length)
      throw damaged;
    const data = new kind(bytes.slice(first + start, first + stop).buffer);
    tensors.set(name, { data, shape: entry.shape, type });
  }
  return tensors;
}
