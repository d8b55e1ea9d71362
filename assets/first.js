// Says in the classes of <html> what has come, for first.css. CSS could ask for it with :has(), but then the browser
// would look again, and style the whole page anew, at whatever changes later.
{
  const awaited = { framed: ".st-key-mending", "with-menu": "[data-testid=stSidebarNavLink]" };
  const look = (_, watcher) => {
    for (const [name, what] of Object.entries(awaited)) {
      if (!document.querySelector(what)) continue;
      document.documentElement.classList.add(name);
      delete awaited[name];
    }
    if (!Object.keys(awaited).length) watcher.disconnect();
  };
  new MutationObserver(look).observe(document, { childList: true, subtree: true });
}
