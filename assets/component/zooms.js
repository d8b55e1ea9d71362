// Four zooms into a tensor: all of it, a tile beside its error, a neighbourhood, the numbers. Frames show where the next
// one looks; drag a frame, or move it with the arrow keys.
import { decode, pretty } from "./float_math.js";
import { clamp, colours, paint } from "./plot.js";
import { debounced, dragged, framed, h, mount, role, s, set, unpacked } from "./dom.js";

const WIDE = { e: 8, m: 23 };
const NEAR = 32, FEW = 8;    // weights of a side in the third and the fourth zoom
const VIEWS = ["weights", "stored", "error"];  // of the neighbourhood and the numbers

export default (component) => mount(Zooms, component);

const numbers = (text) => new Float32Array(unpacked(text).buffer);

class Zooms {
  constructor(root) {
    this.root = root;
    this.pictured = true;
    this.view = "weights";
    this.near = { row: 0, column: 0 }; this.few = { row: 0, column: 0 };
    this.send = debounced(() => this.report("tile", { token: this.data.token, row: this.tile.row, column: this.tile.column }), 160);
    this.draw = framed(() => this.render());
    this.pills = VIEWS.map((view) => h("button", { class: "pill", type: "button", onclick: () => { this.view = view; this.draw(); } }, view === "stored" ? "as stored" : view));
    this.panes = [new Pane("the whole tensor", (row, column) => this.moveTile(row, column)), new Pane("a tile", (row, column) => this.move("near", row, column)),
      new Pane("the error of the tile", (row, column) => this.move("near", row, column)), new Pane("a neighbourhood", (row, column) => this.move("few", row, column))];
    this.table = h("table", { class: "cells", "aria-label": "The weights of the innermost part, as numbers" });
    this.say = h("p", { class: "keyline", "aria-live": "polite" });
    root.replaceChildren(h("div", { class: "controls" }, h("div", { class: "group", role: "group", "aria-label": "Show" }, "show", this.pills), this.legend = h("span", { class: "legend" })),
      h("div", { class: "panes" }, this.panes.map((pane) => pane.node), h("figure", { class: "numbers" }, this.table, this.caption = h("figcaption", {}))), this.say);
  }

  update(data, setStateValue) {
    this.report = setStateValue;
    if (this.data?.token === data.token) return this.draw();
    const other = this.data?.token.split("|")[0] !== data.token.split("|")[0];
    this.data = data;
    [this.rows, this.columns] = data.tileShape;
    this.tile = { row: data.row, column: data.column };
    this.overview = unpacked(data.overview);
    this.weights = numbers(data.weights);
    this.stored = numbers(data.stored);
    this.limit = decode(WIDE, data.limit);
    this.error = this.weights.map((value, i) => this.stored[i] - value);
    this.errorLimit = [...this.error].map(Math.abs).sort((a, b) => a - b)[Math.floor(0.99 * (this.error.length - 1))] || 1;
    if (other) this.look();
    this.draw();
  }

  // At first the neighbourhood of the largest weight, where the error has its cause.
  look() {
    let best = 0;
    this.weights.forEach((value, i) => { if (Math.abs(value) > Math.abs(this.weights[best])) best = i; });
    const row = Math.floor(best / this.columns), column = best % this.columns;
    this.near = this.inside(row - NEAR / 2, column - NEAR / 2, this.rows, this.columns, NEAR);
    this.few = this.inside(row - this.near.row - FEW / 2, column - this.near.column - FEW / 2, NEAR, NEAR, FEW);
  }

  inside(row, column, rows, columns, side) {
    return { row: clamp(Math.round(row), 0, Math.max(0, rows - side)), column: clamp(Math.round(column), 0, Math.max(0, columns - side)) };
  }
  move(which, row, column) {
    this[which] = which === "near" ? this.inside(row, column, this.rows, this.columns, NEAR) : this.inside(row, column, NEAR, NEAR, FEW);
    this.draw();
  }
  moveTile(row, column) {
    const [rows, columns] = this.data.shape;
    this.tile = { row: clamp(Math.round(row), 0, Math.max(0, rows - this.rows)), column: clamp(Math.round(column), 0, Math.max(0, columns - this.columns)) };
    this.draw();
    this.send();
  }

  bytes(row, column, rows, columns, view = this.view) {
    const from = this[view], limit = view === "error" ? this.errorLimit : this.limit, out = new Uint8Array(rows * columns);
    for (let r = 0; r < rows; r += 1) for (let c = 0; c < columns; c += 1) {
      out[r * columns + c] = clamp(Math.round(127 + (127 * (from[(row + r) * this.columns + column + c] ?? 0)) / limit), 0, 254);
    }
    return out;
  }

  render() {
    const { data } = this, table = colours(this.root, "diverging"), [rows, columns] = data.shape, [r0, c0] = data.overviewShape;
    this.pills.forEach((node, i) => set(node, { "aria-pressed": String(VIEWS[i] === this.view) }));
    const limit = this.view === "error" ? this.errorLimit : this.limit;
    this.legend.replaceChildren(`−${pretty(limit, 2)} `, h("i", {}), ` ${pretty(limit, 2)}`);
    const nr = Math.min(NEAR, this.rows), nc = Math.min(NEAR, this.columns), fr = Math.min(FEW, nr), fc = Math.min(FEW, nc);
    this.panes[0].render(this.overview, r0, c0, table, { rows, columns, ...this.tile, height: this.rows, width: this.columns }, `${rows} × ${columns}, the weights; each dot the largest under it`);
    const frame = { rows: this.rows, columns: this.columns, ...this.near, height: nr, width: nc };
    this.panes[1].render(this.bytes(0, 0, this.rows, this.columns, "weights"), this.rows, this.columns, table, frame, `${this.rows} × ${this.columns} weights, a dot for each`);
    this.panes[2].render(this.bytes(0, 0, this.rows, this.columns, "error"), this.rows, this.columns, table, frame, `their errors in ${data.format}; the colours end at ${pretty(this.errorLimit, 2)}`);
    const { row, column } = this.near;
    this.panes[3].render(this.bytes(row, column, nr, nc), nr, nc, table, { rows: nr, columns: nc, ...this.few, height: fr, width: fc }, `${nr} × ${nc}, ${this.view === "stored" ? "as stored" : this.view}`);
    const top = row + this.few.row, left = column + this.few.column, cells = this.bytes(top, left, fr, fc);
    this.table.replaceChildren(...Array.from({ length: fr }, (_, r) => h("tr", {}, Array.from({ length: fc }, (_, c) => {
      const at = (top + r) * this.columns + left + c, [red, green, blue] = table[cells[r * fc + c]];
      const bright = 0.3 * red + 0.59 * green + 0.11 * blue > 140;
      return h("td", { style: `background:rgb(${red},${green},${blue});color:${bright ? "#14171c" : "#fff"}`, title: `row ${data.row + top + r}, column ${data.column + left + c}: ${pretty(this.weights[at], 5)} stored as ${pretty(this.stored[at], 5)}` }, short(this[this.view][at]));
    }))));
    this.caption.textContent = `${fr} × ${fc} numbers, in thousandths`;
    let sum = 0, power = 0;
    this.error.forEach((e, i) => { sum += e * e; power += this.weights[i] ** 2; });
    this.say.replaceChildren(h("span", {}, `tile at row ${data.row}, column ${data.column}: relative error `, role("error", `${pretty(100 * Math.sqrt(sum / power || 0), 3)} %`), ` in ${data.format}`), h("span", {}, "drag a frame, or focus it and use the arrow keys"));
  }
}

const short = (value) => { const k = 1000 * value; return (Math.abs(k) < 10 ? k.toFixed(1) : k.toFixed(0)).replace("-", "−"); };

class Pane {
  constructor(name, move) {
    this.canvas = h("canvas", { role: "img" });
    this.frame = s("rect", { class: "frame", tabindex: 0, role: "application", "aria-label": `Frame in ${name}; arrow keys move it`, onkeydown: (event) => this.key(event) });
    this.cover = s("svg", { preserveAspectRatio: "none" }, this.frame);
    this.caption = h("figcaption", {});
    this.node = h("figure", { "aria-label": name }, this.box = h("div", { class: "pane" }, this.canvas, this.cover), this.caption);
    this.move = move;
    dragged(this.cover, (x, y) => move(y * this.at.rows - this.at.height / 2, x * this.at.columns - this.at.width / 2));
  }

  key(event) {
    const [down, right] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] ?? [];
    if (down === undefined) return;
    event.preventDefault();
    const by = event.shiftKey ? 8 : 1;
    this.move(this.at.row + by * down, this.at.column + by * right);
  }

  render(bytes, rows, columns, table, at, words) {
    this.at = at;
    paint(this.canvas, bytes, rows, columns, table);
    set(this.canvas, { "aria-label": words });
    this.box.style.aspectRatio = clamp(at.columns / at.rows, 0.5, 2);
    set(this.cover, { viewBox: `0 0 ${at.columns} ${at.rows}` });
    set(this.frame, { x: at.column, y: at.row, width: at.width, height: at.height });
    this.caption.textContent = words;
  }
}
