// Brings files to the server in slices: announces them, then sends each piece by piece to the app's own route.
// A slice that fails is sent again from where the server says the file ends. Names are shown as text, never as markup.
import { h, mount } from "./dom.js";

const RETRIES = 6, STALLS = 20;

export default (component) => mount(Uploader, component);

class Uploader {
  constructor(root) { this.root = root; }

  update(data, setStateValue) {
    this.report = setStateValue;
    if (this.data?.token === data.token) return;
    this.stop?.abort();
    this.data = data;
    this.showChoice();
  }

  showChoice(problem) {
    const { label, hint, many } = this.data;
    const input = h("input", { type: "file", multiple: many, "aria-label": label, onchange: () => this.bring([...input.files].map(alone)) });
    const folder = h("input", { type: "file", webkitdirectory: true, "aria-label": "Choose a folder",
      onchange: () => this.bring(this.ofFolder([...folder.files].map((file) => ({ file, path: file.webkitRelativePath })))) });
    this.zone = h("div", { class: "zone",
      ondragover: (e) => { e.preventDefault(); this.zone.classList.add("over"); },
      ondragleave: () => this.zone.classList.remove("over"),
      ondrop: (e) => this.dropped(e) },
      h("p", {}, h("strong", {}, label)), h("p", { class: "hint" }, hint),
      h("p", { class: "choices" },
        h("label", { class: "pill" }, many ? "Choose files" : "Choose a file", input),
        many ? h("label", { class: "pill" }, "Choose a folder", folder) : null,
        h("span", { class: "hint" }, many ? "or drop them here" : "or drop it here")));
    this.root.replaceChildren(this.zone, problem ? h("p", { class: "problem", role: "alert" }, problem) : "");
  }

  async dropped(event) {
    event.preventDefault();
    this.zone.classList.remove("over");
    const items = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    if (items.length === 1 && items[0].isDirectory) this.bring(this.ofFolder(await filesIn(items[0], this.data.deepest)));
    else this.bring([...event.dataTransfer.files].map(alone));
  }

  // A folder brings a README and pictures along: only what belongs to a checkpoint is taken from it, with its path in the
  // folder. Weights in inner folders are other versions of the model, where the folder itself has weights.
  ofFolder(files) {
    const beside = new RegExp(this.data.beside, "i"), weights = new RegExp(this.data.weights, "i");
    const depth = ({ path }) => path.split("/").length, isWeights = ({ file }) => weights.test(file.name);
    const plain = files.filter((f) => depth(f) <= this.data.deepest && !f.path.split("/").some((part) => part.startsWith(".")));
    const top = plain.some((f) => depth(f) <= 2 && isWeights(f)) ? 2 : this.data.deepest;
    const kept = plain.filter((f) => beside.test(f.file.name) || (isWeights(f) && depth(f) <= top));
    return kept.length ? kept : files;
  }

  async bring(files) {
    if (!files.length) return;
    this.stop = new AbortController();
    const { address, token } = this.data;
    try {
      const reply = await this.put(address, JSON.stringify(files.map(({ file, path }) => [path, file.size])));
      await this.send(files, reply.slice);
      this.say(files, 1, "Opening …");
      this.report("done", { token });
    } catch (error) {
      if (this.stop.signal.aborted) this.showChoice("Stopped. Nothing was kept.");
      else this.showChoice(error.message);
    }
  }

  async send(files, slice) {
    const total = files.reduce((sum, { file }) => sum + file.size, 0), started = performance.now();
    let before = 0, stalls = 0;
    for (const [number, { file }] of files.entries()) {
      let offset = 0;
      while (offset < file.size) {
        const seconds = (performance.now() - started) / 1000, done = before + offset;
        const rate = seconds > 1 ? done / seconds : 0;
        const left = rate ? `, ${size(rate)}/s, ${duration((total - done) / rate)} left` : "";
        this.say(files, done / total, `${file.name}: ${size(done)} of ${size(total)}${left}`);
        const piece = file.slice(offset, offset + slice);
        const end = (await this.put(`${this.data.address}/${number}?offset=${offset}`, piece)).offset;
        stalls = end === offset ? stalls + 1 : 0;
        if (stalls > STALLS) throw new Error("Nothing reaches the server any more; choose the files again later.");
        offset = end;
      }
      before += file.size;
    }
  }

  async put(address, body) {
    for (let attempt = 0; ; attempt++) {
      let response;
      try {
        response = await fetch(address, { method: "PUT", body, signal: this.stop.signal, cache: "no-store" });
      } catch {
        if (this.stop.signal.aborted || attempt >= RETRIES) throw new Error(
          "The connection to the server was lost, or a file changed while it was read; choose the files again.");
        await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** attempt));
        continue;
      }
      const reply = await response.json().catch(() => ({}));
      if (response.ok || reply.offset !== undefined) return reply;  // what has come of a slice stays: go on from there
      if ((response.status === 408 || response.status === 429) && attempt < RETRIES * STALLS) {  // busy, or too slow
        await new Promise((resolve) => setTimeout(resolve, 1000 + 1000 * Math.random()));
        continue;
      }
      throw new Error(reply.error ?? `The server refused the upload (status ${response.status}).`);
    }
  }

  say(files, fraction, words) {
    if (!this.bar?.isConnected) {
      this.bar = h("progress", { max: 1, "aria-label": "Upload" });
      this.words = h("p", { class: "hint" });
      this.root.replaceChildren(h("div", { class: "zone" }, h("p", {}, h("strong", {}, files.length > 1 ? `${files.length} files` : files[0].file.name)),
        this.bar, this.words, h("button", { class: "pill", type: "button", onclick: () => this.stop.abort() }, "Stop")));
    }
    this.bar.value = fraction;
    this.words.textContent = words;
  }
}

const alone = (file) => ({ file, path: file.name });

// Of a dropped folder, and of the folders in it, as deep as paths may be.
async function filesIn(folder, deepest) {
  const reader = folder.createReader(), files = [];
  for (;;) {
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return files;
    for (const entry of entries) {
      if (entry.isFile) files.push({ file: await new Promise((resolve, reject) => entry.file(resolve, reject)), path: entry.fullPath.slice(1) });
      else if (deepest > 2) files.push(...await filesIn(entry, deepest - 1));
    }
  }
}

function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (bytes >= 1000 && at < 4) { bytes /= 1000; at++; }
  return `${at ? bytes.toPrecision(3) : Math.round(bytes)} ${units[at]}`;
}

function duration(seconds) {
  return seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;
}
