// The header of a .tok file. The format is specified in audiocodec/tokens/__init__.py.

import { crc32 } from "./crc32.js";
import { TokError } from "./errors.js";

export const FIXED = "fixed";
export const CONTEXT = "context";
const MAGIC = [0x89, 0x54, 0x4f, 0x4b];
const VERSION = 2; // the newest that is read
const START = 7; // bytes of magic, version and length
const NO_CONTEXT = "0".repeat(16);
const BLOCK_SECONDS = 3;

/** What a file says of its codes. */
export class Header {
  /**
   * @param {object} fields model, fingerprint (16 hex digits), sampleRate, hopLength,
   *   originalSampleRate, channels, codebookSizes; blockFrames (0: three seconds); coding;
   *   context (fingerprint of the context model; empty with fixed coding)
   */
  constructor(fields) {
    Object.assign(this, { blockFrames: 0, coding: FIXED, context: "" }, fields);
    if (!this.blockFrames) {
      const frames = Math.round((BLOCK_SECONDS * this.sampleRate) / this.hopLength);
      this.blockFrames = Math.min(Math.max(frames, 1), 255);
    }
    const limits = [
      ["sample rate", this.sampleRate, 2 ** 32 - 1],
      ["hop length", this.hopLength, 2 ** 16 - 1],
      ["original sample rate", this.originalSampleRate, 2 ** 32 - 1],
      ["channels", this.channels, 2 ** 16 - 1],
      ["frames in a block", this.blockFrames, 255],
      ["codebooks", this.codebookSizes.length, 255],
      ...this.codebookSizes.map((size) => ["entries of a codebook", size, 2 ** 31]),
    ];
    for (const [name, value, highest] of limits)
      if (!(Number.isInteger(value) && value >= 1 && value <= highest))
        throw new TokError(`a .tok file holds ${name} of 1 to ${highest}, not ${value}`);
    for (const fingerprint of [this.fingerprint, this.context || NO_CONTEXT])
      if (!/^[0-9a-f]{16}$/.test(fingerprint))
        throw new TokError(`\`${fingerprint}\` is no fingerprint of 16 hex digits`);
    Object.freeze(this);
  }

  get numCodebooks() {
    return this.codebookSizes.length;
  }

  /** Frames per second. */
  get frameRate() {
    return this.sampleRate / this.hopLength;
  }

  /** Bits of one frame of all channels with fixed coding. */
  get frameBits() {
    return this.channels * this.codebookSizes.reduce((sum, size) => sum + codeBits(size), 0);
  }

  /** Frames of audio of `numSamples` samples at the original rate. */
  numFrames(numSamples) {
    const samples = ceil(BigInt(numSamples) * BigInt(this.sampleRate), this.originalSampleRate);
    return Number(ceil(samples, this.hopLength));
  }

  /** The most samples at the original rate that `numFrames` frames hold. */
  numSamples(numFrames) {
    const samples = BigInt(numFrames) * BigInt(this.hopLength) * BigInt(this.originalSampleRate);
    return Number(samples / BigInt(this.sampleRate));
  }

  toBytes() {
    const name = new TextEncoder().encode(this.model);
    const runs = [];
    for (const size of this.codebookSizes) {
      const last = runs.at(-1);
      if (last && last.size === size) last.count++;
      else runs.push({ count: 1, size });
    }
    const fields = [
      ...fromHex(this.fingerprint),
      ...little(this.sampleRate, 4),
      ...little(this.hopLength, 2),
      ...little(this.originalSampleRate, 4),
      ...little(this.channels, 2),
      this.blockFrames,
      runs.length,
      ...runs.flatMap(({ count, size }) => [count, ...little(size, 4)]),
      name.length,
      ...name,
    ];
    if (this.coding !== FIXED) {
      const coding = new TextEncoder().encode(this.coding);
      fields.push(coding.length, ...coding, ...fromHex(this.context || NO_CONTEXT));
    }
    const version = this.coding === FIXED ? 1 : 2;
    const head = [...MAGIC, version, ...little(fields.length, 2), ...fields];
    return Uint8Array.from([...head, ...little(crc32(head), 4)]);
  }
}

/** Bits of a code of a codebook of `size` entries: ceil(log2(size)). */
export function codeBits(size) {
  return size < 2 ? 0 : 32 - Math.clz32(size - 1);
}

/**
 * The header at the beginning of a file, and where it ends.
 *
 * @param {Uint8Array} bytes
 * @returns {[Header, number]}
 */
export function readHeader(bytes) {
  if (!bytes.length) throw new TokError("is empty, not a .tok file");
  if (MAGIC.some((byte, place) => bytes[place] !== byte)) throw new TokError("not a .tok file");
  const cut = new TokError("cut short inside its header; nothing can be read");
  if (bytes.length < START) throw cut;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const version = bytes[4];
  if (version > VERSION)
    throw new TokError(`has format version ${version}, newer than the ${VERSION} known here`);
  const end = START + view.getUint16(5, true);
  if (bytes.length < end + 4) throw cut;
  const damaged = new TokError("its header is damaged; get the file again");
  if (crc32(bytes.subarray(0, end)) !== view.getUint32(end, true) || version < 1) throw damaged;
  try {
    return [readFields(bytes.subarray(START, end), version), end + 4];
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError || error instanceof TokError)
      throw damaged;
    throw error;
  }
}

function readFields(bytes, version) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  const number = (size) => {
    at += size;
    if (size === 1) return view.getUint8(at - 1);
    return size === 2 ? view.getUint16(at - 2, true) : view.getUint32(at - 4, true);
  };
  const take = (size) => {
    if (at + size > bytes.length) throw new RangeError("too short");
    at += size;
    return bytes.subarray(at - size, at);
  };
  const text = () => new TextDecoder("utf-8", { fatal: true }).decode(take(number(1)));
  const fields = {
    fingerprint: toHex(take(8)),
    sampleRate: number(4),
    hopLength: number(2),
    originalSampleRate: number(4),
    channels: number(2),
    blockFrames: number(1),
    codebookSizes: [],
  };
  if (!fields.blockFrames) throw new RangeError("no frames in a block");
  for (let runs = number(1); runs; runs--) {
    const count = number(1);
    fields.codebookSizes.push(...new Array(count).fill(number(4)));
  }
  fields.model = text();
  if (version > 1) {
    fields.coding = text();
    const context = toHex(take(8));
    fields.context = context === NO_CONTEXT ? "" : context;
  }
  return new Header(fields);
}

/** `value` as `size` bytes, lowest first. */
export function little(value, size) {
  return Array.from({ length: size }, (_, place) => Math.floor(value / 256 ** place) % 256);
}

function ceil(value, divisor) {
  return (value + BigInt(divisor) - 1n) / BigInt(divisor);
}

function fromHex(text) {
  return text.match(/../g).map((pair) => parseInt(pair, 16));
}

export function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
