// Whole .tok files: bytes to codes and back.

import { Codes } from "./codes.js";
import { ContextCoding } from "./contextcoding.js";
import { crc32 } from "./crc32.js";
import { TokError } from "./errors.js";
import { FixedCoding } from "./fixed.js";
import { CONTEXT, FIXED, little, readHeader } from "./header.js";

const TRAILER_SIZE = 13;
const CRC_SIZE = 4;

/**
 * @param {Uint8Array} bytes
 * @param {import("./context.js").ContextModel | null} context that the codes may be coded with
 * @returns {{header: import("./header.js").Header, codes: Codes, numSamples: number,
 *   truncated: boolean}} `truncated`: the file was cut short, and its codes reach up to the cut
 */
export function readTok(bytes, context = null) {
  const [header, first] = readHeader(bytes);
  const coding = codingOf(header, context);
  const damaged = (block) => {
    const start = ((block * header.blockFrames) / header.frameRate).toFixed(1);
    return new TokError(`damaged at ${start} s (block ${block}); get the file again`, block);
  };
  const parts = [];
  let at = first;
  let last = header.blockFrames;
  for (let block = 0; at < bytes.length && bytes[at]; block++) {
    const frames = bytes[at];
    // Only the last block may be shorter.
    if (frames > header.blockFrames || last < header.blockFrames) throw damaged(block);
    last = frames;
    let head, size;
    try {
      [head, size] = coding.readLength(bytes, at + 1, frames);
    } catch {
      throw damaged(block);
    }
    const end = at + 1 + head + size;
    const data = bytes.subarray(at + 1, Math.min(end, bytes.length));
    const whole = end + CRC_SIZE <= bytes.length;
    if (whole && blockCrc(block, bytes.subarray(at, end)) !== number(bytes, end))
      throw damaged(block);
    if (!whole) {
      // Nothing is missing: the block's frames or its length are wrong.
      if (readTrailer(bytes.subarray(Math.max(at, bytes.length - TRAILER_SIZE))) !== null)
        throw damaged(block);
      // More likely a trailer with a damaged mark than a block cut right here.
      const rest = bytes.length - at === TRAILER_SIZE ? 0 : frames;
      parts.push(coding.salvage(data, rest));
      return cutShort(header, parts);
    }
    try {
      parts.push(coding.unpack(data, frames));
    } catch (error) {
      throw error.message.startsWith("codes that") ? damaged(block) : error;
    }
    at = end + CRC_SIZE;
  }
  if (at + TRAILER_SIZE > bytes.length) return cutShort(header, parts);
  const numSamples = readTrailer(bytes.subarray(at, at + TRAILER_SIZE));
  const codes = joined(header, parts);
  if (numSamples === null || header.numFrames(numSamples) !== codes.frames)
    throw new TokError("its trailer is damaged; get the file again");
  if (at + TRAILER_SIZE < bytes.length)
    throw new TokError(`${bytes.length - at - TRAILER_SIZE} bytes follow its end`);
  return { header, codes, numSamples, truncated: false };
}

/**
 * @param {import("./header.js").Header} header
 * @param {Codes} codes
 * @param {number} numSamples per channel, at the original sample rate
 * @param {import("./context.js").ContextModel | null} context that `header` names
 * @returns {Uint8Array}
 */
export function writeTok(header, codes, numSamples, context = null) {
  if (codes.channels !== header.channels || codes.codebooks !== header.numCodebooks)
    throw new TokError("codes of other channels or codebooks than the header's");
  if (header.numFrames(numSamples) !== codes.frames)
    throw new TokError(`${numSamples} samples are not ${codes.frames} frames`);
  codes.data.forEach((code, place) => {
    const size = header.codebookSizes[Math.floor(place / codes.frames) % codes.codebooks];
    if (!(code >= 0 && code < size)) throw new TokError("codes outside their codebooks");
  });
  const coding = codingOf(header, context);
  const parts = [header.toBytes()];
  for (let start = 0, number = 0; start < codes.frames; start += header.blockFrames, number++) {
    const part = codes.slice(start, Math.min(start + header.blockFrames, codes.frames));
    const block = Uint8Array.from([part.frames, ...coding.pack(part)]);
    parts.push(block, Uint8Array.from(little(blockCrc(number, block), 4)));
  }
  parts.push(trailerOf(numSamples));
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function codingOf(header, context) {
  if (header.coding === FIXED) return new FixedCoding(header);
  if (header.coding === CONTEXT) return new ContextCoding(header, context);
  throw new TokError(`has coding \`${header.coding}\`, which is not known here`);
}

function cutShort(header, parts) {
  const codes = joined(header, parts);
  return { header, codes, numSamples: header.numSamples(codes.frames), truncated: true };
}

function joined(header, parts) {
  return Codes.join(parts, header.channels, header.numCodebooks);
}

function blockCrc(block, bytes) {
  return crc32(bytes, crc32(little(block, 4)));
}

function number(bytes, at) {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);
}

/** `numSamples`, or null where the bytes are no trailer. */
function readTrailer(bytes) {
  if (bytes.length !== TRAILER_SIZE || bytes[0]) return null;
  if (crc32(bytes.subarray(0, 9)) !== number(bytes, 9)) return null;
  return Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(1, true));
}

function trailerOf(numSamples) {
  const trailer = [0, ...little(numSamples, 8)];
  return Uint8Array.from([...trailer, ...little(crc32(trailer), 4)]);
}
