// The model's graphs and ONNX Runtime: WebAssembly with SIMD, one thread.

import { Engine } from "./stream.js";

/**
 * @param {object} ort the module of onnxruntime-web
 * @param {(name: string) => Promise<Uint8Array>} read the bytes of a file of the model's folder
 * @returns {Promise<Engine>}
 */
export async function loadEngine(ort, read) {
  const page = JSON.parse(new TextDecoder().decode(await read("model.json")));
  const options = { executionProviders: ["wasm"], graphOptimizationLevel: "all" };
  const open = async (graph) => ort.InferenceSession.create(await read(graph.file), options);
  return new Engine(ort, page, await open(page.encoder), await open(page.decoder));
}
