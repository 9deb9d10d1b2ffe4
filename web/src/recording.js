// One recording in the page: its codes, and its versions as they are decoded.

import { Cancelled } from "./calls.js";

const MARKS = [1, 2, 3, 4, 6, 8, 12, 16]; // codebooks of the versions that are offered

export class Recording {
  /**
   * @param {object} page what `model.json` says
   * @param {{codec: import("./calls.js").Remote, tok: import("./calls.js").Remote}} workers
   * @param {object} source name, channels (of the original, or null), codes, numChannels,
   *   codebooks, numSamples and originalSampleRate (of the file), context (fingerprint)
   * @param {(used: number) => void} changed called when a version or its files are ready
   */
  constructor(page, workers, source, changed) {
    Object.assign(this, { page, workers, changed }, source);
    this.frames = this.codes.length / (this.numChannels * this.codebooks);
    this.samples = Math.ceil((this.numSamples * page.sample_rate) / this.originalSampleRate);
    this.versions = new Map(); // codebooks used -> {channels, speed}
    this.files = new Map(); // codebooks used -> {fixed, context}: bytes
    const marks = MARKS.filter((mark) => mark < this.codebooks);
    this.choices = [...marks, this.codebooks];
    this.wanted = this.choices.includes(6) ? 6 : this.codebooks;
    this.closed = false;
  }

  get seconds() {
    return this.samples / this.page.sample_rate;
  }

  /** Bits per second with fixed coding. */
  bitrate(used) {
    const bits = this.page.codebook_sizes
      .slice(0, used)
      .reduce((sum, size) => sum + Math.ceil(Math.log2(size)), 0);
    return (bits * this.numChannels * this.page.sample_rate) / this.page.hop_length;
  }

  /** Have this version decoded before all others. */
  want(used) {
    this.wanted = used;
    if (!this.versions.has(used) && this.decoding !== used) this.workers.codec.cancel();
  }

  close() {
    this.closed = true;
    this.workers.codec.cancel();
    this.workers.tok.cancel();
  }

  /** Decode all versions: what is wanted first, then the others from few codebooks on. */
  async work(progress) {
    while (!this.closed) {
      const missing = this.choices.find((used) => !this.versions.has(used));
      const used = this.versions.has(this.wanted) ? missing : this.wanted;
      if (!used) return;
      this.decoding = used;
      try {
        await this.#decode(used, progress);
      } catch (error) {
        if (!(error instanceof Cancelled)) throw error;
      }
      this.decoding = null;
    }
  }

  async #decode(used, progress) {
    const { codes, numChannels, codebooks, samples: numSamples } = this;
    const { channels, seconds } = await this.workers.codec.call(
      "decode",
      { codes, numChannels, codebooks, used, numSamples },
      (frames) => used === this.wanted && progress(frames / Math.max(1, this.frames)),
    );
    if (this.closed) return;
    this.versions.set(used, { channels, speed: this.seconds / seconds });
    this.changed(used);
  }

  /** The token files of a version: bytes by coding. */
  async writeFiles(used) {
    if (this.files.has(used)) return;
    const files = {};
    this.files.set(used, files);
    const { page, numChannels: channels, codebooks, frames, codes: data, numSamples } = this;
    const header = {
      model: page.model,
      fingerprint: page.fingerprint,
      sampleRate: page.sample_rate,
      hopLength: page.hop_length,
      originalSampleRate: this.originalSampleRate,
      channels,
      codebookSizes: page.codebook_sizes.slice(0, used),
    };
    const codes = { channels, codebooks, frames, data };
    const write = (more) =>
      this.workers.tok.call("write", { header: { ...header, ...more }, codes, numSamples });
    files.fixed = await write({});
    if (this.context) files.context = await write({ coding: "context", context: this.context });
    if (!this.closed) this.changed(used);
  }
}
