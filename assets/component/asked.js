// Plain questions to a real model, and one slider from many bits to few: which answers stay right, and what they say.
import { bitsOf, dial } from "./dial.js";
import { clamp } from "./plot.js";
import { debounced, h, mount, set } from "./dom.js";

export default (component) => mount(Asked, component);

class Asked {
  constructor(root) {
    this.root = root;
    this.pictured = true;
    this.send = debounced(() => this.report("stop", { token: this.data.token, stop: this.stop }));
  }

  update(data, setStateValue) {
    this.report = setStateValue;
    if (this.data?.token === data.token) return;
    this.data = data;
    this.stop = clamp(data.start, 0, data.stops.length - 1);
    this.at = null;
    this.build();
    this.render();
  }

  build() {
    const { stops, questions, registers } = this.data;
    const first = (stop) => stop === stops[0];
    this.dial = dial(stops, this.stop, (stop) => (first(stop) ? "original" : bitsOf(stop)), (stop) => (first(stop) ? `the file as published, ${bitsOf(stop)}` : `for each weight (${stop.name})`), (stop) => this.go(stop));
    this.tally = h("b", {});
    this.texts = questions.map(() => h("span", { class: "answer" }));
    this.cards = questions.map((question, i) => h("button", { class: "card", type: "button", tabindex: i ? -1 : 0,
      onpointerenter: (e) => e.pointerType === "mouse" && this.point(i), onfocus: () => this.point(i), onclick: () => this.point(i), onkeydown: (e) => this.keys(e, i) },
      h("span", { class: "question" }, question), this.texts[i]));
    this.said = h("div", { class: "said", "aria-live": "polite" });
    this.bars = registers.map((name) => ({ name, fill: h("i", {}), words: h("span", {}) }));
    const moved = registers.length && h("section", { class: "registers" }, h("h3", {}, "At how many of 100 places in a text would it now write something else?"),
      this.bars.map((bar) => h("div", { class: "register" }, h("span", {}, bar.name), h("span", { class: "track" }, bar.fill), bar.words)));
    const parts = [this.dial.node, h("h3", {}, `${questions.length} plain questions: `, this.tally), h("div", { class: "wall", style: `--least:${questions.length > 6 ? 215 : 290}px`, role: "group", "aria-label": "Questions and answers" }, this.cards), this.said, moved];
    this.root.replaceChildren(...parts.filter(Boolean));
  }

  go(stop) {
    this.stop = clamp(stop, 0, this.data.stops.length - 1);
    this.render();
    this.send();
  }

  point(i) { this.at = i; this.say(); }

  keys(event, i) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], to = i + step;
    if (!step || to < 0 || to >= this.cards.length) return;
    event.preventDefault();
    this.cards[i].tabIndex = -1;
    this.cards[to].tabIndex = 0;
    this.cards[to].focus();
  }

  // The answer as published and the answer now, side by side: of the question pointed at, or of the first that is wrong.
  say() {
    const { stops, questions } = this.data, first = stops[0], now = stops[this.stop];
    const wrong = now.right.indexOf(false), i = this.at ?? Math.max(wrong, 0);
    this.cards.forEach((card, k) => card.toggleAttribute("data-here", k === i));
    const side = (title, stop) => h("p", {}, h("span", { class: "from" }, title), h("q", { class: stop.right[i] ? "right" : "wrong" }, stop.answers[i] || "nothing"), h("span", {}, stop.right[i] ? " right" : " wrong"));
    this.said.replaceChildren(h("p", { class: "asks" }, questions[i]), side("As published", first), side(now === first ? "As published" : `From ${now.name}`, now));
  }

  render() {
    const { stops, questions } = this.data, now = stops[this.stop], right = now.right.filter(Boolean).length;
    this.dial.show(this.stop);
    this.tally.textContent = right === questions.length ? "all answered right" : `${right} right, ${questions.length - right} wrong`;
    this.cards.forEach((card, i) => {
      this.texts[i].textContent = now.answers[i] || "…";
      card.dataset.ok = now.right[i];
      set(card, { "aria-label": `${questions[i]} ${now.answers[i] || "nothing"}, ${now.right[i] ? "right" : "wrong"}` });
    });
    this.say();
    this.bars.forEach((bar, i) => {
      bar.fill.style.width = `${now.changed[i] / 10}%`;
      bar.words.textContent = `${Math.round(now.changed[i] / 10)}`;
    });
  }
}
