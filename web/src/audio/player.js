// Several versions of one recording, played at the same position: switching is instant.

const FADE = 0.008; // seconds: no click, no gap

export class Player {
  /** @param {() => void} changed called when playing starts or stops */
  constructor(changed) {
    this.changed = changed;
    this.context = null;
    this.versions = new Map();
    this.current = null; // the version that is heard
    this.loop = false;
    this.duration = 0;
    this.offset = 0; // where playing starts
    this.playing = null; // source and gain
    this.startedAt = 0;
  }

  /** Forget all versions. */
  clear(duration) {
    this.pause();
    this.versions.clear();
    this.current = null;
    this.duration = duration;
    this.offset = 0;
  }

  /** @param {Float32Array[]} channels */
  add(name, channels, sampleRate) {
    const buffer = new AudioBuffer({
      length: Math.max(1, channels[0].length),
      numberOfChannels: channels.length,
      sampleRate,
    });
    channels.forEach((samples, channel) => buffer.copyToChannel(samples, channel));
    this.versions.set(name, buffer);
  }

  get position() {
    if (!this.playing) return this.offset;
    const position = this.offset + this.context.currentTime - this.startedAt;
    return this.loop ? position % this.duration : Math.min(position, this.duration);
  }

  /** Hear another version from now on. */
  select(name) {
    if (name === this.current) return;
    this.current = name;
    if (this.playing) this.#start(this.position);
  }

  seek(position) {
    const there = Math.max(0, Math.min(position, this.duration));
    if (this.playing) this.#start(there);
    else this.offset = there;
  }

  setLoop(loop) {
    const position = this.position;
    this.loop = loop;
    if (this.playing) this.#start(position);
  }

  async play() {
    if (!this.versions.has(this.current)) return;
    this.context ??= new AudioContext({ latencyHint: "interactive" });
    await this.context.resume();
    this.#start(this.offset >= this.duration - 0.01 ? 0 : this.offset);
    this.changed();
  }

  pause() {
    if (!this.playing) return;
    const position = this.position;
    this.#stop();
    this.offset = position;
    this.changed();
  }

  #start(position) {
    this.#stop();
    const { context } = this;
    const gain = new GainNode(context, { gain: 0 });
    const buffer = this.versions.get(this.current);
    const source = new AudioBufferSourceNode(context, { buffer, loop: this.loop });
    source.connect(gain).connect(context.destination);
    gain.gain.linearRampToValueAtTime(1, context.currentTime + FADE);
    source.start(0, Math.min(position, buffer.duration));
    source.onended = () => {
      if (this.playing?.source !== source) return;
      this.playing = null;
      this.offset = this.duration;
      this.changed();
    };
    this.playing = { source, gain };
    this.offset = position;
    this.startedAt = context.currentTime;
  }

  #stop() {
    if (!this.playing) return;
    const { source, gain } = this.playing;
    this.playing = null;
    const now = this.context.currentTime;
    gain.gain.cancelScheduledValues(now);
    gain.gain.setValueAtTime(gain.gain.value, now);
    gain.gain.linearRampToValueAtTime(0, now + FADE);
    source.stop(now + FADE);
  }
}
