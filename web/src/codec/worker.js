// The codec's networks, off the main thread.

import * as ort from "../../runtime/ort.wasm.bundle.min.mjs";
import { serve } from "../calls.js";
import { loadEngine } from "./load.js";

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = {
  wasm: new URL("../../runtime/ort-wasm-simd-threaded.wasm", import.meta.url).href,
};

let engine;

async function read(name) {
  const response = await fetch(new URL(`../../model/${name}`, import.meta.url));
  if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
  return new Uint8Array(await response.arrayBuffer());
}

serve({
  async load(_, progress) {
    const sizes = [];
    engine = await loadEngine(ort, async (name) => {
      const bytes = await read(name);
      sizes.push(bytes.length);
      await progress(sizes.length);
      return bytes;
    });
    return engine.page;
  },

  async encode({ channels }, progress) {
    const started = performance.now();
    const codes = await engine.encode(channels, progress);
    return { codes, seconds: (performance.now() - started) / 1000 };
  },

  async decode({ codes, numChannels, codebooks, used, numSamples }, progress) {
    const started = performance.now();
    const channels = await engine.decode(codes, numChannels, codebooks, used, numSamples, progress);
    return { channels, seconds: (performance.now() - started) / 1000 };
  },
});
