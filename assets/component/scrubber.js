// A trace, step by step: a picture for each step, what has been lost so far, and a handle to move by hand.
import { decode, pretty } from "./float_math.js";
import { debounced, dragged, framed, h, mount, s, set, unpacked } from "./dom.js";
import { axis, clamp, colours, linear, paint, ticks } from "./plot.js";

const WIDE = { e: 8, m: 23 };
const WIDTH = 720, HEIGHT = 150, LEFT = 56, RIGHT = 8, FOOT = 34;

export default (component) => mount(Scrubber, component);

class Scrubber {
  constructor(root) {
    this.root = root;
    this.pictured = true;
    this.send = debounced(() => this.report("step", { token: this.data.token, step: this.at }));
    this.draw = framed(() => this.render());
    this.range = h("input", { type: "range", min: 0, step: 1, oninput: () => this.go(Number(this.range.value)) });
    this.canvas = h("canvas", { role: "img" });
    this.say = h("p", { class: "say", "aria-live": "polite" });
    this.plot = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" });
    this.picture = h("figure", {}, this.canvas, this.title = h("figcaption", {}));
    root.replaceChildren(h("div", { class: "stage" }, this.picture, h("div", { class: "side" }, this.say, this.plot)), this.range,
      h("p", { class: "keyline" }, h("span", {}, "Drag, or ", h("kbd", {}, "←"), " ", h("kbd", {}, "→"), " a step, ", h("kbd", {}, "Home"), " ", h("kbd", {}, "End"), " the first and last")));
    root.style.cssText = `--from:${LEFT / WIDTH};--to:${RIGHT / WIDTH}`;
    dragged(this.plot, (share) => this.go(Math.round(linear(LEFT / WIDTH, 1 - RIGHT / WIDTH, 0, this.data.labels.length - 1)(share))));
  }

  update(data, setStateValue) {
    this.report = setStateValue;
    const moved = this.data?.token !== data.token;
    this.data = data;
    if (moved) {
      this.at = data.start;
      this.frames = data.frames && unpacked(data.frames);
      this.curve = data.curve.map((bits) => decode(WIDE, bits));
      this.rival = data.rival.map((bits) => decode(WIDE, bits));
      set(this.range, { max: data.labels.length - 1, "aria-label": data.name });
      set(this.picture, { hidden: !this.frames });
      this.root.toggleAttribute("data-wide", Boolean(this.frames) && data.columns > 4 * data.rows);
      this.title.textContent = data.picture;
      this.drawCurve();
    }
    this.draw();
  }

  go(step) {
    const to = clamp(step, 0, this.data.labels.length - 1);
    if (to === this.at) return;
    this.at = to;
    this.draw();
    this.send();
  }

  drawCurve() {
    set(this.plot, { hidden: !this.curve.length });
    if (!this.curve.length) return;
    const last = this.curve.length - 1, finite = [...this.curve, ...this.rival].filter(Number.isFinite), high = Math.max(...finite) * 1.06 || 1;
    this.x = linear(0, Math.max(1, last), LEFT, WIDTH - RIGHT);
    // the curve's own values, and where they differ little only the part where they lie
    const least = Math.min(...finite), foot = this.data.zoomed ? least - 0.25 * (high / 1.06 - least) : Math.min(0, least);
    this.y = linear(foot, high, HEIGHT - FOOT, 14);
    const way = (values) => values.map((value, i) => (Number.isFinite(value) ? `${i && Number.isFinite(values[i - 1]) ? "L" : "M"}${this.x(i).toFixed(1)} ${this.y(value).toFixed(1)}` : "")).join("");
    const across = linear(0, this.data.last, LEFT, WIDTH - RIGHT), name = this.data.rivals;
    this.marker = s("g", { class: "marker" }, s("path", { d: `M0 ${HEIGHT - FOOT}V8` }), this.dot = s("circle", { r: 5 }));
    this.plot.replaceChildren(...[axis(across, 0, this.data.last, HEIGHT - FOOT, 6, this.data.steps),
      ...ticks(Math.max(0, foot), high, 3).map((at) => s("text", { x: LEFT - 6, y: this.y(at) + 4, "text-anchor": "end" }, `${pretty(at)}${this.data.unit}`)),
      this.rival.length ? s("path", { class: "rival", d: way(this.rival) }) : null,
      this.rival.length ? s("text", { class: "rival", x: this.x(last) - 4, y: this.y(this.rival.at(-1)) - 6, "text-anchor": "end" }, name) : null,
      s("path", { class: "curve", d: way(this.curve) }), s("text", { x: LEFT + 4, y: 10 }, this.data.measure), this.marker].filter(Boolean));
  }

  render() {
    const { data, at } = this;
    this.range.value = at;
    set(this.range, { "aria-valuetext": `${data.labels[at]}` });
    this.say.replaceChildren(data.labels[at], this.curve.length ? h("b", {}, ` ${data.measure[0].toUpperCase()}${data.measure.slice(1)}: ${this.curve[at].toFixed(1)}${data.unit}`) : "", this.rival.length && at ? `; after ${data.rivals}: ${this.rival[at].toFixed(1)}${data.unit}.` : this.curve.length ? "." : "");
    if (this.frames) {
      paint(this.canvas, this.frames, data.rows, data.columns, colours(this.root, data.colours), at * data.rows * data.columns);
      set(this.canvas, { "aria-label": `${data.picture}, ${data.labels[at]}` });
      this.picture.style.setProperty("--front", at / Math.max(1, data.labels.length - 1));
    }
    if (this.marker) {
      set(this.marker, { transform: `translate(${this.x(at)} 0)` });
      set(this.dot, { cy: this.y(this.curve[at]) });
    }
  }
}
