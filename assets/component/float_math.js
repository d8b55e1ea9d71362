// Floats as integers: every function takes a format {e, m, specials} (exponent and fraction bits; what the largest
// exponent means: "ieee" infinity and NaN, which is also the default, "nan" numbers but for one NaN, "none" numbers
// only) and bit patterns as unsigned numbers below 2^32. A double holds every value of every such format exactly
// (e <= 8, m <= 23), so decoding is exact and encoding rounds once.

const two = (k) => 2 ** k;
export const width = (f) => 1 + f.e + f.m;
export const bias = (f) => two(f.e - 1) - 1;
const isIeee = (f) => (f.specials ?? "ieee") === "ieee";
const signBit = (f) => two(f.e + f.m);
// What a number too large becomes: infinity, NaN, or the largest number.
export const overflowBits = (f) => (isIeee(f) ? (two(f.e) - 1) * two(f.m) : signBit(f) - 1);
export const largestBits = (f) => (f.specials === "none" ? overflowBits(f) : overflowBits(f) - 1);

export function fieldsOf(f, bits) {
  const fraction = bits % two(f.m);
  const exponent = Math.floor(bits / two(f.m)) % two(f.e);
  return { sign: bits >= signBit(f) ? 1 : 0, exponent, fraction };
}

// "zero" | "subnormal" | "normal" | "infinity" | "nan"
export function kindOf(f, bits) {
  const { exponent, fraction } = fieldsOf(f, bits);
  if (bits % signBit(f) > largestBits(f)) return isIeee(f) && !fraction ? "infinity" : "nan";
  if (exponent === 0) return fraction ? "subnormal" : "zero";
  return "normal";
}

export function decode(f, bits) {
  const { sign, exponent, fraction } = fieldsOf(f, bits);
  const kind = kindOf(f, bits);
  if (kind === "nan") return NaN;
  const size = kind === "infinity" ? Infinity
    : exponent === 0 ? fraction * two(1 - bias(f) - f.m)
    : (two(f.m) + fraction) * two(exponent - bias(f) - f.m);
  return sign ? -size : size;
}

// floor(log2 a) of a finite positive double
function exponentOf(a) {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, a);
  const field = (view.getUint16(0) >> 4) & 0x7ff;
  return field ? field - 1023 : -1023;
}

function halfToEven(x) {
  const down = Math.floor(x), rest = x - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down;
}

// The pattern of a double: `round` maps the exact multiple of the last place to an integer. The leading one of a
// normal number adds one to the exponent field by itself, and so does a carry out of the fraction.
export function encode(f, value, round = halfToEven) {
  const sign = value < 0 || Object.is(value, -0) ? signBit(f) : 0;
  if (Number.isNaN(value)) return isIeee(f) ? overflowBits(f) + two(f.m - 1) : f.specials === "nan" ? overflowBits(f) : signBit(f);
  const size = Math.abs(value);
  if (size === 0) return sign;
  if (size === Infinity) return sign + overflowBits(f);
  const power = Math.max(exponentOf(size), 1 - bias(f));
  const count = round(size * two(f.m - power));
  return sign + Math.min((power + bias(f) - 1) * two(f.m) + count, overflowBits(f));
}

// From one format to another. A NaN keeps its sign and the head of its payload, and becomes a quiet one; a format
// without NaN makes it a zero of the other sign, as ml_dtypes does.
export function convert(from, to, bits) {
  if (from === to || (from.e === to.e && from.m === to.m)) return bits;
  if (kindOf(from, bits) !== "nan") return encode(to, decode(from, bits));
  const { sign, fraction } = fieldsOf(from, bits);
  if (to.specials === "none") return (1 - sign) * signBit(to);
  if (to.specials === "nan") return sign * signBit(to) + overflowBits(to);
  const quiet = two(to.m - 1);
  const payload = Math.floor(fraction * two(to.m - from.m)) % quiet;
  return sign * signBit(to) + overflowBits(to) + quiet + payload;
}

// The bits that rounding changed: those in which the rounded pattern differs from the one cut off.
export function changedByRounding(f, value) {
  if (!Number.isFinite(value)) return 0;
  const rounded = encode(f, value);
  return ["infinity", "nan"].includes(kindOf(f, rounded)) ? 0 : (rounded ^ encode(f, value, Math.floor)) >>> 0;
}

// The next storable values below and above one that is not NaN, as patterns; null where there is none.
export function neighbours(f, bits) {
  const size = bits % signBit(f), side = bits - size;
  if (size === 0) return { below: signBit(f) + 1, above: 1 };
  const away = size < (isIeee(f) ? overflowBits(f) : largestBits(f)) ? side + size + 1 : null, toward = side + size - 1;
  return side ? { below: away, above: toward } : { below: toward, above: away };
}

// Nine digits tell every FP32 number from its neighbours; equal numbers look equal in every format.
export const nine = (value) => pretty(value, 9);

const SUPERSCRIPT = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
export const raised = (k) => String(k).replace(/[-0-9]/g, (c) => SUPERSCRIPT[c]);

// A number as people write it: true minus, powers of ten for the very small and the very large.
export function pretty(value, digits) {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value < 0 ? "−∞" : "∞";
  const rounded = digits ? Number(value.toPrecision(digits)) : value;
  const size = Math.abs(rounded);
  let text;
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) {
    const [head, power] = size.toExponential().split("e");
    text = `${head}×10${raised(Number(power))}`;
  } else text = String(size);
  return (rounded < 0 || Object.is(rounded, -0) ? "−" : "") + text;
}
