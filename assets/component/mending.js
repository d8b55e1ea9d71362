// What Streamlit's own page lacks.
//
// It puts its menu's items into a list with other elements between, which screen readers take for a broken list. The
// menu is a navigation of links already, so the list is no list. And it tells the script of another theme only when
// the script runs for another reason, so charts would keep the old colours: here the script is asked to run again.
//
// Charts and tables get a name and words that say what they show, for those who do not see them.
//
// And what every page needs once: saving figures as images, and the buttons for it below Plotly's charts.
import { imageButtons } from "./dom.js";
import { saveImage } from "./images.js";

const asked = { scheme: null };
const save = ({ detail: { root, kind } }) => saveImage(root, kind);

export default function ({ data: [{ theme }], setTriggerValue }) {
  const app = document.querySelector("[data-testid=stApp]") ?? document.body;
  const mend = () => document.querySelectorAll("[data-testid=stSidebarNavItems], [data-testid=stSidebarNavItems] li")
    .forEach((node) => node.getAttribute("role") !== "none" && node.setAttribute("role", "none"));
  const tell = () => {
    document.querySelectorAll("[data-testid=stPlotlyChart] .js-plotly-plot:not([aria-label])").forEach((plot) => plot.layout && name(plot, plotted(plot), "img"));
    document.querySelectorAll("[data-testid=stDataFrame] [role=grid]:not([aria-label]), [data-testid=stDataFrame] canvas:not([aria-label])").forEach((table) => name(table, tabled(table)));
    document.querySelectorAll("[data-testid=stMain] table:not([aria-label], [role], :has(caption))").forEach((table) => name(table, tabled(table)));
  };
  const offer = () => document.querySelectorAll("[data-testid=stPlotlyChart]:not(:has(> .image))")
    .forEach((chart) => chart.querySelector("svg.main-svg") && chart.append(imageButtons(chart)));
  const compare = () => {
    const { colorScheme } = getComputedStyle(app);
    if (colorScheme === theme) asked.scheme = null;
    else if (["light", "dark"].includes(colorScheme) && asked.scheme !== colorScheme) {
      asked.scheme = colorScheme;  // once: where the script goes on believing otherwise, it is not asked for ever
      setTriggerValue("theme", colorScheme);
    }
  };
  let due;
  const soon = () => { due ??= setTimeout(() => { due = undefined; mend(); offer(); tell(); }, 100); };  // not amid what draws the page
  const watchers = [new MutationObserver(soon), new MutationObserver(compare)];
  watchers[0].observe(app, { childList: true, subtree: true });
  watchers[1].observe(app, { attributes: true, attributeFilter: ["class"] });
  mend();
  offer();
  tell();
  compare();
  document.addEventListener("quantlib-save", save);
  return () => {
    document.removeEventListener("quantlib-save", save);
    clearTimeout(due);
    watchers.forEach((watcher) => watcher.disconnect());
  };
}

function name(node, words, role) {
  node.setAttribute("aria-label", words);
  if (role) node.setAttribute("role", role);
}

// The heading that a chart or a table stands under.
const headingOf = (node) => [...document.querySelectorAll("[data-testid=stMain] :is(h1, h2, h3)")]
  .findLast((heading) => heading.compareDocumentPosition(node) & Node.DOCUMENT_POSITION_FOLLOWING)?.textContent.trim() ?? "";

// What a table holds, in words: what it stands under, how many rows, and its columns.
function tabled(table) {
  const grid = table.matches("table") ? table : table.querySelector("table") ?? table, heads = [...grid.querySelectorAll("thead th, [role=columnheader]")];
  const rows = Number(grid.getAttribute("aria-rowcount")) || grid.querySelectorAll("tr").length, columns = heads.map((head) => head.textContent.trim()).filter(Boolean);
  return [`Table: ${headingOf(table)}`, `${Math.max(0, rows - 1)} rows`, columns.join(", ")].filter(Boolean).join(". ");
}

// What a chart shows, in words: what is drawn over what, and from where to where each of its lines or bars goes.
function plotted(plot) {
  const axis = (one) => (one?.title?.text ?? "").replace(/<[^>]*>/g, " ").trim(), { xaxis, yaxis } = plot.layout;
  const named = [axis(yaxis), axis(xaxis)].filter(Boolean).join(" over ");
  const lines = (plot._fullData ?? plot.data).filter((trace) => trace.visible !== false).map((trace) => {
    const values = Array.from((trace.z ?? []).length ? Array.from(trace.z).flatMap((row) => Array.from(row)) : (trace.orientation === "h" ? trace.x : trace.y) ?? []).map(Number).filter(Number.isFinite);
    if (!values.length) return "";
    const said = (value) => Number(value.toPrecision(3)).toLocaleString("en"), least = values.reduce((a, b) => Math.min(a, b)), most = values.reduce((a, b) => Math.max(a, b));
    return `${/^trace \d+$/.test(trace.name ?? "trace 0") ? "" : trace.name} ${values.length} values from ${said(least)} to ${said(most)}, the last ${said(values.at(-1))}`.trim();
  });
  return [`Chart: ${headingOf(plot)}`, named, ...lines.filter(Boolean).slice(0, 12)].filter(Boolean).join(". ");
}
