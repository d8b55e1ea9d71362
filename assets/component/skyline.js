// Channels as bars, and one slider that moves them: along a text, a threshold, an alpha, a rotation.
import { clamp, linear, ticks } from "./plot.js";
import { debounced, h, mount, s, set, unpacked } from "./dom.js";

const WIDTH = 1000, LEFT = 44, TALL = 150, ONE = 230, FOOT = 20;

export default (component) => mount(Skyline, component);

class Skyline {
  constructor(root) {
    this.root = root;
    this.pictured = true;
    this.send = debounced(() => this.report("stop", { token: this.data.token, stop: this.stop }));
  }

  update(data, setStateValue) {
    this.report = setStateValue;
    if (this.data?.token === data.token) return;
    this.data = data;
    const bytes = unpacked(data.heights), all = new DataView(bytes.buffer);
    let at = 0;
    this.heights = data.panels.map((panel) => Array.from({ length: panel.moves ? data.stops.length : 1 }, () =>
      Float32Array.from({ length: panel.channels }, () => { const value = all.getUint32(at, true) / 100; at += 4; return value; })));
    this.stop = clamp(data.start, 0, data.stops.length - 1);
    this.build();
    this.render();
  }

  build() {
    const { stops, panels, readouts, words, slider } = this.data;
    const top = Math.max(...panels.map((panel) => panel.top)) / 100;
    const tall = panels.length > 1 ? TALL - 44 * (panels.length - 2) : ONE;
    this.range = h("input", { type: "range", min: 0, max: stops.length - 1, step: 1, value: this.stop, "aria-label": slider,
      oninput: () => this.go(Number(this.range.value)) });
    this.at = h("b", {});
    this.values = readouts.map(() => h("b", {}));
    this.said = h("p", { class: "said", "aria-live": "polite" });
    this.words = words.map((word, i) => h("button", { type: "button", tabindex: -1, onclick: () => this.go(i), "aria-label": word.trim() ? null : "line break" }, word));
    this.drawn = panels.map((panel) => this.plot(panel, top, tall));
    const parts = [
      h("label", { class: "dial" }, h("span", {}, `${slider}: `, this.at), this.range),
      words.length && h("div", { class: "words" }, this.words),
      readouts.length && h("div", { class: "tiles" }, readouts.map((readout, i) => h("div", {}, this.values[i], h("span", {}, readout.title)))),
      ...this.drawn.map((part) => part.node), this.said];
    this.root.replaceChildren(...parts.filter(Boolean));
  }

  // One row of bars, all on one scale: `top` times the typical value.
  plot(panel, top, tall) {
    const y = linear(0, top * 1.04, tall - FOOT, 2), x = linear(0, panel.channels, LEFT, WIDTH);
    const bars = s("path", { class: "bars", "data-role": panel.role }), kept = s("path", { class: "kept" }), line = s("path", { class: "line" });
    const mark = s("text", { class: "mark", "text-anchor": "middle" });
    const picture = s("svg", { viewBox: `0 0 ${WIDTH} ${tall}`, role: "img" },
      ticks(0, top, 3).map((at) => s("g", { class: "tick" }, s("path", { d: `M${LEFT} ${y(at)}H${WIDTH}` }),
        s("text", { x: LEFT - 6, y: y(at) + 4, "text-anchor": "end" }, `${at}×`))),
      s("text", { x: WIDTH, y: tall - 4, "text-anchor": "end" }, `${panel.channels.toLocaleString("en")} channels`), bars, kept, line, mark);
    return { node: h("section", {}, h("h2", {}, panel.title), picture), bars, kept, line, mark, picture, x, y };
  }

  go(stop) {
    this.stop = clamp(stop, 0, this.data.stops.length - 1);
    this.render();
    this.send();
  }

  render() {
    const { stops, panels, readouts, says } = this.data, stop = this.stop;
    this.range.value = stop;
    set(this.range, { "aria-valuetext": stops[stop] });
    this.at.textContent = this.words.length ? `${stop + 1} of ${stops.length}` : stops[stop];
    this.words.forEach((word, i) => set(word, { "aria-current": i === stop ? "step" : null }));
    this.values.forEach((node, i) => { node.textContent = readouts[i].values[stop]; });
    this.said.textContent = says[stop] ?? "";
    this.drawn.forEach((part, i) => {
      const panel = panels[i], rows = this.heights[i], row = rows[panel.moves ? stop : 0];
      const apart = new Set(panel.kept[stop] ?? []), width = Math.max(1.1, (WIDTH - LEFT) / panel.channels - 0.3);
      const bar = (from, k) => `M${from.toFixed(1)} ${part.y(0)}V${part.y(row[k]).toFixed(1)}h${width.toFixed(1)}V${part.y(0)}Z`;
      let plain = "", chosen = "", tallest = 0;
      for (let k = 0; k < row.length; k += 1) {
        if (row[k] > row[tallest]) tallest = k;
        if (apart.has(k)) chosen += `M${(part.x(k) - 1).toFixed(1)} ${part.y(0)}V${part.y(row[k]).toFixed(1)}h${(width + 2).toFixed(1)}V${part.y(0)}Z`;
        else plain += bar(part.x(k), k);
      }
      set(part.bars, { d: plain });
      set(part.kept, { d: chosen });
      const level = panel.line[stop] ? part.y(panel.line[stop] / 100) : 0;
      set(part.line, { d: level ? `M${LEFT} ${level}H${WIDTH}` : "M0 0" });
      const at = apart.size === 1 ? [...apart][0] : tallest;
      part.mark.textContent = row[at] > 8 ? `channel ${at}: ${Math.round(row[at])}×` : "";
      const place = clamp(part.x(at), LEFT + 70, WIDTH - 70), beside = place > WIDTH - 150 ? -1 : 1;
      set(part.mark, { x: place + beside * 66, y: part.y(row[at]) + 12 });
      set(part.picture, { "aria-label": `${panel.title}: the largest is ${row[tallest].toFixed(1)} times the typical value, in channel ${tallest}` });
    });
  }
}
