// The few lines that plots in components share: scales, ticks and the colours of bytes.
import { pretty } from "./float_math.js";
import { h, s } from "./dom.js";

// A linear map of [from, to] onto [a, b].
export const linear = (from, to, a, b) => (x) => a + ((x - from) / (to - from || 1)) * (b - a);
export const clamp = (x, low, high) => Math.max(low, Math.min(high, x));

// About `count` round numbers in [low, high].
export function ticks(low, high, count = 5) {
  const rough = (high - low) / count;
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= rough);
  const out = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i += 1) out.push(Number((i * step).toPrecision(12)));
  return out;
}

// Ticks with their numbers along the foot of a plot, at `y`.
export function axis(x, low, high, y, count = 5, name = "") {
  return s("g", { class: "axis" },
    s("path", { d: `M${x(low)} ${y}H${x(high)}` }),
    ticks(low, high, count).flatMap((at) => [
      s("path", { d: `M${x(at)} ${y}v4` }),
      s("text", { x: x(at), y: y + 16, "text-anchor": "middle" }, pretty(at, 4))]),
    name && s("text", { x: x(high), y: y + 32, "text-anchor": "end", class: "name" }, name));
}

// The red, green and blue of each byte: "diverging" from negative over the middle (127) to positive, or a role's name
// from the paper (0) to that role's colour (255). Asks the page for its colours, so it follows the theme.
export function colours(root, kind) {
  const probe = root.appendChild(h("i", { style: "position:absolute;visibility:hidden" }));
  const ask = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
  };
  const stops = kind === "diverging" ? [ask("--negative"), ask("--middle"), ask("--positive")] : [ask("--paper"), ask(`--role-${kind}`)];
  probe.remove();
  const middle = kind === "diverging" ? 127 : 255;
  return Array.from({ length: 256 }, (_, byte) => {
    const [from, to, share] = byte <= middle ? [stops[0], stops[1], byte / middle] : [stops[1], stops[2], (byte - middle) / (254 - middle)];
    return from.map((part, i) => part + (to[i] - part) * Math.min(1, share));
  });
}

// Paint bytes (rows, columns), from `offset` on, into a canvas, a pixel for each.
export function paint(canvas, bytes, rows, columns, table, offset = 0) {
  if (canvas.width !== columns || canvas.height !== rows) Object.assign(canvas, { width: columns, height: rows });
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
  for (let i = 0; i < rows * columns; i += 1) {
    const [r, g, b] = table[bytes[offset + i]];
    image.data[4 * i] = r; image.data[4 * i + 1] = g; image.data[4 * i + 2] = b; image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}
