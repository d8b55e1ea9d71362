// Says in the classes of <html> what has come, for first.css. CSS could ask for it with :has(), but then the browser
// would look again, and style the whole page anew, at whatever changes later.
// Text with HTML in it is one line high until Streamlit has fetched what reads it, so the first such text is awaited;
// and so are the typefaces, with which lines break elsewhere.
{
  const awaited = { framed: ".st-key-mending .raw-is-there", "with-menu": "[data-testid=stSidebarNavLink]" };
  const typefaces = () => Promise.allSettled(["Source Sans", "Source Code"].map((name) => document.fonts.load(`1rem "${name}"`)));
  const look = (_, watcher) => {
    for (const [name, what] of Object.entries(awaited)) {
      if (!document.querySelector(what)) continue;
      typefaces().then(() => document.documentElement.classList.add(name));
      delete awaited[name];
    }
    if (!Object.keys(awaited).length) watcher.disconnect();
  };
  new MutationObserver(look).observe(document, { childList: true, subtree: true });
}
