// One value in several float formats, bit by bit. Flip a bit in any row: that row sets the value, the others round it.
import { bias, changedByRounding, convert, decode, encode, fieldsOf, kindOf, largestBits, neighbours, nine, pretty, raised, width }
  from "./float_math.js";
import { debounced, h, mount, role, set, sup } from "./dom.js";

const LOWEST = -900, HIGHEST = 600;                  // of the slider: 10⁻⁹ to 10⁶
const WIDE = { name: "wide", e: 8, m: 23 };           // the address and Python speak FP32 patterns

export default (component) => mount(Strip, component);

class Strip {
  constructor(root) {
    this.root = root;
    this.send = debounced(() => this.report("bits", { token: this.data.token, bits: this.wideBits(), set: this.source.name }));
  }

  update(data, setStateValue) {
    this.report = setStateValue;
    const moved = this.data?.token !== data.token;
    this.data = data;
    if (JSON.stringify(data.formats) !== JSON.stringify(this.formats)) {
      const shown = moved ? null : this.wideBits(), name = this.source?.name;
      this.build(data.formats);
      if (!moved) {  // the same number, in rows that are drawn anew
        this.put(this.formats.find((format) => format.name === name) ?? this.formats[0], 0);
        this.bits = convert(WIDE, this.source, shown);
      }
    }
    if (moved) {
      this.put(this.formats.find((format) => format.name === data.set) ?? this.formats[0], 0);
      this.bits = convert(WIDE, this.source, data.start);
    }
    this.render();
  }

  wideBits() { return convert(this.source, WIDE, this.bits); }

  // The row that sets the value: one of the formats shown, FP32 where it is among them.
  put(format, bits) {
    this.source = this.formats.find(({ e, m }) => e === format.e && m === format.m) ?? format;
    this.bits = bits;
  }

  choose(format, bits) {
    this.put(format, bits);
    this.render();
    this.send();
  }

  // The slider: a step is a hundredth of a power of ten; the sign stays.
  drag(step) {
    const value = 10 ** (step / 100), sign = decode(WIDE, this.wideBits()) < 0 ? -1 : 1;
    this.choose(WIDE, encode(WIDE, sign * Number(value.toPrecision(3))));
  }

  build(formats) {
    this.formats = formats;
    this.now = h("p", { class: "now", "aria-live": "polite" });
    this.presets = h("div", { class: "presets", role: "group", "aria-label": "Try a value" });
    this.range = h("input", { type: "range", min: LOWEST, max: HIGHEST, step: 1, "aria-label": "The number", oninput: () => this.drag(Number(this.range.value)) });
    this.rows = formats.map((format, at) => new Row(this, format, at));
    const columns = 1 + Math.max(...formats.map((f) => f.e)) + Math.max(...formats.map((f) => f.m));
    this.root.style.setProperty("--columns", columns);
    this.root.replaceChildren(h("div", { class: "top" }, this.now, this.presets, this.range), ...this.rows.map((row) => row.node));
  }

  render() {
    const weight = this.data.weight, bits = this.wideBits(), value = decode(WIDE, bits);
    const same = bits === weight, size = Math.abs(value);
    this.now.replaceChildren(h("strong", {}, signed(value)), h("span", { class: "label" }, same ? this.data.label : ""));
    if (size > 0 && Number.isFinite(size)) this.range.value = Math.round(100 * Math.log10(size));
    set(this.range, { "aria-valuetext": signed(value) });
    this.presets.replaceChildren(
      h("button", { class: "pill", "aria-pressed": String(same), onclick: () => this.choose(WIDE, weight) }, "our weight"),
      ...this.data.presets.map(({ label, bits: preset }) =>
        h("button", { class: "pill", "aria-pressed": String(preset === bits), onclick: () => this.choose(WIDE, preset) }, label)));
    for (const row of this.rows) row.render(this.source, this.bits, value);
  }

  // Arrow keys: along a row, and to the bit above or below it on the screen.
  move(at, column, key) {
    const row = this.rows[at];
    if (key === "ArrowLeft" || key === "ArrowRight" || key === "Home" || key === "End") {
      const last = row.cells.length - 1;
      const to = key === "Home" ? 0 : key === "End" ? last : column + (key === "ArrowRight" ? 1 : -1);
      row.focus(Math.max(0, Math.min(last, to)));
    } else {
      const other = this.rows[at + (key === "ArrowDown" ? 1 : -1)];
      const { field, index, count } = row.cells[column].place;
      other?.focus(other.find(field, index, count));
    }
  }
}

const FIELDS = [["sign", "S"], ["exponent", "E"], ["fraction", "F"]];

class Row {
  constructor(strip, format, at) {
    Object.assign(this, { strip, format, at, cells: [] });
    const counts = { sign: 1, exponent: format.e, fraction: format.m };
    const widest = Math.max(...strip.formats.map((f) => f.e));
    const fields = FIELDS.map(([field, letter]) => {
      const cells = Array.from({ length: counts[field] }, (_, index) => this.cell(field, index, counts[field]));
      const pad = field === "exponent" ? widest - format.e : 0;
      return h("div", { class: "field", "data-role": field, style: `--pad:${pad}` },
        h("div", { class: "bracket" }, h("b", {}, letter), ` ${field}`, h("span", {}, counts[field])),
        h("div", { class: "cells" }, cells.map((cell) => cell.node)));
    });
    this.value = h("output", { class: "value" });
    this.note = h("span", { class: "note" });
    this.formula = h("div", { class: "formula" });
    this.facts = h("dl", { class: "facts" });
    this.more = h("button", { class: "more", type: "button", "aria-expanded": "false", "aria-label": `Formula of ${format.name}`,
      onclick: () => { this.open = !this.open; this.unfold(); } }, "ƒ");
    this.node = h("section", { class: "row", "aria-label": format.name },
      h("header", {}, h("h2", {}, title(format)), h("span", { class: "widths" }, `${width(format)} bits`), this.more, this.value, this.note),
      h("div", { class: "strip", role: "group", "aria-label": `${format.name}, ${width(format)} bits; arrow keys move, space flips` }, fields),
      h("div", { class: "below" }, this.formula, this.facts));
    this.focusable(0);
  }

  cell(field, index, count) {
    const column = this.cells.length, place = { field, index, count };
    const weighs = field === "sign" ? "" : field === "exponent" ? `2${raised(count - 1 - index)}` : `2${raised(-1 - index)}`;
    const node = h("button", {
      class: "bit", type: "button", tabindex: -1,
      onclick: () => { this.focusable(column); this.strip.choose(this.format, this.flipped(column)); },
      onkeydown: (event) => {
        if (!/^(Arrow|Home|End)/.test(event.key)) return;
        event.preventDefault();
        this.strip.move(this.at, column, event.key);
      },
    });
    const cell = { node, place, weighs };
    this.cells.push(cell);
    return cell;
  }

  // The row that sets the value shows its formula; the others on request.
  unfold() {
    const open = this.open || this.strip.source === this.format;
    set(this.node, { "data-open": open });
    set(this.more, { "aria-expanded": String(open), disabled: this.strip.source === this.format });
  }

  focusable(column) { this.cells.forEach(({ node }, i) => { node.tabIndex = i === column ? 0 : -1; }); }
  focus(column) { this.focusable(column); this.cells[column].node.focus(); }

  find(field, index, count) {
    const mine = this.cells.map((cell, column) => ({ ...cell.place, column })).filter((place) => place.field === field);
    const to = field === "exponent" ? mine.length - (count - index) : index;
    return mine[Math.max(0, Math.min(mine.length - 1, to))].column;
  }

  flipped(column) {
    const power = 2 ** (this.cells.length - 1 - column);
    return this.bits + (Math.floor(this.bits / power) % 2 ? -power : power);
  }

  render(source, bits, value) {
    const { format } = this, sets = source === format;
    this.bits = sets ? bits : convert(source, format, bits);
    const marked = sets ? 0 : changedByRounding(format, value);
    this.cells.forEach(({ node, place, weighs }, column) => {
      const shift = 2 ** (this.cells.length - 1 - column);
      const on = Math.floor(this.bits / shift) % 2, rounded = Math.floor(marked / shift) % 2 === 1;
      node.textContent = on;
      set(node, { "aria-pressed": String(on === 1), "data-rounded": rounded,
        title: `${place.field} bit ${place.index + 1} of ${place.count}${weighs && `, worth ${weighs}`}`,
        "aria-label": `${format.name} ${place.field} bit ${place.index + 1} of ${place.count}, is ${on}`
          + (weighs && `, weight ${weighs}`) + (rounded ? ", changed by rounding" : "") });
    });
    set(this.node, { "data-sets": sets });
    this.unfold();
    const here = decode(format, this.bits);
    this.value.replaceChildren(signed(here));
    this.note.textContent = sets ? "sets the value" : lossNote(format, this.bits, value, here);
    set(this.note, { "data-kind": sets ? "sets" : sameNumber(value, here) ? "exact" : "lost" });
    this.formula.replaceChildren(...formula(format, this.bits));
    this.facts.replaceChildren(...facts(format, this.bits, value, here, sets));
  }
}

// Minus zero is a number of its own in every format, with a sign to flip.
const signed = (value) => (Object.is(value, -0) ? "−0" : nine(value));
const sameNumber = (a, b) => a === b || (Number.isNaN(a) && Number.isNaN(b));
const largest = (f) => decode(f, largestBits(f));

const title = (format) => format.name.replace("_", " ");

export function lossNote(format, bits, value, here) {
  if (sameNumber(value, here)) return "exact";
  if (Number.isNaN(value)) return `${title(format)} has no NaN`;
  if (kindOf(format, bits) === "infinity") return `too large for ${title(format)}: becomes infinity`;
  if (kindOf(format, bits) === "nan") return `too large for ${title(format)}, which has no infinity: becomes NaN`;
  if (Math.abs(value) > largest(format) && Math.abs(here) === largest(format)) return `too large for ${title(format)}: becomes its largest number`;
  if (kindOf(format, bits) === "zero") return `too small for ${title(format)}: becomes 0`;
  return kindOf(format, bits) === "subnormal" ? "rounded, as a subnormal" : "rounded";
}

function facts(format, bits, value, here, sets) {
  const { below, above } = neighbours(format, bits);
  const out = [];
  const row = (name, ...what) => out.push(h("dt", {}, name), h("dd", {}, ...what));
  if (Number.isFinite(here)) {
    const step = (to) => to === null ? null : Math.abs(decode(format, to) - here);
    const up = step(above), down = step(below);
    const say = (to) => to === null ? "none" : nine(decode(format, to));
    row("next above", say(above));
    row("next below", say(below));
    if (up === null || down === null) row("spacing", ...power(up ?? down));
    else if (up === down) row("spacing", ...power(up));
    else { row("spacing above", ...power(up)); row("spacing below", ...power(down)); }
  } else row("largest finite", nine(largest(format)));
  if (!sets && Number.isFinite(value)) {
    const error = Math.abs(here - value);
    row("relative error", role("error", error === 0 ? "none" : value === 0 || !Number.isFinite(error) ? "∞" : percent(error / Math.abs(value))));
  }
  return out;
}

const power = (step) => Number.isFinite(step) ? ["2", sup(String(Math.log2(step)).replace("-", "−")), ` = ${pretty(step, 3)}`] : ["∞"];
const percent = (x) => x >= 1e-6 ? `${pretty(100 * x, 3)} %` : pretty(x, 3);

function formula(format, bits) {
  const { sign, exponent, fraction } = fieldsOf(format, bits), kind = kindOf(format, bits);
  const S = (text) => role("sign", text), E = (text) => role("exponent", text), F = (text) => role("fraction", text);
  const line = (...parts) => h("div", {}, ...parts);
  const full = 2 ** format.m, minus = sign ? "−" : "";
  if (kind === "infinity" || kind === "nan") return [
    line(E("E"), " all ones: ", kind === "nan" ? "not a number" : "infinity"),
    line(E("E"), " = ", E(exponent), ", ", F("F"), " = ", F(fraction), kind === "nan" ? " ≠ 0" : ""),
    line("= ", kind === "nan" ? "NaN" : `${minus}∞`)];
  const lead = kind === "normal" ? "1" : "0", field = kind === "normal" ? exponent : 1;
  const fractionLine = [`(${lead} + `, F(fraction), `/${full})`];
  return [
    line("(−1)", sup(S("S")), " × 2", sup(kind === "normal" ? E("E") : "1", ` − ${bias(format)}`), ` × (${lead} + `, F("F"), "/2", sup(format.m), ")",
      kind === "normal" ? null : h("small", {}, kind === "zero" ? " all zeros: zero" : " E is 0: subnormal, no leading 1")),
    line("(−1)", sup(S(sign)), " × 2", sup(kind === "normal" ? E(exponent) : "1", ` − ${bias(format)}`), " × ", ...fractionLine),
    line("= ", S(sign ? "−1" : "1"), " × ", role("exponent", "2", sup(String(field - bias(format)).replace("-", "−"))), " × ",
      F(nine(Number(lead) + fraction / full)), h("b", {}, ` = ${nine(decode(format, bits))}`))];
}
