// The page: what people do, and what they see of it.

import { fromSamples, loadAudio } from "./audio/load.js";
import { Player } from "./audio/player.js";
import { Recorder } from "./audio/recorder.js";
import { writeWav } from "./audio/wav.js";
import { Cancelled, Remote } from "./calls.js";
import { drawCodes, drawSpectrogram, peakLevel } from "./pictures.js";
import { Recording } from "./recording.js";

const ORIGINAL = "original";
const at = (id) => document.getElementById(id);
const workers = {
  codec: new Remote(new URL("./codec/worker.js", import.meta.url)),
  tok: new Remote(new URL("./codec/tokworker.js", import.meta.url)),
};
const player = new Player(showPlaying);
let page, site, recording, recorder;
let opened = 0; // counts what was opened: whoever is late gives up

async function load() {
  site = await (await fetch("site.json")).json();
  await workers.tok.call("load", { fingerprint: site.context });
  page = await workers.codec.call("load", {}, (files) => showProgress(files / 3));
  for (const clip of site.clips) addExample(clip);
  for (const id of ["file", "record"]) at(id).disabled = false;
  const parts = [`Model ${page.model} (${page.fingerprint})`, `${page.codebook_sizes.length} codebooks`];
  at("model").textContent = `${parts.join(", ")}; audiocodec ${site.version}.`;
  at("top").textContent = `${page.sample_rate / 2000} kHz`;
  say("Ready.");
  if (window.isSecureContext) navigator.serviceWorker?.register(`sw.js?${site.digest}`).catch(() => {});
}

// --- what is opened

function addExample(path) {
  const name = path.split("/").at(-1);
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = `Example: ${name.replace(/\.\w+$/, "")}`;
  button.onclick = () => open(name, async () => new Uint8Array(await (await fetch(path)).arrayBuffer()));
  at("examples").append(button);
}

/** @param {() => Promise<Uint8Array>} read the bytes of a file, audio or .tok */
async function open(name, read) {
  await begin(name, async (still) => {
    const bytes = await read();
    if (bytes[0] === 0x89 && bytes[1] === 0x54) return openTok(name, bytes);
    return encode(name, await loadAudio(bytes, page.sample_rate), still);
  });
}

async function begin(name, make) {
  const mine = ++opened;
  const still = () => mine === opened;
  recording?.close();
  recording = null;
  player.clear(0);
  at("recording").hidden = true;
  at("error").textContent = "";
  say(`Reading ${name} …`);
  try {
    const made = await make(still);
    if (!still()) return;
    recording = made;
    showRecording();
    await recording.work(showProgress);
  } catch (error) {
    if (error instanceof Cancelled || !still()) return;
    say("");
    at("error").textContent = `${name}: ${error.message}`;
  }
}

async function openTok(name, bytes) {
  const { header, codes, numSamples, truncated } = await workers.tok.call("read", { bytes });
  if (header.fingerprint !== page.fingerprint)
    throw new Error(
      `was made by model ${header.model} (${header.fingerprint}), and this page has ${page.model} (${page.fingerprint})`,
    );
  return new Recording(page, workers, {
    name,
    remark: truncated ? "The file was cut short: this is what it holds." : "",
    channels: null,
    codes: codes.data,
    numChannels: codes.channels,
    codebooks: codes.codebooks,
    numSamples,
    originalSampleRate: header.originalSampleRate,
    context: site.context,
  }, showVersion);
}

async function encode(name, audio, still) {
  if (!still()) throw new Cancelled();
  say(`Encoding ${name} …`);
  const frames = audio.channels[0].length / page.hop_length;
  const { codes, seconds } = await workers.codec.call("encode", audio, (done) => {
    if (still()) showProgress(done / frames);
  });
  return new Recording(page, workers, {
    ...audio,
    name,
    codes,
    numChannels: audio.channels.length,
    codebooks: page.codebook_sizes.length,
    speed: audio.channels[0].length / page.sample_rate / seconds,
    context: site.context,
  }, showVersion);
}

async function record() {
  const button = at("record");
  if (recorder) {
    const { samples, sampleRate } = await recorder.stop();
    recorder = null;
    button.textContent = "Record";
    button.setAttribute("aria-pressed", "false");
    at("level").hidden = true;
    const name = `recording ${new Date().toLocaleTimeString()}`;
    await begin(name, async (still) =>
      encode(name, await fromSamples([samples], sampleRate, page.sample_rate), still),
    );
    return;
  }
  try {
    recorder = await Recorder.start((level) => (at("level").value = level));
    player.pause();
    at("error").textContent = "";
    button.textContent = "Stop";
    button.setAttribute("aria-pressed", "true");
    at("level").hidden = false;
    say("Recording …");
  } catch (error) {
    at("error").textContent = `Microphone: ${error.message}`;
  }
}

// --- what is shown

function say(text) {
  at("status").textContent = text;
  showProgress(1);
}

function showProgress(share) {
  at("progress").value = share;
  at("progress").classList.toggle("idle", share >= 1);
}

const kbps = (bitrate) => `${Number((bitrate / 1000).toFixed(bitrate < 9950 ? 1 : 0))} kbps`;
const codebooks = (count) => `${count} codebook${count === 1 ? "" : "s"}`;

function showRecording() {
  at("name").textContent = recording.name;
  player.clear(recording.seconds);
  const { channels } = recording;
  at("original").hidden = !channels;
  at("versions").replaceChildren(at("versions").firstElementChild);
  if (channels) {
    player.add(ORIGINAL, channels, page.sample_rate);
    recording.top = peakLevel(channels[0]);
    drawSpectrogram(at("original").querySelector("canvas"), channels[0], recording.top);
    addChoice(ORIGINAL, "Original", `${page.sample_rate / 1000} kHz`);
  }
  for (const used of recording.choices)
    addChoice(used, kbps(recording.bitrate(used)), codebooks(used));
  at("position").max = recording.seconds;
  at("recording").hidden = false;
  say("Decoding …");
  choose(recording.wanted);
  showPlaying();
}

function addChoice(value, text, small) {
  const input = Object.assign(document.createElement("input"), {
    type: "radio",
    name: "version",
    id: `version-${value}`,
    className: "hidden",
    value,
    onchange: () => choose(value),
  });
  const label = Object.assign(document.createElement("label"), { htmlFor: input.id, textContent: text });
  label.append(Object.assign(document.createElement("small"), { textContent: small }));
  label.classList.toggle("waiting", value !== ORIGINAL);
  at("versions").append(input, label);
}

/** @param {number | string} value a number of codebooks, or the original */
function choose(value) {
  const input = at(`version-${value}`);
  if (!input) return;
  input.checked = true;
  if (value === ORIGINAL) return player.select(ORIGINAL);
  mark(value);
  recording.want(value);
  showFacts();
  if (recording.versions.has(value)) showChosen();
}

/** The version that the key B goes back to. */
function mark(used) {
  for (const label of at("versions").querySelectorAll("label"))
    label.classList.toggle("other", label.htmlFor === `version-${used}`);
}

/** A version is decoded, or its files are written. */
function showVersion(used) {
  document.querySelector(`label[for=version-${used}]`).classList.remove("waiting");
  if (!player.versions.has(used))
    player.add(used, recording.versions.get(used).channels, page.sample_rate);
  if (used === recording.wanted) {
    showFacts();
    showChosen();
  }
}

function showChosen() {
  const used = recording.wanted;
  const { channels } = recording.versions.get(used);
  recording.top ??= peakLevel(channels[0]);
  drawSpectrogram(at("decoded").querySelector("canvas"), channels[0], recording.top);
  if (!at(`version-${ORIGINAL}`)?.checked) player.select(used);
  say(recording.remark || "Ready.");
  recording.writeFiles(used).catch((error) => (at("error").textContent = error.message));
}

/** Captions, numbers, the map of codes and the links of the wanted version. */
function showFacts() {
  const { wanted: used, frames, speed } = recording;
  const version = recording.versions.get(used);
  const files = recording.files.get(used) ?? {};
  const rate = page.sample_rate / page.hop_length;
  at("decoded").querySelector("figcaption").textContent =
    `Decoded from ${codebooks(used)}, ${kbps(recording.bitrate(used))}`;
  at("codes").querySelector("figcaption").textContent = `Codes: ${codebooks(used)} in use`;
  const sizes = page.codebook_sizes.slice(0, recording.codebooks);
  drawCodes(at("codes").querySelector("canvas"), recording.codes, sizes, frames, used);
  const speeds = [speed && `encoding ${times(speed)}`, version && `decoding ${times(version.speed)}`];
  at("speed").textContent = `${speeds.filter(Boolean).join(", ") || "…"} real time, on one thread`;
  at("counts").textContent =
    `${(frames * used * recording.numChannels).toLocaleString()} codes: ${frames.toLocaleString()} frames of ${used}, ${rate} frames a second`;
  const size = (name, bytes) =>
    bytes &&
    `${bytes.length.toLocaleString()} bytes with ${name} coding (${kbps((8 * bytes.length) / recording.seconds)})`;
  const parts = [size("context", files.context), size("fixed", files.fixed)].filter(Boolean);
  at("sizes").textContent = parts.join(", ") || "…";
  const base = recording.name.replace(/\.\w+$/, "").replaceAll(":", "-");
  offer("save-context", files.context, `${base}.tok`);
  offer("save-fixed", files.fixed, `${base}.tok`);
  at("save-context").hidden = !site.context;
  offer("save-wav", version && writeWav(version.channels, page.sample_rate), `${base}_${used}.wav`);
}

const times = (speed) => `${speed.toFixed(speed < 10 ? 1 : 0)} ×`;

function offer(id, bytes, name) {
  const link = at(id);
  if (link.href) URL.revokeObjectURL(link.href);
  link.removeAttribute("href");
  if (!bytes) return;
  link.href = URL.createObjectURL(new Blob([bytes]));
  link.download = name;
}

function showPlaying() {
  at("play").textContent = player.playing ? "Pause" : "Play";
  showPosition();
}

function showPosition() {
  const { position, duration } = player;
  at("time").textContent = `${position.toFixed(1)} / ${duration.toFixed(1)} s`;
  if (document.activeElement !== at("position") || player.playing) at("position").value = position;
  at("pictures").style.setProperty("--at", duration ? position / duration : 0);
  if (player.playing) requestAnimationFrame(showPosition);
}

// --- what people do

function toggle() {
  if (player.playing) player.pause();
  else player.play();
}

at("file").onchange = ({ target }) => {
  const [file] = target.files;
  if (file) open(file.name, async () => new Uint8Array(await file.arrayBuffer()));
  target.value = "";
};
at("record").onclick = record;
at("play").onclick = toggle;
at("loop").onchange = ({ target }) => player.setLoop(target.checked);
at("position").oninput = ({ target }) => {
  player.seek(Number(target.value));
  showPosition();
};
at("pictures").onclick = (event) => {
  const picture = event.target.closest(".picture");
  if (!picture) return;
  const { left, width } = picture.getBoundingClientRect();
  player.seek(((event.clientX - left) / width) * player.duration);
  showPosition();
};
document.onkeydown = (event) => {
  if (!recording || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === " " && !event.target.closest("button, a, input[type=checkbox]")) toggle();
  else if (event.key === "a" || event.key === "A") choose(ORIGINAL);
  else if (event.key === "b" || event.key === "B") choose(recording.wanted);
  else return;
  event.preventDefault();
};
document.ondragover = (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
};
document.ondragleave = (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
};
document.ondrop = (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  const [file] = event.dataTransfer.files;
  if (file && page) open(file.name, async () => new Uint8Array(await file.arrayBuffer()));
};

load().catch((error) => {
  say("");
  at("error").textContent = `The page cannot be loaded: ${error.message}`;
});
