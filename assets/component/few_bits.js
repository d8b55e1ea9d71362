// One slider from 32 bits down. Four pictures follow it: the memory a large model needs, one row of weights, a wall of
// sums, and the sum pointed at.
import { decode } from "./float_math.js";
import { clamp, linear } from "./plot.js";
import { bitsOf, dial } from "./dial.js";
import { debounced, h, mount, s, set } from "./dom.js";

const F32 = { e: 8, m: 23 };
const COLUMNS = 10;

export default (component) => mount(FewBits, component);

class FewBits {
  constructor(root) {
    this.root = root;
    this.pictured = true;
    this.send = debounced(() => this.report("stop", { token: this.data.token, stop: this.stop }));
  }

  update(data, setStateValue) {
    this.report = setStateValue;
    if (this.data?.token === data.token) return;
    this.data = data;
    this.stop = clamp(data.start, 0, data.stops.length - 1);
    this.weights = data.stops.map((stop) => stop.weights.map((bits) => decode(F32, bits)));
    this.at = null;
    this.build();
    this.render();
  }

  build() {
    const says = (stop) => (stop.name === "F32" ? "as trained" : `for each weight, on average (${stop.name})`);
    this.dial = dial(this.data.stops, this.stop, bitsOf, says, (stop) => this.go(stop));
    this.root.replaceChildren(this.dial.node,
      h("div", { class: "panels" }, this.buildWall(), h("div", { class: "side" }, this.buildMemory(), this.buildWeights())));
  }

  go(stop) {
    this.stop = clamp(stop, 0, this.data.stops.length - 1);
    this.render();
    this.send();
  }

  // The wall: a hundred sums, ten a row
  buildWall() {
    this.cells = this.data.sums.map((_, i) => h("button", { class: "sum", type: "button", tabindex: i ? -1 : 0,
      onpointerenter: (e) => e.pointerType === "mouse" && this.point(i), onfocus: () => this.point(i), onclick: () => this.point(i),
      onkeydown: (e) => this.keys(e, i) }));
    this.counts = [];
    const rows = Array.from({ length: this.cells.length / COLUMNS }, (_, row) => {
      const first = this.data.rows[row], count = h("span", { class: "count" });
      this.counts.push(count);
      return h("div", { class: "row" }, h("span", { class: "grade" }, first), h("div", { class: "cells" }, this.cells.slice(row * COLUMNS, (row + 1) * COLUMNS)), count);
    });
    this.tally = h("b", {});
    this.said = h("p", { class: "said", "aria-live": "polite" });
    return h("section", { class: "wall", "aria-label": "A hundred sums that the model answers" },
      h("h2", {}, "A small model answers 100 sums: ", this.tally), rows, this.said);
  }

  point(i) { this.at = i; this.say(); }

  keys(event, i) {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: COLUMNS, ArrowUp: -COLUMNS }[event.key];
    if (!step) return;
    event.preventDefault();
    const to = i + step;
    if (to < 0 || to >= this.cells.length) return;
    this.cells[i].tabIndex = -1;
    this.cells[to].tabIndex = 0;
    this.cells[to].focus();
  }

  say() {
    const { sums, stops } = this.data, answers = stops[this.stop].answers;
    const wrong = answers.findIndex((answer, i) => answer !== sums[i].right);
    const i = this.at ?? (wrong >= 0 ? wrong : sums.length - 1), right = answers[i] === sums[i].right;
    this.cells.forEach((cell, k) => cell.toggleAttribute("data-here", k === i));
    this.said.replaceChildren(h("span", {}, `${sums[i].text} = `), h("strong", { class: right ? "right" : "wrong" }, answers[i] || "nothing"),
      h("span", {}, right ? " is right." : ` is wrong: it is ${sums[i].right}.`));
  }

  // The memory that a model of 70 billion weights needs
  buildMemory() {
    const { stops, marks } = this.data, whole = stops[0].large;
    this.fill = h("i", {});
    this.gigabytes = h("b", {});
    this.fits = marks.map((mark) => h("li", {}, mark.name));
    return h("section", { class: "memory-bar" }, h("h2", {}, `A model of ${this.data.billions} billion weights needs `, this.gigabytes),
      h("div", { class: "track" }, this.fill, marks.map((mark) => h("s", { style: `left:${(100 * mark.bytes) / whole}%` }))),
      h("ul", { class: "fits", "aria-label": "What its weights fit into" }, this.fits));
  }

  // One stretch of weights of the small model, before and after
  buildWeights() {
    const width = 400, height = 168, first = this.weights[0], most = Math.max(...first.map(Math.abs)) * 1.06;
    const y = linear(most, -most, 6, height - 6), x = linear(-0.5, first.length - 0.5, 8, width - 8);
    this.y = y;
    this.lines = s("g", { class: "levels" });
    this.dots = first.map((weight, i) => s("g", {}, s("path", { class: "true", d: `M${(x(i) - 3).toFixed(1)} ${y(weight).toFixed(1)}h6` }), s("circle", { cx: x(i).toFixed(1), r: 4 })));
    this.left = h("b", {});
    this.plot = s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" }, s("path", { class: "zero", d: `M0 ${y(0)}H${width}` }), this.lines, this.dots);
    return h("section", { class: "weights" }, h("h2", {}, `${first.length} of its weights: `, this.left), this.plot,
      h("p", { class: "keyline" }, h("span", {}, "dash: the weight as trained"), h("span", {}, "dot: what is stored"), h("span", {}, "line: a value that is left")));
  }

  render() {
    const { stops, sums, marks } = this.data, stop = stops[this.stop], whole = stops[0].large;
    this.dial.show(this.stop);
    let right = 0;
    this.cells.forEach((cell, i) => {
      const ok = stop.answers[i] === sums[i].right;
      right += ok;
      if (cell.dataset.ok !== String(ok)) { cell.dataset.ok = ok; cell.textContent = ok ? "" : "×"; }
      set(cell, { "aria-label": `${sums[i].text} = ${stop.answers[i] || "nothing"}, ${ok ? "right" : `wrong, it is ${sums[i].right}`}` });
    });
    this.tally.textContent = right === sums.length ? "all right" : `${right} right, ${sums.length - right} wrong`;
    this.counts.forEach((count, row) => {
      const of = Array.from({ length: COLUMNS }, (_, k) => row * COLUMNS + k).filter((i) => stop.answers[i] === sums[i].right).length;
      count.textContent = of;
      count.toggleAttribute("data-low", of < 5);
    });
    this.say();
    this.fill.style.width = `${(100 * stop.large) / whole}%`;
    this.gigabytes.textContent = `${Math.round(stop.large / 1e9)} GB`;
    this.fits.forEach((node, i) => {
      const fits = stop.large <= marks[i].bytes;
      node.dataset.ok = fits;
      set(node, { "aria-label": `${marks[i].name}: ${fits ? "yes" : "no"}` });
    });
    const values = this.weights[this.stop], distinct = [...new Set(values)];
    this.dots.forEach((dot, i) => { dot.lastChild.style.transform = `translateY(${this.y(values[i]).toFixed(1)}px)`; });
    this.lines.replaceChildren(...(distinct.length <= 20 ? distinct.map((v) => s("path", { d: `M0 ${this.y(v).toFixed(1)}H400` })) : []));
    this.left.textContent = distinct.length === values.length ? "all different" : `${distinct.length} different values are left`;
    set(this.plot, { "aria-label": `${values.length} weights stored as ${stop.name}; ${this.left.textContent}` });
  }
}
