// A figure as a picture to take away: an SVG, or a PNG of it at twice the size. What is seen is drawn again as SVG: text
// as text, boxes as boxes, drawings and canvases as they are. Around it stand title, caption, source and address. The
// paper is light whatever the theme.

const TONES = { ink: "#1F2328", muted: "#5C6470", paper: "#FDFCFA", rgb: [0xFD, 0xFC, 0xFA] };  // palette.py's, in the light theme
const MARGIN = 28, NARROWEST = 640, SHARPER = 2;
const LOOK = ["fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "stroke-linecap",
  "stroke-linejoin", "opacity", "font-style", "font-weight", "font-size", "font-family", "letter-spacing", "paint-order", "text-anchor",
  "dominant-baseline", "visibility", "display", "stop-color", "stop-opacity"];
const PAINTS = new Set(["fill", "stroke", "stop-color"]);
const LEFT_OUT = ".image, .sideways, .modebar-container, .hoverlayer, [hidden], script, style, datalist, [data-picture=no]";

// The palette in both themes, as the page's style sheet has it: [[light, dark], …], each [red, green, blue].
function palette() {
  const style = getComputedStyle(document.documentElement);
  const pairs = [...style].filter((name) => name.startsWith("--")).map((name) => style.getPropertyValue(name).match(/^\s*light-dark\((.+?), (#.+|rgb.+)\)\s*$/)).filter(Boolean);
  return pairs.map(([, ...colours]) => colours.map((colour) => {
    const hex = colour.match(/^#(..)(..)(..)$/);
    return hex ? hex.slice(1).map((part) => parseInt(part, 16)) : colour.match(/\d+/g).slice(0, 3).map(Number);
  }));
}

// What the dark theme's colour is in the light one. A colour between the paper and one of the palette's is so there, too.
function lightened([r, g, b], pairs, paper) {
  const dark = paper[1], from = [r - dark[0], g - dark[1], b - dark[2]];
  let best = [Infinity];
  for (const [light, [x, y, z]] of pairs) {
    const along = [x - dark[0], y - dark[1], z - dark[2]], length = along[0] ** 2 + along[1] ** 2 + along[2] ** 2;
    const share = length ? Math.max(0, Math.min(1, (from[0] * along[0] + from[1] * along[1] + from[2] * along[2]) / length)) : 0;
    const off = (from[0] - share * along[0]) ** 2 + (from[1] - share * along[1]) ** 2 + (from[2] - share * along[2]) ** 2;
    if (off < best[0] - 0.5) best = [off, light, share];
  }
  return paper[0].map((part, i) => Math.round(part + best[2] * (best[1][i] - part)));
}

// A picture that the dark theme painted, in the light one's colours.
async function lightImage(address, light) {
  const image = Object.assign(new Image(), { src: address });
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: image.naturalWidth, height: image.naturalHeight }), context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height), known = new Map();
  for (let i = 0; i < pixels.data.length; i += 4) {
    const key = pixels.data[i] << 16 | pixels.data[i + 1] << 8 | pixels.data[i + 2];
    if (!known.has(key)) known.set(key, light([pixels.data[i], pixels.data[i + 1], pixels.data[i + 2]]));
    pixels.data.set(known.get(key), i);
  }
  context.putImageData(pixels, 0, 0);
  return canvas.toDataURL();
}

const escaped = (text) => String(text).replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, "").replace(/[&<>"]/g, (one) => `&#${one.charCodeAt(0)};`);
const attributes = (values) => Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined)
  .map(([name, value]) => ` ${name}="${escaped(typeof value === "number" ? Math.round(value * 100) / 100 : value)}"`).join("");
const element = (tag, values, inner = "") => `<${tag}${attributes(values)}>${inner}</${tag}>`;

// What the browser computed as a colour, in the way that every reader of SVG knows; "" where nothing is painted.
function painted(colour, light = (rgb) => rgb) {
  const parts = colour.match(/[\d.e+-]+%?/g)?.map(Number) ?? [];
  const [r, g, b, alpha = 1] = colour.startsWith("color(srgb") ? [...parts.slice(0, 3).map((part) => 255 * part), parts[3] ?? 1] : parts;
  if (parts.length < 3 || !alpha) return "";
  const rgb = light([r, g, b].map(Math.round)).join(",");
  return alpha < 1 ? `rgba(${rgb},${alpha})` : `rgb(${rgb})`;
}

const font = (style) => ({ "font-family": style.fontFamily.replaceAll('"', "'"), "font-size": parseFloat(style.fontSize), "font-weight": style.fontWeight, "font-style": style.fontStyle === "normal" ? "" : style.fontStyle,
  "letter-spacing": style.letterSpacing === "normal" ? "" : style.letterSpacing });

const pen = document.createElement("canvas").getContext("2d");
function measured(text, style) {
  pen.font = `${style.fontStyle ?? ""} ${style.fontWeight ?? 400} ${style.fontSize} ${style.fontFamily}`;
  return pen.measureText(text);
}

// The lines of a text as the page broke them: each with its box.
function* linesOf(node) {
  const range = document.createRange();
  let text = "", box = null;
  for (let i = 0; i < node.data.length; i += 1) {
    range.setStart(node, i);
    range.setEnd(node, i + 1);
    const at = range.getClientRects()[0];
    if (!at || !at.width) continue;
    if (box && Math.abs(at.top - box.top) > at.height / 2) {
      yield [text, box];
      [text, box] = ["", null];
    }
    box = box ? { left: Math.min(box.left, at.left), right: Math.max(box.right, at.right), top: box.top, height: box.height } : { left: at.left, right: at.right, top: at.top, height: at.height };
    text += node.data[i];
  }
  if (box) yield [text, box];
}

class Picture {
  // `light`: what the page's colours become; they stay, where what is drawn follows the page's colour scheme.
  constructor(light) {
    this.light = light;
    this.marks = [];
    [this.left, this.top, this.right, this.bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  }

  painted(colour) { return painted(colour, this.light); }

  covers(box) {
    if (!(box.width > 0 && box.height > 0)) return;
    this.left = Math.min(this.left, box.left);
    this.top = Math.min(this.top, box.top);
    this.right = Math.max(this.right, box.right);
    this.bottom = Math.max(this.bottom, box.bottom);
  }

  node(node) {
    if (node.nodeType === Node.TEXT_NODE) return this.text(node);
    if (node.nodeType !== Node.ELEMENT_NODE || node.matches(LEFT_OUT)) return;
    const style = getComputedStyle(node), box = node.getBoundingClientRect();
    if (style.display === "none" || Number(style.opacity) === 0) return;
    const fades = Number(style.opacity) < 1, from = this.marks.length;
    if (style.visibility !== "hidden") this.own(node, style, box);
    if (!["svg", "CANVAS", "IMG"].includes(node.tagName)) for (const child of node.childNodes) this.node(child);
    if (fades) this.marks.push(element("g", { opacity: style.opacity }, this.marks.splice(from).join("")));
  }

  own(node, style, box) {
    this.rings(style, box);
    if (["svg", "CANVAS"].includes(node.tagName)) this.box(style, box);
    if (node.tagName === "svg") return this.drawing(node, box);
    if (node.tagName === "CANVAS") return this.image(node.toDataURL(), box, style);
    this.box(style, box);
    if (node.tagName === "INPUT") this.input(node, style, box);
  }

  // Shadows without blur: rings around a box, the outermost first.
  rings(style, box) {
    if (style.boxShadow === "none") return;
    for (const [, colour, spread] of [...style.boxShadow.matchAll(/((?:rgb|color)[^)]*\)) 0px 0px 0px ([\d.]+)px(?! inset)/g)].reverse()) {
      const by = Number(spread);
      this.covers({ left: box.left - by, top: box.top - by, right: box.right + by, bottom: box.bottom + by, width: box.width + 2 * by, height: box.height + 2 * by });
      this.marks.push(element("rect", { x: box.left - by, y: box.top - by, width: box.width + 2 * by, height: box.height + 2 * by, rx: parseFloat(style.borderTopLeftRadius) + by, fill: this.paint(colour) }));
    }
  }

  box(style, box) {
    if (!(box.width > 0 && box.height > 0)) return;
    const radius = Math.min(parseFloat(style.borderTopLeftRadius) * (style.borderTopLeftRadius.endsWith("%") ? box.width / 100 : 1), box.width / 2, box.height / 2);
    const sides = ["Top", "Right", "Bottom", "Left"].map((side) => ({ width: style[`border${side}Style`] === "none" ? 0 : parseFloat(style[`border${side}Width`]), colour: this.painted(style[`border${side}Color`]) }));
    const even = sides.every(({ width, colour }) => width === sides[0].width && colour === sides[0].colour), ground = this.painted(style.backgroundColor);
    const edge = even && sides[0].width ? { stroke: sides[0].colour, "stroke-width": sides[0].width } : {}, inset = (edge["stroke-width"] ?? 0) / 2;
    if (ground || edge.stroke) {
      this.covers(box);
      this.marks.push(element("rect", { x: box.left + inset, y: box.top + inset, width: box.width - 2 * inset, height: box.height - 2 * inset, rx: radius || "", fill: ground || "none", ...edge,
        "stroke-dasharray": edge.stroke && style.borderTopStyle === "dashed" ? "4 3" : "" }));
    }
    if (even) return;
    const ends = [[box.left, box.top, box.right, box.top], [box.right, box.top, box.right, box.bottom], [box.left, box.bottom, box.right, box.bottom], [box.left, box.top, box.left, box.bottom]];
    sides.forEach(({ width, colour }, i) => {
      if (!width || !colour) return;
      const [x1, y1, x2, y2] = ends[i], dx = [0, -width / 2, 0, width / 2][i], dy = [width / 2, 0, -width / 2, 0][i];
      this.covers(box);
      this.marks.push(element("path", { d: `M${x1 + dx} ${y1 + dy}L${x2 + dx} ${y2 + dy}`, stroke: colour, "stroke-width": width }));
    });
  }

  text(node) {
    if (!node.data.trim()) return;
    const style = getComputedStyle(node.parentElement);
    if (style.visibility === "hidden") return;
    for (const [text, box] of linesOf(node)) {
      const words = style.textTransform === "uppercase" ? text.toUpperCase() : text, metrics = measured("x", style), width = box.right - box.left;
      this.covers({ ...box, bottom: box.top + box.height, width });
      this.marks.push(element("text", { x: box.left, y: box.top + (box.height + metrics.fontBoundingBoxAscent - metrics.fontBoundingBoxDescent) / 2, textLength: width, lengthAdjust: "spacingAndGlyphs",
        fill: this.painted(style.color), ...font(style), "xml:space": "preserve" }, escaped(words)));
    }
  }

  input(node, style, box) {
    this.covers(box);
    const y = box.top + box.height / 2;
    if (node.type !== "range") {
      this.marks.push(element("text", { x: box.left + parseFloat(style.paddingLeft) + 1, y: y + parseFloat(style.fontSize) / 3, fill: this.painted(style.color), ...font(style) }, escaped(node.value)));
      return;
    }
    const share = (node.value - node.min) / (node.max - node.min || 1), x = box.left + 8 + share * (box.width - 16);
    const accent = this.painted(style.accentColor) || TONES.ink;
    this.marks.push(element("path", { d: `M${box.left + 4} ${y}H${box.right - 4}`, stroke: TONES.muted, "stroke-width": 3, "stroke-linecap": "round" }),
      element("circle", { cx: x, cy: y, r: 8, fill: accent }));
  }

  image(address, box, style) {
    this.covers(box);
    this.marks.push(element("image", { x: box.left, y: box.top, width: box.width, height: box.height, preserveAspectRatio: "none", href: address, style: `image-rendering:${style.imageRendering}` }));
  }

  // Pictures within a mark in light colours: they were painted for the theme that is shown.
  async lit(mark, light) {
    const addresses = [...new Set(mark.match(/data:image\/png[^"]+/g) ?? [])];
    for (const address of addresses) mark = mark.replaceAll(address, await lightImage(address, light));
    return mark;
  }

  paint(value) { return value.startsWith("url") ? value : this.painted(value) || "none"; }

  // A drawing inside: what style sheets say of its parts is written into them.
  drawing(svg, box) {
    this.covers(box);
    const copy = svg.cloneNode(true), from = [svg, ...svg.querySelectorAll("*")];
    [copy, ...copy.querySelectorAll("*")].forEach((node, i) => {
      const style = getComputedStyle(from[i]);
      node.setAttribute("style", LOOK.map((name) => `${name}:${PAINTS.has(name) ? this.paint(style.getPropertyValue(name)) : style.getPropertyValue(name)}`).join(";"));
      if (i && style.transform !== "none") node.setAttribute("transform", style.transform);
      ["class", "onclick", "tabindex"].forEach((name) => node.removeAttribute(name));
    });
    copy.querySelectorAll("script, foreignObject").forEach((node) => node.remove());
    for (const [name, value] of Object.entries({ x: box.left, y: box.top, width: box.width, height: box.height, overflow: "visible" })) copy.setAttribute(name, value);
    this.marks.push(new XMLSerializer().serializeToString(copy));
  }
}

// Words in lines no wider than `width`.
function wrapped(text, width, style) {
  const lines = [""];
  for (const word of text.split(/\s+/)) {
    const longer = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
    if (measured(longer, style).width > width && lines.at(-1)) lines.push(word); else lines[lines.length - 1] = longer;
  }
  return lines;
}

const slug = (text) => text.toLowerCase().normalize("NFKD").replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 60).replace(/-+$/, "");
const words = (node) => node?.textContent.replace(/\s+/g, " ").trim() ?? "";

// The line below a figure: how its numbers came about (a badge there), and on what.
function sourced(caption) {
  const kind = words(caption?.querySelector(".stMarkdownBadge")), all = words(caption);
  return kind ? `${kind[0].toUpperCase()}${kind.slice(1)}: ${all.slice(kind.length).trim()}` : all;
}

// What the page says of a figure: the headings before it, its own name, the line below it that says where it is from.
export function told(root) {
  const outside = root.getRootNode().host ?? root, page = document.querySelector("[data-testid=stMain]") ?? document.body;
  const all = [...page.querySelectorAll("h1, h2, h3")].filter((heading) => heading.compareDocumentPosition(outside) & Node.DOCUMENT_POSITION_FOLLOWING);
  const chapter = words(page.querySelector("h1")), section = words(all.findLast((heading) => heading.tagName !== "H1"));
  const step = outside.closest("[class*=st-key-step-]") ?? page;
  const captions = [...step.querySelectorAll("[data-testid=stCaptionContainer]")].filter((caption) => outside.compareDocumentPosition(caption) & Node.DOCUMENT_POSITION_FOLLOWING);
  const named = root.querySelector("svg > title, [role=img][aria-label], figure[aria-label], svg[aria-label]");
  const address = new URL(location.href);
  ["present", "step", "part", "room", "share"].forEach((name) => address.searchParams.delete(name));
  return { title: section && section !== chapter ? `${chapter}${/[.?!]$/.test(chapter) ? "" : ":"} ${section}` : chapter, caption: named ? named.getAttribute("aria-label") ?? words(named) : "",
    source: sourced(captions[0]), address: address.href, file: [slug(chapter), slug(section === chapter ? "" : section), slug(named ? named.getAttribute("aria-label") ?? words(named) : "").slice(0, 30)].filter(Boolean).join("--") || "figure" };
}

// For as long as a picture is taken: nothing on its way from one colour to another, and generated text as elements.
const STILL = "* { transition: none !important; } [data-spelled-out] *::before, [data-spelled-out] *::after { content: none !important; }";
const GENERATED = ["color", "font", "position", "left", "right", "top", "bottom", "margin", "text-align", "letter-spacing", "display"];

// What style sheets write before and after elements, as elements that can be drawn; returns those.
function spelledOut(root) {
  const found = [...root.querySelectorAll("*")].flatMap((node) => ["before", "after"].map((place) => {
    const style = getComputedStyle(node, `::${place}`), [, text] = style.content.match(/^"(.+)"$/) ?? [];
    return text && { node, place, text, look: GENERATED.map((name) => `${name}:${style.getPropertyValue(name)}`).join(";") };
  })).filter(Boolean);
  root.setAttribute("data-spelled-out", "");
  return found.map(({ node, place, text, look }) => {
    const span = Object.assign(document.createElement("span"), { textContent: text, style: look });
    node[place === "before" ? "prepend" : "append"](span);
    return span;
  });
}

// The figure below `root` as SVG: { text, width, height }.
export async function pictureOf(root, about) {
  const pairs = palette(), follows = root.matches(".ql"), paper = pairs.find(([light]) => light.join() === TONES.rgb.join()) ?? [TONES.rgb, TONES.rgb];
  const dark = getComputedStyle(root).colorScheme === "dark", light = dark && !follows ? (rgb) => lightened(rgb, pairs, paper) : (rgb) => rgb;
  const picture = new Picture(light), scheme = root.style.colorScheme;
  const still = root.appendChild(Object.assign(document.createElement("style"), { textContent: STILL }));
  root.style.colorScheme = follows ? "light" : scheme;
  const generated = spelledOut(root);
  try { picture.node(root); } finally {
    root.style.colorScheme = scheme;
    root.removeAttribute("data-spelled-out");
    [still, ...generated].forEach((node) => node.remove());
  }
  if (dark) picture.marks = await Promise.all(picture.marks.map((mark) => picture.lit(mark, (rgb) => lightened(rgb, pairs, paper))));
  const family = getComputedStyle(root).fontFamily, width = Math.max(NARROWEST, picture.right - picture.left + 2 * MARGIN);
  const texts = [], line = (text, size, weight, colour, y) => texts.push(element("text", { x: MARGIN, y, fill: colour, "font-family": family.replaceAll('"', "'"), "font-size": size, "font-weight": weight }, escaped(text)));
  const write = (text, size, weight, colour, y) => {
    if (!text) return y;
    for (const one of wrapped(text, width - 2 * MARGIN, { fontSize: `${size}px`, fontWeight: weight, fontFamily: family })) line(one, size, weight, colour, y += 1.35 * size);
    return y;
  };
  let y = write(about.title, 21, 650, TONES.ink, MARGIN - 8);
  y = write(about.caption, 15, 400, TONES.muted, y + 4) + 18;
  const at = y;
  y = write(about.source, 12.5, 400, TONES.muted, y + picture.bottom - picture.top + 16);
  y = write(about.address, 11.5, 400, TONES.muted, y + 2);
  const height = Math.ceil(y + MARGIN - 8);
  const inner = element("style", {}, await faces(family)) + element("rect", { width, height, fill: TONES.paper }) + texts.join("")
    + element("g", { class: "picture", transform: `translate(${MARGIN - picture.left} ${at - picture.top})` }, picture.marks.join(""));
  return { width, height, text: element("svg", { xmlns: "http://www.w3.org/2000/svg", width, height, viewBox: `0 0 ${width} ${height}` }, inner) };
}

// The page's own typeface, so that the picture looks as the page does where it is not installed.
const typefaces = new Map();
function faces(family) {
  const name = family.split(",")[0].replaceAll(/["']/g, "").trim();
  if (!typefaces.has(name)) typefaces.set(name, embedded(name).catch(() => ""));
  return typefaces.get(name);
}

async function embedded(name) {
  const rules = [...document.styleSheets].flatMap((sheet) => { try { return [...sheet.cssRules]; } catch { return []; } })
    .filter((rule) => rule instanceof CSSFontFaceRule && rule.style.fontFamily.replaceAll(/["']/g, "") === name && !rule.cssText.includes("italic"));
  const found = await Promise.all(rules.slice(0, 2).map(async (rule) => {
    const [, address] = rule.style.src.match(/url\("?([^")]+)"?\)/) ?? [];
    const data = await (await fetch(new URL(address, rule.parentStyleSheet.href ?? location.href))).blob();
    const read = await new Promise((done) => { const reader = new FileReader(); reader.onload = () => done(reader.result); reader.readAsDataURL(data); });
    return `@font-face{font-family:'${name}';font-weight:${rule.style.fontWeight || "400"};src:url(${read})}`;
  }));
  return found.join("");
}

export async function saveImage(root, kind) {
  const about = told(root), { text, width, height } = await pictureOf(root, about);
  let blob = new Blob([text], { type: "image/svg+xml" });
  if (kind === "png") {
    const image = new Image();
    image.src = URL.createObjectURL(blob);
    await image.decode();
    const canvas = Object.assign(document.createElement("canvas"), { width: SHARPER * width, height: SHARPER * height });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    URL.revokeObjectURL(image.src);
    blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  }
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: `${about.file}.${kind}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
