// Marks on a ruler under a histogram of weights: drag them, and see how much the weights lose that go to the nearest
// mark. Two rivals stand beside: the first is worth 0 points, the second 100.
import { pretty } from "./float_math.js";
import { clamp, linear } from "./plot.js";
import { debounced, dragged, framed, h, mount, role, s, set } from "./dom.js";

const HIST = 128, RULER = 34, LOSS = 54, PARTS = 80;  // heights of the three parts; bars of the loss on each side of zero

export default (component) => mount(Marks, component);

// The relative error of weights whose squared sizes `power` lie at `2 fine + 1` places from −1 to 1; where it arises, too.
export function losses(power, marks) {
  const fine = (power.length - 1) / 2, sorted = [...marks].sort((a, b) => a - b), parts = new Float64Array(2 * PARTS + 1);
  let at = 0, missed = 0, whole = 0;
  for (let i = 0; i < power.length; i += 1) {
    const share = i / fine - 1;
    while (at < sorted.length - 1 && share > (sorted[at] + sorted[at + 1]) / 2) at += 1;
    const here = power[i] * (share - sorted[at]) ** 2;
    missed += here;
    whole += power[i] * share * share;
    parts[Math.round((share + 1) * PARTS)] += here;
  }
  return { relative: whole ? Math.sqrt(missed / whole) : 0, parts };
}
export const points = (mine, first, second) => (first > second ? Math.max(0, Math.round((100 * (first - mine)) / (first - second))) : 0);
// Even marks drawn towards zero: 0 leaves them, 100 crowds them.
export const crowded = (count, by) => Array.from({ length: count }, (_, i) => {
  const u = (2 * i) / (count - 1) - 1;
  return Math.sign(u) * Math.abs(u) ** (1 + by / 80);
});

class Marks {
  constructor(root) {
    this.root = root;
    this.pictured = true;
    this.send = debounced(() => this.report("marks", { token: this.data.token, marks: this.spelt() }));
    this.draw = framed(() => this.render());
    this.plot = s("svg", { role: "group", "aria-label": "Marks under a histogram of weights" });
    this.range = h("input", { type: "range", min: 0, max: 100, step: 1, "aria-label": "Crowd the marks towards zero",
      oninput: () => this.put(crowded(this.marks.length, Number(this.range.value))) });
    this.tally = h("p", { class: "tally", "aria-live": "polite" });
    this.board = h("div", { class: "board" });
    this.puts = h("span", { class: "group" });
    root.replaceChildren(this.plot, h("div", { class: "crowd" }, h("span", {}, "evenly"), this.range, h("span", {}, "crowded at zero"), this.puts), this.tally, this.board,
      h("p", { class: "keyline" }, h("span", {}, "Drag the slider, or any mark. Keys: ", h("kbd", {}, "←"), " ", h("kbd", {}, "→"), " move a mark, ", h("kbd", {}, "↑"), " ", h("kbd", {}, "↓"), " choose another")));
    dragged(this.plot, (x) => {
      const share = clamp(this.shareAt(x * this.width), -1, 1);
      if (this.held === undefined) this.held = this.nearest(share);
      this.move(this.held, share);
    }, () => { this.held = undefined; });
    new ResizeObserver(() => { if (this.data && this.width !== this.widthNow()) { this.build(); this.draw(); } }).observe(root);
  }

  widthNow() { return this.root.clientWidth && this.root.clientWidth < 560 ? 380 : 896; }
  spelt() { return this.marks.map((mark) => Math.round(1000 * mark)).join("_"); }
  nearest(share) { return this.marks.reduce((best, mark, i) => (Math.abs(mark - share) < Math.abs(this.marks[best] - share) ? i : best), 0); }

  update(data, setStateValue) {
    this.report = setStateValue;
    const moved = this.data?.token !== data.token;
    this.data = data;
    if (moved) {
      this.marks = data.start.map((mark) => mark / 1e6);
      this.range.value = 0;
      this.rivals = data.rivals.map(({ name, marks }) => ({ name, marks: marks.map((mark) => mark / 1e6) }))
        .map((rival) => ({ ...rival, error: losses(data.power, rival.marks).relative }));
      this.puts.replaceChildren(...this.rivals.map((rival) => h("button", { class: "pill", type: "button", onclick: () => this.put(rival.marks) }, `as ${rival.name}`)));
      this.top = losses(data.power, this.rivals[0].marks).parts.reduce((a, b) => Math.max(a, b), 0) || 1;
      this.at = Math.floor(this.marks.length / 2);
      this.build();
    }
    this.draw();
  }

  put(marks) { this.marks = [...marks]; this.draw(); this.send(); }
  move(i, share) {
    const low = i ? this.marks[i - 1] : -1, high = i < this.marks.length - 1 ? this.marks[i + 1] : 1;
    this.at = i;
    this.marks[i] = clamp(share, low, high);
    this.draw();
    this.send();
  }

  build() {
    const width = this.width = this.widthNow(), x = this.x = linear(-1, 1, 12, width - 12), { counts } = this.data;
    this.shareAt = linear(12, width - 12, -1, 1);
    const height = HIST + RULER + LOSS + 20, most = Math.max(...counts), bar = (width - 24) / counts.length;
    set(this.plot, { viewBox: `0 0 ${width} ${height}` });
    this.ticks = this.marks.map((_, i) => s("g", { class: "mark own-keys", role: "slider", "aria-valuemin": -1, "aria-valuemax": 1, onfocus: () => { this.at = i; }, onkeydown: (event) => this.keys(event, i) },
      s("path", { d: `M0 ${HIST - 6}v${RULER}` }), s("circle", { r: width > 500 ? 7 : 6, cy: HIST + RULER - 10 })));
    this.red = s("path", { class: "loss" });
    this.edges = s("path", { class: "edges" });
    const words = (y, text) => s("text", { x: 12, y }, text);
    this.plot.replaceChildren(...counts.map((count, i) => s("rect", { class: "bin", x: (12 + i * bar + 0.3).toFixed(1), width: (bar - 0.6).toFixed(1), y: (HIST - 8 - ((HIST - 26) * count) / most).toFixed(1), height: (((HIST - 26) * count) / most).toFixed(1) })),
      words(11, `${this.data.total.toLocaleString("en")} weights, as shares of the largest of their block`), this.edges, this.red, ...this.ticks,
      ...[-1, -0.5, 0, 0.5, 1].map((at) => s("text", { x: x(at), y: height - 2, "text-anchor": at === 1 ? "end" : at === -1 ? "start" : "middle" }, pretty(at))),
      s("text", { x: width - 12, y: HIST + RULER + LOSS - 2, "text-anchor": "end", class: "name" }, "red: squared error, where it arises"));
  }

  keys(event, i) {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key], other = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!by && !other) return;
    event.preventDefault();
    event.stopPropagation();
    if (by) return this.move(i, this.marks[i] + by * (event.shiftKey ? 0.02 : 0.005));
    this.at = clamp(i + other, 0, this.marks.length - 1);
    this.draw();
    requestAnimationFrame(() => this.ticks[this.at].focus());
  }

  render() {
    const { relative, parts } = losses(this.data.power, this.marks), { x } = this, floor = HIST + RULER;
    this.ticks.forEach((tick, i) => set(tick, { transform: `translate(${x(this.marks[i]).toFixed(1)} 0)`, tabindex: i === this.at ? 0 : -1,
      "aria-label": `mark ${i + 1} of ${this.marks.length}`, "aria-valuenow": this.marks[i].toFixed(3) }));
    set(this.edges, { d: this.marks.slice(1).map((mark, i) => `M${x((mark + this.marks[i]) / 2).toFixed(1)} ${HIST - 2}v${RULER + LOSS}`).join("") });
    set(this.red, { d: `M${x(-1)} ${floor}${Array.from(parts, (part, i) => `L${x(i / PARTS - 1).toFixed(1)} ${(floor + Math.min(1.3, part / this.top) * (LOSS - 14)).toFixed(1)}`).join("")}L${x(1)} ${floor}Z` });
    const entries = [...this.rivals, { name: "you", error: relative, mine: true }], most = Math.max(...entries.map(({ error }) => error)) || 1;
    const won = points(relative, this.rivals[0].error, this.rivals[1].error), rival = this.rivals[1].name;
    this.tally.replaceChildren("Your score: ", h("b", {}, won), this.data.beatable ? (won > 100 ? ` You beat ${rival}.` : ` ${rival} has 100, and can be beaten.`) : won > 99 ? ` As good as ${rival}.` : ` 100 is ${rival}.`);
    this.board.replaceChildren(...entries.map(({ name, error, mine }) => h("div", { class: `racer${mine ? " you" : ""}` }, h("strong", {}, name), h("span", { class: "track" }, h("i", { style: `width:${(100 * error) / most}%` })),
      h("span", { class: "share" }, role("error", `${(100 * error).toFixed(2)}%`)))));
  }
}
