// Context coding: the codes of a block in as few bits as a context model needs for them.

import { encodeSymbols, SymbolDecoder } from "./ans.js";
import { Codes } from "./codes.js";
import { Predictor } from "./context.js";
import { TokError } from "./errors.js";

const MOST_BYTES = 4; // of the number that says how long a block is
const MOST_CHANNELS = 64;

export class ContextCoding {
  /** @param {import("./context.js").ContextModel | null} context needed for the codes alone */
  constructor(header, context) {
    if (header.channels > MOST_CHANNELS)
      throw new TokError(`${header.channels} channels; context coding takes up to ${MOST_CHANNELS}`);
    this.header = header;
    this.given = context;
  }

  get context() {
    const { context: due, model, codebookSizes } = this.header;
    const found = this.given;
    if (found?.fingerprint !== due)
      throw new TokError(`coded with context model ${due} of model ${model}, which is not at hand`);
    if (codebookSizes.some((size, stage) => size !== found.codebookSizes[stage]))
      throw new TokError(`context model ${due} is not one for codebooks of ${codebookSizes} entries`);
    return found;
  }

  pack(codes) {
    const count = codes.data.length;
    const starts = new Int32Array(count);
    const frequencies = new Int32Array(count);
    for (let channel = 0; channel < codes.channels; channel++) {
      const predictor = new Predictor(this.context, codes.codebooks);
      for (let frame = 0; frame < codes.frames; frame++)
        for (let stage = 0; stage < codes.codebooks; stage++) {
          const found = predictor.frequencies(stage);
          const code = codes.get(channel, stage, frame);
          const at = (frame * codes.codebooks + stage) * codes.channels + channel;
          for (let lower = 0; lower < code; lower++) starts[at] += found[lower];
          frequencies[at] = found[code];
          predictor.put(stage, code);
        }
    }
    const data = encodeSymbols(starts, frequencies);
    const length = [];
    for (let left = data.length; ; left >>= 7) {
      length.push(left > 127 ? (left & 127) | 128 : left);
      if (left < 128) break;
    }
    return Uint8Array.from([...length, ...data]);
  }

  unpack(bytes, frames) {
    const { decoder, codes } = this.#decode(bytes, frames);
    if (!decoder.empty) throw new TokError("codes that no encoder wrote");
    return codes;
  }

  /** The whole frames of a block whose end is missing. */
  salvage(bytes, frames) {
    const { decoder, codes, whole } = this.#decode(bytes, frames);
    const [head, size] = readLength(bytes, 0);
    const stated = head > 0 && bytes[head - 1] < 128;
    if (stated && bytes.length === head + size && decoder.empty) return codes; // only its CRC is missing
    return codes.slice(0, whole);
  }

  /** Bytes that state a block's length, and bytes of its codes. */
  readLength(bytes, at, frames) {
    const [head, size] = readLength(bytes, at);
    // No symbol takes more than 16 bits.
    const most = 2 * frames * this.header.channels * this.header.numCodebooks + 16;
    if (size > most || head > MOST_BYTES) throw new TokError("the length of a block is damaged");
    return [head, size];
  }

  #decode(bytes, frames) {
    const { channels, numCodebooks } = this.header;
    const { context } = this;
    const [head, size] = readLength(bytes, 0);
    const decoder = new SymbolDecoder(bytes.subarray(head), size);
    const codes = new Codes(channels, numCodebooks, frames);
    const predictors = Array.from({ length: channels }, () => new Predictor(context, numCodebooks));
    let whole = 0;
    for (let frame = 0; frame < frames; frame++) {
      for (let stage = 0; stage < numCodebooks; stage++)
        for (let channel = 0; channel < channels; channel++) {
          const frequencies = predictors[channel].frequencies(stage);
          const peeked = decoder.peek();
          let code = 0;
          let start = 0;
          while (start + frequencies[code] <= peeked) start += frequencies[code++];
          decoder.take(peeked, start, frequencies[code]);
          codes.set(channel, stage, frame, code);
          predictors[channel].put(stage, code);
        }
      if (decoder.within) whole = frame + 1;
    }
    return { decoder, codes, whole };
  }
}

/** How many bytes the length at `at` takes, and the length (LEB128). */
function readLength(bytes, at) {
  let size = 0;
  for (let place = 0; at + place < bytes.length; place++) {
    const byte = bytes[at + place];
    size += (byte & 127) * 2 ** (7 * place);
    if (byte < 128 || place === MOST_BYTES) return [place + 1, size];
  }
  return [bytes.length - at, size];
}
