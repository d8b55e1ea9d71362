// From one scale for 256 weights to Q4_K: four rungs with their bits and their error, and the weights on the levels of
// the rung that is chosen.
import { decode } from "./float_math.js";
import { clamp, linear } from "./plot.js";
import { debounced, h, mount, s, set } from "./dom.js";

const WIDE = { e: 8, m: 23 };
const LEVELS = 16, BLOCK = 32, H = 190, GAP = 8;

export default (component) => mount(Ladder, component);

class Ladder {
  constructor(root) {
    this.root = root;
    this.pictured = true;
    this.send = debounced(() => this.report("rung", { token: this.data.token, rung: this.at }));
    this.plot = s("svg", { role: "img" });
    this.steps = h("div", { class: "rungs own-keys", role: "radiogroup", "aria-label": "How the scales are stored" });
    this.says = h("p", { class: "says", "aria-live": "polite" });
    root.replaceChildren(this.steps, this.says, this.plot,
      h("p", { class: "keyline" }, h("span", {}, "dot: a weight"), h("span", { class: "red" }, "red: its error, from the weight to what is stored"), h("span", { class: "grid" }, "lines: the 16 levels of its block")),
      this.bits = h("p", { class: "keyline bits" }));
    new ResizeObserver(() => { if (this.data && this.width !== this.widthNow()) this.build(); }).observe(root);
  }

  widthNow() { return this.root.clientWidth && this.root.clientWidth < 560 ? 380 : 896; }

  update(data, setStateValue) {
    this.report = setStateValue;
    if (this.data?.token === data.token) return;
    this.data = data;
    this.at = clamp(data.start, 0, data.rungs.length - 1);
    this.x = data.weights.map((bits) => decode(WIDE, bits));
    const numbers = (patterns) => patterns.map((bits) => decode(WIDE, bits));
    this.rungs = data.rungs.map((rung) => ({ ...rung, scales: numbers(rung.scales), minima: numbers(rung.minima), stored: numbers(rung.stored) }));
    this.build();
  }

  build() {
    const width = this.width = this.widthNow(), blocks = this.x.length / BLOCK;
    const all = [...this.x, ...this.rungs.flatMap((rung) => rung.stored)], low = Math.min(...all), high = Math.max(...all), rim = 0.04 * (high - low) || 1;
    this.y = linear(high + rim, low - rim, 2, H - 20);
    this.column = linear(0, this.x.length, 0, width - GAP * (blocks - 1));
    this.place = (i) => this.column(i + 0.5) + GAP * Math.floor(i / BLOCK);
    set(this.plot, { viewBox: `0 0 ${width} ${H}` });
    this.grids = s("g", { class: "levels" });
    this.ways = this.x.map(() => s("path", { class: "way" }));
    const panels = Array.from({ length: blocks }, (_, b) => [
      s("rect", { class: "panel", x: this.start(b), y: 0, width: this.column(BLOCK), height: H - 18, rx: 4 }),
      s("text", { x: this.start(b) + this.column(BLOCK) / 2, y: H - 3, "text-anchor": "middle" }, width > 500 ? `block ${b}` : b)]);
    this.plot.replaceChildren(...panels.flat(), this.grids, ...this.ways,
      ...this.x.map((value, i) => s("circle", { class: "was", r: width > 500 ? 1.7 : 1.1, cx: this.place(i).toFixed(1), cy: this.y(value).toFixed(1) })));
    const worst = Math.max(...this.rungs.map((rung) => rung.error)), most = Math.max(...this.rungs.map((rung) => rung.bits));
    this.buttons = this.rungs.map((rung, i) => h("button", { class: "rung", type: "button", role: "radio", onclick: () => this.go(i), onkeydown: (e) => this.keys(e),
      "aria-label": `${rung.name}: ${rung.bits / 1000} bits for each weight, relative error ${percent(rung.error)}` },
      h("strong", {}, h("i", {}, i + 1), rung.name),
      h("span", { class: "bill" }, h("span", { class: "track" }, this.bill(rung, most)), h("b", {}, `${rung.bits / 1000} bits`)),
      h("span", { class: "loss" }, h("span", { class: "track" }, h("i", { style: `width:${(100 * rung.error) / worst}%` })), h("b", {}, percent(rung.error)))));
    this.steps.replaceChildren(...this.buttons);
    this.render();
  }

  bill(rung, most) {
    return rung.parts.map((part) => h("i", { "data-role": part.role, title: `${part.words}: ${part.bits} bits`,
      style: `width:${(100 * part.bits) / this.x.length / (most / 1000)}%` }));
  }

  start(block) { return this.column(BLOCK * block) + GAP * block; }

  go(rung) {
    this.at = clamp(rung, 0, this.rungs.length - 1);
    this.render();
    this.send();
  }

  keys(event) {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    this.go(this.at + by);
    this.buttons[this.at].focus();
  }

  render() {
    const rung = this.rungs[this.at], { y } = this, groups = rung.scales.length;
    this.buttons.forEach((button, i) => set(button, { "aria-checked": String(i === this.at), tabindex: i === this.at ? 0 : -1 }));
    this.says.textContent = rung.says;
    this.bits.replaceChildren(h("span", {}, "bits of 256 weights:"), ...rung.parts.map((part) => h("span", {}, h("i", { "data-role": part.role }), `${part.words} ${part.bits.toLocaleString("en")}`)));
    this.grids.replaceChildren(...Array.from({ length: this.x.length / BLOCK }, (_, b) => {
      const group = Math.floor((b * groups) / (this.x.length / BLOCK)), from = this.start(b), to = from + this.column(BLOCK);
      const levels = Array.from({ length: LEVELS }, (__, q) => rung.scales[group] * q - rung.minima[group]);
      return s("path", { d: levels.map((level) => `M${from.toFixed(1)} ${y(level).toFixed(1)}H${to.toFixed(1)}`).join("") });
    }));
    this.ways.forEach((way, i) => set(way, { d: `M${this.place(i).toFixed(1)} ${y(this.x[i]).toFixed(1)}V${y(rung.stored[i]).toFixed(1)}` }));
    set(this.plot, { "aria-label": `256 weights in eight blocks of 32, ${rung.name}: relative error ${percent(rung.error)}` });
  }
}

const percent = (error) => `${(error / 1e5).toFixed(1)}%`;
