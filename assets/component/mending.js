// What Streamlit's own page lacks.
//
// It puts its menu's items into a list with other elements between, which screen readers take for a broken list. The
// menu is a navigation of links already, so the list is no list. And it tells the script of another theme only when
// the script runs for another reason, so charts would keep the old colours: here the script is asked to run again.
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
  const soon = () => { due ??= setTimeout(() => { due = undefined; mend(); offer(); }, 100); };  // not amid what draws the page
  const watchers = [new MutationObserver(soon), new MutationObserver(compare)];
  watchers[0].observe(app, { childList: true, subtree: true });
  watchers[1].observe(app, { attributes: true, attributeFilter: ["class"] });
  mend();
  offer();
  compare();
  document.addEventListener("quantlib-save", save);
  return () => {
    document.removeEventListener("quantlib-save", save);
    clearTimeout(due);
    watchers.forEach((watcher) => watcher.disconnect());
  };
}
