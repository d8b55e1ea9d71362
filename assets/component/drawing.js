// A drawing that Python made, as it is. Where it is wider than the page it can be pushed sideways, and looks like it.
// Marks with a data-pick tell Python which of them was clicked, or chosen with Enter.
import { h, mount, sideways } from "./dom.js";

export default (component) => mount(Drawing, component);

class Drawing {
  constructor(root) {
    this.pictured = true;
    this.sheet = h("div", { class: "sheet" });
    this.sheet.onclick = (event) => this.pick(event.target);
    this.sheet.onkeydown = (event) => event.key === "Enter" && this.pick(event.target);
    root.replaceChildren(...sideways(this.sheet));
  }

  pick(target) {
    const mark = target.closest("[data-pick]");
    if (mark) this.report("picked", mark.dataset.pick);
  }

  update(svg, setStateValue) {
    this.report = setStateValue;
    if (this.svg !== svg) this.sheet.innerHTML = this.svg = svg;
  }
}
