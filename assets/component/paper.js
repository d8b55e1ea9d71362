// A chapter on paper. Before it is printed: what was chosen is written out where its controls are, a foot leads back to the
// page as it is, by its address and as a code to photograph, and everything is made as large as fits the sheets.
import { h } from "./dom.js";
import { blocks, has, isTitle, pictured, shows } from "./slides.js";

const SHEETS = 2, HEIGHT = 255 * 96 / 25.4 - 24;  // pixels between the margins of a US letter, the lower of both sizes, less some for rounding
const LARGEST = 0.76, SINGLE = 0.6, SMALLEST = 0.38, STEP = 0.02;  // shares of the size on the screen; what is this large stays on one sheet

export class Paper {
  // `code`: where the code of an address is drawn. `address`: this page's.
  constructor({ code, address, title }) {
    Object.assign(this, { code, address, title, added: [] });
    this.before = () => this.prepare();
    this.after = () => this.restore();
    addEventListener("beforeprint", this.before);
    addEventListener("afterprint", this.after);
  }

  leave() {
    removeEventListener("beforeprint", this.before);
    removeEventListener("afterprint", this.after);
    this.restore();
  }

  get page() { return document.querySelector(".stMainBlockContainer"); }

  prepare() {
    this.restore();
    document.documentElement.dataset.printed = getComputedStyle(document.querySelector("[data-testid=stApp]")).colorScheme;
    for (const [control, words] of chosen(this.page)) {
      const line = h("p", { class: "paper-chosen" }, `${words[0]}: `, h("b", {}, words[1]));
      control.after(line);
      this.added.push(line);
    }
    const foot = this.foot();
    this.page.append(foot);
    this.added.push(foot);
    this.fit();
  }

  restore() {
    this.added.splice(0).forEach((node) => node.remove());
    document.querySelectorAll(".paper-break").forEach((node) => node.classList.remove("paper-break"));
    document.documentElement.style.removeProperty("--paper");
  }

  foot() {
    const address = this.address(), foot = h("footer", { class: "paper-foot" }, h("div", {}, h("p", {}, `${this.title()}, with what was chosen here:`), h("p", { class: "address" }, address)));
    const asked = new XMLHttpRequest();
    asked.open("GET", this.code(address), false);  // printing waits for nothing that comes later
    try { asked.send(); } catch { return foot; }
    if (asked.status === 200) foot.prepend(document.importNode(new DOMParser().parseFromString(asked.responseText, "image/svg+xml").documentElement, true));
    return foot;
  }

  // As large as one sheet or two allow, laid out as on paper for the moment.
  fit() {
    const sheet = document.getElementById("ql-print");
    if (!sheet) return;
    const screens = [...document.querySelectorAll("style[media=screen]")];  // presenting
    sheet.media = "all";
    screens.forEach((style) => { style.media = "not all"; });
    try {
      const sizes = Array.from({ length: Math.round((LARGEST - SMALLEST) / STEP) + 1 }, (_, i) => LARGEST - STEP * i);
      const takes = (size) => {
        document.documentElement.style.setProperty("--paper", size);
        return sheets(this.page).count;
      };
      const single = sizes.find((size) => size >= SINGLE && takes(size) === 1), size = single ?? sizes.find((one) => takes(one) <= SHEETS) ?? SMALLEST;
      document.documentElement.style.setProperty("--paper", size);
      sheets(this.page).breaks.filter((block) => !block.closest("[class*=st-key-claim-]")).forEach((block) => block.classList.add("paper-break"));
    } finally {
      sheet.media = "print";
      screens.forEach((style) => { style.media = "screen"; });
    }
  }
}

// Where sheets end: {count, breaks}, the blocks that begin a new sheet. A heading, its words, its picture and the line below
// it stay together where a sheet holds them; else at least each block does.
function sheets(page) {
  const whole = (block) => block.closest(".st-key-in-short, [class*=st-key-guess-]") ?? block;
  const parts = [...new Set(blocks(page).filter(shows).map(whole))], breaks = [];
  let count = 1, begins = top(parts[0]);
  const place = (group) => {
    const next = parts[parts.indexOf(group.at(-1)) + 1], from = top(group[0]), ends = Math.max(bottom(group), next ? top(next) : 0);
    if (ends - begins <= HEIGHT) return;
    if (ends - from > HEIGHT && group.length > 1) return group.forEach((block) => place([block]));
    if (from > begins) {
      breaks.push(group[0]);
      count += 1;
    }
    const more = Math.max(0, Math.ceil((ends - from) / HEIGHT) - 1);
    count += more;
    begins = from + more * HEIGHT;
  };
  together(parts).forEach(place);
  return { count, breaks };
}

const top = (block) => block.getBoundingClientRect().top;
const bottom = (all) => Math.max(...all.map((block) => block.getBoundingClientRect().bottom));

function together(parts) {
  const groups = [];
  let complete = true;
  for (const block of parts) {
    const begins = isTitle(block) || (complete && !has(block, "[data-testid=stCaptionContainer]") && !block.closest("[class*=st-key-spoiler-]"));
    if (begins || !groups.length) groups.push([block]); else groups.at(-1).push(block);
    complete = begins ? pictured(block) : complete || pictured(block);
  }
  return groups;
}

const words = (node) => node?.textContent.replace(/\s+/g, " ").trim() ?? "";
const VALUES = {
  stButtonGroup: (node) => [...node.querySelectorAll("[aria-checked=true], [aria-pressed=true], [aria-selected=true]")].map(words).join(", "),
  stRadio: (node) => words(node.querySelector("label:has(input:checked)")),
  stSlider: (node) => [...node.querySelectorAll("[data-testid=stSliderThumbValue]")].map(words).join(" to "),
  stSelectbox: (node) => node.querySelector("input")?.value || words(node.querySelector("[data-baseweb=select], [role=combobox], button")),
  stTextInput: (node) => node.querySelector("input")?.value ?? "",
  stNumberInput: (node) => node.querySelector("input")?.value ?? "",
  stTextArea: (node) => node.querySelector("textarea")?.value.slice(0, 200) ?? "",
  stCheckbox: (node) => (node.querySelector("input")?.checked ? "on" : ""),
};

// Every control that prints, with its name and what is chosen; those of a guess say it in their answer.
function chosen(page) {
  return [...page.querySelectorAll(Object.keys(VALUES).map((id) => `[data-testid=${id}]`).join())]
    .filter((node) => !node.closest("[class*=st-key-guess-], [class*=st-key-noprint-], [class*=st-key-claim-]") && shows(node))
    .map((node) => [node, [words(node.querySelector("[data-testid=stWidgetLabel]")).replace(/:$/, ""), VALUES[node.dataset.testid](node)]])
    .filter(([, [name, value]]) => name && value);
}
