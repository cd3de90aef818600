// Keeps a page as it would be if it were read again: when the daemon says that something changed, the page is fetched from the same address and what
// differs is put in its place. Nothing is worked out here; without this script the page says the same, as of when it was read.
"use strict";

(() => {
  /// Milliseconds: how long a fetch may take, how often a page is read again where nothing is heard of, and the back-off after a loss.
  const PATIENCE = 15_000, EVERY = 60_000, FIRST_WAIT = 1_000, LONGEST_WAIT = 60_000;
  /// How many changes are said in one sentence.
  const SAID = 3;

  const mark = document.getElementById("live");
  const voice = document.getElementById("said");
  const target = document.body.dataset.target;
  let source = null, waiting = 0, losses = 0, reading = false, again = false, wasLive = false;

  // The connection.

  function listen() {
    waiting = 0;
    source = new EventSource("/events");
    // What changed between the page and this moment was not heard of.
    source.onopen = read;
    source.onmessage = (message) => {
      const news = JSON.parse(message.data);
      if (news.more || !target || news.targets.includes(target)) read();
    };
    source.addEventListener("again", () => { leave(); listen(); });
    source.onerror = lost;
  }

  function leave() {
    if (source) source.close();
    source = null;
    clearTimeout(waiting);
    waiting = 0;
  }

  function lost() {
    leave();
    show(false);
    if (document.hidden) return;
    const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** losses) * (0.5 + Math.random() / 2);
    losses = Math.min(losses + 1, 10);
    waiting = setTimeout(listen, wait);
  }

  function show(live) {
    if (wasLive && !live) voice.textContent = "This page is not live any more, and tries to be.";
    wasLive = live;
    mark.hidden = false;
    mark.className = live ? "live on" : "live";
    mark.textContent = live ? "live" : "not live, reconnecting";
  }

  // Reading again.

  async function read() {
    if (reading) { again = true; return; }
    reading = true;
    try {
      const answer = await fetch(location.href, { cache: "no-store", redirect: "error", signal: AbortSignal.timeout(PATIENCE) });
      if (!answer.ok) throw new Error(String(answer.status));
      put(new DOMParser().parseFromString(await answer.text(), "text/html"));
      losses = 0;
      if (source && source.readyState === EventSource.OPEN) show(true);
    } catch {
      lost();
    } finally {
      reading = false;
      if (again) { again = false; read(); }
    }
  }

  function put(page) {
    const before = sayings(document), focused = document.activeElement;
    document.title = page.title;
    for (const part of ["header", "main", "footer"]) {
      const [now, next] = [document, page].map((from) => from.querySelector(`body > ${part}`));
      if (now && next) become(now, next);
    }
    // An element that was moved has lost the focus.
    if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
    say(before, sayings(document));
  }

  /// Makes one element as the other is; what is the same stays untouched, and so keeps focus, selection and scroll. Children with an id are found again
  /// wherever they went. What a person opened or typed is theirs.
  function become(now, next) {
    const theirs = (name) => now.nodeName === "DETAILS" && name === "open";
    for (const { name } of [...now.attributes]) {
      if (!next.hasAttribute(name) && !theirs(name)) now.removeAttribute(name);
    }
    for (const { name, value } of next.attributes) {
      if (now.getAttribute(name) !== value && !theirs(name)) now.setAttribute(name, value);
    }
    const named = new Map([...now.children].filter((child) => child.id).map((child) => [child.id, child]));
    let place = now.firstChild;
    for (const child of next.childNodes) {
      const same = child.id ? named.get(child.id) : place && !place.id && place.nodeName === child.nodeName ? place : null;
      if (!same) {
        now.insertBefore(document.importNode(child, true), place);
        continue;
      }
      if (same === place) place = place.nextSibling;
      else now.insertBefore(same, place);
      if (same.nodeType === Node.ELEMENT_NODE) become(same, child);
      else if (same.data !== child.data) same.data = child.data;
    }
    while (place) {
      const gone = place;
      place = place.nextSibling;
      gone.remove();
    }
  }

  function sayings(page) {
    return new Map([...page.querySelectorAll("[data-say]")].map((each) => [each.id, each.dataset.say]));
  }

  /// One sentence on what changed, for those who do not see it.
  function say(before, after) {
    const changed = [...after].filter(([id, words]) => before.has(id) && before.get(id) !== words).map(([, words]) => words);
    if (changed.length === 0) return;
    const rest = changed.length - SAID;
    const more = rest > 0 ? `, and ${rest} more changed` : "";
    voice.textContent = `${changed.slice(0, SAID).join(", ")}${more}.`;
  }

  // The arrows go from target to target, as the tabulator does.
  document.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const on = document.activeElement.closest("tbody th a");
    if (!step || !on || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const all = [...document.querySelectorAll("tbody th a")];
    const next = all[all.indexOf(on) + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
  });

  // A page that nobody sees does not take a listener's place.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) leave();
    else if (!source && !waiting) listen();
  });
  setInterval(() => { if (source && !document.hidden) read(); }, EVERY);
  if (!document.hidden) listen();
})();
