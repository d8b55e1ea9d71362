// The dial of a ladder of recipes: the bits in large figures, a slider over its stops, and their names to press.
import { h, set } from "./dom.js";

// stops: {name, bits in hundredths}. title(stop), says(stop): in large figures, and the line below them.
// moved(number): somebody chose another stop.
export function dial(stops, start, title, says, moved) {
  const bits = h("b", {}), recipe = h("span", {}), last = stops.length - 1;
  const range = h("input", { type: "range", min: 0, max: last, step: 1, value: start, "aria-label": "Bits for each weight", oninput: () => moved(Number(range.value)) });
  const names = stops.map((stop, i) => h("button", { type: "button", tabindex: -1, style: `left:${(100 * i) / last}%`, "aria-label": `${stop.name}, ${bitsOf(stop)}`, onclick: () => moved(i) }, stop.name));
  const node = h("div", { class: "ladder-dial" }, h("div", { class: "bits" }, bits, recipe), h("div", { class: "slide" }, range, h("div", { class: "names" }, names)));
  const show = (at) => {
    bits.textContent = title(stops[at]);
    recipe.textContent = says(stops[at]);
    range.value = at;
    set(range, { "aria-valuetext": `${stops[at].name}, ${bitsOf(stops[at])} for each weight` });
    names.forEach((name, i) => set(name, { "aria-current": i === at ? "step" : null }));
  };
  return { node, show };
}

export const bitsOf = (stop) => `${Number((stop.bits / 100).toFixed(stop.bits % 100 && stop.bits < 1000 ? 1 : 0))} bits`;
