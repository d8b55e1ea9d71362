// What Streamlit's own page lacks.
//
// It puts its menu's items into a list with other elements between, which screen readers take for a broken list. The
// menu is a navigation of links already, so the list is no list. And it tells the script of another theme only when
// the script runs for another reason, so charts would keep the old colours: here the script is asked to run again.
const asked = { scheme: null };

export default function ({ data: [{ theme }], setTriggerValue }) {
  const app = document.querySelector("[data-testid=stApp]") ?? document.body;
  const mend = () => document.querySelectorAll("[data-testid=stSidebarNavItems], [data-testid=stSidebarNavItems] li")
    .forEach((node) => node.getAttribute("role") !== "none" && node.setAttribute("role", "none"));
  const compare = () => {
    const { colorScheme } = getComputedStyle(app);
    if (colorScheme === theme) asked.scheme = null;
    else if (["light", "dark"].includes(colorScheme) && asked.scheme !== colorScheme) {
      asked.scheme = colorScheme;  // once: where the script goes on believing otherwise, it is not asked for ever
      setTriggerValue("theme", colorScheme);
    }
  };
  let due;
  const soon = () => { due ??= setTimeout(() => { due = undefined; mend(); }, 100); };  // not amid what draws the page
  const watchers = [new MutationObserver(soon), new MutationObserver(compare)];
  watchers[0].observe(app, { childList: true, subtree: true });
  watchers[1].observe(app, { attributes: true, attributeFilter: ["class"] });
  mend();
  compare();
  return () => { clearTimeout(due); watchers.forEach((watcher) => watcher.disconnect()); };
}
