// Passes on the first channel in blocks of about a tenth of a second.

class RecorderProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(128 * Math.round(sampleRate / 1280));
    this.filled = 0;
  }

  process([[samples]]) {
    if (samples) {
      this.block.set(samples, this.filled);
      this.filled += samples.length;
      if (this.filled + samples.length > this.block.length) {
        this.port.postMessage(this.block.slice(0, this.filled));
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("recorder", RecorderProcessor);
