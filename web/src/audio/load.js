// Audio of any kind that the browser decodes, at the model's sample rate.

import { readWav } from "./wav.js";

export const MOST_SECONDS = 600;
const MOST_CHANNELS = 2;

/**
 * @typedef {object} Recording
 * @property {Float32Array[]} channels at the model's sample rate
 * @property {number} originalSampleRate what the file had, where the page can know it
 * @property {number} numSamples per channel, at that rate
 * @property {string} remark what was left out; by default nothing
 */

/**
 * @param {Uint8Array} bytes of a file
 * @param {number} sampleRate of the model
 * @returns {Promise<Recording>}
 */
export async function loadAudio(bytes, sampleRate) {
  const wav = readWav(bytes);
  if (wav) return fromSamples(wav.channels, wav.sampleRate, sampleRate);
  const context = new OfflineAudioContext(1, 1, sampleRate);
  const buffer = await context.decodeAudioData(bytes.slice().buffer).catch(() => {
    throw new Error("this browser cannot decode it; WAV files work everywhere");
  });
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, channel) =>
    buffer.getChannelData(channel),
  );
  return fromSamples(channels, sampleRate, sampleRate);
}

/** Samples at any rate as a recording at the model's. @returns {Promise<Recording>} */
export async function fromSamples(channels, originalSampleRate, sampleRate) {
  const remarks = [];
  if (channels.length > MOST_CHANNELS) {
    remarks.push(`the first ${MOST_CHANNELS} of ${channels.length} channels`);
    channels = channels.slice(0, MOST_CHANNELS);
  }
  const most = MOST_SECONDS * originalSampleRate;
  if (channels[0].length > most) {
    remarks.push(`the first ${MOST_SECONDS / 60} minutes`);
    channels = channels.map((samples) => samples.slice(0, most));
  }
  const numSamples = channels[0].length;
  if (!numSamples) throw new Error("holds no audio");
  if (originalSampleRate !== sampleRate)
    channels = await resample(channels, originalSampleRate, sampleRate);
  if (channels.some((samples) => !samples.every(Number.isFinite)))
    throw new Error("has samples that are not numbers");
  const remark = remarks.length ? `This page takes ${remarks.join(" and ")}.` : "";
  return { channels, originalSampleRate, numSamples, remark };
}

async function resample(channels, from, to) {
  const count = channels[0].length;
  let context, buffer;
  try {
    context = new OfflineAudioContext(channels.length, Math.ceil((count * to) / from), to);
    buffer = context.createBuffer(channels.length, count, from);
  } catch {
    throw new Error(`this browser does not resample audio of ${from} Hz`);
  }
  channels.forEach((samples, channel) => buffer.copyToChannel(samples, channel));
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  source.start();
  const rendered = await context.startRendering();
  return channels.map((_, channel) => rendered.getChannelData(channel));
}
