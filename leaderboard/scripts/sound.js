"use strict";
// A player of sound with its waveform, and the drawing of it.
(() => {
  const space = "http://www.w3.org/2000/svg";

  // The outline that was measured when the site was built: base64 of bytes, 255 is full scale.
  EA.wave = (peaks) => {
    const bytes = Uint8Array.from(atob(peaks), (c) => c.charCodeAt(0));
    const svg = document.createElementNS(space, "svg");
    svg.setAttribute("viewBox", `0 -32 ${bytes.length * 4} 64`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    svg.setAttribute("class", "wave");
    let d = "";
    bytes.forEach((b, i) => {
      const h = Math.max(1, (b / 255) * 30);
      d += `M${i * 4 + 1} ${-h.toFixed(1)}h2V${h.toFixed(1)}h-2Z`;
    });
    const path = document.createElementNS(space, "path");
    path.setAttribute("d", d.replaceAll("--", ""));
    svg.append(path);
    return svg;
  };

  // The waveform with a slider over it; onseek gets seconds.
  EA.track = (part, label, onseek) => {
    const slider = EA.el("input", {
      type: "range",
      min: 0,
      max: part.d || 1,
      step: 0.01,
      value: 0,
      "aria-label": label,
    });
    slider.addEventListener("input", () => onseek(Number(slider.value)));
    const played = EA.wave(part.pk);
    played.classList.add("played");
    const track = EA.el("div", { class: "wavetrack" }, EA.wave(part.pk), played, slider);
    track.at = (seconds) => {
      slider.value = seconds;
      slider.setAttribute("aria-valuetext", `${seconds.toFixed(1)} of ${part.d.toFixed(1)} seconds`);
      track.style.setProperty("--played", `${100 * (1 - Math.min(1, seconds / (part.d || 1)))}%`);
    };
    track.at(0);
    return track;
  };

  // Calls `tick` for every frame while `media` plays.
  EA.whilePlaying = (media, tick) => {
    const frame = () => {
      tick();
      if (!media.paused && !media.ended && media.isConnected) requestAnimationFrame(frame);
    };
    media.addEventListener("play", frame);
    for (const name of ["pause", "seeked", "ended"]) media.addEventListener(name, tick);
  };

  EA.playButton = (media, label) => {
    const button = EA.el("button", {
      type: "button",
      class: "play",
      onclick: () => (media.paused ? media.play() : media.pause()),
    });
    const named = () => {
      button.textContent = media.paused ? "▶" : "❚❚";
      button.setAttribute("aria-label", `${media.paused ? "Play" : "Pause"} the ${label}`);
    };
    for (const name of ["play", "pause", "ended"]) media.addEventListener(name, named);
    named();
    return button;
  };

  EA.sound = (part, label) => {
    const audio = EA.el("audio", { src: EA.file(part.f), preload: "metadata" });
    const track = EA.track(part, `Position in the ${label}`, (s) => {
      audio.currentTime = s;
    });
    const clock = EA.el("span", { class: "clock" });
    const tick = () => {
      track.at(audio.currentTime);
      clock.textContent = `${EA.clock(audio.currentTime)} / ${part.d < 10 ? `${part.d.toFixed(1)} s` : EA.clock(part.d)}`;
    };
    EA.whilePlaying(audio, tick);
    tick();
    const player = EA.el("div", { class: "sound" }, EA.playButton(audio, label), track, clock, audio);
    audio.addEventListener(
      "error",
      () => player.after(EA.el("p", { class: "wrong" }, "This browser cannot play this sound.")),
      { once: true },
    );
    return player;
  };
})();
