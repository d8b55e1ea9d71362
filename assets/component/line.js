// One number in every format. Above, a stretch of the number line: marks where each format has a number, twice as far
// apart beyond each power of two. Below, all powers of two with the tensor's weights over each format's range. Drag the
// number on either.
import { bias, decode, encode, kindOf, largestBits, nine, pretty, raised } from "./float_math.js";
import { clamp, linear } from "./plot.js";
import { debounced, dragged, framed, h, mount, s, set } from "./dom.js";

const WIDE = { e: 8, m: 23 };
const LOWEST = -40, HIGHEST = 20;        // powers of two that the range shows
const MOST_MARKS = 200;                  // numbers of a format that are drawn in the window, before they become a band
const ROW = 26;

export default (component) => mount(Line, component);

class Line {
  constructor(root) {
    this.root = root;
    this.pictured = true;
    this.send = debounced(() => this.report("number", { token: this.data.token, bits: encode(WIDE, this.value), window: this.window }));
    this.draw = framed(() => this.render());
    this.near = s("svg", { class: "near", role: "img", "aria-label": "Number line: where each format has numbers" });
    this.far = s("svg", { class: "far", role: "img", "aria-label": "Powers of two: the tensor's weights and each format's range" });
    this.range = h("input", { type: "range", min: LOWEST * 16, max: HIGHEST * 16, step: 1, "aria-label": "Size of the number, a power of two", oninput: () => this.go(2 ** (Number(this.range.value) / 16)) });
    this.zoom = [["closer", -1], ["further", 1]].map(([name, by]) => h("button", { class: "pill", type: "button", onclick: () => this.see(this.window + by) }, name));
    this.presets = h("div", { class: "group" });
    this.say = h("p", { class: "say", "aria-live": "polite" });
    root.replaceChildren(h("div", { class: "controls" }, h("div", { class: "group" }, "look", this.zoom), this.presets), this.say, this.near, this.far, this.range);
    dragged(this.near, (share) => this.go(clamp(((share * this.width - this.left) / (this.width - this.left - 12)) * 2 ** this.window, 0, 2 ** this.window)));
    dragged(this.far, (share) => this.go(2 ** clamp(linear(this.left, this.end, LOWEST, HIGHEST)(share * this.width), LOWEST, HIGHEST)));
    new ResizeObserver(() => { if (this.data && this.width !== this.widthNow()) { this.build(); this.draw(); } }).observe(root);
  }

  widthNow() { return this.root.clientWidth && this.root.clientWidth < 560 ? 380 : 864; }

  update(data, setStateValue) {
    this.report = setStateValue;
    const moved = this.data?.token !== data.token;
    this.data = data;
    if (moved) {
      this.value = Math.abs(decode(WIDE, data.start));
      this.window = data.window;
      this.build();
    }
    this.draw();
  }

  go(value) { this.value = value; this.draw(); this.send(); }
  see(window) { this.window = clamp(window, -30, 18); this.drawMarks(); this.draw(); this.send(); }

  build() {
    const width = this.width = this.widthNow(), left = this.left = width < 500 ? 74 : 92, right = this.end = width - (width < 500 ? 84 : 170);
    this.at = linear(LOWEST, HIGHEST, left, right);
    this.range.style.cssText = `margin-left:calc(${(100 * left) / width}% - 8px);width:calc(${(100 * (right - left)) / width}% + 16px)`;
    this.presets.replaceChildren("show", ...this.data.presets.map(({ label, value, window }) => h("button", { class: "pill", type: "button", onclick: () => { this.window = window; this.drawMarks(); this.go(Math.abs(decode(WIDE, value))); } }, label)));
    this.drawMarks();
    const { formats, powers, counts } = this.data, top = 92, height = top + ROW * formats.length + 26;
    set(this.far, { viewBox: `0 0 ${width} ${height}` });
    const most = Math.log10(Math.max(...counts, 1) + 1), step = (right - left) / (HIGHEST - LOWEST);
    const bars = counts.map((count, i) => count && powers[i] >= LOWEST && powers[i] < HIGHEST ? s("rect", { class: "bin", x: this.at(powers[i]) + 0.5, width: step - 1, y: top - 14 - (66 * Math.log10(count + 1)) / most, height: (66 * Math.log10(count + 1)) / most }, s("title", {}, `${count.toLocaleString("en")} weights from 2${raised(powers[i])} to 2${raised(powers[i] + 1)}`)) : null);
    const ends = formats.map((f) => ({ low: 1 - bias(f), tiny: 1 - bias(f) - f.m, high: Math.log2(decode(f, largestBits(f))) }));
    const box = (from, to, y, kind) => { const a = clamp(from, LOWEST, HIGHEST), b = clamp(to, LOWEST, HIGHEST); return b > a ? s("rect", { class: kind, x: this.at(a), width: this.at(b) - this.at(a), y: y - 7, height: 14 }) : null; };
    this.states = formats.map((_, i) => s("text", { class: "state", x: right + 10, y: top + ROW * i + 12 }));
    this.farLine = s("path", { class: "value", d: `M0 8V${height - 22}` });
    this.far.replaceChildren(...[s("defs", {}, s("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, s("path", { d: "M0 0V6", class: "hatch" }))),
      s("text", { x: left, y: 10 }, `its weights by power of two; log heights`), bars,
      formats.map((f, i) => { const y = top + ROW * i + 8; return [s("text", { class: "name", x: left - 8, y: y + 4, "text-anchor": "end" }, f.name.replace("_", " ")), box(ends[i].tiny, ends[i].low, y, "subnormal"), box(ends[i].low, ends[i].high, y, "normal")]; }),
      [-40, -30, -20, -10, 0, 10, 20].map((k) => s("text", { x: this.at(k), y: height - 4, "text-anchor": k === HIGHEST ? "end" : "middle" }, `2${raised(k)}`)), this.states, this.farLine].flat(3).filter(Boolean));
  }

  drawMarks() {
    const { formats } = this.data, width = this.width, left = this.left, right = width - 12, top = 30, height = top + ROW * formats.length + 8, reach = 2 ** this.window;
    set(this.near, { viewBox: `0 0 ${width} ${height}` });
    const x = this.x = linear(0, reach, left, right);
    this.dots = formats.map((_, i) => s("circle", { class: "now", r: 4.5, cy: top + ROW * i + 8 }));
    this.ways = formats.map(() => s("path", { class: "way" }));
    this.nearLine = s("path", { class: "value", d: `M0 18V${height}` });
    const binades = [0, 1, 2, 3, 4].map((k) => this.window - k);
    this.near.replaceChildren(...[binades.map((k) => [s("path", { class: "binade", d: `M${x(2 ** k)} 18V${height}` }), k > this.window - 3 ? s("text", { x: x(2 ** k), y: 12, "text-anchor": k === this.window ? "end" : "middle" }, `2${raised(k)}${width > 500 ? ` = ${pretty(2 ** k)}` : ""}`) : null]), s("text", { x: left, y: 12 }, "0"),
      formats.map((f, i) => { const y = top + ROW * i + 8; return [s("text", { class: "name", x: left - 8, y: y + 4, "text-anchor": "end" }, f.name.replace("_", " ")), s("path", { class: "rule", d: `M${left} ${y}H${right}` }), this.marksOf(f, y, reach)]; }), this.ways, this.dots, this.nearLine].flat(4).filter(Boolean));
  }

  // Every number of a format from 0 to `reach`: marks, or bands as dense as they are, one for each power of two.
  marksOf(f, y, reach) {
    const largest = decode(f, largestBits(f)), top = Math.min(reach, largest), last = Math.min(encode(f, top), largestBits(f));
    const beyond = largest < reach ? s("rect", { class: "beyond", x: this.x(largest), width: this.x(reach) - this.x(largest), y: y - 8, height: 16 }) : null;
    if (last <= MOST_MARKS) {
      let d = "";
      for (let bits = 0; bits <= last; bits += 1) d += `M${this.x(decode(f, bits)).toFixed(1)} ${y - 7}v14`;
      return [beyond, s("path", { class: "marks", d })];
    }
    // the finest steps near zero run together: draw where they still can be told apart, and bands below
    const pixels = this.x(reach) - this.x(0), out = [beyond];
    for (let k = Math.floor(Math.log2(top)); k > this.window - 9; k -= 1) {
      const step = 2 ** (Math.max(k, 1 - bias(f)) - f.m), gap = (step / reach) * pixels, from = 2 ** k, to = Math.min(2 * from, top);
      if (gap >= 3) {
        let d = "";
        for (let v = from; v <= to; v += step) d += `M${this.x(v).toFixed(1)} ${y - 7}v14`;
        out.push(s("path", { class: "marks", d }));
      } else out.push(s("rect", { class: "band", x: this.x(from), width: this.x(to) - this.x(from), y: y - 7, height: 14, style: `opacity:${clamp(0.25 + 0.06 * Math.log2(3 / gap), 0.25, 0.85)}` }));
    }
    out.push(s("rect", { class: "band", x: this.x(0), width: this.x(2 ** (this.window - 8)) - this.x(0), y: y - 7, height: 14, style: "opacity:.85" }));
    return out;
  }

  render() {
    const { value } = this, { formats } = this.data, power = value > 0 ? Math.log2(value) : LOWEST;
    this.range.value = Math.round(16 * clamp(power, LOWEST, HIGHEST));
    set(this.range, { "aria-valuetext": `${pretty(value, 4)}` });
    set(this.farLine, { transform: `translate(${this.at(clamp(power, LOWEST, HIGHEST)).toFixed(1)} 0)` });
    const inside = value <= 2 ** this.window;
    set(this.nearLine, { transform: `translate(${this.x(Math.min(value, 2 ** this.window)).toFixed(1)} 0)`, style: inside ? "" : "opacity:.25" });
    formats.forEach((f, i) => {
      const bits = encode(f, value), here = decode(f, bits), drawn = Number.isFinite(here) && here <= 2 ** this.window && inside;
      set(this.dots[i], { cx: this.x(Math.min(Number.isFinite(here) ? here : 0, 2 ** this.window)).toFixed(1), style: drawn ? "" : "display:none" });
      set(this.ways[i], { d: drawn ? `M${this.x(value).toFixed(1)} ${30 + ROW * i + 8}H${this.x(here).toFixed(1)}` : "" });
      this.states[i].textContent = state(f, bits, here, value, this.width < 500);
      set(this.states[i], { class: `state ${here === value ? "exact" : Number.isFinite(here) && here !== 0 ? "" : "lost"}` });
    });
    this.say.replaceChildren("the number ", h("b", {}, nine(value)), value > 0 ? `, between 2${raised(Math.floor(power))} and 2${raised(Math.floor(power) + 1)}. ` : ". ", "Every format stores the nearest mark that it has.");
  }
}

function state(f, bits, here, value, short) {
  const kind = kindOf(f, bits), said = pretty(here, 4);
  if (here === value) return short ? "exact" : `${nine(here)}, exact`;
  if (kind === "infinity" || kind === "nan") return `too large: ${said}`;
  if (value > decode(f, largestBits(f))) return short ? `ends: ${said}` : `too large: stays at ${said}`;
  if (here === 0) return "too small: 0";
  const off = `${pretty((100 * Math.abs(here - value)) / value, 2)} % off`;
  return short ? off : `${said}${kind === "subnormal" ? ", subnormal" : ""}, ${off}`;
}
