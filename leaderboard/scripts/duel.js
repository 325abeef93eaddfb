"use strict";
// Two media of one modality against each other: images to swipe over, sounds at one playhead,
// clips in step.
(() => {
  EA.swipe = (a, b) => {
    const stack = EA.el(
      "div",
      { class: "swipe" },
      EA.el("img", { src: EA.shownFile(b), alt: "image of B", class: EA.shownSize(b).class }),
      EA.el("img", { src: EA.shownFile(a), alt: "image of A", class: `over ${EA.shownSize(a).class}` }),
      EA.el("span", { class: "edge", "aria-hidden": "true" }),
    );
    stack.style.width = `min(${Math.max(EA.shownSize(a).width, EA.shownSize(b).width)}px, 100%)`;
    const slider = EA.el("input", {
      type: "range",
      min: 0,
      max: 100,
      value: 50,
      "aria-label": "How much of A is shown, the rest is B",
    });
    const move = () => stack.style.setProperty("--cut", `${slider.value}%`);
    slider.addEventListener("input", move);
    stack.addEventListener("pointermove", (event) => {
      if (event.pointerType !== "mouse" && !event.buttons) return;
      const box = stack.getBoundingClientRect();
      slider.value = (100 * (event.clientX - box.left)) / box.width;
      move();
    });
    move();
    return EA.el(
      "div",
      { class: "duel" },
      stack,
      EA.el(
        "div",
        { class: "ends" },
        EA.el("b", { class: "a" }, "A"),
        slider,
        EA.el("b", { class: "b" }, "B"),
      ),
    );
  };

  // The louder one is played softer, so that both sound equally loud (LUFS, measured at build time).
  EA.volumes = (a, b) => {
    if (typeof a !== "number" || typeof b !== "number") return [1, 1];
    const target = Math.min(a, b);
    return [10 ** ((target - a) / 20), 10 ** ((target - b) / 20)];
  };

  // Both sounds run together and one is heard: a switch changes who, not where.
  EA.soundDuel = (a, b) => {
    const [one, two] = [a, b].map((part) => EA.el("audio", { src: EA.file(part.f), preload: "auto" }));
    [one.volume, two.volume] = EA.volumes(a.lu, b.lu);
    const lead = a.d >= b.d ? one : two; // the longer one keeps the time
    const follow = lead === one ? two : one;
    const seek = (s) => {
      lead.currentTime = s;
      follow.currentTime = Math.min(s, lead === one ? b.d : a.d);
    };
    const tracks = [
      EA.track(a, "Position in the sound of A", seek),
      EA.track(b, "Position in the sound of B", seek),
    ];
    let heard = 0;
    const switched = (to) => {
      heard = to;
      one.muted = heard !== 0;
      two.muted = heard !== 1;
      for (const [i, button] of buttons.entries()) button.setAttribute("aria-pressed", String(i === heard));
      for (const [i, track] of tracks.entries()) track.classList.toggle("heard", i === heard);
    };
    const buttons = ["A", "B"].map((name, i) =>
      EA.el(
        "button",
        {
          type: "button",
          class: `who ${name.toLowerCase()}`,
          "aria-label": `Hear ${name}`,
          onclick: () => switched(i),
        },
        name,
      ),
    );
    lead.addEventListener("play", () => {
      if (!follow.ended) follow.currentTime = Math.min(lead.currentTime, follow.duration || 0);
      follow.play().catch(() => {});
    });
    lead.addEventListener("pause", () => follow.pause());
    EA.whilePlaying(lead, () => {
      for (const track of tracks) track.at(lead.currentTime);
      if (!lead.paused && !follow.paused && Math.abs(follow.currentTime - lead.currentTime) > 0.06)
        follow.currentTime = lead.currentTime;
    });
    const matched =
      a.lu !== null && b.lu !== null && a.lu !== b.lu
        ? `loudness matched: ${a.lu > b.lu ? "A" : "B"} is played ${Math.abs(a.lu - b.lu).toFixed(1)} dB softer`
        : "both are equally loud";
    switched(0);
    const duel = EA.el(
      "div",
      { class: "duel sounds" },
      EA.playButton(lead, "sounds of A and B"),
      EA.el(
        "div",
        { class: "lanes" },
        buttons.map((button, i) => EA.el("div", { class: "lane" }, button, tracks[i])),
      ),
      EA.el("p", { class: "soft" }, matched),
      one,
      two,
    );
    duel.flip = () => switched(1 - heard);
    return duel;
  };

  // Clips that start, stop and jump together; the second is held to the first one's time.
  EA.clipDuel = (a, b) => {
    const [one, two] = [a, b].map((part, i) =>
      EA.el("video", {
        src: EA.file(part.f),
        poster: part.th ? EA.file(part.th) : null,
        preload: "auto",
        playsinline: true,
        "aria-label": `video of ${"AB"[i]}`,
        class: EA.shownSize(part).class,
      }),
    );
    one.muted = two.muted = true;
    const lead = a.d >= b.d ? one : two;
    const follow = lead === one ? two : one;
    const length = Math.max(a.d, b.d);
    const slider = EA.el("input", {
      type: "range",
      min: 0,
      max: length,
      step: 0.01,
      value: 0,
      "aria-label": "Position in both clips",
    });
    slider.addEventListener("input", () => {
      lead.currentTime = Number(slider.value);
      follow.currentTime = Math.min(lead.currentTime, follow.duration || 0);
    });
    lead.addEventListener("play", () => {
      follow.currentTime = Math.min(lead.currentTime, follow.duration || 0);
      follow.play().catch(() => {});
    });
    lead.addEventListener("pause", () => follow.pause());
    EA.whilePlaying(lead, () => {
      slider.value = lead.currentTime;
      if (!lead.paused && !follow.ended && Math.abs(follow.currentTime - lead.currentTime) > 0.08)
        follow.currentTime = Math.min(lead.currentTime, follow.duration || 0);
    });
    return EA.el(
      "div",
      { class: "duel" },
      EA.el("div", { class: "pair" }, one, two),
      EA.el("div", { class: "ends" }, EA.playButton(lead, "clips of A and B"), slider),
    );
  };
})();
