// A stretch of a row, true to scale, with its largest weight in the reader's hand: the grid must reach it, so its levels
// move apart. "outlier": the weight is pulled. "clip": the weight stays, and the end of the grid is pulled.
import { decode, pretty } from "./float_math.js";
import { clamp, linear, ticks } from "./plot.js";
import { debounced, framed, h, mount, role, s, set } from "./dom.js";
import { covering, roundRow, squaredError } from "./grid_math.js";

const WIDE = { e: 8, m: 23 }, BITS = 4, HIGHEST = 7;
const TOP = 14, FOOT = 22;
const H = (globalThis.innerHeight ?? 900) < 800 ? 226 : 336;  // a projector shows all of it

export default (component) => mount(Pull, component);

// What the row becomes with its largest weight at `size`: codes, stored values, each group's scale.
export function stored(weights, at, size, group, reach = null) {
  const x = weights.map((w, i) => (i === at ? Math.fround(size) : w)), codes = [], values = [], scales = [];
  for (let from = 0; from < x.length; from += group) {
    const part = x.slice(from, from + group);
    const scale = reach === null ? covering({ bits: BITS, symmetric: true }, Math.min(0, ...part), Math.max(0, ...part)).scale : Math.fround(reach / HIGHEST);
    const found = roundRow(part, scale, 0, -HIGHEST, HIGHEST);
    codes.push(...found.codes); values.push(...found.stored); scales.push(scale);
  }
  return { x, codes, values, scales };
}

const share = (x, values, keep) => {
  const own = x.filter((_, i) => keep(i)), got = values.filter((_, i) => keep(i));
  return Math.sqrt(squaredError(own, got) / (squaredError(own, own.map(() => 0)) || 1));
};

class Pull {
  constructor(root) {
    this.root = root;
    this.pictured = true;
    this.send = debounced(() => this.report("pull", { token: this.data.token, share: Math.round(1000 * this.share), group: this.group }));
    this.draw = framed(() => this.render());
    this.plot = s("svg", { role: "group" });
    this.say = h("p", { class: "say", "aria-live": "polite" });
    this.controls = h("div", { class: "controls" });
    root.replaceChildren(this.controls, this.say, this.plot);
    new ResizeObserver(() => { if (this.data && this.width !== this.widthNow()) { this.build(); this.draw(); } }).observe(root);
  }

  widthNow() { return this.root.clientWidth && this.root.clientWidth < 560 ? 380 : 864; }

  update(data, setStateValue) {
    this.report = setStateValue;
    if (this.data?.token === data.token) return;
    this.data = data;
    this.x = data.weights.map((bits) => decode(WIDE, bits));
    this.size = this.x[data.at];
    this.share = data.share / 1000;
    this.group = data.group;
    this.build();
    this.draw();
  }

  go(share) { this.share = clamp(share, 0.02, 1.1); this.draw(); this.send(); }
  choose(group) { this.group = group; this.draw(); this.send(); }
  get clips() { return this.data.mode === "clip"; }

  build() {
    const { data } = this, width = this.width = this.widthNow(), left = this.left = width > 500 ? 46 : 34, n = this.x.length;
    const side = Math.sign(this.size) || 1, most = 1.16 * Math.abs(this.size), least = 1.25 * Math.max(...this.x.map((w, i) => (i === data.at ? 0 : Math.abs(w))));
    const [low, high] = side > 0 ? [-Math.max(least, 0.1 * most), most] : [-most, Math.max(least, 0.1 * most)];
    this.y = linear(low, high, H - FOOT, TOP); this.value = linear(H - FOOT, TOP, low, high);
    this.span = [low, high];
    const step = (width - left - 6) / n;
    this.column = (i) => left + (i + 0.5) * step;
    this.edge = (i) => left + i * step;
    set(this.plot, { viewBox: `0 0 ${width} ${H}`, "aria-label": `${n} weights of a row, true to scale, and the levels that they are rounded to` });
    const pill = (label, act) => h("button", { class: "pill", type: "button", onclick: act }, label);
    this.pills = this.clips ? [] : [n, ...data.groups].map((group) => ({ group, node: pill(group === n ? `one scale for all ${n}` : `a scale for every ${group}`, () => this.choose(group)) }));
    this.controls.replaceChildren(...(this.clips ? [pill("reach the largest", () => this.go(1)), pill("least error", () => this.go(this.best()))]
      : [h("div", { class: "group", role: "group", "aria-label": "Who shares a scale" }, this.pills.map(({ node }) => node)), pill("as trained", () => this.go(1))]));
    this.levels = s("g", { class: "levels" });
    this.marks = this.x.map((_, i) => ({ way: s("path", { class: "way" }), was: s("circle", { class: i === data.ours ? "was ours" : "was", r: width > 500 ? 4 : 2.6, cx: this.column(i).toFixed(1) }), now: s("circle", { class: "now", r: width > 500 ? 3.2 : 2.1, cx: this.column(i).toFixed(1) }) }));
    const key = (event) => {
      const by = { ArrowUp: 0.02, ArrowRight: 0.02, ArrowDown: -0.02, ArrowLeft: -0.02, PageUp: 0.1, PageDown: -0.1, Home: -9, End: 9 }[event.key];
      if (!by) return;
      event.preventDefault();
      this.go(this.share + by);
    };
    this.handle = s("g", { class: "handle own-keys", role: "slider", tabindex: 0, "aria-label": this.clips ? "End of the grid" : "The largest weight", "aria-valuemin": 2, "aria-valuemax": 110, onkeydown: key },
      ...(this.clips ? [s("path", { d: `M${left} 0H${width}` }), s("rect", { class: "grip", x: width - 58, y: -10, width: 46, height: 20, rx: 10 }), s("path", { class: "arrows", d: `M${width - 39} -3l4 -4l4 4M${width - 39} 3l4 4l4 -4` })]
        : [s("circle", { class: "grip", r: 13, cx: this.column(data.at) }), s("path", { class: "arrows", d: `M${this.column(data.at) - 4} -3l4 -4l4 4M${this.column(data.at) - 4} 3l4 4l4 -4` })]));
    this.hint = s("text", { class: "hint", x: this.column(data.at) + (data.at > 0.6 * n ? -22 : 22), "text-anchor": data.at > 0.6 * n ? "end" : "start" }, this.clips ? "" : "pull it");
    const ours = data.ours >= 0 ? s("text", { class: "mine", x: this.column(data.ours), y: H - 4, "text-anchor": "middle" }, "▲ our weight") : null;
    this.plot.replaceChildren(...[this.levels, s("path", { class: "zero", d: `M${left} ${this.y(0)}H${width}` }), ticks(low, high, 5).map((at) => s("text", { x: left - 7, y: this.y(at) + 4, "text-anchor": "end" }, pretty(at, 3))),
      this.marks.flatMap(({ way, was, now }) => [way, was, now]), ours, this.hint, this.handle].flat().filter(Boolean));
    this.plot.style.touchAction = "pan-x";
    const take = (event) => { const box = this.plot.getBoundingClientRect(); this.go(this.value(((event.clientY - box.top) / box.height) * H) / this.size); };
    this.plot.onpointerdown = (event) => { if (event.button) return; this.plot.setPointerCapture(event.pointerId); this.plot.onpointermove = take; take(event); };
    this.plot.onpointerup = this.plot.onpointercancel = () => { this.plot.onpointermove = null; };
  }

  found(at = this.share) {
    return this.clips ? stored(this.x, this.data.at, this.size, this.x.length, Math.abs(this.size) * at) : stored(this.x, this.data.at, this.size * at, this.group);
  }

  best() {
    const tried = Array.from({ length: 124 }, (_, i) => (i + 2) / 100);
    const error = (at) => { const { x, values } = this.found(at); return squaredError(x, values); };
    return tried.reduce((a, b) => (error(b) < error(a) ? b : a));
  }

  render() {
    const { data } = this, { x, codes, values, scales } = this.found(), group = this.clips ? x.length : this.group, [low, high] = this.span;
    this.pills.forEach(({ group: own, node }) => set(node, { "aria-pressed": String(own === this.group) }));
    this.levels.replaceChildren(...scales.map((scale, g) => {
      const from = this.edge(g * group) + 1.5, to = this.edge(Math.min(x.length, (g + 1) * group)) - 1.5;
      const near = Math.abs(this.y(scale) - this.y(0)) < 3;
      const lines = Array.from({ length: 2 * HIGHEST + 1 }, (_, k) => (k - HIGHEST) * scale).filter((v) => v >= low && v <= high);
      return near ? s("path", { class: "band", d: `M${from} ${this.y(lines[0])}H${to}V${this.y(lines.at(-1))}H${from}Z` }) : s("path", { class: "level", d: lines.map((v) => `M${from.toFixed(1)} ${this.y(v).toFixed(1)}H${to.toFixed(1)}`).join("") });
    }));
    this.marks.forEach(({ way, was, now }, i) => {
      const from = this.y(x[i]).toFixed(1), to = this.y(values[i]).toFixed(1);
      set(way, { d: `M${this.column(i).toFixed(1)} ${from}V${to}` });
      set(was, { cy: from }); set(now, { cy: to });
    });
    const end = this.clips ? Math.abs(this.size) * this.share * Math.sign(this.size) : x[data.at];
    set(this.handle, { transform: `translate(0 ${clamp(this.y(end), 8, H - FOOT).toFixed(1)})`, "aria-valuenow": Math.round(100 * this.share), "aria-valuetext": pretty(end, 3) });
    set(this.hint, { y: clamp(this.y(end), 8, H - FOOT) + 4, style: this.share === 1 ? "" : "display:none" });
    const beside = (i) => i !== data.at, others = x.length - 1, used = new Set(codes.filter((_, i) => beside(i))).size;
    const error = (keep) => role("error", `${pretty(100 * share(x, values, keep), 3)} %`);
    const step = scales.length === 1 ? ["The levels are ", role("scale", pretty(scales[0], 3)), " apart. "] : [`${scales.length} scales, one for every ${group}. `];
    this.say.replaceChildren(...(this.clips
      ? [...step, `The largest weight is stored ${pretty(Math.abs(x[data.at] - values[data.at]), 3)} off, the other ${others} with a relative error of `, error(beside), ". All together: ", error(() => true), "."]
      : [...step, `The other ${others} weights use `, h("b", {}, `${used} of 15`), ` levels${scales.length > 1 && used > 1 ? ", each group its own" : ""}. Their relative error is `, error(beside), "."]));
  }
}
