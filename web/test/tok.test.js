// .tok files against what Python says of them: tests/test_web.py writes the cases.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { ContextModel } from "../src/tok/context.js";
import { TokError } from "../src/tok/errors.js";
import { readTok, writeTok } from "../src/tok/file.js";

const MODEL = new URL("../../audiocodec/models/speech_16khz/", import.meta.url);
const bytesOf = (path) => new Uint8Array(readFileSync(path));
const same = (a, b) => assert.equal(Buffer.compare(Buffer.from(a), Buffer.from(b)), 0);

test("the bundled model's codes, written with either coding, are read again", async () => {
  const context = await ContextModel.load(bytesOf(new URL("context.safetensors", MODEL)));
  const bytes = bytesOf(new URL("golden.tok", MODEL));
  const { header, codes, numSamples, truncated } = readTok(bytes);
  assert.equal(truncated, false);
  same(writeTok(header, codes, numSamples), bytes);
  const part = codes.slice(0, 50, 2);
  const fields = { ...header, codebookSizes: header.codebookSizes.slice(0, 2) };
  const other = new header.constructor({ ...fields, coding: "context", context: context.fingerprint });
  const written = writeTok(other, part, 50 * 320, context);
  assert.deepEqual(readTok(written, context).codes, part);
  assert.throws(() => readTok(written), /coded with context model 7ca364ef1891b763 of model speech/);
});

test("what is no .tok file is one clear line", () => {
  const text = (words) => new TextEncoder().encode(words);
  assert.throws(() => readTok(text("")), /is empty/);
  assert.throws(() => readTok(text("RIFF")), /not a .tok file/);
  assert.throws(() => readTok(text("")), TokError);
  const bytes = bytesOf(new URL("golden.tok", MODEL));
  assert.throws(() => readTok(bytes.slice(0, 20)), /cut short inside its header/);
  bytes[4] = 9;
  assert.throws(() => readTok(bytes), /version 9, newer than the 2/);
});

const cases = process.env.TOK_CASES ? JSON.parse(readFileSync(process.env.TOK_CASES)) : [];
const fromBase64 = (text) => new Uint8Array(Buffer.from(text, "base64"));

for (const { name, context, files } of cases)
  test(name, async () => {
    const model = await ContextModel.load(fromBase64(context));
    for (const { what, bytes, error, block, header, codes, numSamples, truncated } of files) {
      const data = fromBase64(bytes);
      if (error !== undefined) {
        assert.throws(
          () => readTok(data, model),
          (found) => found instanceof TokError && found.block === block,
          `${what}: ${error}`,
        );
        continue;
      }
      const found = readTok(data, model);
      assert.deepEqual([...found.codes.data], codes, what);
      assert.deepEqual([found.numSamples, found.truncated], [numSamples, truncated], what);
      if (!header) continue;
      assert.deepEqual({ ...found.header }, header, what);
      same(writeTok(found.header, found.codes, numSamples, model), data);
    }
  });
