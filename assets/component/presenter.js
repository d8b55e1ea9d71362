// The bar at a chapter's foot, and presenting: one step on the screen, turned by keys; a code that leads others here.
import { h } from "./dom.js";

const STEP = (n) => `[class*="st-key-step-"]:is(.st-key-step-${n}, .st-key-step-${n}-printed)`;

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
  }

  leave() {
    document.removeEventListener("keydown", this.keys);
    this.style?.remove();
    this.closeCode();
  }

  update(data) {
    const first = !this.data;
    this.data = data;
    this.at ??= data.step;
    this.root.classList.toggle("presenting", data.presenting);
    this.root.replaceChildren(...(data.presenting ? this.stage() : this.plain()));
    if (data.presenting) this.show();
    else if (first && new URL(location.href).searchParams.has("step")) document.querySelector(STEP(data.step))?.scrollIntoView();
  }

  plain() {
    return [h("div", { class: "bar" },
      h("a", { class: "pill", href: this.there({ present: "1", step: "1" }) }, "Present this chapter"),
      h("button", { class: "pill", type: "button", onclick: () => this.toggleCode() }, "QR code of this page"),
      h("button", { class: "pill", type: "button", onclick: () => window.print() }, "Print the one-page summary"))];
  }

  stage() {
    const { steps, title } = this.data;
    return [h("div", { class: "bar", role: "toolbar", "aria-label": "Presenting" },
      h("button", { class: "pill", type: "button", onclick: () => this.turn(-1), "aria-label": "Previous step" }, "←"),
      this.place = h("span", { class: "place", "aria-live": "polite" }, `${title} · ${this.at} of ${steps}`),
      h("button", { class: "pill", type: "button", onclick: () => this.turn(1), "aria-label": "Next step" }, "→"),
      h("span", { class: "keys" }, h("kbd", {}, "←"), h("kbd", {}, "→"), " step ", h("kbd", {}, "F"), " full screen ", h("kbd", {}, "Q"), " code ", h("kbd", {}, "Esc"), " leave"),
      h("button", { class: "pill", type: "button", onclick: () => this.toggleCode() }, "code"),
      h("button", { class: "pill", type: "button", onclick: () => this.fullScreen() }, "full screen"),
      h("a", { class: "pill", href: this.there({ present: null }) }, "leave"))];
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
    this.style ??= document.head.appendChild(h("style", { id: "ql-step" }));
    this.style.textContent = `.stMainBlockContainer [class*="st-key-step-"] { display: none !important; }
      .stMainBlockContainer ${STEP(this.at)} { display: flex !important; }
      .stMainBlockContainer .st-key-chapter-head { display: ${this.at === 1 ? "flex" : "none"} !important; }`;
    this.place.textContent = `${this.data.title} · ${this.at} of ${this.data.steps}`;
    history.replaceState(history.state, "", this.there({ step: String(this.at) }));
    window.dispatchEvent(new Event("resize"));
  }

  turn(by) {
    const to = this.at + by;
    if (to < 1 || to > this.data.steps) return;
    this.at = to;
    this.show();
    document.querySelector("[data-testid=stMain]")?.scrollTo(0, 0);
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
      f: () => this.fullScreen(), F: () => this.fullScreen(), q: () => this.toggleCode(), Q: () => this.toggleCode(),
      ...(busy ? {} : { ArrowRight: () => this.turn(1), ArrowLeft: () => this.turn(-1) }) }[event.key];
    if (!act) return;
    if (event.key !== "Escape") event.preventDefault();
    act();
  }

  escape() {
    if (this.code) this.closeCode();
    else if (this.data.presenting && !document.fullscreenElement) location.href = this.there({ present: null });
  }

  toggleCode() {
    if (this.code) return this.closeCode();
    const address = this.there({ present: null });
    const close = h("button", { class: "pill", type: "button", onclick: () => this.closeCode() }, "Close");
    this.code = h("div", { class: "code", role: "dialog", "aria-modal": "true", "aria-label": "QR code of this page" },
      h("img", { src: new URL(`share/qr.svg?address=${encodeURIComponent(address)}`, this.base()).href, alt: "QR code that leads to this page as it is now" }),
      h("p", {}, address), close);
    this.root.append(this.code);
    close.focus();
  }

  // The app's root: the page's address without the page's own name.
  base() {
    const page = location.origin + location.pathname.replace(/\/*$/, "/");
    return this.data.address ? new URL("../", page) : page;
  }

  closeCode() { this.code?.remove(); this.code = null; }
}
