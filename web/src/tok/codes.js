// Codes of a recording: [channels, codebooks, frames] as one Int32Array, frames innermost.

export class Codes {
  constructor(channels, codebooks, frames, data = new Int32Array(channels * codebooks * frames)) {
    this.channels = channels;
    this.codebooks = codebooks;
    this.frames = frames;
    this.data = data;
  }

  place(channel, codebook, frame) {
    return (channel * this.codebooks + codebook) * this.frames + frame;
  }

  get(channel, codebook, frame) {
    return this.data[this.place(channel, codebook, frame)];
  }

  set(channel, codebook, frame, code) {
    this.data[this.place(channel, codebook, frame)] = code;
  }

  /** The frames from `start` to `stop` of the first `codebooks` codebooks, copied. */
  slice(start, stop, codebooks = this.codebooks) {
    const part = new Codes(this.channels, codebooks, stop - start);
    for (let channel = 0; channel < this.channels; channel++)
      for (let codebook = 0; codebook < codebooks; codebook++) {
        const from = this.place(channel, codebook, 0);
        part.data.set(
          this.data.subarray(from + start, from + stop),
          part.place(channel, codebook, 0),
        );
      }
    return part;
  }

  /** Parts of equal channels and codebooks, one after the other. */
  static join(parts, channels, codebooks) {
    const joined = new Codes(
      channels,
      codebooks,
      parts.reduce((sum, part) => sum + part.frames, 0),
    );
    let start = 0;
    for (const part of parts) {
      for (let channel = 0; channel < channels; channel++)
        for (let codebook = 0; codebook < codebooks; codebook++) {
          const from = part.place(channel, codebook, 0);
          joined.data.set(
            part.data.subarray(from, from + part.frames),
            joined.place(channel, codebook, start),
          );
        }
      start += part.frames;
    }
    return joined;
  }
}
