// The exported graphs, piece by piece: ONNX Runtime computes a step, the state is kept here.

export const PIECE_FRAMES = 50;

class Stream {
  constructor(ort, session, graph, channels) {
    Object.assign(this, { ort, session, graph });
    this.state = {};
    for (const { input, shape } of graph.states) {
      const size = channels * shape.reduce((product, length) => product * length, 1);
      this.state[input] = new ort.Tensor("float32", new Float32Array(size), [channels, ...shape]);
    }
  }

  /** The result of one piece. */
  async push(piece) {
    const results = await this.session.run({ [this.graph.input]: piece, ...this.state });
    for (const { input, output } of this.graph.states) this.state[input] = results[output];
    return results[this.graph.output];
  }
}

/** A codec: two sessions of ONNX Runtime and what `model.json` says of them. */
export class Engine {
  constructor(ort, page, encoder, decoder) {
    Object.assign(this, { ort, page, encoder, decoder });
  }

  get numCodebooks() {
    return this.page.codebook_sizes.length;
  }

  /**
   * The codes of all codebooks.
   *
   * @param {Float32Array[]} channels at the model's sample rate
   * @param {(frames: number) => Promise<void> | void} done called after each piece with all frames
   *   so far; what it throws ends the work
   * @returns {Promise<Int32Array>} [channels, codebooks, frames]
   */
  async encode(channels, done = () => {}) {
    const { hop_length: hop, encoder: graph } = this.page;
    const frames = Math.ceil(channels[0].length / hop);
    const codes = new Int32Array(channels.length * this.numCodebooks * frames);
    const stream = new Stream(this.ort, this.encoder, graph, channels.length);
    for (let first = 0; first < frames; first += PIECE_FRAMES) {
      const count = Math.min(PIECE_FRAMES, frames - first);
      const samples = new Float32Array(channels.length * count * hop); // zeros fill the last frame
      channels.forEach((channel, row) => {
        samples.set(channel.subarray(first * hop, (first + count) * hop), row * count * hop);
      });
      const piece = new this.ort.Tensor("float32", samples, [channels.length, 1, count * hop]);
      const { data } = await stream.push(piece);
      for (let row = 0; row < channels.length * this.numCodebooks; row++)
        for (let frame = 0; frame < count; frame++)
          codes[row * frames + first + frame] = Number(data[row * count + frame]);
      await done(first + count);
    }
    return codes;
  }

  /**
   * @param {Int32Array} codes [channels, codebooks, frames]
   * @param {number} numChannels
   * @param {number} codebooks in `codes`
   * @param {number} used the first so many are decoded
   * @param {number} numSamples per channel, at the model's sample rate
   * @param {(frames: number) => Promise<void> | void} done as in `encode`
   * @returns {Promise<Float32Array[]>}
   */
  async decode(codes, numChannels, codebooks, used, numSamples, done = () => {}) {
    const { hop_length: hop, lookahead, decoder: graph } = this.page;
    const frames = codes.length / (numChannels * codebooks);
    const audio = Array.from({ length: numChannels }, () => new Float32Array(numSamples));
    const stream = new Stream(this.ort, this.decoder, graph, numChannels);
    const all = this.numCodebooks;
    for (let first = 0; first < frames + lookahead; first += PIECE_FRAMES) {
      const count = Math.min(PIECE_FRAMES, frames + lookahead - first);
      const held = new BigInt64Array(numChannels * all * count).fill(-1n); // no code
      for (let row = 0; row < numChannels; row++)
        for (let stage = 0; stage < used; stage++)
          for (let frame = 0; frame < count && first + frame < frames; frame++)
            held[(row * all + stage) * count + frame] = BigInt(
              codes[(row * codebooks + stage) * frames + first + frame],
            );
      const piece = new this.ort.Tensor("int64", held, [numChannels, all, count]);
      const { data } = await stream.push(piece);
      const start = (first - lookahead) * hop; // the decoder is so many frames late
      audio.forEach((channel, row) => {
        const samples = data.subarray(row * count * hop, (row + 1) * count * hop);
        const from = Math.max(0, -start);
        const to = Math.min(samples.length, numSamples - start);
        if (to > from) channel.set(samples.subarray(from, to), start + from);
      });
      await done(Math.min(first + count, frames));
    }
    return audio;
  }
}
