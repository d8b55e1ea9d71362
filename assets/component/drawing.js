// A drawing that Python made, as it is. Where it is wider than the page it can be pushed sideways, and looks like it.
import { h, mount, sideways } from "./dom.js";

export default (component) => mount(Drawing, component);

class Drawing {
  constructor(root) {
    this.pictured = true;
    this.sheet = h("div", { class: "sheet" });
    root.replaceChildren(...sideways(this.sheet));
  }

  update(svg) {
    if (this.svg !== svg) this.sheet.innerHTML = this.svg = svg;
  }
}
