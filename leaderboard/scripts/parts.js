"use strict";
// Parts of prompts and responses: text, pictures, sounds, clips.
(() => {
  // A text, or its head with a button for all of it.
  EA.text = (text, name = "p", attributes = { class: "text" }) => {
    if (typeof text === "string") return EA.said(text, name, attributes);
    const shown = EA.said(`${text.t} …`, name, attributes);
    const button = EA.el(
      "button",
      {
        type: "button",
        class: "more",
        onclick: async () => {
          const pieces = await Promise.all(text.k.map(EA.load));
          shown.textContent = pieces.join("");
          button.remove();
        },
      },
      `Show all ${text.n.toLocaleString("en")} characters`,
    );
    return EA.el("div", {}, shown, button);
  };

  EA.viewer = (part, label) => {
    const image = EA.el("img", { src: EA.file(part.f), alt: label, class: "fit" });
    const zoom = EA.el(
      "button",
      {
        type: "button",
        "aria-pressed": "false",
        onclick: () => {
          const whole = image.classList.toggle("fit");
          zoom.setAttribute("aria-pressed", String(!whole));
        },
      },
      "Pixel for pixel",
    );
    EA.dialog(
      label,
      EA.el("p", { class: "row" }, zoom, EA.el("span", { class: "soft" }, `${part.w} × ${part.h} pixels`)),
      EA.el("div", { class: "stage", tabindex: "0", role: "group", "aria-label": label }, image),
    ).classList.add("wide");
  };

  // Small pictures, such as those of 128 pixels, are shown larger with their pixels sharp.
  EA.picture = (part, label) =>
    EA.el("img", {
      src: EA.file(part.th || part.f),
      alt: label,
      width: part.w,
      height: part.h,
      loading: "lazy",
      class: part.w <= 256 ? "sharp" : "",
    });

  EA.clip = (part, label) => {
    const video = EA.el("video", {
      src: EA.file(part.f),
      poster: part.th ? EA.file(part.th) : null,
      preload: "metadata",
      controls: true,
      loop: true,
      playsinline: true,
      "aria-label": label,
      width: part.w,
      height: part.h,
      class: part.w <= 256 ? "sharp" : "",
    });
    video.muted = true;
    video.addEventListener(
      "error",
      () =>
        video.after(
          EA.el(
            "p",
            { class: "wrong" },
            "This browser cannot play this clip. ",
            EA.el("a", { href: part.f, download: "" }, "Save the file"),
          ),
        ),
      { once: true },
    );
    return video;
  };

  // A part of a prompt or a response; `whose` says which, for those who do not see it.
  EA.part = (part, whose) => {
    if (part.x) return EA.el("p", { class: "wrong" }, `This ${part.m} cannot be shown: `, EA.said(part.x));
    if (part.from) return EA.el("p", { class: "soft" }, `(its own ${part.m} of turn ${part.from})`);
    if (part.m === "text") return EA.text(part.t);
    const label = `${part.m} of ${whose}`;
    if (part.m === "image") {
      return EA.el(
        "button",
        {
          type: "button",
          class: "picture",
          "aria-label": `Open the ${label}`,
          onclick: () => EA.viewer(part, label),
        },
        EA.picture(part, ""),
      );
    }
    return part.m === "audio" ? EA.sound(part, label) : EA.clip(part, label);
  };
})();
