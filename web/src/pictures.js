// Pictures on canvases: spectrograms, and codes as a map.

import { spectrogram } from "./audio/spectrogram.js";

const MAGMA = ["000004", "1c1044", "51127c", "8c2981", "b73779", "e55964", "fc8961", "fec488", "fcfdbf"];
const TURBO = ["30123b", "4662d8", "36aaf9", "1ae4b6", "72fe5e", "c8ef34", "faba39", "f66b19", "7a0403"];
const RANGE = 70; // dB that a spectrogram shows
const HEADROOM = 12; // dB below the peak, from where on all is brightest
const SPECTRA = 1000;
const UNUSED = 0.22; // how bright codes are that the version does not use

const RGB = { magma: shades(MAGMA), turbo: shades(TURBO) };

/** 256 colours between the given ones: [256, 3]. */
function shades(stops) {
  const colours = stops.map((stop) => [0, 2, 4].map((at) => parseInt(stop.slice(at, at + 2), 16)));
  return Array.from({ length: 256 }, (_, shade) => {
    const place = (shade / 255) * (stops.length - 1);
    const left = Math.min(Math.floor(place), stops.length - 2);
    return colours[left].map((value, c) => value + (place - left) * (colours[left + 1][c] - value));
  });
}

/** The level of the loudest part of a recording, in dB; versions are drawn with the same. */
export function peakLevel(samples) {
  const { levels } = spectrogram(samples, SPECTRA);
  return levels.reduce((highest, level) => Math.max(highest, level), -100);
}

/** @param {number} top the peak level, in dB */
export function drawSpectrogram(canvas, samples, top) {
  const { levels, rows, columns } = spectrogram(samples, SPECTRA);
  draw(canvas, columns, rows, (x, y) => {
    const level = levels[x * rows + rows - 1 - y];
    return RGB.magma[shade(1 + (level - top + HEADROOM) / RANGE)];
  });
}

/**
 * @param {Int32Array} codes [channels, codebooks, frames]; the first channel is drawn
 * @param {number[]} sizes of the codebooks
 * @param {number} used so many codebooks are bright
 */
export function drawCodes(canvas, codes, sizes, frames, used) {
  draw(canvas, Math.max(1, frames), sizes.length, (x, y) => {
    const colour = RGB.turbo[shade((codes[y * frames + x] ?? 0) / Math.max(1, sizes[y] - 1))];
    return y < used ? colour : colour.map((value) => value * UNUSED);
  });
}

function shade(value) {
  return Math.max(0, Math.min(255, Math.round(255 * value)));
}

function draw(canvas, width, height, colour) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let y = 0, at = 0; y < height; y++)
    for (let x = 0; x < width; x++, at += 4) {
      [image.data[at], image.data[at + 1], image.data[at + 2]] = colour(x, y);
      image.data[at + 3] = 255;
    }
  context.putImageData(image, 0, 0);
}
