// One stored block: its weights, its bytes, and which depends on which. Everything follows from the fields' bit
// addresses: a weight lights its bits, a bit lights its weights. Pointing previews, choosing (click, tap, focus) stays.
import { decode, pretty } from "./float_math.js";
import { debounced, h, mount, role, set } from "./dom.js";

const F32 = { e: 8, m: 23 }, F16 = { e: 5, m: 10 };

export default (component) => mount(Brush, component);

class Brush {
  constructor(root) {
    this.root = root;
    this.lit = [];
    this.send = debounced((weight) => this.report("weight", { token: this.data.token, weight }), 200);
  }

  update(data, setStateValue) {
    this.report = setStateValue;
    if (this.data?.token === data.token) return;
    this.data = data;
    this.weights = data.weights.map((bits) => decode(F32, bits));
    this.decoded = data.decoded.map((bits) => decode(F32, bits));
    this.owner = ownerOf(data);
    this.termValues = new Map((data.terms ?? []).map((term) => [term.name, term.values.map((bits) => decode(F32, bits))]));
    this.build();
    this.pinned = { weight: data.start };
    this.show(this.pinned);
  }

  // which code of a field a weight reads, and the weights that read it
  element(field, weight) { return Math.floor(weight * field.codes.length / this.data.values); }
  readers(field, element) {
    const share = this.data.values / field.codes.length;
    return Array.from({ length: share }, (_, i) => element * share + i);
  }

  build() {
    this.readout = h("div", { class: "readout" });
    this.root.style.setProperty("--per-row", this.data.columns);
    this.root.replaceChildren(this.buildWeights(), this.buildBytes(), this.readout);
    this.root.onpointerleave = () => this.show(this.pinned);
  }

  buildWeights() {
    const { values, columns } = this.data, code = this.data.fields.find((f) => f.role === "code");
    // neighbours that share a code show what the grid says of each; else every weight shows its own code
    const shared = code.codes.length < values, grid = shared && [...this.termValues.values()][0];
    const written = (at) => (grid ? pretty(grid[at], 3) : String(code.codes[this.element(code, at)]));
    const sizes = this.weights.map(Math.abs).sort((a, b) => a - b);
    const limit = sizes[Math.min(values - 1, Math.floor(0.99 * values))] || 1;
    this.cells = this.weights.map((weight, at) => h("button", {
      class: "w", type: "button", tabindex: -1, style: `--p:${tint(weight / limit)}%;--hue:var(--${weight < 0 ? "negative" : "positive"})`,
      "aria-label": `weight ${at}, ${pretty(weight, 4)}, ${shared ? "grid value" : "code"} ${written(at)}`,
      onpointerenter: (e) => e.pointerType === "mouse" && this.show({ weight: at }),
      onfocus: () => this.pin({ weight: at }), onclick: () => this.pin({ weight: at }),
      onkeydown: (e) => this.keys(e, this.cells, at, columns) }, written(at)));
    this.cells[this.data.start].tabIndex = 0;
    const inner = this.data.fields.filter((f) => f.codes.length > 1 && f.codes.length <= values / columns && f !== code);
    this.chips = new Map();
    this.root.style.setProperty("--chips", `${42 * inner.length}px`);
    set(this.root, { "data-long": this.weights.some((_, at) => written(at).length > 2) });
    const rows = Array.from({ length: values / columns }, (_, row) => h("div", { class: "line" },
      h("span", { class: "at" }, values > columns ? row : ""),
      h("div", { class: "ws" }, this.cells.slice(row * columns, (row + 1) * columns)),
      h("span", { class: "chips" }, inner.map((field) => this.chip(field, row)))));
    return h("div", { class: "weights", role: "group", "aria-label": `${values} weights as ${code.name} codes; arrow keys move` },
      h("div", { class: "line head" }, h("span", { class: "at" }), h("div", { class: "ws" },
        shared ? h("span", {}, `${values} weights, shown as what the grid says of each; ${values / code.codes.length} neighbours share a code `, role("code", code.name))
          : h("span", {}, `${values} weights, shown as the codes `, role("code", code.name)),
        h("span", { class: "scale" }, "−", h("i"), "+")),
        h("span", { class: "chips" }, inner.map((field) => h("span", { "data-role": field.role }, role(field.role, field.name))))), rows);
  }

  chip(field, row) {
    const element = this.element(field, row * this.data.columns), target = { field, element };
    const node = h("button", { class: "chip", type: "button", tabindex: -1, "data-role": field.role,
      "aria-label": `${field.name} of block ${row} is ${field.codes[element]}`,
      onpointerenter: (e) => e.pointerType === "mouse" && this.show(target), onclick: () => this.pin(target) },
      h("small", {}, `${field.name} `), field.codes[element]);
    this.chips.set(`${field.name}/${element}`, node);
    return node;
  }

  buildBytes() {
    const { bytes, fields } = this.data;
    this.bits = new Array(8 * bytes.length);
    this.bytes = bytes.map((byte, at) => {
      const bits = Array.from({ length: 8 }, (_, i) => {
        const place = 7 - i, { field } = this.owner[8 * at + place];
        const bit = h("i", { "data-role": field.role, "data-on": (byte >> place) & 1, "data-at": 8 * at + place });
        this.bits[8 * at + place] = bit;
        return bit;
      });
      const names = [...new Set(bits.map((bit) => this.owner[bit.dataset.at].field))];
      const node = h("button", { class: "byte", type: "button", tabindex: at ? -1 : 0,
        "aria-label": `byte ${at}, ${hex(byte)}: ${names.map((f) => f.name).join(" and ")}`,
        onpointermove: (e) => e.pointerType === "mouse" && this.show(e.target.dataset.at ? { bit: Number(e.target.dataset.at) } : { byte: at }),
        onclick: (e) => this.pin(e.target.dataset.at ? { bit: Number(e.target.dataset.at) } : { byte: at }),
        onkeydown: (e) => this.keys(e, this.bytes, at, this.byteColumns()),
        onfocus: () => node.matches(":focus-visible") && this.pin({ byte: at }) },
        h("span", { class: "stripe" }, bits), h("span", { class: "names" }, names.map((f) => role(f.role, f.name))));
      return node;
    });
    return h("div", { class: "bytes" },
      h("div", { class: "head" }, h("span", {}, `${bytes.length} bytes in the order of the file`),
        h("span", { class: "legend" }, fields.map((f) => h("span", {}, role(f.role, f.name), ` ${f.codes.length > 1 ? `${f.codes.length} × ` : ""}${f.bits[0].length} bits`)))),
      h("div", { class: "map", role: "group", "aria-label": `${bytes.length} bytes; arrow keys move` }, this.bytes));
  }

  byteColumns() {
    const top = this.bytes[0].offsetTop;
    return this.bytes.filter((node) => node.offsetTop === top).length;
  }

  keys(event, nodes, at, columns) {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    if (step === undefined || !nodes[at + step]) return;
    event.preventDefault();
    nodes[at].tabIndex = -1;
    nodes[at + step].tabIndex = 0;
    nodes[at + step].focus();
  }

  pin(target) {
    this.pinned = target;
    this.show(target);
    if (target.weight !== undefined) {
      this.cells.forEach((node, i) => { node.tabIndex = i === target.weight ? 0 : -1; });
      this.send(target.weight);
    }
  }

  // a target is {weight}, {bit}, {byte} or {field, element}
  show(target) {
    for (const node of this.lit) node.classList.remove("lit", "here");
    this.lit = [];
    const light = (node, ...names) => { if (node) { node.classList.add("lit", ...names); this.lit.push(node); } };
    const parts = this.parts(target);
    const weights = new Set(target.weight !== undefined ? [target.weight] : parts.flatMap(({ field, element }) => this.readers(field, element)));
    for (const at of weights) light(this.cells[at], ...(target.weight === at ? ["here"] : []));
    for (const { field, element } of parts) {
      field.bits[element].forEach((address) => light(this.bits[address]));
      light(this.chips.get(`${field.name}/${element}`));
    }
    if (target.bit !== undefined) light(this.bits[target.bit], "here");
    set(this.root, { "data-lit": weights.size === 1 ? "one" : weights.size < this.data.values ? "some" : "all" });
    const asWeight = target.weight !== undefined || weights.size === 1;
    this.readout.replaceChildren(...(asWeight ? this.sayWeight([...weights][0]) : this.sayBits(target, parts, weights)));
  }

  parts(target) {
    if (target.field) return [target];
    if (target.weight !== undefined) return this.data.fields.map((field) => ({ field, element: this.element(field, target.weight) }));
    const addresses = target.bit !== undefined ? [target.bit] : Array.from({ length: 8 }, (_, i) => 8 * target.byte + i);
    const found = new Map();
    for (const address of addresses) {
      const { field, element } = this.owner[address];
      found.set(`${field.name}/${element}`, { field, element });
    }
    return [...found.values()];
  }

  value(field, element) {
    const code = field.codes[element];
    return field.dtype === "f2" ? pretty(decode(F16, code), 5) : pretty(code);
  }

  sayWeight(at) {
    const x = this.weights[at], back = this.decoded[at], error = back - x;
    const row = this.data.values > this.data.columns ? `, block ${Math.floor(at / this.data.columns)}` : "";
    const symbols = this.terms((field) => field.name, (term) => term.symbol);
    const numbers = this.terms((field) => this.value(field, this.element(field, at)), (term) => pretty(this.termValues.get(term.name)[at], 5));
    return [
      h("div", { class: "formula" },
        h("div", { class: "title" }, `weight ${at}${row}`),
        h("div", {}, "ŵ = ", symbols), h("div", {}, "\u2007 = ", numbers), this.onItsGrid(at),
        h("div", {}, "\u2007 = ", h("b", {}, pretty(back, 6))),
        h("div", { class: "loss" }, `the weight was ${pretty(x, 6)}: `, role("error", `error ${signed(error)}`))),
      this.addresses(this.parts({ weight: at }))];
  }

  // What is left to do for one weight once the scale and the minimum of its block are known.
  onItsGrid(at) {
    if (!this.data.grids) return null;
    const { scales, minima } = this.data.grids, group = Math.floor(at / this.data.columns), code = this.data.fields.find((f) => f.role === "code");
    return h("div", {}, "\u2007 = ", role("scale", pretty(decode(F32, scales[group]), 5)), " · ", role("code", code.codes[this.element(code, at)]),
      " − ", role("minimum", pretty(decode(F32, minima[group]), 5)), h("small", {}, "the block's scale and minimum"));
  }

  sayBits(target, parts, weights) {
    const title = target.bit !== undefined
      ? `byte ${target.bit >> 3}, bit ${target.bit & 7}: bit ${this.owner[target.bit].bit} of ${parts[0].field.name}`
      : target.byte !== undefined ? `byte ${target.byte}, ${hex(this.data.bytes[target.byte])}` : `${target.field.name} of block ${target.element}`;
    return [
      h("div", { class: "formula" }, h("div", { class: "title" }, title),
        parts.map(({ field, element }) => h("div", {}, role(field.role, field.name), ` = ${this.value(field, element)}`)),
        h("div", { class: "loss" }, `${weights.size} of ${this.data.values} weights depend on ${target.byte !== undefined ? "these bits" : "it"}`)),
      this.addresses(parts)];
  }

  addresses(parts) {
    return h("table", { class: "codes", "aria-label": "The codes that the weight is made from" }, parts.map(({ field, element }) => h("tr", {},
      h("th", { scope: "row" }, role(field.role, field.name)),
      h("td", { class: "binary", "data-role": field.role }, binary(field.bits[element], this.data.bytes)),
      h("td", { class: "where" }, where(field.bits[element])))));
  }

  // the formula with every {field} and {term} replaced by what `say` and `sayTerm` give for it
  terms(say, sayTerm) {
    const fields = new Map(this.data.fields.map((field) => [field.name, field]));
    const terms = new Map(this.data.terms.map((term) => [term.name, term]));
    return this.data.formula.split(/\{(\w+)\}/).map((part, i) => {
      if (i % 2 === 0) return part;
      const term = terms.get(part);
      return term ? role("grid", sayTerm(term)) : role(fields.get(part).role, say(fields.get(part)));
    });
  }
}

function ownerOf(data) {
  const owner = new Array(8 * data.bytes.length);
  for (const field of data.fields) field.bits.forEach((addresses, element) =>
    addresses.forEach((address, bit) => { owner[address] = { field, element, bit }; }));
  return owner;
}

const tint = (share) => Math.round(Math.min(1, Math.abs(share)) * 62);
const hex = (byte) => `0x${byte.toString(16).toUpperCase().padStart(2, "0")}`;
const signed = (x) => (x > 0 ? "+" : "") + pretty(x, 3);

const binary = (addresses, bytes) => [...addresses].reverse().map((a) => (bytes[a >> 3] >> (a & 7)) & 1).join("");

// "byte 4 bits 0–5", most significant part first, as the binary digits are written
function where(addresses) {
  const parts = [];
  for (const a of addresses) {
    const last = parts.at(-1);
    if (last && last.byte === a >> 3 && last.to === (a & 7) - 1) last.to += 1;
    else parts.push({ byte: a >> 3, from: a & 7, to: a & 7 });
  }
  const whole = parts.every(({ from, to }) => from === 0 && to === 7);
  if (whole) return `byte${parts.length > 1 ? "s" : ""} ${parts.map(({ byte }) => byte).reverse().join(", ")}`;
  return parts.reverse().map(({ byte, from, to }) => `byte ${byte} ${from === to ? `bit ${from}` : `bits ${to}–${from}`}`).join(", ");
}
