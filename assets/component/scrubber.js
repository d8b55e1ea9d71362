// A trace, step by step: a picture for each step, what has been lost so far, and a handle to move by hand.
import { decode, pretty } from "./float_math.js";
import { debounced, dragged, framed, h, mount, s, set, unpacked } from "./dom.js";
import { axis, clamp, colours, linear, paint } from "./plot.js";

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
    const last = this.curve.length - 1, finite = this.curve.filter(Number.isFinite);
    this.x = linear(0, Math.max(1, last), LEFT, WIDTH - RIGHT);
    this.y = linear(Math.min(0, ...finite), Math.max(...finite) * 1.06 || 1, HEIGHT - FOOT, 12);
    const path = this.curve.map((value, i) => (Number.isFinite(value) ? `${i && Number.isFinite(this.curve[i - 1]) ? "L" : "M"}${this.x(i).toFixed(1)} ${this.y(value).toFixed(1)}` : "")).join("");
    this.marker = s("g", { class: "marker" }, s("path", { d: `M0 ${HEIGHT - FOOT}V8` }), this.dot = s("circle", { r: 5 }));
    this.plot.replaceChildren(...[axis(this.x, 0, last, HEIGHT - FOOT, 6, this.data.steps), s("path", { class: "curve", d: path }),
      s("text", { x: LEFT, y: 10 }, this.data.measure), this.marker]);
  }

  render() {
    const { data, at } = this;
    this.range.value = at;
    set(this.range, { "aria-valuetext": `${data.labels[at]}` });
    this.say.replaceChildren(data.labels[at], this.curve.length ? h("b", {}, ` ${pretty(this.curve[at], 4)} `) : "", this.curve.length ? data.measure : "");
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
