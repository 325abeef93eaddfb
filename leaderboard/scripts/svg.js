"use strict";
// Charts come as trees, [name, attributes, children or text]; here they become elements.
(() => {
  const allowed = new Set(["svg", "g", "line", "path", "rect", "circle", "text", "title", "desc"]);
  const space = "http://www.w3.org/2000/svg";

  EA.svg = ([name, attributes, content]) => {
    if (!allowed.has(name)) throw new Error(`no such shape: ${name}`);
    const element = document.createElementNS(space, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (typeof content === "string") element.textContent = content;
    else element.append(...content.map(EA.svg));
    return element;
  };

  // A chart with its title; `run` is the one to show among others.
  EA.chart = (tree, run) => {
    const drawn = EA.svg(tree);
    for (const mark of drawn.querySelectorAll("[data-run]")) {
      if (mark.dataset.run === run) {
        mark.classList.add("this");
        mark.parentNode.append(mark); // above the others
      }
      mark.addEventListener("click", () => EA.go("model", { run: mark.dataset.run }));
    }
    const words = drawn.querySelector("desc").textContent;
    return EA.el(
      "figure",
      { class: "figure" },
      EA.said(tree[1]["aria-label"], "figcaption"),
      drawn,
      EA.el("details", {}, EA.el("summary", {}, "In words"), EA.said(words, "p")),
    );
  };
})();
