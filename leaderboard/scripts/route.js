"use strict";
// The whole view is in the hash, such as #samples?run=ID&task=T&sample=S, so that it can be linked.
(() => {
  EA.pages = {}; // name -> function (parameters, main) that draws the page

  EA.parsed = () => {
    const [page, query] = location.hash.slice(1).split(/\?(.*)/s);
    return {
      page: EA.pages[page] ? page : "board",
      params: Object.fromEntries(new URLSearchParams(query || "")),
    };
  };

  EA.href = (page, params = {}) => {
    const kept = Object.entries(params).filter(
      ([, v]) => v !== "" && v !== null && v !== undefined && v !== false,
    );
    const query = new URLSearchParams(kept.map(([k, v]) => [k, String(v)])).toString();
    return `#${page}${query ? `?${query}` : ""}`;
  };

  EA.go = (page, params) => {
    location.hash = EA.href(page, params);
  };

  // Notes the view in the address without drawing it again.
  EA.note = (page, params) => {
    const hash = EA.href(page, params);
    if (hash !== location.hash) history.replaceState(null, "", hash);
    shown = location.hash;
  };

  let shown = null;
  EA.leave = null; // what the page wants done before another is drawn
  EA.draw = () => {
    if (location.hash === "#main") return; // the link that skips the header
    if (shown !== null && location.hash === shown) return;
    const first = shown === null;
    shown = location.hash;
    if (EA.leave) EA.leave();
    EA.leave = null;
    EA.keys = {};
    const { page, params } = EA.parsed();
    const main = document.getElementById("main");
    main.replaceChildren();
    main.className = page;
    document.body.dataset.page = page;
    EA.trail();
    const failed = (error) => {
      main.append(EA.el("p", { class: "empty", role: "alert" }, String(error.message || error)));
      throw error;
    };
    let done;
    try {
      done = EA.pages[page](params, main);
    } catch (error) {
      failed(error);
    }
    Promise.resolve(done).catch(failed);
    if (!first) {
      window.scrollTo(0, 0);
      main.focus({ preventScroll: true });
    }
  };

  // The line of links in the header, and the title of the window.
  EA.trail = (...steps) => {
    const parts = steps.map(([text, href]) =>
      href ? EA.el("a", { href }, EA.said(text)) : EA.el("span", { "aria-current": "page" }, EA.said(text)),
    );
    document.getElementById("trail").replaceChildren(...parts);
    document.title = [...steps.map(([text]) => text).reverse(), EA.have("board").title || "Leaderboard"]
      .join(" · ")
      .slice(0, 200);
  };

  EA.copyLink = async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      EA.toast("Link copied");
    } catch {
      EA.toast("Copy the address of this page: it holds the whole view");
    }
  };
})();
