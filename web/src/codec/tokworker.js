// .tok files, off the main thread: context coding takes a while.

import { serve } from "../calls.js";
import { Codes } from "../tok/codes.js";
import { ContextModel } from "../tok/context.js";
import { readTok, writeTok } from "../tok/file.js";
import { Header } from "../tok/header.js";

let context = null;

serve({
  /** @param {string} fingerprint of the context model; empty without one */
  async load({ fingerprint }) {
    if (!fingerprint) return;
    const response = await fetch(new URL("../../model/context.safetensors", import.meta.url));
    if (!response.ok) throw new Error(`context.safetensors: ${response.status}`);
    context = await ContextModel.load(new Uint8Array(await response.arrayBuffer()), fingerprint);
  },

  read({ bytes }) {
    const { header, codes, numSamples, truncated } = readTok(bytes, context);
    return { header: { ...header }, codes: { ...codes }, numSamples, truncated };
  },

  write({ header, codes, numSamples }) {
    const { channels, codebooks, frames, data } = codes;
    const all = new Codes(channels, codebooks, frames, data);
    const held = all.slice(0, frames, header.codebookSizes.length);
    return writeTok(new Header(header), held, numSamples, context);
  },
});
