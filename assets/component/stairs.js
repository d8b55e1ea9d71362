// A row of real weights on an integer grid: the staircase from weight to stored value, the levels, the codes, the error.
// The scale is held by the outermost level: drag it, and everything follows.
import { decode, pretty } from "./float_math.js";
import { clamp, linear, ticks } from "./plot.js";
import { covering, roundRow, squaredError } from "./grid_math.js";
import { debounced, dragged, framed, h, mount, role, s, set } from "./dom.js";

const WIDE = { e: 8, m: 23 };
const TOP = 12;
const H = (globalThis.innerHeight ?? 900) < 800 ? 250 : 330;  // a projector shows all of it
// Both panels share the axis of values. Codes stand upright under the columns: those of eight bits have up to four characters.
const WIDE_ROOM = { W: 864, SQUARE: 230, GAP: 56, CODES: 38 }, NARROW_ROOM = { W: 380, SQUARE: 0, GAP: 38, CODES: 38 };
const NARROW = 560;
const CURVE = 150, SMALLEST = 0.4, LARGEST = 1.4, POINTS = 240, LEFT = 52;         // scales tried, as shares of the covering one

export default (component) => mount(Stairs, component);

class Stairs {
  constructor(root) {
    this.root = root;
    this.pictured = true;
    this.send = debounced(() => this.report("grid", { token: this.data.token, bits: this.bits, symmetric: this.symmetric, share: Math.round(1000 * this.share) }));
    this.draw = framed(() => this.render());
    this.controls = h("div", { class: "controls" });
    this.plot = s("svg", { class: "main", role: "group", "aria-label": "Weights on a grid of levels" });
    this.curve = s("svg", { class: "errors" });
    this.tiles = h("div", { class: "tiles", "aria-live": "polite" });
    this.formula = h("div", { class: "formula" });
    root.replaceChildren(this.controls, this.plot,
      h("p", { class: "keyline" }, h("span", {}, "ring: a weight"), h("span", { class: "now" }, "dot: what is stored"), h("span", { class: "red" }, "red: its error")), this.tiles, this.formula, this.curve);
    dragged(this.curve, (share) => this.setShare(linear(LEFT, this.room.W - 8, SMALLEST, LARGEST)(share * this.room.W)));
    new ResizeObserver(() => { if (this.x && this.room !== this.roomNow()) { this.build(); this.draw(); } }).observe(root);
  }

  roomNow() { return this.root.clientWidth && this.root.clientWidth < NARROW ? NARROW_ROOM : WIDE_ROOM; }

  update(data, setStateValue) {
    this.report = setStateValue;
    const moved = this.data?.token !== data.token;
    this.data = data;
    if (moved) {
      this.x = data.weights.map((bits) => decode(WIDE, bits));
      this.low = Math.min(0, ...this.x); this.high = Math.max(0, ...this.x);
      this.reach = 1.12 * Math.max(-this.low, this.high) || 1;
      this.pointed = data.ours ?? 0;
      Object.assign(this, { bits: data.bits, symmetric: data.symmetric, share: data.share / 1000 });
      this.build();
    }
    this.draw();
  }

  get form() { return { bits: this.bits, symmetric: this.symmetric }; }
  get range() { return this.symmetric ? [1 - 2 ** (this.bits - 1), 2 ** (this.bits - 1) - 1] : [0, 2 ** this.bits - 1]; }
  grid(share = this.share) { return covering(this.form, Math.fround(this.low * share), Math.fround(this.high * share)); }
  at({ scale, zero }) { return roundRow(this.x, scale, zero, ...this.range); }
  errorAt(share) { return squaredError(this.x, this.at(this.grid(share)).stored); }

  setShare(share) {
    this.share = clamp(share, SMALLEST, LARGEST);
    this.draw();
    this.send();
  }

  choose(what) {
    Object.assign(this, what);
    this.tried = null;
    this.draw();
    this.send();
  }

  build() {
    this.tried = null;
    this.room = this.roomNow();
    const { W, SQUARE, GAP, CODES } = this.room;
    this.y = linear(-this.reach, this.reach, H - CODES - TOP - 10, TOP);
    this.across = linear(-this.reach, this.reach, 0, SQUARE);
    set(this.plot, { viewBox: `0 0 ${W} ${H}`, "data-narrow": !SQUARE });
    set(this.curve, { viewBox: `0 0 ${W} ${CURVE}` });
    const pill = (label, act, props = {}) => h("button", { class: "pill", type: "button", onclick: act, ...props }, label);
    this.steps = [8, 4].map((bits) => pill(bits === 8 ? "256 levels" : "now 16 levels", () => this.choose({ bits }), { class: "pill large" }));
    this.bitPills = [8, 7, 6, 5, 4, 3, 2].map((bits) => pill(bits, () => this.choose({ bits }), { "aria-label": `${bits} bits` }));
    this.kindPills = [true, false].map((symmetric) => pill(symmetric ? "symmetric" : "asymmetric", () => this.choose({ symmetric, share: 1 })));
    this.controls.replaceChildren(
      h("div", { class: "group", role: "group", "aria-label": "Levels" }, this.steps),
      h("details", { class: "more" }, h("summary", {}, "more"), h("div", { class: "controls" },
        h("div", { class: "group", role: "group", "aria-label": "Bits" }, "bits", this.bitPills),
        h("div", { class: "group", role: "group", "aria-label": "Grid" }, this.kindPills),
        h("div", { class: "group", role: "group", "aria-label": "Scale" }, "scale", pill("cover all", () => this.setShare(1)), pill("least error", () => this.setShare(this.best()))))));
    const step = (W - SQUARE - GAP) / this.x.length;
    this.column = (i) => SQUARE + GAP + (i + 0.5) * step;
    this.levels = s("path", { class: "level" }); this.band = s("path", { class: "band" }); this.stair = s("path", { class: "stair" });
    this.marks = this.x.map((value, i) => ({
      way: s("path", { class: "way" }), was: s("circle", { class: "was", r: 4, cx: this.column(i), cy: this.y(value) }),
      now: s("circle", { class: "now", r: 3, cx: this.column(i) }), on: s("circle", { class: "now", r: SQUARE ? 3 : 0, cx: this.across(value) }),
      code: s("text", { class: "code", transform: `translate(${this.column(i) + 4} ${H - CODES + 6}) rotate(-90)`, "text-anchor": "end" }),
      hit: s("rect", { class: "hit", x: this.column(i) - step / 2, y: 0, width: step, height: H,
        onpointerenter: () => { this.pointed = i; this.draw(); } }) }));
    this.handles = [1, -1].map((side) => this.handle(side));
    const foot = H - CODES - TOP - 4;
    this.plot.replaceChildren(...[
      s("path", { class: "frame", d: `${SQUARE ? `M0 ${this.y(0)}H${SQUARE}M${this.across(0)} ${TOP}V${foot}` : ""}M${SQUARE + GAP} ${this.y(0)}H${W}` }),
      s("path", { class: "diagonal", d: `M0 ${this.y(-this.reach)}L${SQUARE} ${this.y(this.reach)}` }),
      this.band, this.levels, this.stair,
      s("path", { class: "rug", d: this.x.map((value) => `M${this.across(value).toFixed(1)} ${foot}v6`).join("") }),
      ...(SQUARE ? [s("text", { x: SQUARE, y: H - 4, "text-anchor": "end" }, "weight →"), s("text", { x: 4, y: TOP + 8 }, "stored ↑")] : []),
      ticks(-this.reach, this.reach, 4).map((at) => s("text", { x: SQUARE + GAP - 6, y: this.y(at) + 4, "text-anchor": "end" }, pretty(at, 3))),
      s("text", { x: SQUARE + GAP - 6, y: H - CODES + 20, "text-anchor": "end" }, "code"),
      this.marks.flatMap(({ hit, way, was, now, on, code }) => [hit, way, was, now, on, code]), this.handles.map(({ node }) => node)].flat());
    this.errorPath = s("path", { class: "curve" });
    this.marker = s("g", { class: "marker" }, s("path", { d: `M0 14V${CURVE - 22}` }), this.dot = s("circle", { r: 5 }));
    const x = this.shareAt = linear(SMALLEST, LARGEST, LEFT, W - 8);
    this.errorAxis = s("g", { class: "grid" });
    this.curve.replaceChildren(...[this.errorAxis, s("path", { class: "frame", d: `M${LEFT} ${CURVE - 22}H${W - 8}` }),
      [0.4, 0.6, 0.8, 1, 1.2, 1.4].map((at) => s("text", { x: x(at), y: CURVE - 6, "text-anchor": at === SMALLEST ? "start" : at === LARGEST ? "end" : "middle" }, at === 1 ? "covers all" : `${pretty(100 * at)} %`)),
      s("text", { x: LEFT, y: 12 }, "relative error of these weights, for every scale"), this.errorPath, this.marker].flat());
  }

  // The outermost level, to take hold of. On a symmetric grid both move together; on the other, both ends in proportion.
  handle(side) {
    const { W, SQUARE, GAP } = this.room;
    const node = s("g", { class: "handle", role: "slider", tabindex: 0, "aria-label": side > 0 ? "Highest level" : "Lowest level",
      "aria-valuemin": Math.round(100 * SMALLEST), "aria-valuemax": Math.round(100 * LARGEST),
      onkeydown: (event) => {
        const by = { ArrowUp: 0.01, ArrowRight: 0.01, ArrowDown: -0.01, ArrowLeft: -0.01, PageUp: 0.1, PageDown: -0.1 }[event.key];
        if (!by) return;
        event.preventDefault();
        this.setShare(this.share + by);
      } },
      s("rect", { x: SQUARE + GAP - 6, y: -14, width: W - SQUARE - GAP + 6, height: 28, class: "hit" }),
      s("path", { d: `M${SQUARE + GAP} 0H${W}` }), s("rect", { class: "grip", x: W - 46, y: -9, width: 40, height: 18, rx: 9 }),
      s("path", { class: "arrows", d: `M${W - 30} -2.5l4 -4l4 4M${W - 30} 2.5l4 4l4 -4` }));
    node.style.touchAction = "none";
    node.onpointerdown = (event) => { node.setPointerCapture(event.pointerId); this.held = this.end(side) || 1; node.onpointermove = move; };
    const move = (event) => {
      const box = this.plot.getBoundingClientRect(), at = ((event.clientY - box.top) / box.height) * H;
      const value = linear(this.y(0), TOP, 0, this.reach)(at) / (this.end(side, 1) || 1);
      this.setShare(value);
    };
    node.onpointerup = node.onpointercancel = () => { node.onpointermove = null; };
    return { node, side };
  }

  // The value of the outermost level on one side.
  end(side, share = this.share) {
    const { scale, zero } = this.grid(share), [low, high] = this.range;
    return scale * ((side > 0 ? high : low) - zero);
  }

  sweep() {
    this.tried ??= Array.from({ length: POINTS + 1 }, (_, i) => SMALLEST + (i / POINTS) * (LARGEST - SMALLEST)).map((share) => ({ share, error: this.errorAt(share) }));
    return this.tried;
  }
  best() { return this.sweep().reduce((a, b) => (b.error < a.error ? b : a)).share; }

  render() {
    const { W, SQUARE, GAP, CODES } = this.room;
    const { scale, zero } = this.grid(), [low, high] = this.range, { codes, stored } = this.at({ scale, zero });
    const values = Array.from({ length: high - low + 1 }, (_, i) => scale * (low + i - zero));
    this.steps.forEach((node, i) => set(node, { "aria-pressed": String([8, 4][i] === this.bits) }));
    this.bitPills.forEach((node, i) => set(node, { "aria-pressed": String(8 - i === this.bits) }));
    this.kindPills.forEach((node, i) => set(node, { "aria-pressed": String((i === 0) === this.symmetric) }));
    const dense = Math.abs(this.y(scale) - this.y(0)) < 3.2;
    set(this.levels, { d: dense ? "" : values.map((v) => `M${SQUARE + GAP} ${this.y(v).toFixed(1)}H${W}`).join("") });
    set(this.band, { d: dense ? `M${SQUARE + GAP} ${this.y(values[0])}H${W}V${this.y(values.at(-1))}H${SQUARE + GAP}Z` : "" });
    set(this.stair, { d: this.staircase(values, scale) });
    this.marks.forEach(({ way, now, on, code, was }, i) => {
      const y = this.y(stored[i]).toFixed(1);
      set(way, { d: `M${this.column(i)} ${this.y(this.x[i])}V${y}` });
      set(now, { cy: y }); set(on, { cy: y });
      const clipped = codes[i] === low || codes[i] === high;
      set(code, { class: `code${i === this.pointed ? " here" : ""}${clipped ? " end" : ""}` });
      set(was, { class: i === this.pointed ? "was here" : "was" });
      code.textContent = pretty(codes[i]);
    });
    this.handles.forEach(({ node, side }) => {
      const end = this.end(side), y = clamp(this.y(end), TOP - 6, H - CODES - TOP);
      set(node, { transform: `translate(0 ${y.toFixed(1)})`, "aria-valuenow": Math.round(100 * this.share), "aria-valuetext": `${pretty(end, 4)}, scale ${pretty(scale, 4)}` });
    });
    this.renderError(scale, zero, codes, stored);
  }

  // Level by level, changing halfway between two of them.
  staircase(values, scale) {
    let d = `M0 ${this.y(values[0]).toFixed(1)}`;
    for (let i = 1; i < values.length; i += 1) {
      const at = clamp(this.across(values[i] - scale / 2), 0, this.room.SQUARE).toFixed(1);
      d += `H${at}V${this.y(values[i]).toFixed(1)}`;
    }
    return `${d}H${this.room.SQUARE}`;
  }

  renderError(scale, zero, codes, stored) {
    const error = squaredError(this.x, stored), power = squaredError(this.x, this.x.map(() => 0));
    const tried = this.sweep(), size = (e) => Math.sqrt(e / power || 0);
    const most = size(Math.max(...tried.map((t) => t.error))) || 1;
    const up = linear(0, most, CURVE - 24, 24), y = (e) => up(size(e));
    this.errorAxis.replaceChildren(...ticks(0, 100 * most, 3).flatMap((at) => [s("path", { d: `M${LEFT} ${up(at / 100).toFixed(1)}H${this.room.W - 8}` }), s("text", { x: LEFT - 6, y: up(at / 100) + 4, "text-anchor": "end" }, `${pretty(at, 3)} %`)]));
    set(this.errorPath, { d: tried.map((t, i) => `${i ? "L" : "M"}${this.shareAt(t.share).toFixed(1)} ${y(t.error).toFixed(1)}`).join("") });
    set(this.marker, { transform: `translate(${this.shareAt(this.share).toFixed(1)} 0)` });
    set(this.dot, { cy: y(error) });
    const top = this.end(1), bottom = this.end(-1);
    const beyond = this.x.filter((value) => value > top + scale / 2 || value < bottom - scale / 2).length;
    const tile = (value, name, kind) => h("div", {}, kind ? h("b", {}, role(kind, value)) : h("b", {}, value), h("span", {}, name));
    this.tiles.replaceChildren(tile(pretty(scale, 4), "scale s", "scale"), ...(this.symmetric ? [] : [tile(zero, "zero point z", "zero-point")]),
      tile(`${pretty(100 * Math.sqrt(error / power), 3)} %`, "relative error", "error"),
      tile(`${new Set(codes).size} of ${this.range[1] - this.range[0] + 1}`, "levels in use"),
      tile(beyond, "weights beyond the last level"));
    const i = this.pointed, q = role("code", pretty(codes[i])), d = role("scale", pretty(scale, 5)), z = role("zero-point", pretty(zero));
    this.formula.replaceChildren(
      h("div", {}, role("code", "q"), " = round(w / ", role("scale", "s"), ")", ...(this.symmetric ? [] : [" + ", role("zero-point", "z")]), "\u2003 ŵ = ", role("scale", "s"), " · ", ...(this.symmetric ? [role("code", "q")] : ["(", role("code", "q"), " − ", role("zero-point", "z"), ")"])),
      h("div", {}, q, ` = round(${pretty(this.x[i], 5)} / `, d, ")", ...(this.symmetric ? [] : [" + ", z.cloneNode(true)]), "\u2003 ŵ = ", d.cloneNode(true), " · ", ...(this.symmetric ? [q.cloneNode(true)] : ["(", q.cloneNode(true), " − ", z, ")"])),
      h("div", {}, "ŵ = ", h("b", {}, pretty(stored[i], 5)), ", ", role("error", `error ${pretty(stored[i] - this.x[i], 3)}`), h("small", {}, `weight ${this.data.first + i} of the row; point at another`)));
  }
}
