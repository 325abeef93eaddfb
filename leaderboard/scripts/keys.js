"use strict";
// The keyboard: each page says what its keys do; ? shows them.
(() => {
  EA.keys = {};

  const names = {
    board: [
      ["/", "search"],
      ["j, k", "next and previous row"],
      ["Enter", "open the model of the row"],
      ["c", "choose the row; with two chosen, compare"],
      ["p", "copy the link of this view"],
    ],
    model: [
      ["Enter", "its samples"],
      ["c", "compare with another model"],
      ["p", "copy the link"],
    ],
    samples: [
      ["/", "search"],
      ["j, k", "next and previous sample"],
      ["p", "play or pause"],
      ["c", "compare with another model"],
      ["Enter", "open the first picture"],
    ],
    compare: [
      ["j, k", "next and previous sample"],
      ["p", "play or pause"],
      ["c", "switch between A and B"],
      ["Enter", "open A's samples at this one"],
    ],
  };

  EA.help = () => {
    const page = document.body.dataset.page;
    EA.dialog(
      "Keys",
      EA.el(
        "dl",
        { class: "facts keys" },
        [...names[page], ["?", "this list"], ["Esc", "close"]].flatMap(([key, what]) => [
          EA.el(
            "dt",
            {},
            key.split(", ").flatMap((k, i) => [i ? " " : null, EA.el("kbd", {}, k)]),
          ),
          EA.el("dd", {}, what),
        ]),
      ),
    );
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]")) return;
    const at = event.target;
    if (event.key === "Escape" && at.matches("input[type=search]")) {
      at.blur();
      return;
    }
    if (at.matches("textarea, select, input:not([type=checkbox]):not([type=range])")) return;
    if (event.key === "Enter" && at.matches("a, button, summary, input")) return;
    const does = event.key === "?" ? EA.help : EA.keys[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  });
})();
