"use strict";
// Parts of prompts and responses: text, pictures, sounds, clips.
(() => {
  // A text, or its head with a button for all of it.
  EA.text = (text, name = "p", attributes = { class: "text" }) => {
    if (typeof text === "string") return EA.said(text, name, attributes);
    const shown = EA.said(text.t + " …", name, attributes);
    const button = EA.el("button", { type: "button", class: "more", onclick: async () => {
      const pieces = await Promise.all(text.k.map(EA.load));
      shown.textContent = pieces.join("");
      button.remove();
    } }, `Show all ${text.n.toLocaleString("en")} characters`);
    return EA.el("div", {}, shown, button);
  };

  EA.viewer = (part, label) => {
    const image = EA.el("img", { src: EA.file(part.f), alt: label, class: "fit" });
    const zoom = EA.el("button", { type: "button", "aria-pressed": "false", onclick: () => {
      const whole = image.classList.toggle("fit");
      zoom.setAttribute("aria-pressed", String(!whole));
    } }, "Pixel for pixel");
    EA.dialog(label, EA.el("p", { class: "row" }, zoom, EA.el("span", { class: "soft" }, `${part.w} × ${part.h} pixels`)), EA.el("div", { class: "stage", tabindex: "0", role: "group", "aria-label": label }, image)).classList.add("wide");
  };

  // Small pictures, such as those of 128 pixels, are shown larger with their pixels sharp.
  EA.picture = (part, label) => EA.el("img", {
    src: EA.file(part.th || part.f), alt: label, width: part.w, height: part.h, loading: "lazy",
    class: part.w <= 256 ? "sharp" : "",
  });

  EA.clip = (part, label) => {
    const video = EA.el("video", { src: EA.file(part.f), poster: part.th ? EA.file(part.th) : null, preload: "metadata", controls: true, loop: true, playsinline: true, "aria-label": label, width: part.w, height: part.h, class: part.w <= 256 ? "sharp" : "" });
    video.muted = true;
    video.addEventListener("error", () => video.after(EA.el("p", { class: "wrong" }, "This browser cannot play this clip. ", EA.el("a", { href: part.f, download: "" }, "Save the file"))), { once: true });
    return video;
  };

  // A part of a prompt or a response; `whose` says which, for those who do not see it.
  EA.part = (part, whose) => {
    if (part.x) return EA.el("p", { class: "wrong" }, `This ${part.m} cannot be shown: `, EA.said(part.x));
    if (part.m === "text") return EA.text(part.t);
    const label = `${part.m} of ${whose}`;
    if (part.m === "image") {
      return EA.el("button", { type: "button", class: "picture", "aria-label": `Open the ${label}`, onclick: () => EA.viewer(part, label) }, EA.picture(part, ""));
    }
    return part.m === "audio" ? EA.sound(part, label) : EA.clip(part, label);
  };

  EA.response = (sample, whose) => EA.el("div", { class: "parts" },
    sample.e ? EA.el("div", { class: "wrong" }, EA.el("b", {}, `The model failed (${sample.e[0]}): `), EA.text(sample.e[1], "span")) : null,
    sample.p.length ? sample.p.map((part) => EA.part(part, whose)) : EA.el("p", { class: "soft" }, "No parts."),
    sample.o ? null : EA.el("p", { class: "soft" }, "The order of parts of different modality is not known."));

  // The prompt of an item; tasks that are not at hand have none.
  EA.prompt = async (task, item) => {
    const key = EA.board().prompts[task];
    const places = key ? await EA.load(key) : {};
    if (!(item in places)) return EA.el("p", { class: "soft" }, "The prompt is not shown: its task was not at hand when this site was built, or has changed since.");
    const messages = (await EA.load(`${key}-${places[item]}`))[item];
    return EA.el("div", { class: "parts" }, messages.map(([role, parts]) => EA.el("div", {},
      messages.length > 1 ? EA.el("p", { class: "role" }, role) : null, parts.map((part) => EA.part(part, "the prompt")))));
  };
})();
