// One weight through the chapters: a track whose stops leave the straight line by as much as the weight was changed.
import { decode } from "./float_math.js";
import { h, mount, s } from "./dom.js";

const F32 = { e: 8, m: 23 };
const TALL = 44, REACH = 10;

export default (component) => mount(Journey, component);

class Journey {
  constructor(root) { this.root = root; }

  update(data) {
    if (this.data?.token === data.token && this.data.brief === data.brief) return;
    this.data = data;
    this.build();
  }

  build() {
    const { stations, here, shown, place, brief } = this.data;
    const last = stations.reduce((at, station, i) => (station.shown ? i : at), -1);
    const current = here >= 0 ? here : last;
    this.words = h("p", { class: "words", "aria-live": "polite" });
    this.stops = stations.map((station, i) => {
      const reached = Boolean(station.shown);
      const stop = h("button", { class: "stop", type: "button", disabled: !reached, "data-here": i === here, "data-reached": reached,
        "aria-label": reached ? `${station.name}: ${station.shown}. ${station.words}` : `${station.name}: told in a later chapter`,
        onpointerenter: (e) => e.pointerType === "mouse" && reached && this.say(i), onpointerleave: () => this.say(current),
        onfocus: () => this.say(i), onblur: () => this.say(current), onclick: () => this.say(i) },
      h("span", { class: "name" }, station.name), h("span", { class: "gap" }), h("span", { class: "shown" }, station.shown || " "));
      return stop;
    });
    this.root.replaceChildren(h("div", { class: brief ? "box brief" : "box" },
      h("div", { class: "ours", title: place }, h("span", {}, "Our weight"), h("b", {}, shown)),
      brief ? null : h("div", { class: "line" }, this.track(last), h("div", { class: "stops" }, this.stops)), this.words));
    this.say(current);
  }

  // The straight line is the true weight; a stop lies above it where more is read back, below it where less is.
  track(last) {
    const { stations, weight } = this.data, n = stations.length, true_ = decode(F32, weight);
    const off = stations.map((station) => (station.stored === null ? 0 : decode(F32, station.stored) - true_));
    const most = Math.max(...off.map(Math.abs)) || 1;
    const x = (i) => (100 * (i + 0.5)) / n, y = (i) => TALL / 2 - (REACH * off[i]) / most;
    const line = (from, to) => stations.slice(from, to + 1).map((_, k) => `${k ? "L" : "M"}${x(from + k).toFixed(2)} ${y(from + k).toFixed(1)}`).join("");
    const svg = s("svg", { viewBox: `0 0 100 ${TALL}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      s("path", { class: "truth", d: `M0 ${TALL / 2}H100` }), last >= 0 ? s("path", { class: "way", d: line(0, last) }) : null);
    const dots = stations.map((station, i) => h("i", { style: `left:${x(i)}%;top:${y(i)}px`, "data-reached": Boolean(station.shown), "data-here": i === this.data.here }));
    return h("div", { class: "track" }, svg, dots);
  }

  say(i) {
    const station = this.data.stations[i];
    this.stops.forEach((stop, k) => stop.toggleAttribute("data-said", k === i));
    this.words.replaceChildren(station ? station.words : "Every chapter tells what becomes of it.");
  }
}
