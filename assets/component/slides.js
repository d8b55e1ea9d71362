// A step of a chapter as slides: what fits the screen together is shown together, in its order; the rest is the next slide.

export const stepSelector = (n) => `[class*="st-key-step-"]:is(.st-key-step-${n}, .st-key-step-${n}-printed)`;
const WHOLE = "[class*=st-key-guess-], [data-testid=stHorizontalBlock], [data-testid=stForm], [class*=st-key-together-]";
const CONTROL = "[data-testid=stButtonGroup], [data-testid=stSlider], [data-testid=stSelectbox], [data-testid=stTextInput], [data-testid=stNumberInput], [data-testid=stCheckbox], [data-testid=stRadio], [data-testid=stTextArea]";
const NUMBERS = "[data-testid=stMetric]";
const FIGURE = "[data-testid=stBidiComponent], .stBidiComponent, [data-testid=stPlotlyChart]";
const ZOOMS = [3.3, 3, 2.7, 2.4, 2.1], TIGHT = [1.95, 1.8, 1.65, 1.5, 1.35, 1.2, 1.05];  // of components, on a screen of 1080 lines
const ENOUGH = [...ZOOMS, 1.95, 1.8];  // at which everybody reads them

// How large everything is: 1 on a screen of 1920 by 1080.
export const unit = () => Math.max(0.6, Math.min(innerHeight / 1080, innerWidth / 1728));

// The blocks of a step that are kept whole, from the top.
export function blocks(node) {
  return [...node.children].flatMap((child) => {
    const inner = child.matches("[data-testid=stVerticalBlock]") ? child : child.querySelector(":scope > [data-testid=stVerticalBlock]");
    return inner && !child.matches(WHOLE) && !inner.matches(WHOLE) ? blocks(inner) : [child];
  });
}

export const shows = (block) => block.getClientRects().length > 0 && block.offsetHeight > 1;
export const has = (block, selector) => block.matches(selector) || Boolean(block.querySelector(selector));
export const isTitle = (block) => Boolean(block.querySelector(":is(h1, h2, h3)")) && !has(block, FIGURE);
export const pictured = (block) => has(block, FIGURE) || has(block, "[data-testid=stDataFrame], table, svg");
const leads = (block) => !pictured(block) && (has(block, CONTROL) || isTitle(block)) && !has(block, WHOLE);

// Blocks that belong together: controls and the picture below them.
function groups(all) {
  const found = [];
  let open = false;
  for (const block of all) {
    if (open) found.at(-1).push(block); else found.push([block]);
    open = leads(block);
  }
  return found;
}

export class Slides {
  constructor(step) {
    this.node = document.querySelector(stepSelector(step));
    this.count = 1;
  }

  // What of the screen a slide may take.
  get room() {
    const top = this.node.getBoundingClientRect().top + (document.querySelector("[data-testid=stMain]")?.scrollTop ?? 0);
    return innerHeight - Math.max(0, top) - this.bar - 8 * unit();
  }

  get bar() {
    const style = getComputedStyle(document.documentElement);
    return (parseFloat(style.getPropertyValue("--bar")) || 0) * parseFloat(style.fontSize);
  }

  zoom(value) { this.node.style.setProperty("--slide-zoom", String(value * unit())); }

  // Shares the blocks out among slides and shows one of them, as large as it fits.
  show(part) {
    if (!this.node) return 1;
    this.all = blocks(this.node);
    Object.assign(this.node.style, { zoom: "", width: "", marginInline: "" });
    this.all.forEach((block) => block.removeAttribute("data-off"));
    this.zoom(ZOOMS.at(-1));
    document.documentElement.style.setProperty("--strip-zoom", String(ZOOMS.at(-1) * unit()));
    const shown = this.all.filter(shows);
    this.titles = shown.filter((block, i) => i === 0 && isTitle(block));
    const slides = this.shared(groups(shown.filter((block) => !this.titles.includes(block))));
    this.count = Math.max(1, slides.length);
    const now = Math.max(1, Math.min(part, this.count)), here = slides[now - 1];
    this.only(here?.blocks ?? []);
    this.zoom(here?.zoom ?? ZOOMS.at(-1));
    this.shrink();
    return now;
  }

  // From the step's top to the lowest thing seen in it, whether or not its box reaches so far.
  get height() {
    const top = this.node.getBoundingClientRect().top;
    return Math.max(...parts(this.node).map((part) => part.getBoundingClientRect()).filter((box) => box.width && box.height).map((box) => box.bottom), top) - top;
  }

  // What is too tall even so is made smaller as a whole: better small than cut.
  shrink() {
    for (let share = 1; share > 0.3 && this.height > this.room;) {
      share *= Math.min(0.97, this.room / this.height);
      Object.assign(this.node.style, { zoom: share, width: `${100 * share}%`, marginInline: "auto" });  // narrower too: pictures grow with their width
    }
  }

  only(few) {
    const here = new Set([...this.titles, ...few]);
    this.all.forEach((block) => block.toggleAttribute("data-off", !here.has(block)));
  }

  // The largest zoom at which these blocks fit the slide together; nothing where none does.
  fitting(few, zooms) {
    this.only(few);
    const figures = few.filter((block) => has(block, FIGURE));
    return (figures.length ? zooms : [ZOOMS.at(-1)]).find((zoom) => {
      this.zoom(zoom);
      return this.height <= this.room && figures.every(narrow);
    });
  }

  // Slides in order, each as full as it reads well. A lead that fits no slide with its picture is for the presenter to say.
  shared(found) {
    const slides = [];
    let lead = [];
    found.forEach((group, i) => {
      const before = slides.at(-1), last = i === found.length - 1;
      if (!group.some(pictured) && !lead.length && before) {
        const zoom = this.fitting([...before.blocks, ...group], [...ENOUGH, ...(group.every((block) => has(block, NUMBERS)) ? TIGHT.slice(0, 3) : [])].filter((one) => one <= before.zoom));
        if (zoom) return Object.assign(before, { blocks: [...before.blocks, ...group], zoom });
      }
      if (!group.some(pictured) && !last) {
        lead.push(...group);
        if (this.fitting(lead, ZOOMS) && this.node.getBoundingClientRect().height < 0.5 * this.room) return undefined;
        slides.push({ blocks: lead, zoom: ZOOMS.at(-1) });
        lead = [];
        return undefined;
      }
      const all = [...lead, ...group], zoom = this.fitting(all, ENOUGH);
      if (zoom) slides.push({ blocks: all, zoom });
      else {
        if (lead.length && !lead.every(spoken)) slides.push({ blocks: lead, zoom: ZOOMS.at(-1) });
        slides.push({ blocks: group, zoom: this.fitting(group, [...ZOOMS, ...TIGHT]) ?? TIGHT.at(-1) });
      }
      lead = [];
      return undefined;
    });
    if (lead.length) slides.push({ blocks: lead, zoom: ZOOMS.at(-1) });
    return slides.filter(({ blocks: few }) => slides.length === 1 || !few.every(idle));
  }

  // What the presenter may want to say and the wall does not show.
  words() {
    const said = (selector) => [...this.node.querySelectorAll(selector)].map((node) => node.textContent.trim()).filter(Boolean);
    return { prose: said("[data-testid=stMarkdown] :is(p, li)"), sources: said("[data-testid=stCaptionContainer]"), spoilers: said("[class*=st-key-spoiler-] p") };
  }
}

// Nothing for a wall by itself: a control whose picture is elsewhere, links to pages.
const idle = (block) => !pictured(block) && !has(block, `${NUMBERS}, [class*=st-key-guess-], [class*=st-key-in-short]`)
  && (has(block, "[data-testid=stPageLink], [data-testid=stPopover]") || (has(block, CONTROL) && ![...block.querySelectorAll("[data-testid=stMarkdown] :is(p, li)")].some((node) => node.textContent.length > 40)));

// All elements below a node, those of components included.
const parts = (node) => [...node.querySelectorAll("*")].flatMap((part) => (part.shadowRoot ? [part, ...parts(part.shadowRoot)] : [part]));

// Words alone, without anything to touch.
const spoken = (block) => !has(block, `${CONTROL}, [data-testid=stMetric], [class*=st-key-guess-]`);

// Nothing of the components in a block is wider than they are.
function narrow(block) {
  return block.scrollWidth <= block.clientWidth + 1 && [block, ...block.querySelectorAll("[data-testid=stBidiComponent], .stBidiComponent")].every(fitsItself);
}

function fitsItself(host) {
  const root = host.querySelector(".ql") ?? [...host.querySelectorAll("*")].map((node) => node.shadowRoot?.querySelector(".ql")).find(Boolean);
  return !root || root.scrollWidth <= root.clientWidth + 1;
}
