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
    if (root.shown.pictured) root.append(root.saves = imageButton(root));
  }
  root.shown.update(message, setStateValue);
  if (root.saves) set(root.saves, { hidden: !root.querySelector("svg, canvas") });
}

// A button that saves what is drawn below `root`, all of its SVG and canvas together, as an image.
export function imageButton(root) {
  return h("button", { class: "image", type: "button", onclick: () => saveImage(root) }, "Image (PNG)");
}

const SHARPER = 2;  // pixels of the image for each of the page
const LOOK = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "opacity", "font", "display",
  "letter-spacing", "paint-order", "text-anchor", "text-decoration", "visibility"];

async function saveImage(root) {
  const parts = [...root.querySelectorAll("svg, canvas")].filter((node) => !node.parentElement.closest("svg") && node.getClientRects().length);
  const boxes = parts.map((node) => node.getBoundingClientRect());
  const left = Math.min(...boxes.map((box) => box.left)) - 12, top = Math.min(...boxes.map((box) => box.top)) - 12;
  const right = Math.max(...boxes.map((box) => box.right)) + 12, bottom = Math.max(...boxes.map((box) => box.bottom)) + 12;
  const canvas = h("canvas", { width: Math.ceil(SHARPER * (right - left)), height: Math.ceil(SHARPER * (bottom - top)) });
  const context = canvas.getContext("2d");
  context.scale(SHARPER, SHARPER);
  context.fillStyle = getComputedStyle(root).getPropertyValue("--paper");
  context.fillRect(0, 0, right - left, bottom - top);
  context.imageSmoothingEnabled = false;
  for (const [i, box] of boxes.entries()) {
    const drawn = parts[i].tagName === "CANVAS" ? parts[i] : await pictureOf(parts[i], box);
    context.drawImage(drawn, box.left - left, box.top - top, box.width, box.height);
  }
  const link = h("a", { href: canvas.toDataURL("image/png"), download: `${root.className.replace("ql ", "")}.png` });
  link.click();
}

// An SVG as an image that stands alone: what style sheets say of its parts is written into them.
async function pictureOf(svg, box) {
  const copy = svg.cloneNode(true), from = [svg, ...svg.querySelectorAll("*")];
  [copy, ...copy.querySelectorAll("*")].forEach((node, i) => {
    const style = getComputedStyle(from[i]);
    node.setAttribute("style", LOOK.map((name) => `${name}:${style.getPropertyValue(name)}`).join(";"));
  });
  set(copy, { xmlns: "http://www.w3.org/2000/svg", width: box.width, height: box.height });
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
  await image.decode();
  return image;
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
