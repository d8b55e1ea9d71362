// The few lines between us and the DOM.

// h("button", {class: "cell", onclick}, "text", child): names and numbers go in as text, never as markup.
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  set(node, props);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

export function set(node, props) {
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) node[name] = value;
    else if (value === null || value === undefined || value === false) node.removeAttribute(name);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  return node;
}

export const role = (name, ...children) => h("span", { class: "role", "data-role": name }, ...children);
export const sup = (...children) => h("sup", {}, ...children);

// Calls `send` once, 80 ms after the last call: a burst of flips is one message.
export function debounced(send, wait = 80) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => send(...args), wait);
  };
}

// The same for SVG: s("path", {d: "…"}).
export function s(tag, props = {}, ...children) {
  const node = set(document.createElementNS("http://www.w3.org/2000/svg", tag), props);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

// Calls `draw` once a frame at most, however often the pointer moves.
export function framed(draw) {
  let waiting = 0;
  return () => {
    if (!waiting) waiting = requestAnimationFrame(() => { waiting = 0; draw(); });
  };
}

// Calls `move(x, y, event)` with the pointer's place in the node, as shares of its box, from press to release.
export function dragged(node, move, done = () => {}) {
  const tell = (event) => {
    const box = node.getBoundingClientRect();
    move((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height, event);
  };
  node.style.touchAction = "none";
  node.onpointerdown = (event) => {
    if (event.button) return;
    node.setPointerCapture(event.pointerId);
    node.onpointermove = tell;
    tell(event);
  };
  node.onpointerup = node.onpointercancel = () => { node.onpointermove = null; done(); };
}

// The bytes that Python packed as base64.
export const unpacked = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

// What every component's default export does: makes its one instance at first, and tells it of new data each time.
// Python sends its message as a list of one.
export function mount(Kind, { data: [message], parentElement, setStateValue }) {
  const root = parentElement.querySelector(".ql");
  if (!root.shown) {
    root.shown = new Kind(root);
    root.saves = root.shown.pictured && imageButtons(root);
  }
  root.shown.update(message, setStateValue);
  if (root.saves && root.lastChild !== root.saves) root.append(root.saves);
}

// Two buttons that save what is drawn below `root`, words and all, as an image: mending.js, which every page has, does it.
export function imageButtons(root) {
  const button = (kind) => h("button", { class: "save", type: "button", onclick: () => document.dispatchEvent(new CustomEvent("quantlib-save", { detail: { root, kind } })), "aria-label": `Save this figure as ${kind.toUpperCase()}` }, kind.toUpperCase());
  return h("p", { class: "image" }, "Save image: ", button("png"), button("svg"));
}

// A box whose picture may be wider than itself, and what says so: its edge fades, and words below it.
export function sideways(box) {
  const words = h("p", { class: "sideways", hidden: true, "aria-hidden": "true" }, "Push the picture sideways for the rest ⟷");
  const look = () => {
    const more = box.scrollWidth - box.clientWidth;
    set(words, { hidden: more < 8 });
    box.toggleAttribute("data-more", more - box.scrollLeft > 8);
    box.toggleAttribute("data-before", more > 8 && box.scrollLeft > 8);
  };
  box.onscroll = look;
  new ResizeObserver(look).observe(box);
  new MutationObserver(() => requestAnimationFrame(look)).observe(box, { childList: true });
  return [box, words];
}
