// The bar at a chapter's foot, and presenting: one slide on the screen, turned by keys; a window for who presents; a code
// that leads others here.
import { h } from "./dom.js";
import { Paper } from "./paper.js";
import { Slides, stepSelector } from "./slides.js";

const SETTLES = 250;  // ms after which a slide that changed is laid out again

export default function ({ data: [message], parentElement }) {
  const root = parentElement.querySelector(".ql");
  root.presenter ??= new Presenter(root);
  root.presenter.update(message);
  return () => root.presenter.leave();
}

class Presenter {
  constructor(root) {
    this.root = root;
    this.keys = (event) => this.key(event);
    document.addEventListener("keydown", this.keys);
    this.again = () => {
      root.toggleAttribute("data-settling", Boolean(this.data?.presenting));
      clearTimeout(this.due);
      this.due = setTimeout(() => this.data?.presenting && this.show(), SETTLES);
    };
    addEventListener("resize", this.again);
    this.changes = new MutationObserver((found) => found.some((one) => one.type === "childList") && this.again());
    this.sizes = new ResizeObserver(() => this.resized());
    this.paper = new Paper({ code: (address) => this.drawnCode(address), address: () => this.shared({ room: null }), title: () => this.data.title });
  }

  leave() {
    document.removeEventListener("keydown", this.keys);
    removeEventListener("resize", this.again);
    clearTimeout(this.due);
    this.changes.disconnect();
    this.sizes.disconnect();
    this.style?.remove();
    this.paper.leave();
    this.closeCode();
  }

  update(data) {
    const first = !this.data;
    this.data = data;
    this.at ??= data.step;
    this.part ??= Number(new URL(location.href).searchParams.get("part")) || 1;
    this.root.classList.toggle("presenting", data.presenting);
    this.root.replaceChildren(...(data.presenting ? this.stage() : this.plain()));
    if (data.presenting) this.show();
    else if (first && new URL(location.href).searchParams.has("step")) document.querySelector(stepSelector(data.step))?.scrollIntoView();
  }

  plain() {
    return [h("div", { class: "bar" },
      h("a", { class: "pill", href: this.there({ present: "1", step: "1", slide: String(innerHeight) }) }, "Present this chapter"),
      h("button", { class: "pill", type: "button", onclick: () => this.toggleCode() }, "QR code of this page"),
      h("button", { class: "pill", type: "button", onclick: () => window.print() }, "Print this chapter"))];
  }

  stage() {
    return [h("div", { class: "bar", role: "toolbar", "aria-label": "Presenting" },
      h("button", { class: "pill", type: "button", onclick: () => this.turn(-1), "aria-label": "Previous slide" }, "←"),
      this.place = h("span", { class: "place", "aria-live": "polite" }),
      h("button", { class: "pill", type: "button", onclick: () => this.turn(1), "aria-label": "Next slide" }, "→"),
      h("span", { class: "keys" }, h("kbd", {}, "←"), h("kbd", {}, "→"), " turn ", h("kbd", {}, "N"), " notes ", h("kbd", {}, "F"), " full screen ", h("kbd", {}, "Q"), " code ", h("kbd", {}, "Esc"), " leave"),
      h("button", { class: "pill", type: "button", onclick: () => this.openNotes() }, "notes"),
      h("a", { class: "pill", href: this.there({ room: this.data.room ? null : newRoom() }) }, this.data.room ? "stop counting guesses" : "count guesses"),
      h("button", { class: "pill", type: "button", onclick: () => this.toggleCode() }, "code"),
      h("button", { class: "pill", type: "button", onclick: () => this.fullScreen() }, "full screen"),
      h("a", { class: "pill", href: this.there({ present: null, part: null, slide: null }) }, "leave"))];
  }

  // The address of this page with other parameters.
  there(changes) {
    const url = new URL(location.href);
    for (const [name, value] of Object.entries(changes)) {
      if (value === null) url.searchParams.delete(name); else url.searchParams.set(name, value);
    }
    return url.href;
  }

  show() {
    this.style ??= document.head.appendChild(h("style", { id: "ql-step", media: "screen" }));
    this.style.textContent = `.stMainBlockContainer [class*="st-key-step-"] { display: none !important; }
      .stMainBlockContainer ${stepSelector(this.at)} { display: flex !important; }
      .stMainBlockContainer .st-key-chapter-head { display: ${this.at === 1 ? "flex" : "none"} !important; }`;
    this.slides = new Slides(this.at);
    if (!this.slides.node) return this.again();
    this.part = this.slides.show(this.part);
    this.laid = this.extent;
    for (const watcher of [this.changes, this.sizes]) watcher.disconnect();
    this.changes.observe(this.slides.node, { childList: true, subtree: true });
    for (const node of [this.slides.node, document.querySelector(".stMainBlockContainer > [data-testid=stVerticalBlock]")]) if (node) this.sizes.observe(node);
    this.root.toggleAttribute("data-settling", false);
    const { title, steps } = this.data, parts = this.slides.count > 1 ? `, slide ${this.part} of ${this.slides.count}` : "";
    this.place.textContent = `${title} · ${this.at} of ${steps}${parts}`;
    history.replaceState(history.state, "", this.there({ step: String(this.at), part: this.part > 1 ? String(this.part) : null }));
    this.tellNotes();
  }

  // Where the slide begins and how tall it is.
  get extent() { return [this.slides.node.getBoundingClientRect().top, this.slides.node.offsetHeight]; }

  // A slide that grew or shrank by itself, as when a chart arrives, is shared out again; so is one that what is above it
  // moved: the strip comes last, and pushes the slide towards the bar.
  resized() {
    if (!this.slides?.node?.isConnected) return;
    const [top, height] = this.extent;
    if (Math.abs(top - this.laid[0]) > 1 || Math.abs(height - this.laid[1]) > 4) this.again();
  }

  turn(by) {
    const part = this.part + by;
    if (part >= 1 && part <= this.slides.count) this.part = part;
    else {
      const to = this.at + by;
      if (to < 1 || to > this.data.steps) return;
      this.at = to;
      this.part = by > 0 ? 1 : Infinity;
    }
    this.show();
    document.querySelector("[data-testid=stMain]")?.scrollTo(0, 0);
  }

  // What only the presenter sees, in a second window: the words of this step, what comes next, the time since the start.
  openNotes() {
    this.notes = open("", "quantlib-notes", "popup,width=720,height=820");
    if (!this.notes) return;
    this.since ??= Date.now();
    const page = this.notes.document, make = (tag, text = "") => Object.assign(page.createElement(tag), { textContent: text });
    page.title = "Notes for the presenter";
    page.body.replaceChildren(this.clock = make("p"), this.said = make("div"));
    page.body.style.cssText = "font: 20px/1.45 system-ui, sans-serif; margin: 1.5rem; color-scheme: light dark; color: light-dark(#1F2328, #E6E8EB); background: light-dark(#FDFCFA, #14171C)";
    page.onkeydown = (event) => ({ ArrowRight: () => this.turn(1), PageDown: () => this.turn(1), ArrowLeft: () => this.turn(-1), PageUp: () => this.turn(-1) })[event.key]?.();
    clearInterval(this.ticks);
    this.ticks = setInterval(() => this.tick(), 1000);
    this.tick();
    this.tellNotes();
  }

  tick() {
    if (!this.notes || this.notes.closed) return clearInterval(this.ticks);
    const seconds = Math.floor((Date.now() - this.since) / 1000), two = (n) => String(n).padStart(2, "0");
    this.clock.textContent = `${two(Math.floor(seconds / 60))}:${two(seconds % 60)} since the start · ${this.data.title}, ${this.at} of ${this.data.steps}`;
  }

  tellNotes() {
    if (!this.notes || this.notes.closed) return;
    const { prose, sources, spoilers } = this.slides.words(), next = document.querySelector(stepSelector(this.at + 1))?.querySelector("h1, h2, h3");
    const make = (tag, text) => Object.assign(this.notes.document.createElement(tag), { textContent: text });
    this.said.replaceChildren(
      ...prose.map((text) => make("p", text)),
      ...spoilers.flatMap((text) => [make("h3", "The answer, which the room does not see yet"), make("p", text)]),
      ...sources.map((text) => make("small", text)),
      make("p", this.at < this.data.steps ? `Next: ${next?.textContent ?? "the following step"}` : "This was the last step."));
  }

  fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen(); else document.documentElement.requestFullscreen?.();
  }

  key(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.composedPath().some((node) => node.matches?.("input:not([type=range]), textarea, [contenteditable], [role=combobox]"));
    if (typing || (!this.data.presenting && event.key !== "Escape")) return;
    const busy = event.composedPath().some((node) => node.matches?.("button.bit, .w, .byte, input, [role=slider], [role=radio], .own-keys"));
    const act = { PageDown: () => this.turn(1), PageUp: () => this.turn(-1), Escape: () => this.escape(),
      f: () => this.fullScreen(), F: () => this.fullScreen(), n: () => this.openNotes(), N: () => this.openNotes(), q: () => this.toggleCode(), Q: () => this.toggleCode(),
      ...(busy ? {} : { ArrowRight: () => this.turn(1), ArrowLeft: () => this.turn(-1) }) }[event.key];
    if (!act) return;
    if (event.key !== "Escape") event.preventDefault();
    act();
  }

  escape() {
    if (this.code) this.closeCode();
    else if (this.data.presenting && !document.fullscreenElement) location.href = this.there({ present: null, part: null, slide: null });
  }

  toggleCode() {
    if (this.code) return this.closeCode();
    const address = this.shared();
    const close = h("button", { class: "pill", type: "button", onclick: () => this.closeCode() }, "Close");
    this.code = h("div", { class: "code", role: "dialog", "aria-modal": "true", "aria-label": "QR code of this page" },
      h("img", { src: this.drawnCode(address), alt: "QR code that leads to this page as it is now" }),
      h("p", {}, address), close);
    this.root.append(this.code);
    close.focus();
  }

  // The address that leads others to this page as it is.
  shared(changes = {}) { return this.there({ present: null, part: null, slide: null, step: null, ...changes }); }

  // Where the code of an address is drawn.
  drawnCode(address) { return new URL(`share/qr.svg?address=${encodeURIComponent(address)}`, this.base()).href; }

  // The app's root: the page's address without the page's own name.
  base() {
    const page = location.origin + location.pathname.replace(/\/*$/, "/");
    return this.data.address ? new URL("../", page) : page;
  }

  closeCode() { this.code?.remove(); this.code = null; }
}

// A name for a room whose guesses are counted; long enough that nobody guesses it.
function newRoom() {
  return [...crypto.getRandomValues(new Uint8Array(10))].map((byte) => "abcdefghjkmnpqrstuvwxyz23456789"[byte % 31]).join("");
}
