// Integer grids in float32, as quantlib.formats.integers rounds them; a test holds the two equal.

// Codes and stored values of x (an array of float32) on the grid `scale`, `zero`, codes from low to high.
export function roundRow(x, scale, zero, low, high) {
  const codes = x.map((value) => (scale === 0 ? zero : Math.max(low, Math.min(high, evenly(Math.fround(value / scale)) + zero))));
  return { codes, stored: codes.map((code) => Math.fround(scale * (code - zero))) };
}

// The nearest whole number, ties to even.
function evenly(value) {
  const down = Math.floor(value), rest = value - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 !== 0) ? down + 1 : down;
}

// The grid that just covers low … high.
export function covering({ bits, symmetric }, low, high) {
  const top = symmetric ? 2 ** (bits - 1) - 1 : 2 ** bits - 1;
  if (symmetric) return { scale: Math.fround(Math.max(-low, high) / top), zero: 0 };
  const scale = Math.fround(Math.fround(high - low) / top);
  return { scale, zero: scale === 0 ? 0 : Math.max(0, Math.min(top, evenly(Math.fround(-low / scale)))) };
}

// Σ w (x − x̂)², without weights Σ (x − x̂)².
export function squaredError(x, stored, weights = null) {
  return x.reduce((sum, value, i) => sum + (weights ? weights[i] : 1) * (value - stored[i]) ** 2, 0);
}
