// One weight grows; its neighbours have to live with the scale. Python quantized the row at every size.
import { decode, pretty } from "./float_math.js";
import { debounced, framed, h, mount, s, set } from "./dom.js";
import { clamp, linear } from "./plot.js";

const WIDE = { e: 8, m: 23 };
const WIDTH = 720, HEIGHT = 168, PAD = 6;

export default (component) => mount(Grow, component);

class Grow {
  constructor(root) {
    this.root = root;
    this.pictured = true;
    this.send = debounced(() => this.report("size", { token: this.data.token, step: this.at }));
    this.draw = framed(() => this.render());
    this.range = h("input", { type: "range", min: 0, step: 1, "aria-label": "Size of the one weight", oninput: () => this.go(Number(this.range.value)) });
    this.size = h("output", {});
    this.panels = h("div", { class: "panels" });
    root.replaceChildren(h("label", { class: "hold" }, h("span", {}, "One weight, in typical sizes"), this.range, this.size), this.panels);
  }

  update(data, setStateValue) {
    this.report = setStateValue;
    const moved = this.data?.token !== data.token;
    this.data = data;
    if (!moved) return;
    this.at = data.start;
    this.weights = data.weights.map((bits) => decode(WIDE, bits));
    this.typical = decode(WIDE, data.typical);
    set(this.range, { max: data.sizes.length - 1 });
    this.reach = Math.max(...this.weights.filter((_, i) => i !== data.at).map(Math.abs)) * 1.25;
    this.y = linear(this.reach, -this.reach, PAD, HEIGHT - PAD);
    this.rows = data.panels.map((panel) => this.panel(panel));
    this.panels.replaceChildren(...this.rows.map((row) => row.figure));
    this.draw();
  }

  panel(panel) {
    const row = { panel, say: h("p", { class: "say", "aria-live": "polite" }), levels: s("g", { class: "levels" }), marks: s("g", {}) };
    const name = panel.group === this.weights.length ? `One scale for all ${panel.group}` : `A scale for every ${panel.group}`;
    const svg = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": name }, row.levels, s("path", { class: "zero", d: `M0 ${this.y(0)}H${WIDTH}` }), row.marks);
    row.figure = h("figure", {}, h("figcaption", {}, h("b", {}, name), ` · ${pretty(panel.bpw, 3)} bits per weight`), svg, row.say);
    return row;
  }

  go(step) {
    this.at = clamp(step, 0, this.data.sizes.length - 1);
    this.draw();
    this.send();
  }

  render() {
    const { data, at } = this, size = data.sizes[at];
    this.range.value = at;
    this.size.textContent = `${size} ×`;
    set(this.range, { "aria-valuetext": `${size} times a typical weight` });
    const grown = this.weights.map((w, i) => (i === data.at ? size * this.typical : w));
    for (const row of this.rows) this.paint(row, grown);
  }

  paint(row, grown) {
    const { panel } = row, step = WIDTH / grown.length, off = (value) => Math.abs(value) > this.reach;
    const place = (value) => clamp(this.y(value), PAD - 3, HEIGHT - PAD + 3);
    row.levels.replaceChildren(...panel.levels[this.at].map((levels, group) => {
      const left = group * panel.group * step + 1.5, right = Math.min(WIDTH, (group + 1) * panel.group * step) - 1.5;
      return s("path", { d: levels.map((bits) => decode(WIDE, bits)).filter((v) => !off(v)).map((v) => `M${left} ${this.y(v).toFixed(1)}H${right}`).join("") });
    }));
    row.marks.replaceChildren(...panel.decoded[this.at].flatMap((bits, i) => {
      const was = grown[i], now = decode(WIDE, bits), x = ((i + 0.5) * step).toFixed(1);
      const kind = i === this.data.at ? "one" : "";
      return [s("path", { class: "way", d: `M${x} ${place(was).toFixed(1)}V${place(now).toFixed(1)}` }),
        s("circle", { class: `was ${kind}`, cx: x, cy: place(was).toFixed(1), r: i === this.data.at ? 5 : 3.2 }),
        s("circle", { class: `now ${kind}`, cx: x, cy: place(now).toFixed(1), r: 2.3 }),
        off(was) ? s("path", { class: "beyond", d: `M${x} ${was > 0 ? "14l-5 8h10z" : `${HEIGHT - 14}l-5 -8h10z`}` }) : null].filter(Boolean);
    }));
    row.say.replaceChildren("The other ", h("b", {}, `${grown.length - 1} weights use ${panel.used[this.at]} of ${this.data.count} levels`), `; their error is `, h("b", {}, `${panel.errors[this.at]}%`), " of a typical weight.");
  }
}
