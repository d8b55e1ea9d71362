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
