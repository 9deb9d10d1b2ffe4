// The context model: how likely each code is, given the codes before it, in exact integers.
//
// The same arithmetic as audiocodec/tokens/context/model.py, whose docstring has the formulas, in
// 32-bit integers: every sum stays below 2^24, and a right shift rounds down.

import { TokError } from "./errors.js";
import { toHex } from "./header.js";
import { readSafetensors } from "./safetensors.js";

const PRECISION = 2 ** 16; // what the frequencies of a code sum to
const SUM_LIMIT = 255;
const GATE = 256;
const STATE_STEPS = 64;
const CARRIED_LIMIT = 32_767;
const HIDDEN_LIMIT = 255;
const EXACT = 2 ** 24;
const MAX_SHIFT = 20;
const MAX_SIZE = 2 ** 14;

/** `clip(x, -limit, limit)` */
const within = (x, limit) => (x > limit ? limit : x < -limit ? -limit : x);

/** `floor(weight @ x / 2^shift) + bias`; weight int8 [outputs, inputs]. */
class Layer {
  /** @param {number[]} bounds the greatest magnitude of each input */
  constructor(tensors, name, bounds) {
    this.inputs = bounds.length;
    this.weight = tensors.get(`${name}.weight`, "int8", [null, this.inputs]).data;
    this.outputs = this.weight.length / this.inputs;
    this.shift = tensors.get(`${name}.shift`, "int8", [this.outputs]).data;
    this.bias = tensors.get(`${name}.bias`, "int16", [this.outputs]).data;
    for (let output = 0; output < this.outputs; output++) {
      const shift = this.shift[output];
      if (shift < 0 || shift > MAX_SHIFT) throw tensors.error(`shifts of \`${name}\``);
      let sum = Math.abs(this.bias[output]) * 2 ** shift;
      for (let input = 0; input < this.inputs; input++)
        sum += Math.abs(this.weight[output * this.inputs + input]) * bounds[input];
      if (sum >= EXACT) throw tensors.error(`sums of \`${name}\` may reach ${sum}`);
    }
  }

  /** Sum of the products of inputs `start` to `stop` for one output. */
  dot(output, x, start = 0, stop = this.inputs) {
    const { weight } = this;
    const row = output * this.inputs;
    let sum = 0;
    for (let input = start; input < stop; input++)
      sum = (sum + Math.imul(weight[row + input], x[input])) | 0;
    return sum;
  }
}

/** The tensors of a file, checked when they are taken. */
class Tensors {
  constructor(bytes) {
    this.tensors = readSafetensors(bytes);
  }

  get(name, type, shape) {
    const found = this.tensors.get(name);
    const fits =
      found?.type === type &&
      found.shape.length === shape.length &&
      shape.every((length, axis) => (length === null ? found.shape[axis] >= 1 : found.shape[axis] === length));
    if (!fits) throw this.error(`\`${name}\` is absent or of another shape`);
    return found;
  }

  error(problem) {
    return new TokError(`not a context model: ${problem}`);
  }

  /** 16 hex digits that change with any bit of the tensors. */
  async fingerprint() {
    const parts = [];
    for (const name of [...this.tensors.keys()].sort()) {
      const { data, shape, type } = this.tensors.get(name);
      parts.push(new TextEncoder().encode(`${name} ${type} [${shape.join(", ")}]`));
      parts.push(new Uint8Array(data.buffer));
    }
    const whole = new Uint8Array(await new Blob(parts).arrayBuffer());
    return toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", whole)).subarray(0, 8));
  }
}

export class ContextModel {
  /**
   * @param {Uint8Array} bytes of `context.safetensors`
   * @param {string} fingerprint where it is known already: browsers compute it in secure contexts
   *   only
   */
  static async load(bytes, fingerprint = "") {
    const tensors = new Tensors(bytes);
    const model = new ContextModel(tensors);
    model.fingerprint = fingerprint || (await tensors.fingerprint());
    return model;
  }

  constructor(tensors) {
    let count = 0;
    while (tensors.tensors.has(`stages.${count}.embedding`)) count++;
    this.table = tensors.get("table", "int32", [null]).data;
    const falls = this.table.every((value, place) => !place || value <= this.table[place - 1]);
    if (!falls || this.table[0] < 1 || this.table.at(-1) < 0) throw tensors.error("`table`");
    const sums = tensors.get("start.sum", "int8", [count, null]);
    const states = tensors.get("start.state", "int16", [count, null]);
    if (states.data.some((value) => Math.abs(value) > GATE * STATE_STEPS))
      throw tensors.error("`start.state`");
    this.startSum = sums.data;
    this.startState = states.data;
    this.dim = sums.shape[1];
    this.width = states.shape[1];
    const bounds = [...new Array(this.width).fill(GATE), ...new Array(this.dim).fill(SUM_LIMIT)];
    this.memory = new Layer(tensors, "memory", bounds);
    if (this.memory.outputs !== 3 * this.width) throw tensors.error("`memory`");
    this.embeddings = [];
    this.hidden = [];
    this.logits = [];
    for (let stage = 0; stage < count; stage++) {
      const embedding = tensors.get(`stages.${stage}.embedding`, "int8", [null, this.dim]);
      const hidden = new Layer(tensors, `stages.${stage}.hidden`, bounds);
      const units = new Array(hidden.outputs).fill(HIDDEN_LIMIT);
      const logits = new Layer(tensors, `stages.${stage}.logits`, units);
      if (logits.outputs !== embedding.shape[0] || logits.outputs > MAX_SIZE)
        throw tensors.error(`codebook ${stage}`);
      this.embeddings.push(embedding.data);
      this.hidden.push(hidden);
      this.logits.push(logits);
    }
    this.codebookSizes = this.logits.map((layer) => layer.outputs);
  }
}

/**
 * The frequencies of one sequence, code by code. For each frame, for each stage from 0 on:
 * `frequencies(stage)`, then `put(stage, code)`.
 */
export class Predictor {
  constructor(model, numCodebooks) {
    this.model = model;
    this.numCodebooks = numCodebooks;
    const { width, dim } = model;
    const from = numCodebooks - 1;
    this.state = Int32Array.from(model.startState.subarray(from * width, (from + 1) * width));
    this.start = model.startSum.subarray(from * dim, (from + 1) * dim);
    this.sum = new Int32Array(dim);
    this.seen = new Int32Array(width + dim); // what layers see: of the state, of the sum
    const most = Math.max(...model.hidden.map((layer) => layer.outputs));
    this.units = new Int32Array(most);
    this.values = new Int32Array(most);
    this.found = model.codebookSizes.map((size) => new Float64Array(size));
    this.#beginFrame();
  }

  #beginFrame() {
    this.sum.set(this.start);
    for (let unit = 0; unit < this.state.length; unit++) this.seen[unit] = this.state[unit] >> 6;
    this.#see();
  }

  #see() {
    const { width } = this.model;
    for (let place = 0; place < this.sum.length; place++)
      this.seen[width + place] = within(this.sum[place], SUM_LIMIT);
  }

  /** Frequencies of the next code of `stage`: integers of at least 1 that sum to 2^16. */
  frequencies(stage) {
    const { model, units, values } = this;
    const layer = model.hidden[stage];
    let active = 0; // hidden units that are not 0: half of them or fewer
    for (let unit = 0; unit < layer.outputs; unit++) {
      const value = (layer.dot(unit, this.seen) >> layer.shift[unit]) + layer.bias[unit];
      if (value <= 0) continue;
      units[active] = unit;
      values[active++] = value > HIDDEN_LIMIT ? HIDDEN_LIMIT : value;
    }
    const { weight, shift, bias, inputs, outputs } = model.logits[stage];
    const found = this.found[stage];
    let best = 0;
    for (let code = 0, row = 0; code < outputs; code++, row += inputs) {
      let sum = 0;
      for (let n = 0; n < active; n++)
        sum = (sum + Math.imul(weight[row + units[n]], values[n])) | 0;
      found[code] = (sum >> shift[code]) + bias[code];
      if (found[code] > found[best]) best = code;
    }
    return toFrequencies(found, best, model.table);
  }

  /** The code of `stage`. The last stage completes the frame. */
  put(stage, code) {
    const { dim } = this.model;
    const embedding = this.model.embeddings[stage];
    for (let place = 0; place < dim; place++) this.sum[place] += embedding[code * dim + place];
    this.#see();
    if (stage === this.numCodebooks - 1) {
      this.#remember();
      this.#beginFrame();
    }
  }

  #remember() {
    const { memory, width } = this.model;
    const { seen, state } = this;
    const gate = (output) => {
      const value = (memory.dot(output, seen) >> memory.shift[output]) + memory.bias[output];
      return value < 0 ? 0 : value > GATE ? GATE : value;
    };
    for (let unit = 0; unit < width; unit++) {
      const update = gate(unit);
      const reset = gate(width + unit);
      const output = 2 * width + unit;
      const shift = memory.shift[output];
      const carried = within(memory.dot(output, seen, 0, width) >> shift, CARRIED_LIMIT);
      const own = (memory.dot(output, seen, width) >> shift) + memory.bias[output];
      const candidate = within(own + ((reset * carried) >> 8), GATE);
      state[unit] += (update * (candidate * STATE_STEPS - state[unit])) >> 8;
    }
  }
}

/** Logits to frequencies, in place. Each step is exact, or one correctly rounded operation. */
function toFrequencies(values, best, table) {
  const top = values[best];
  const end = table.length - 1;
  let sum = 0;
  for (let code = 0; code < values.length; code++) {
    values[code] = table[Math.min(top - values[code], end)];
    sum += values[code];
  }
  const scale = (PRECISION - values.length) / sum;
  let total = 0;
  for (let code = 0; code < values.length; code++) {
    values[code] = Math.floor(values[code] * scale) + 1;
    total += values[code];
  }
  values[best] += PRECISION - total;
  return values;
}
