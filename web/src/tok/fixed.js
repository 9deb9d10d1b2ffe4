// Fixed coding: each code takes ceil(log2(size)) bits, highest first, by frame, channel, codebook.

import { Codes } from "./codes.js";
import { codeBits } from "./header.js";
import { TokError } from "./errors.js";

export class FixedCoding {
  constructor(header) {
    this.header = header;
    this.bits = header.codebookSizes.map(codeBits);
  }

  /** The bytes of codes; zero bits fill the last byte. */
  pack(codes) {
    const bytes = new Uint8Array(this.size(codes.frames));
    let at = 0;
    this.#each(codes, (place, codebook) => {
      for (let bit = this.bits[codebook] - 1; bit >= 0; bit--, at++)
        bytes[at >> 3] |= ((codes.data[place] >> bit) & 1) << (7 - (at & 7));
    });
    return bytes;
  }

  unpack(bytes, frames) {
    const { channels, codebookSizes } = this.header;
    const codes = new Codes(channels, codebookSizes.length, frames);
    let at = 0;
    this.#each(codes, (place, codebook) => {
      let code = 0;
      for (let bit = this.bits[codebook]; bit; bit--, at++)
        code = (code << 1) | ((bytes[at >> 3] >> (7 - (at & 7))) & 1);
      if (code >= codebookSizes[codebook]) throw new TokError("codes that no encoder wrote");
      codes.data[place] = code;
    });
    return codes;
  }

  /** The whole frames of a block whose end is missing. */
  salvage(bytes, frames) {
    const { frameBits } = this.header;
    let whole = frameBits ? Math.min(frames, Math.floor((bytes.length * 8) / frameBits)) : 0;
    for (; ; whole--)
      try {
        return this.unpack(bytes, whole);
      } catch (error) {
        if (!(error instanceof TokError)) throw error;
      }
  }

  /** Bytes that state a block's length (none here), and bytes of its codes. */
  readLength(bytes, at, frames) {
    return [0, this.size(frames)];
  }

  size(frames) {
    return Math.ceil((frames * this.header.frameBits) / 8);
  }

  #each(codes, use) {
    for (let frame = 0; frame < codes.frames; frame++)
      for (let channel = 0; channel < codes.channels; channel++)
        for (let codebook = 0; codebook < codes.codebooks; codebook++)
          use(codes.place(channel, codebook, frame), codebook);
  }
}
