// Rulers whose marks lie unevenly, over a histogram of the weights that they measure. Drag the weight: every ruler snaps.
import { decode, pretty } from "./float_math.js";
import { clamp, linear } from "./plot.js";
import { debounced, dragged, framed, h, mount, s, set } from "./dom.js";

const WIDE = { e: 8, m: 23 };
const TOP = 120, ROW = 54;

export default (component) => mount(Rulers, component);

class Rulers {
  constructor(root) {
    this.root = root;
    this.pictured = true;
    this.send = debounced(() => this.report("share", { token: this.data.token, share: Math.round(1000 * this.value) }));
    this.draw = framed(() => this.render());
    this.plot = s("svg", { role: "group", "aria-label": "Rulers over the histogram of weights" });
    this.range = h("input", { type: "range", min: -1000, max: 1000, step: 1, "aria-label": "A weight, as a share of the largest of its block",
      oninput: () => this.go(Number(this.range.value) / 1000) });
    root.replaceChildren(this.plot, this.range, h("p", { class: "keyline" }, h("span", {}, "Drag the weight, or ", h("kbd", {}, "←"), " ", h("kbd", {}, "→")), h("span", {}, "shaded: all that is stored as the same mark")));
    dragged(this.plot, (share) => this.go(clamp((share * this.width - this.left) / (this.width - this.left - 14) * 2 - 1, -1, 1)));
    new ResizeObserver(() => { if (this.data && this.width !== this.widthNow()) { this.build(); this.draw(); } }).observe(root);
  }

  widthNow() { return this.root.clientWidth && this.root.clientWidth < 560 ? 380 : 864; }

  update(data, setStateValue) {
    this.report = setStateValue;
    if (this.data?.token !== data.token) {
      this.data = data;
      this.value = data.start / 1000;
      this.rulers = data.rulers.map((ruler) => ({ ...ruler, marks: ruler.entries.map((bits) => decode(WIDE, bits)) }));
      this.build();
    }
    this.data = data;
    this.draw();
  }

  go(value) { this.value = Math.round(1000 * value) / 1000; this.draw(); this.send(); }

  build() {
    const width = this.width = this.widthNow(), narrow = width < 500, left = this.left = narrow ? 8 : 92;
    this.range.style.cssText = `margin-left:calc(${(100 * left) / width}% - 8px);width:calc(${(100 * (width - 14 - left)) / width}% + 16px)`;
    const height = TOP + ROW * this.rulers.length + (narrow ? 16 : 8);
    set(this.plot, { viewBox: `0 0 ${width} ${height}` });
    const x = this.x = linear(-1, 1, left, width - 14), most = Math.max(...this.data.counts), bar = (width - 14 - left) / this.data.counts.length;
    this.bins = this.data.counts.map((count, i) => s("rect", { class: "bin", x: left + i * bar + 0.4, width: bar - 0.8, y: TOP - 18 - (88 * count) / most, height: (88 * count) / most }));
    this.line = s("path", { class: "value", d: `M0 8V${height}` });
    this.knob = s("g", { class: "knob" }, s("circle", { r: 9 }));
    this.rows = this.rulers.map((ruler, i) => {
      const y = TOP + ROW * i + (narrow ? 30 : 22);
      const cell = s("rect", { class: "cell", y: y - 12, height: 24 }), dot = s("circle", { class: "now", r: 5, cy: y }), way = s("path", { class: "way" });
      const words = s("text", { class: "say", y: y + 28, x: width - 14, "text-anchor": "end" });
      const name = s("text", { class: "name", x: narrow ? left : left - 10, y: narrow ? y - 16 : y + 4, "text-anchor": narrow ? "start" : "end" }, ruler.name);
      const node = s("g", {}, cell, s("path", { class: "rule", d: `M${x(-1)} ${y}H${x(1)}` }), s("path", { class: "marks", d: ruler.marks.map((m) => `M${x(m).toFixed(1)} ${y - 10}v20`).join("") }), way, dot, name, words);
      return { ...ruler, y, cell, dot, way, words, node };
    });
    this.plot.replaceChildren(...this.bins, s("text", { x: left, y: 12 }, `${this.data.total.toLocaleString("en")} weights, as shares of the largest of their block`),
      ...[-1, -0.5, 0, 0.5, 1].map((at) => s("text", { x: x(at), y: TOP - 3, "text-anchor": at === 1 ? "end" : at === -1 ? "start" : "middle" }, pretty(at))), ...this.rows.map(({ node }) => node), this.line, this.knob);
  }

  render() {
    const { value, x } = this;
    this.range.value = Math.round(1000 * value);
    set(this.range, { "aria-valuetext": `${pretty(value, 3)} of the largest` });
    set(this.line, { transform: `translate(${x(value).toFixed(1)} 0)` });
    set(this.knob, { transform: `translate(${x(value).toFixed(1)} 44)` });
    for (const row of this.rows) {
      const at = row.marks.reduce((best, mark, i) => (Math.abs(mark - value) < Math.abs(row.marks[best] - value) ? i : best), 0), mark = row.marks[at];
      const from = at ? (row.marks[at - 1] + mark) / 2 : -1, to = at < row.marks.length - 1 ? (row.marks[at + 1] + mark) / 2 : 1;
      set(row.cell, { x: x(from).toFixed(1), width: (x(to) - x(from)).toFixed(1) });
      set(row.dot, { cx: x(mark).toFixed(1) });
      set(row.way, { d: `M${x(value).toFixed(1)} ${row.y}H${x(mark).toFixed(1)}` });
      row.words.textContent = `${pretty(value, 3)} → ${pretty(mark, 4)}, off by ${pretty(Math.abs(mark - value), 2)}`;
    }
  }
}
