// The entropy coder: asymmetric numeral systems (Duda 2013, arXiv 1311.2540).
//
// A number holds all symbols. Each symbol is an interval `start`, `frequency` of 2^16. The number
// stays below 2^48, and so is exact as a JavaScript number.

const PRECISION = 2 ** 16;
const WORD = 2 ** 16;
const LOW = 2 ** 32;
const HEAD_BYTES = 6;

/** Symbols, first to last, to bytes. */
export function encodeSymbols(starts, frequencies) {
  let x = 0;
  const words = [];
  for (let at = starts.length - 1; at >= 0; at--) {
    const frequency = frequencies[at];
    if (Math.floor(x / LOW) >= frequency) {
      words.push(x % WORD);
      x = Math.floor(x / WORD);
    }
    const rest = x % frequency;
    x = ((x - rest) / frequency) * PRECISION + starts[at] + rest;
  }
  const bytes = new Uint8Array(HEAD_BYTES + 2 * words.length);
  for (let place = HEAD_BYTES - 1; place >= 0; place--, x = Math.floor(x / 256))
    bytes[place] = x % 256;
  words.reverse().forEach((word, place) => {
    bytes[HEAD_BYTES + 2 * place] = word >> 8;
    bytes[HEAD_BYTES + 2 * place + 1] = word & 255;
  });
  const first = bytes.findIndex((byte) => byte);
  return first < 0 ? new Uint8Array(0) : bytes.subarray(first);
}

/** Takes symbols from the bytes of `encodeSymbols`, first to last. */
export class SymbolDecoder {
  /**
   * @param {Uint8Array} bytes any: those that no encoder wrote give other symbols, never an error
   * @param {number} length of all bytes, where `bytes` is only their beginning
   */
  constructor(bytes, length = bytes.length) {
    this.bytes = bytes;
    this.at = length % 2 ? -1 : 0; // as if a zero byte stood in front
    this.x = 0;
    this.short = false;
    while (this.x < LOW && !this.short) this.#fill();
  }

  #fill() {
    if (this.at + 2 > this.bytes.length) {
      this.short = true;
      return;
    }
    const high = this.at < 0 ? 0 : this.bytes[this.at];
    this.x = this.x * WORD + high * 256 + this.bytes[this.at + 1];
    this.at += 2;
  }

  /** Whether all of the bytes were used. */
  get empty() {
    return !this.x && this.at + 2 > this.bytes.length;
  }

  /** Whether the symbols so far needed only bytes that are there. */
  get within() {
    return !this.short;
  }

  /** A number below 2^16 that lies in the interval of the next symbol. */
  peek() {
    return this.x % PRECISION;
  }

  /** Remove the next symbol, whose interval the number of `peek` showed. */
  take(peeked, start, frequency) {
    this.x = frequency * Math.floor(this.x / PRECISION) + peeked - start;
    if (this.x < LOW) this.#fill();
  }
}
