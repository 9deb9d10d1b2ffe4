// WAV files, read and written without a browser's help: what is read is exact.

const PCM = 1;
const FLOAT = 3;
const EXTENSIBLE = 0xfffe;

/**
 * The samples of a WAV file of PCM or floats.
 *
 * @param {Uint8Array} bytes
 * @returns {{sampleRate: number, channels: Float32Array[]} | null} null: not such a file
 */
export function readWav(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const name = (at) => String.fromCharCode(...bytes.subarray(at, at + 4));
  if (bytes.length < 12 || name(0) !== "RIFF" || name(8) !== "WAVE") return null;
  let format = null;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const size = view.getUint32(at + 4, true);
    if (name(at) === "fmt " && size >= 16 && at + 8 + size <= bytes.length) {
      const kind = view.getUint16(at + 8, true);
      format = {
        kind: kind === EXTENSIBLE && size >= 40 ? view.getUint16(at + 32, true) : kind,
        channels: view.getUint16(at + 10, true),
        sampleRate: view.getUint32(at + 12, true),
        bits: view.getUint16(at + 22, true),
      };
    }
    if (name(at) === "data") {
      const read = format && sampleReader(view, format);
      if (!read) return null;
      const width = format.bits / 8;
      const left = Math.min(size, bytes.length - at - 8);
      const count = Math.floor(left / (width * format.channels));
      const channels = Array.from({ length: format.channels }, (_, channel) => {
        const samples = new Float32Array(count);
        for (let sample = 0; sample < count; sample++)
          samples[sample] = read(at + 8 + (sample * format.channels + channel) * width);
        return samples;
      });
      return { sampleRate: format.sampleRate, channels };
    }
    at += 8 + size + (size % 2);
  }
  return null;
}

function sampleReader(view, { kind, bits, channels, sampleRate }) {
  if (!channels || !sampleRate) return null;
  if (kind === FLOAT && bits === 32) return (at) => view.getFloat32(at, true);
  if (kind === FLOAT && bits === 64) return (at) => view.getFloat64(at, true);
  if (kind !== PCM) return null;
  if (bits === 8) return (at) => (view.getUint8(at) - 128) / 128;
  if (bits === 16) return (at) => view.getInt16(at, true) / 2 ** 15;
  if (bits === 24) return (at) => (view.getInt8(at + 2) * 65536 + view.getUint16(at, true)) / 2 ** 23;
  if (bits === 32) return (at) => view.getInt32(at, true) / 2 ** 31;
  return null;
}

/** A WAV file of 16-bit samples. @param {Float32Array[]} channels */
export function writeWav(channels, sampleRate) {
  const count = channels[0].length;
  const size = 2 * channels.length * count;
  const bytes = new Uint8Array(44 + size);
  const view = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode("RIFF    WAVEfmt "));
  view.setUint32(4, 36 + size, true);
  view.setUint32(16, 16, true);
  view.setUint16(20, PCM, true);
  view.setUint16(22, channels.length, true);
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, sampleRate * channels.length * 2, true);
  view.setUint16(32, channels.length * 2, true);
  view.setUint16(34, 16, true);
  bytes.set(new TextEncoder().encode("data"), 36);
  view.setUint32(40, size, true);
  for (let sample = 0, at = 44; sample < count; sample++)
    for (const channel of channels) {
      const value = Math.round(channel[sample] * 2 ** 15);
      view.setInt16(at, Math.max(-(2 ** 15), Math.min(2 ** 15 - 1, value)), true);
      at += 2;
    }
  return bytes;
}
