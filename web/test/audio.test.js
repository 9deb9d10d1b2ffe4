// WAV files and spectrograms, without a browser.

import assert from "node:assert/strict";
import { test } from "node:test";
import { spectrogram } from "../src/audio/spectrogram.js";
import { readWav, writeWav } from "../src/audio/wav.js";

test("16-bit samples are written and read exactly", () => {
  const left = Float32Array.of(0, 0.5, -1, 32767 / 32768);
  const right = Float32Array.of(-0.25, 2 ** -15, 0, -(2 ** -15));
  const { sampleRate, channels } = readWav(writeWav([left, right], 16000));
  assert.equal(sampleRate, 16000);
  assert.deepEqual(channels, [left, right]);
});

test("samples beyond full scale are clipped", () => {
  const { channels } = readWav(writeWav([Float32Array.of(2, -2)], 8000));
  assert.deepEqual([...channels[0]], [32767 / 32768, -1]);
});

test("24-bit and float samples are read; what is no WAV file is null", () => {
  const build = (kind, bits, data) => {
    const bytes = new Uint8Array(44 + data.length);
    bytes.set(writeWav([new Float32Array(0)], 48000));
    const view = new DataView(bytes.buffer);
    view.setUint16(20, kind, true);
    view.setUint16(34, bits, true);
    view.setUint32(40, data.length, true);
    bytes.set(data, 44);
    return readWav(bytes)?.channels[0];
  };
  assert.deepEqual([...build(1, 24, [0, 0, 0x40, 0xff, 0xff, 0xff])], [0.5, -(2 ** -23)]);
  const floats = new Uint8Array(Float32Array.of(0.1, -3).buffer);
  assert.deepEqual(build(3, 32, floats), Float32Array.of(0.1, -3));
  assert.equal(build(2, 4, [0]), undefined);
  assert.equal(readWav(new TextEncoder().encode("fLaC and more than twelve bytes")), null);
});

test("a sine of full scale has 0 dB in its row, and 60 dB less four rows away", () => {
  const samples = Float32Array.from({ length: 16000 }, (_, n) => Math.sin((2 * Math.PI * 32 * n) / 512));
  const { levels, rows, columns } = spectrogram(samples, 10);
  const column = levels.subarray(5 * rows, 6 * rows);
  assert.equal(columns * rows, levels.length);
  assert.ok(Math.abs(column[32]) < 0.01, `${column[32]} dB`);
  assert.ok(column[36] < -60 && column[28] < -60);
});
