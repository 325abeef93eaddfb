"use strict";
// Dialogs, short messages, and the theme.
(() => {
  EA.dialog = (title, ...content) => {
    const close = EA.el(
      "button",
      { type: "button", class: "icon", "aria-label": "Close", onclick: () => dialog.close() },
      "×",
    );
    const heading = EA.el("h2", { id: "dialog-title", tabindex: "-1", autofocus: true }, title);
    const dialog = EA.el(
      "dialog",
      { "aria-labelledby": "dialog-title" },
      EA.el("div", { class: "dialog-head" }, heading, close),
      EA.el("div", { class: "dialog-body", tabindex: "0" }, ...content),
    );
    dialog.addEventListener("close", () => dialog.remove());
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close(); // the backdrop
    });
    document.body.append(dialog);
    dialog.showModal();
    return dialog;
  };

  let hiding = 0;
  EA.toast = (text) => {
    document.querySelector(".toast")?.remove();
    const toast = EA.el("div", { class: "toast", "aria-hidden": "true" }, text);
    document.body.append(toast);
    EA.announce(text);
    clearTimeout(hiding);
    hiding = setTimeout(() => toast.remove(), 3500);
  };

  const themes = { "": "Auto", dark: "Dark", light: "Light" };
  let theme = EA.store.get("theme");
  if (!(theme in themes)) theme = "";
  const applied = () => {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  };
  applied();

  EA.themeButton = () => {
    const button = EA.el("button", { type: "button", class: "quiet", id: "theme" });
    const named = () => {
      button.textContent = themes[theme];
      button.setAttribute("aria-label", `Colours: ${themes[theme]}`);
    };
    button.addEventListener("click", () => {
      const all = Object.keys(themes);
      theme = all[(all.indexOf(theme) + 1) % all.length];
      EA.store.set("theme", theme);
      applied();
      named();
      EA.announce(`Colours: ${themes[theme]}`);
    });
    named();
    return button;
  };
})();
