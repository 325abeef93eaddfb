"use strict";
(() => {
  document
    .getElementById("tools")
    .append(
      EA.themeButton(),
      EA.el(
        "button",
        { type: "button", class: "quiet", id: "help", "aria-label": "Keys", onclick: () => EA.help() },
        "?",
      ),
    );
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the hash is the view
    document.getElementById("main").focus();
  });
  addEventListener("hashchange", EA.draw);
  EA.draw();
})();
