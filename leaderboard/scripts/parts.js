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

  const TINY = 100; // pixels: what is smaller is enlarged, with its pixels sharp
  const ENLARGED = 192;

  // Width, height and class of a picture or a clip on a page: its own size, or a whole multiple of it.
  EA.shownSize = (part) => {
    const longest = Math.max(part.w, part.h);
    const times = longest < TINY ? Math.floor(ENLARGED / longest) : 1;
    return { width: part.w * times, height: part.h * times, class: times > 1 ? "sharp" : "" };
  };

  // The file of a picture in a sample: the picture itself, unless it is very large.
  EA.shownFile = (part) => EA.file(part.md || part.f);

  EA.viewer = (part, label) => {
    const image = EA.el("img", {
      src: EA.file(part.f),
      alt: label,
      class: `fit ${EA.shownSize(part).class}`,
    });
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

  EA.picture = (part, label) =>
    EA.el("img", { src: EA.shownFile(part), alt: label, loading: "lazy", ...EA.shownSize(part) });

  EA.clip = (part, label) => {
    const video = EA.el("video", {
      src: EA.file(part.f),
      poster: part.th ? EA.file(part.th) : null,
      preload: "metadata",
      controls: true,
      loop: true,
      playsinline: true,
      "aria-label": label,
      ...EA.shownSize(part),
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
