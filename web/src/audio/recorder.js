// The microphone's samples as they are, without the browser's own codec and processing.

export class Recorder {
  /** @param {(level: number) => void} level called with the peak of each tenth of a second */
  static async start(level) {
    if (!navigator.mediaDevices)
      throw new Error("the browser gives no microphone here: open the page at localhost or by https");
    const recorder = new Recorder();
    recorder.stream = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false },
    });
    recorder.context = new AudioContext();
    recorder.blocks = [];
    await recorder.context.audioWorklet.addModule(new URL("./recorderworklet.js", import.meta.url));
    const node = new AudioWorkletNode(recorder.context, "recorder", {
      channelCount: 1,
      channelCountMode: "explicit",
    });
    node.port.onmessage = ({ data }) => {
      recorder.blocks.push(data);
      level(data.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0));
    };
    recorder.context.createMediaStreamSource(recorder.stream).connect(node);
    return recorder;
  }

  /** @returns {Promise<{samples: Float32Array, sampleRate: number}>} */
  async stop() {
    for (const track of this.stream.getTracks()) track.stop();
    const { sampleRate } = this.context;
    await this.context.close();
    const samples = new Float32Array(this.blocks.reduce((sum, block) => sum + block.length, 0));
    let at = 0;
    for (const block of this.blocks) {
      samples.set(block, at);
      at += block.length;
    }
    return { samples, sampleRate };
  }
}
