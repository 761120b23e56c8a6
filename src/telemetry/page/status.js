"use strict";
// Exchanges what has changed since, so that nobody loses their place. Without
// this script the browser loads the page again every 15 s.
(() => {
  const every = 5000;
  const parts = ["stage", "when", ...[...document.querySelectorAll("main > section")].map((s) => s.id)];
  const pause = document.getElementById("pause");
  const stale = document.getElementById("stale");
  let paused = false, misses = 0, last = Date.now();

  function exchange(fresh) {
    for (const id of parts) {
      const here = document.getElementById(id), there = fresh.getElementById(id);
      if (!here || !there) continue;
      for (const open of here.querySelectorAll("details[open][id]")) {
        const same = there.querySelector("#" + CSS.escape(open.id));
        if (same) same.open = true;
      }
      if (here.innerHTML === there.innerHTML && here.className === there.className) continue;
      const active = here.contains(document.activeElement) ? document.activeElement : null;
      const all = "a, button, summary";
      const place = active ? [...here.querySelectorAll(all)].indexOf(active) : -1;
      const holder = active && active.closest("details[id]");
      here.className = there.className;
      here.replaceChildren(...there.childNodes);
      if (!active) continue;
      const again = holder && document.getElementById(holder.id);
      const target = (again && again.querySelector(active.localName)) || here.querySelectorAll(all)[place];
      if (target) target.focus({ preventScroll: true });
    }
    document.title = fresh.title;
  }

  async function refresh() {
    if (paused || document.hidden) return;
    try {
      const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(4 * every) });
      if (!answer.ok) throw new Error("status " + answer.status);
      exchange(new DOMParser().parseFromString(await answer.text(), "text/html"));
      misses = 0;
      last = Date.now();
      stale.hidden = true;
    } catch {
      misses += 1;
      if (misses > 1) {
        const gone = Math.round((Date.now() - last) / 1000);
        stale.textContent = `No answer for ${gone} s: what is shown here is old.`;
        stale.hidden = false;
      }
    }
  }

  async function round() {
    await refresh();
    setTimeout(round, every);
  }

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    if (!paused) refresh();
  });
  document.addEventListener("visibilitychange", refresh);
  // What was done is told once, and not again when the page is loaded again.
  if (location.search) history.replaceState(null, "", location.pathname + location.hash);
  setTimeout(round, every);
})();
