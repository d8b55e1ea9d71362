// A drawing that answers: point at a part (or walk through them with the arrow keys) and read what it is.
// Above it, if there are any, the pieces of a name: press one and the parts that it decided stand out.
import { debounced, h, mount, set, sideways } from "./dom.js";

export default (component) => mount(Pointing, component);

class Pointing {
  constructor(root) {
    this.root = root;
    this.pictured = true;
    this.send = debounced(() => this.report("piece", { token: this.data.token, piece: this.piece }));
    this.pieces = h("div", { class: "pieces", role: "group" });
    this.meaning = h("div", { class: "meaning", "aria-live": "polite" });
    this.drawing = h("div", { class: "drawing" });
    this.say = h("div", { class: "say", "aria-live": "polite" });
    root.replaceChildren(this.pieces, this.meaning, ...sideways(this.drawing), this.say);
    this.drawing.onpointermove = (event) => this.point(event.target.closest?.("[data-words]"));
    this.drawing.onpointerdown = this.drawing.onpointermove;
    this.drawing.onpointerleave = () => this.point(this.kept);
    this.drawing.onclick = (event) => { this.kept = event.target.closest?.("[data-words]"); };
    this.drawing.onkeydown = (event) => this.walk(event);
  }

  update(data, setStateValue) {
    this.report = setStateValue;
    const before = this.data;
    this.data = data;
    if (before?.svg !== data.svg) {
      this.drawing.innerHTML = data.svg;
      this.cells = [...this.drawing.querySelectorAll("[data-words]")];
      const svg = this.drawing.querySelector("svg");
      if (svg) set(svg, { tabindex: 0, role: "group" });
      this.kept = this.pointed = null;
      this.speak(data.rest);
    }
    if (before?.token !== data.token) {
      this.piece = data.start;
      this.drawPieces();
    }
    this.show();
  }

  drawPieces() {
    const { pieces } = this.data;
    set(this.pieces, { hidden: !pieces.length, "aria-label": this.data.name });
    set(this.meaning, { hidden: !pieces.length });
    this.buttons = pieces.map((piece, i) =>
      h("button", { type: "button", "data-kind": piece.kind, onclick: () => this.press(i) }, piece.text, h("small", {}, piece.title)));
    this.pieces.replaceChildren(...this.buttons.flatMap((button, i) => (pieces[i].joined ? [h("i", { "aria-hidden": "true" }, "_"), button] : [button])));
  }

  press(i) {
    this.piece = this.piece === i ? -1 : i;
    this.show();
    this.send();
  }

  show() {
    const chosen = this.data.pieces[this.piece];
    this.buttons.forEach((button, i) => set(button, { "aria-pressed": String(i === this.piece) }));
    this.meaning.replaceChildren(...(chosen ? [h("b", {}, `${chosen.text}: ${chosen.title}. `), chosen.meaning] : [this.data.ask]));
    for (const cell of this.cells) cell.classList.toggle("dim", Boolean(chosen?.part) && cell.dataset.part !== chosen.part);
  }

  point(cell) {
    if (cell === this.pointed) return;
    this.pointed?.classList.remove("pointed");
    this.pointed = cell ?? null;
    cell?.classList.add("pointed");
    this.speak(cell ? cell.dataset.words : this.data.rest);
  }

  speak(words) {
    const [head, ...lines] = words.split("\n");
    this.say.replaceChildren(h("b", {}, head), ...lines.map((line) => h("span", {}, line)));
  }

  walk(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step || !this.cells.length) return;
    event.preventDefault();
    const at = this.cells.indexOf(this.pointed);
    this.point(this.cells[(at + step + this.cells.length) % this.cells.length]);
  }
}
