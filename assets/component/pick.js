// The weights that share one code, and the grid points that come nearest to them. Point at a point and see why one wins.
import { decode, pretty } from "./float_math.js";
import { linear } from "./plot.js";
import { debounced, framed, h, mount, role, s, set } from "./dom.js";

const WIDE = { e: 8, m: 23 };
const W = 470, H = 300, LEFT = 42, FOOT = 44;

export default (component) => mount(Pick, component);

class Pick {
  constructor(root) {
    this.root = root;
    this.pictured = true;
    this.send = debounced(() => this.report("candidate", { token: this.data.token, candidate: this.at }));
    this.draw = framed(() => this.render());
    this.plot = s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img" });
    this.list = h("div", { role: "listbox", tabindex: 0, "aria-label": "Nearest patterns; arrow keys choose", class: "list own-keys",
      onkeydown: (event) => {
        const by = { ArrowDown: 1, ArrowUp: -1, ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!by) return;
        event.preventDefault();
        this.choose(Math.max(0, Math.min(this.data.points.length - 1, this.at + by)));
      } });
    this.say = h("p", { class: "say", "aria-live": "polite" });
    root.replaceChildren(h("div", { class: "stage" }, h("div", {}, this.plot, this.say), this.list));
  }

  update(data, setStateValue) {
    this.report = setStateValue;
    const moved = this.data?.token !== data.token;
    this.data = data;
    if (moved) {
      this.at = data.start;
      this.x = data.weights.map((bits) => decode(WIDE, bits));
      this.counts = data.counts.map((bits) => decode(WIDE, bits));
      this.scale = decode(WIDE, data.scale);
      this.stored = data.points.map((point) => point.map((value, i) => this.scale * value * data.signs[i]));
      this.errors = this.stored.map((back) => back.reduce((sum, value, i) => sum + this.counts[i] * (this.x[i] - value) ** 2, 0));
      this.build();
    }
    this.draw();
  }

  choose(at) { this.at = at; this.draw(); this.send(); }

  build() {
    const { data } = this, n = this.x.length, largest = Math.max(...data.points.flat()) * Math.abs(this.scale);
    const reach = 1.1 * Math.max(largest, ...this.x.map(Math.abs)) || 1, most = Math.max(...this.counts) || 1;
    const y = this.y = linear(-reach, reach, H - FOOT, 10), column = this.column = (i) => LEFT + (i + 0.5) * ((W - LEFT) / n);
    const levels = [...new Set(data.points.flat())].flatMap((value) => [value * this.scale, -value * this.scale]);
    this.marks = this.x.map((_, i) => ({ way: s("path", { class: "way", style: `stroke-width:${(1.5 + 5 * Math.sqrt(this.counts[i] / most)).toFixed(1)}` }), now: s("rect", { class: "now", width: 22, height: 6, rx: 3, x: column(i) - 11 }) }));
    this.plot.replaceChildren(s("path", { class: "zero", d: `M${LEFT} ${y(0)}H${W}` }), s("path", { class: "level", d: levels.map((v) => `M${LEFT} ${y(v).toFixed(1)}H${W}`).join("") }),
      ...this.marks.flatMap(({ way, now }) => [way, now]), ...this.x.map((value, i) => s("circle", { class: "was", r: 5, cx: column(i), cy: y(value) })),
      ...this.x.map((_, i) => s("text", { class: data.flipped.includes(i) ? "sign flipped" : "sign", x: column(i), y: H - 22, "text-anchor": "middle" }, data.signs[i] < 0 ? "−" : "+")),
      s("text", { x: LEFT - 6, y: H - 22, "text-anchor": "end" }, "sign"), s("text", { x: LEFT - 6, y: y(0) + 4, "text-anchor": "end" }, "0"),
      s("text", { x: LEFT, y: H - 4 }, "ring: a weight. bar: the pattern. red: the error, thicker where it counts more"));
    const top = Math.max(...this.errors) || 1;
    this.rows = data.points.map((point, i) => h("button", { class: "row", type: "button", role: "option", tabindex: -1, onclick: () => this.choose(i), onpointerenter: (e) => e.pointerType === "mouse" && this.choose(i) },
      h("span", { class: "glyph" }, point.map((value) => h("i", { style: `height:${(100 * value) / Math.max(...data.points.flat())}%` }))),
      h("code", {}, data.numbers[i]), h("span", { class: "track" }, h("i", { style: `width:${(100 * this.errors[i]) / top}%` })), h("span", { class: "tag" }, data.numbers[i] === data.chosen ? "stored" : "")));
    this.list.replaceChildren(h("div", { class: "head" }, `the nearest ${data.points.length} of ${data.size} patterns, by weighted error`), ...this.rows);
  }

  render() {
    const { at, data } = this, back = this.stored[at];
    this.rows.forEach((row, i) => set(row, { "aria-selected": String(i === at) }));
    this.marks.forEach(({ way, now }, i) => { set(way, { d: `M${this.column(i)} ${this.y(this.x[i]).toFixed(1)}V${this.y(back[i]).toFixed(1)}` }); set(now, { y: (this.y(back[i]) - 3).toFixed(1) }); });
    set(this.plot, { "aria-label": `${this.x.length} weights and grid point ${data.numbers[at]}` });
    const least = Math.min(...this.errors);
    this.say.replaceChildren("pattern ", role("grid", data.numbers[at]), ": ", role("grid", data.points[at].join(" ")), h("br", {}), "weighted error ", role("error", pretty(this.errors[at], 3)), this.errors[at] === least ? ", the least of all" : `, ${pretty(this.errors[at] / (least || 1), 3)} times the least`);
  }
}
