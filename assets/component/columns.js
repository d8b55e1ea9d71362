// A few weights of one row on their levels. Step by step: one is rounded, the output moves, the others move to bring it
// back. Or as a puzzle: each weight goes to the level below or above, and the output's error says how good that is.
import { decode, pretty } from "./float_math.js";
import { clamp, linear } from "./plot.js";
import { debounced, framed, h, mount, role, s, set } from "./dom.js";

const WIDE = { e: 8, m: 23 };
const H = 230, TOP = 14, FOOT = 30;

export default (component) => mount(Columns, component);

// The relative error of the outputs: each row of `inputs` times the weights.
export function outputError(inputs, weights, stored) {
  const of = (values) => Math.hypot(...inputs.map((row) => row.reduce((sum, x, i) => sum + x * values[i], 0)));
  const whole = of(weights);
  return whole ? of(stored.map((value, i) => value - weights[i])) / whole : 0;
}
// 0 as the first, 100 as the second, in relative error.
export const points = (mine, first, second) => (first > second ? clamp(Math.round((100 * (first - mine)) / (first - second)), 0, 100) : 100);

class Columns {
  constructor(root) {
    this.root = root;
    this.pictured = true;
    this.send = debounced(() => this.report("at", { token: this.data.token, at: this.data.steps.length ? String(this.at) : this.ways.join("") }));
    this.draw = framed(() => this.render());
    this.plot = s("svg", { role: "group" });
    this.outputs = s("svg", { role: "img" });
    this.says = h("p", { class: "says", "aria-live": "polite" });
    this.board = h("div", { class: "board" });
    this.next = h("button", { class: "pill next", type: "button", onclick: () => this.go(this.at + 1 >= this.data.steps.length ? 0 : this.at + 1) });
    this.range = h("input", { type: "range", min: 0, step: 1, "aria-label": "Step", oninput: () => this.go(Number(this.range.value)) });
    this.walk = h("div", { class: "walk" }, this.next, this.range);
    this.stage = h("div", { class: "stage" }, h("figure", {}, this.plot), this.side = h("figure", {}, this.outputs));
    root.replaceChildren(this.walk, this.says, this.stage, this.board,
      this.key = h("p", { class: "keyline" }, h("span", {}, "ring: the weight as trained"), h("span", { class: "now" }, "dot: where it is now"), h("span", { class: "red" }, "red: the error")));
  }

  update(data, setStateValue) {
    this.report = setStateValue;
    if (this.data?.token === data.token) return;
    this.data = data;
    const numbers = (patterns) => patterns.map((bits) => decode(WIDE, bits));
    this.w = numbers(data.weights); this.lower = numbers(data.lower); this.upper = numbers(data.upper);
    this.inputs = data.inputs.map(numbers);
    this.steps = data.steps.map((step) => ({ ...step, values: numbers(step.values) }));
    this.rivals = data.rivals.map((rival) => ({ ...rival, values: numbers(rival.values) }));
    this.rivals.forEach((rival) => { rival.error = outputError(this.inputs, this.w, rival.values); });
    this.at = this.steps.length ? clamp(Number(data.start) || 0, 0, this.steps.length - 1) : 0;
    this.ways = this.steps.length ? [] : Array.from(data.start, Number);
    this.build();
    this.render();
  }

  go(step) { this.at = clamp(step, 0, this.steps.length - 1); this.draw(); this.send(); }
  turn(i) { this.ways[i] = 1 - this.ways[i]; this.draw(); this.send(); }
  values() { return this.steps.length ? this.steps[this.at].values : this.ways.map((up, i) => (up ? this.upper[i] : this.lower[i])); }

  build() {
    const n = this.w.length, puzzle = !this.steps.length, W = puzzle ? 860 : 440;
    set(this.walk, { hidden: puzzle });
    set(this.range, { max: Math.max(0, this.steps.length - 1) });
    set(this.side, { hidden: !this.data.shows });
    this.root.toggleAttribute("data-puzzle", puzzle);
    set(this.plot, { viewBox: `0 0 ${W} ${H}`, "aria-label": `${n} weights on their levels` });
    const all = [...this.w, ...this.lower, ...this.upper, ...this.steps.flatMap((step) => step.values)];
    const step = Math.max(...this.upper.map((up, i) => up - this.lower[i])), low = Math.min(...all) - 0.3 * step, high = Math.max(...all) + 0.3 * step;
    const y = this.y = linear(low, high, H - FOOT, TOP), room = W / n, x = this.x = (i) => (i + 0.5) * room;
    const levels = (i) => (puzzle ? [this.lower[i], this.upper[i]] : Array.from({ length: 40 }, (_, k) => k - 20).filter((k) => k > low && k < high));
    this.dots = this.w.map(() => s("circle", { class: "now", r: 8 }));
    this.ways_ = this.w.map(() => s("path", { class: "way" }));
    this.names = this.w.map((_, i) => s("text", { x: x(i), y: H - 8, "text-anchor": "middle" }));
    const parts = this.w.map((value, i) => {
      const half = Math.min(50, room * 0.32);
      const node = s("g", puzzle ? { class: "turn own-keys", tabindex: 0, role: "button", onclick: () => this.turn(i),
        onkeydown: (event) => { if (["Enter", " ", "ArrowUp", "ArrowDown"].includes(event.key)) { event.preventDefault(); event.stopPropagation(); this.turn(i); } } } : {},
      s("rect", { class: "panel", x: x(i) - room * 0.46, y: 2, width: room * 0.92, height: H - FOOT + 4, rx: 5 }),
      s("path", { class: "level", d: levels(i).map((level) => `M${(x(i) - half).toFixed(1)} ${y(level).toFixed(1)}h${(2 * half).toFixed(1)}`).join("") }),
      puzzle ? null : levels(i).map((level) => s("text", { class: "tick", x: x(i) - half - 3, y: y(level) + 4, "text-anchor": "end" }, pretty(level))),
      this.ways_[i], s("circle", { class: "was", r: 8, cx: x(i), cy: y(value) }), this.dots[i], this.names[i]);
      return node;
    });
    this.panels = parts;
    this.plot.replaceChildren(...parts);
    if (this.data.shows) this.buildOutputs();
  }

  buildOutputs() {
    const W = 380, n = this.inputs.length, wanted = this.inputs.map((row) => row.reduce((sum, x, i) => sum + x * this.w[i], 0));
    const reach = [0, ...wanted, ...this.steps.flatMap((step) => this.inputs.map((row) => row.reduce((sum, x, i) => sum + x * step.values[i], 0)))];
    const y = this.outY = linear(Math.min(...reach) - 0.4, Math.max(...reach) + 0.4, H - FOOT, TOP + 8);
    this.wanted = wanted;
    set(this.outputs, { viewBox: `0 0 ${W} ${H}`, "aria-label": `The output for ${n} inputs, as it was and as it is now` });
    this.outX = (i) => ((i + 0.5) * W) / n;
    this.outs = wanted.map((_, i) => ({ way: s("path", { class: "way" }), now: s("circle", { class: "out", r: 7, cx: this.outX(i) }) }));
    this.outputs.replaceChildren(s("rect", { class: "panel", x: 0, y: 2, width: W, height: H - FOOT + 4, rx: 5 }), s("path", { class: "zero", d: `M0 ${y(0)}H${W}` }),
      s("text", { x: 8, y: 17 }, "the output, for four inputs (x₁, x₂, x₃)"), ...this.outs.map(({ way }) => way),
      ...wanted.map((value, i) => s("circle", { class: "was", r: 8, cx: this.outX(i), cy: y(value) })), ...this.outs.map(({ now }) => now),
      ...this.inputs.map((row, i) => s("text", { x: this.outX(i), y: H - 8, "text-anchor": "middle" }, `(${row.map((v) => pretty(v)).join(", ")})`)));
  }

  render() {
    const values = this.values(), error = outputError(this.inputs, this.w, values), puzzle = !this.steps.length, { x, y } = this;
    values.forEach((value, i) => {
      const fixed = puzzle || i < this.steps[this.at].rounded;
      set(this.dots[i], { cx: x(i), style: `transform:translateY(${y(value).toFixed(1)}px)`, class: fixed ? "now fixed" : "now" });
      set(this.ways_[i], { d: `M${x(i)} ${y(this.w[i]).toFixed(1)}V${y(value).toFixed(1)}` });
      this.names[i].textContent = puzzle ? "" : pretty(Number(value.toFixed(2)));
      if (puzzle) set(this.panels[i], { "aria-label": `weight ${i + 1} of ${values.length}: ${this.ways[i] ? "the level above" : "the level below"}` });
    });
    if (this.data.shows) this.inputs.forEach((row, i) => {
      const now = row.reduce((sum, v, k) => sum + v * values[k], 0);
      set(this.outs[i].way, { d: `M${this.outX(i)} ${this.outY(this.wanted[i]).toFixed(1)}V${this.outY(now).toFixed(1)}` });
      set(this.outs[i].now, { style: `transform:translateY(${this.outY(now).toFixed(1)}px)` });
    });
    if (puzzle) {
      const won = points(error, this.rivals[0].error, this.rivals[1].error);
      this.says.replaceChildren("Your score: ", h("b", {}, won), won === 100 ? " You found the best." : won ? "" : " No better than rounding to nearest.");
    } else {
      this.says.textContent = this.steps[this.at].says;
      this.range.value = this.at;
      set(this.range, { "aria-valuetext": this.steps[this.at].says });
      const last = this.at + 1 >= this.steps.length, step = this.steps[this.at + 1];
      this.next.textContent = last ? "Start again" : step.rounded > this.steps[this.at].rounded ? "Round the next weight" : "Let the others move";
    }
    const entries = [{ name: puzzle ? "you" : this.at ? "so far" : "not rounded", error, mine: true }, ...this.rivals], most = Math.max(...entries.map((entry) => entry.error), 1e-9);
    this.board.replaceChildren(...entries.map(({ name, error: own, mine }) => h("div", { class: `racer${mine ? " you" : ""}` }, h("strong", {}, name),
      h("span", { class: "track" }, h("i", { style: `width:${(100 * own) / most}%` })), h("span", { class: "share" }, role("error", `${(100 * own).toFixed(own && own < 0.01 ? 2 : 1)}%`)))),
    h("p", { class: "unit" }, "relative error of the output"));
  }
}
