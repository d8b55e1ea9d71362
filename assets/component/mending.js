// Streamlit puts its menu's items into a list with other elements between, which screen readers take for a broken list.
// It is a navigation of links already, so the list is no list.
export default function ({ parentElement }) {
  const mend = () => document.querySelectorAll("[data-testid=stSidebarNavItems], [data-testid=stSidebarNavItems] li")
    .forEach((node) => node.getAttribute("role") !== "none" && node.setAttribute("role", "none"));
  const watcher = new MutationObserver(mend);
  watcher.observe(document.querySelector("[data-testid=stApp]") ?? document.body, { childList: true, subtree: true });
  mend();
  return () => watcher.disconnect();
}
