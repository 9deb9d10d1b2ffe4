// Spectrograms: levels in dB, column by column.

const SIZE = 512; // samples of a window: 32 ms at 16 kHz
const FLOOR = -100; // dB

const WINDOW = Float32Array.from({ length: SIZE }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / SIZE));
const COS = Float64Array.from({ length: SIZE / 2 }, (_, n) => Math.cos((2 * Math.PI * n) / SIZE));
const SIN = Float64Array.from({ length: SIZE / 2 }, (_, n) => -Math.sin((2 * Math.PI * n) / SIZE));

/**
 * @param {Float32Array} samples
 * @param {number} columns how many spectra, evenly spread
 * @returns {{levels: Float32Array, rows: number, columns: number}} dB, [columns, rows]; a sine of
 *   full scale has 0 dB; row 0 is 0 Hz
 */
export function spectrogram(samples, columns) {
  const rows = SIZE / 2;
  const levels = new Float32Array(columns * rows);
  const real = new Float64Array(SIZE);
  const imaginary = new Float64Array(SIZE);
  for (let column = 0; column < columns; column++) {
    const first = Math.round(((column + 0.5) * samples.length) / columns - SIZE / 2);
    for (let n = 0; n < SIZE; n++) real[n] = WINDOW[n] * (samples[first + n] ?? 0);
    imaginary.fill(0);
    fft(real, imaginary);
    for (let row = 0; row < rows; row++) {
      const energy = (real[row] ** 2 + imaginary[row] ** 2) / (SIZE / 4) ** 2;
      levels[column * rows + row] = Math.max(FLOOR, 10 * Math.log10(energy + 1e-20));
    }
  }
  return { levels, rows, columns };
}

/** The discrete Fourier transform of `SIZE` numbers, in place. */
export function fft(real, imaginary) {
  for (let n = 1, swapped = 0; n < SIZE; n++) {
    let bit = SIZE >> 1;
    for (; swapped & bit; bit >>= 1) swapped ^= bit;
    swapped ^= bit;
    if (n < swapped) {
      [real[n], real[swapped]] = [real[swapped], real[n]];
      [imaginary[n], imaginary[swapped]] = [imaginary[swapped], imaginary[n]];
    }
  }
  for (let half = 1; half < SIZE; half *= 2) {
    const step = SIZE / 2 / half;
    for (let start = 0; start < SIZE; start += 2 * half)
      for (let n = start, turn = 0; n < start + half; n++, turn += step) {
        const m = n + half;
        const re = real[m] * COS[turn] - imaginary[m] * SIN[turn];
        const im = real[m] * SIN[turn] + imaginary[m] * COS[turn];
        real[m] = real[n] - re;
        imaginary[m] = imaginary[n] - im;
        real[n] += re;
        imaginary[n] += im;
      }
  }
}
