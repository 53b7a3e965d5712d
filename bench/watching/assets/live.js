"use strict";
(() => {
  const POLL = 2000;
  const ANYWAY = 15000;
  const byId = (id) => document.getElementById(id);
  document.documentElement.classList.add("scripts");
  let version = document.querySelector("meta[name=version]").content;
  let refreshed = Date.now();

  // Replaces what has changed, and keeps the focus. A part with selected text stays as it is until the next time.
  const replace = (fresh) => {
    for (const part of document.querySelectorAll("main > section, header, footer")) {
      const selector = part.id ? `#${part.id}` : part.tagName;
      const newer = fresh.querySelector(selector);
      if (!newer) return location.reload();
      const selected = !getSelection().isCollapsed && part.contains(getSelection().anchorNode);
      if (newer.innerHTML === part.innerHTML || selected) continue;
      const focused = [...part.querySelectorAll("a, .scroll")].indexOf(document.activeElement);
      const scrolled = [...part.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
      part.replaceChildren(...newer.childNodes);
      part.querySelectorAll(".scroll").forEach((box, position) => (box.scrollLeft = scrolled[position] ?? 0));
      if (focused >= 0) part.querySelectorAll("a, .scroll")[focused]?.focus({ preventScroll: true });
    }
    if (fresh.querySelectorAll("main > section").length !== document.querySelectorAll("main > section").length) location.reload();
    document.title = fresh.title;
  };
  const get = async (address) => {
    const answer = await fetch(address, { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.statusText);
    return answer;
  };
  const refresh = async () => {
    try {
      const status = await (await get("status.json")).json();
      if (status.version !== version || Date.now() - refreshed > ANYWAY) {
        const text = await (await get(location.pathname + location.search)).text();
        replace(new DOMParser().parseFromString(text, "text/html"));
        version = status.version;
        refreshed = Date.now();
      }
      byId("lost").hidden = true;
    } catch {
      byId("last").textContent = byId("clock").textContent;
      byId("lost").hidden = false;
    }
  };
  const loop = async () => {
    const began = Date.now();
    if (!document.hidden) await refresh();
    setTimeout(loop, Math.max(POLL, 10 * (Date.now() - began)));
  };
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  setTimeout(loop, POLL);
})();
