// The scale race. On the right a map: every scale (across) and minimum (up) with its error; the racers stand on it. Take
// the ring and find a place with less error than theirs: the score is 0 where min/max stands, and 100 where the search
// does. On the left the weights, on the levels of the place chosen.
import { decode, pretty } from "./float_math.js";
import { clamp, colours, linear, paint } from "./plot.js";
import { debounced, dragged, framed, h, mount, role, s, set } from "./dom.js";

const WIDE = { e: 8, m: 23 };
const LEVELS = 16, ACROSS = 96, UP = 72;      // pixels of the map
const W = 430, H = 300, TOP = 12, FOOT = 22;
const MARKS = ["▲", "◆", "★"];

export default (component) => mount(Race, component);

export function stored(x, { scale, minimum }) {
  return x.map((value) => (scale > 0 ? scale * clamp(evenly((value + minimum) / scale), 0, LEVELS - 1) : 0) - minimum);
}
function evenly(value) {
  const down = Math.floor(value), rest = value - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 !== 0) ? down + 1 : down;
}
// The relative error of weights on a grid, each counted by what its error counts.
export function relative(x, grid, counts) {
  const back = stored(x, grid), sum = (of) => x.reduce((total, value, i) => total + counts[i] * of(value, i) ** 2, 0);
  const whole = sum((value) => value);
  return whole ? Math.sqrt(sum((value, i) => value - back[i]) / whole) : 0;
}
// How much of what the search saved has been saved: 0 as min/max, 100 as the search, more where it is beaten.
export const points = (mine, span, search) => (span > search ? Math.max(0, Math.round((100 * (span - mine)) / (span - search))) : mine <= search ? 100 : 0);

class Race {
  constructor(root) {
    this.root = root;
    this.pictured = true;
    this.send = debounced(() => this.report("place", { token: this.data.token, measure: this.measure, place: this.place() }));
    this.draw = framed(() => this.render());
    this.pills = h("div", { class: "group", role: "group", "aria-label": "What an error counts" });
    this.plot = s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "32 weights on the 16 levels chosen" });
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.over = s("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none" });
    this.marks = h("div", { class: "marks" });
    this.map = h("div", { role: "application", tabindex: 0, "aria-label": "Map of scales and minima; arrow keys move your grid",
      class: "map own-keys", onkeydown: (event) => this.key(event) }, this.canvas, this.over, this.marks);
    this.tally = h("p", { class: "tally", "aria-live": "polite" });
    this.board = h("div", { class: "board" });
    root.replaceChildren(h("div", { class: "controls" }, this.pills, this.shows = h("div", { class: "group" })),
      h("div", { class: "stage" }, this.plot, h("figure", {}, this.map, h("figcaption", {}, h("span", {}, "scale →"), h("span", {}, "↑ minimum"), h("span", {}, "more colour: less error")))), this.tally, this.board);
    dragged(this.map, (x, y) => this.go(this.scaleAt(clamp(x, 0, 1)), this.minimumAt(clamp(y, 0, 1))));
  }

  update(data, setStateValue) {
    this.report = setStateValue;
    const moved = this.data?.token !== data.token;
    this.data = data;
    if (!moved) return this.draw();
    this.x = data.weights.map((bits) => decode(WIDE, bits));
    this.racers = data.racers.map((racer) => ({ ...racer, scale: decode(WIDE, racer.scale), minimum: decode(WIDE, racer.minimum),
      tried: racer.scales.map((bits, i) => ({ scale: decode(WIDE, bits), minimum: decode(WIDE, racer.minima[i]) })) }));
    this.measures = data.measures.map(({ name, weights }) => ({ name, weights: weights.map((bits) => decode(WIDE, bits)) }));
    this.measure = data.measure;
    const first = this.racers[0], low = first.scale * 0.76, high = first.scale * 1.14;
    this.span = { scale: first.scale || 1, minimum: Math.max(first.minimum, 4 * first.scale) || 1 };
    this.scaleAt = linear(0, 1, low, high || 1); this.acrossOf = linear(low, high || 1, 0, 1);
    this.minimumAt = linear(1, 0, 0.74 * first.minimum, 1.28 * this.span.minimum); this.upOf = linear(0.74 * first.minimum, 1.28 * this.span.minimum, 1, 0);
    this.mine = data.start ? { scale: (data.start[0] / 1000) * this.span.scale, minimum: (data.start[1] / 1000) * this.span.minimum }
      : { scale: first.scale * 1.06, minimum: first.minimum * 1.06 };
    this.build();
    this.draw();
  }

  place() { return [Math.round((1000 * this.mine.scale) / this.span.scale), Math.round((1000 * this.mine.minimum) / this.span.minimum)]; }
  go(scale, minimum) {
    this.mine = { scale, minimum: Math.max(0, minimum) };
    this.draw();
    this.send();
  }
  key(event) {
    const [right, up] = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [];
    if (right === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    const by = event.shiftKey ? 0.02 : 0.0025;
    this.go(clamp(this.mine.scale + right * by * this.span.scale, this.scaleAt(0), this.scaleAt(1)), clamp(this.mine.minimum + up * by * this.span.minimum, this.minimumAt(1), this.minimumAt(0)));
  }

  build() {
    this.pills.replaceChildren("an error counts", ...this.measures.map(({ name }, i) => h("button", { class: "pill", type: "button", onclick: () => { this.measure = i; this.painted = null; this.draw(); this.send(); } }, name)));
    this.shows.replaceChildren("jump to", ...this.racers.map((racer, i) => h("button", { class: "pill", type: "button", onclick: () => this.go(racer.scale, racer.minimum) }, `${MARKS[i]} ${racer.name}`)));
    const reach = 1.08 * Math.max(...this.x.map(Math.abs)) || 1, step = (W - 40) / this.x.length;
    this.y = linear(-reach, reach, H - FOOT, TOP);
    this.column = (i) => 38 + (i + 0.5) * step;
    this.levels = s("path", { class: "level" });
    this.dots = this.x.map((value, i) => ({ way: s("path", { class: "way" }), now: s("circle", { class: "now", r: 2.6, cx: this.column(i) }), was: s("circle", { class: "was", r: 3.6, cx: this.column(i), cy: this.y(value) }) }));
    this.plot.replaceChildren(...[s("path", { class: "frame", d: `M38 ${this.y(0)}H${W}` }), this.levels, this.dots.flatMap(({ way, was, now }) => [way, was, now]),
      s("text", { x: 38, y: H - 4 }, "32 weights"), s("text", { x: 34, y: this.y(0) + 4, "text-anchor": "end" }, "0")].flat());
    this.painted = null;
  }

  weights() { return this.measures[this.measure].weights; }

  paintMap() {
    const weights = this.weights(), errors = new Float64Array(ACROSS * UP);
    let least = Infinity;
    for (let j = 0; j < UP; j += 1) for (let i = 0; i < ACROSS; i += 1) {
      const error = relative(this.x, { scale: this.scaleAt((i + 0.5) / ACROSS), minimum: this.minimumAt((j + 0.5) / UP) }, weights);
      errors[j * ACROSS + i] = error;
      least = Math.min(least, error);
    }
    // the least error is fully coloured; twice as much is none
    this.bytes = Uint8Array.from(errors, (error) => clamp(255 * (1 - Math.log(error / (least || 1)) / Math.log(2)), 0, 255));
    this.painted = this.measure;
  }

  render() {
    if (this.painted !== this.measure) this.paintMap();
    paint(this.canvas, this.bytes, UP, ACROSS, colours(this.root, "scale"));
    [...this.pills.querySelectorAll("button")].forEach((node, i) => set(node, { "aria-pressed": String(i === this.measure) }));
    const weights = this.weights(), back = stored(this.x, this.mine);
    set(this.levels, { d: Array.from({ length: LEVELS }, (_, q) => `M38 ${this.y(this.mine.scale * q - this.mine.minimum).toFixed(1)}H${W}`).join("") });
    this.dots.forEach(({ way, now }, i) => {
      const y = this.y(back[i]).toFixed(1);
      set(way, { d: `M${this.column(i)} ${this.y(this.x[i]).toFixed(1)}V${y}`, style: `stroke-width:${(1 + 3 * Math.sqrt(weights[i] / Math.max(...weights))).toFixed(1)}` });
      set(now, { cy: y });
    });
    const at = ({ scale, minimum }) => `left:${(100 * this.acrossOf(scale)).toFixed(2)}%;top:${(100 * this.upOf(minimum)).toFixed(2)}%`;
    const inside = ({ scale, minimum }) => { const x = this.acrossOf(scale), y = this.upOf(minimum); return x >= 0 && x <= 1 && y >= 0 && y <= 1; };
    this.marks.replaceChildren(...this.racers.flatMap((racer) => racer.tried.filter(inside).map((tried) => h("i", { class: "tried", style: at(tried) }))),
      ...this.racers.map((racer, i) => h("b", { style: at(racer), title: racer.name }, MARKS[i])), h("b", { class: "mine", style: at(this.mine) }));
    this.renderBoard(weights);
  }

  renderBoard(weights) {
    const entries = [...this.racers.map((racer, i) => ({ name: `${MARKS[i]} ${racer.name}`, doing: racer.doing, grid: racer })), { name: "◯ you", doing: "", grid: this.mine, mine: true }]
      .map((entry) => ({ ...entry, error: relative(this.x, entry.grid, weights) }));
    const most = Math.max(...entries.map((entry) => entry.error)) || 1, least = Math.min(...entries.map((entry) => entry.error));
    const won = points(entries.at(-1).error, entries[0].error, entries[1].error);
    this.tally.replaceChildren("Your score: ", h("b", {}, won), won > 100 ? " You beat the search." : won === 100 ? " As good as the search." : " The search has 100, and it can be beaten.");
    this.board.replaceChildren(...entries.map(({ name, doing, grid, error, mine }) => h("div", { class: `racer${mine ? " you" : ""}${error === least ? " wins" : ""}` },
      h("strong", {}, name, error === least ? h("em", {}, mine ? " you win" : " wins") : ""), h("span", { class: "track" }, h("i", { style: `width:${((100 * error) / most).toFixed(1)}%` })),
      h("span", { class: "share" }, role("error", `${(100 * error).toFixed(2)}%`)), h("small", {}, doing, " scale ", role("scale", pretty(grid.scale, 4)), ", minimum ", role("minimum", pretty(grid.minimum, 4))))));
  }
}
