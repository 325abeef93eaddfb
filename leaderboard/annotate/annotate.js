"use strict";
// The annotation page: shows what the server asks, sends what the annotator chooses. Every text goes
// through EA.said or textContent, never through markup.
(() => {
  const main = document.getElementById("main");
  const el = EA.el;
  let state = null;
  let choice = null; // of a vote: a set of modalities; else one value
  let busy = false;

  const kinds = {
    vote: {
      ask: "Which modalities should the answer to this prompt have? Choose all that it wants, and no others.",
      options: () => state.modalities.map((m) => [m, m]),
      several: true,
    },
    preference: {
      ask: "Which response is better?",
      options: () => [
        ["first", "first"],
        ["second", "second"],
        ["tie", "tie"],
      ],
    },
    grade: {
      ask: () => `How good is this response, from 1 (worst) to ${state.scale} (best)?`,
      options: () => Array.from({ length: state.scale }, (_, i) => [i + 1, ""]),
    },
  };
  const kind = () => kinds[state.question.kind];
  const chosen = (value) => (kind().several ? choice.has(value) : choice === value);

  const part = (p, whose) => {
    if (p.modality === "text") return EA.said(p.text, "p", { class: "text" });
    const address = `media/${p.media}`;
    const label = `${p.modality} of ${whose}`;
    const lost = () =>
      shown.replaceWith(el("p", { class: "wrong" }, `This ${p.modality} cannot be shown by this browser.`));
    const attributes = { src: address, onerror: lost };
    let shown;
    if (p.modality === "image") {
      const sharpen = ({ target }) =>
        target.classList.toggle("sharp", Math.max(target.naturalWidth, target.naturalHeight) < 100);
      shown = el("img", { ...attributes, alt: label, onload: sharpen });
    } else {
      shown = el(p.modality, { ...attributes, controls: true, preload: "metadata", "aria-label": label });
    }
    return shown;
  };
  const parts = (list, whose) =>
    el(
      "div",
      { class: "parts" },
      list.map((p) => part(p, whose)),
    );

  const prompt = () =>
    el(
      "section",
      { class: "asked", id: "prompt" },
      el("h2", {}, "Prompt"),
      state.question.messages.flatMap(([role, list]) => [
        state.question.messages.length > 1 ? el("p", { class: "role" }, role) : null,
        parts(list, "the prompt"),
      ]),
    );

  const responses = () => {
    const list = state.question.responses;
    if (!list.length) return null;
    const names = list.length === 1 ? ["Response"] : ["First response", "Second response"];
    return el(
      "div",
      { class: "sides" },
      list.map((response, i) =>
        el(
          "section",
          { class: i ? "answered second" : "answered", "data-side": ["first", "second"][i] },
          el("h2", {}, names[i]),
          parts(response, names[i].toLowerCase()),
        ),
      ),
    );
  };

  const answer = () => {
    const ask = kind().ask;
    const buttons = kind()
      .options()
      .map(([value, name], i) =>
        el(
          "button",
          {
            type: "button",
            "data-value": value,
            "aria-pressed": "false",
            "aria-label": `${value}`,
            onclick: () => choose(value),
          },
          el("kbd", {}, `${i + 1}`),
          name,
        ),
      );
    return el(
      "div",
      { class: "answer" },
      el("p", { class: "ask" }, typeof ask === "string" ? ask : ask()),
      el(
        "div",
        { class: "row choices", id: "choices", role: "group", "aria-label": "Answer", tabindex: "-1" },
        buttons,
      ),
      state.question.kind === "grade"
        ? el(
            "label",
            {},
            "What should be mended? (optional)",
            el("textarea", { id: "critique", dir: "auto", maxlength: "20000" }),
          )
        : null,
      el("p", { class: "wrong", id: "message", role: "alert" }),
      el(
        "div",
        { class: "row" },
        el("button", { type: "button", id: "next", class: "primary", onclick: submit }, "Next"),
        el("button", { type: "button", id: "skip", onclick: skip }, "Later"),
        el("button", { type: "button", id: "undo", onclick: undo, disabled: state.done === 0 }, "Undo"),
      ),
      el(
        "p",
        { class: "soft keys" },
        el("kbd", {}, "1"),
        "–",
        el("kbd", {}, `${buttons.length}`),
        " choose, ",
        el("kbd", {}, "Enter"),
        " next, ",
        el("kbd", {}, "u"),
        " undo, ",
        el("kbd", {}, "s"),
        " later",
        state.question.kind === "grade"
          ? [
              ", ",
              el("kbd", {}, "c"),
              " write, ",
              el("kbd", {}, "Esc"),
              " leave the text, ",
              el("kbd", {}, "Ctrl"),
              " ",
              el("kbd", {}, "Enter"),
              " next from the text",
            ]
          : null,
      ),
    );
  };

  const finished = () =>
    el(
      "section",
      { class: "empty", id: "finished" },
      el("h1", {}, "All done"),
      el("p", {}, `${state.done} of ${state.total} answered. They are in `, EA.said(state.file, "code"), "."),
      el("p", {}, "Ctrl-C in the terminal ends the server and writes the labels."),
      el("p", { class: "wrong", id: "message", role: "alert" }),
      el("button", { type: "button", id: "undo", onclick: undo }, "Undo the last answer"),
    );

  const draw = () => {
    document
      .getElementById("trail")
      .replaceChildren(
        EA.said(state.task, "span"),
        ...(state.question ? [EA.said(state.question.sample, "span")] : []),
      );
    document
      .getElementById("tools")
      .replaceChildren(
        el(
          "span",
          { class: "count soft" },
          `${state.done} of ${state.total}`,
          " · ",
          EA.said(state.annotator),
        ),
      );
    const progress = document.getElementById("progress");
    progress.max = state.total;
    progress.value = state.done;
    document.title = `${state.done} of ${state.total} · Annotate`;
    document.body.dataset.question = state.question ? state.question.key : "none";
    if (!state.question) {
      main.replaceChildren(finished());
    } else {
      const earlier = state.earlier;
      choice = kind().several ? new Set(earlier ? earlier.vote : []) : null;
      if (earlier && !kind().several) choice = earlier.preferred ?? earlier.grade;
      main.replaceChildren(...[prompt(), responses(), answer()].filter(Boolean));
      if (earlier?.critique) document.getElementById("critique").value = earlier.critique;
      mark();
    }
    window.scrollTo(0, 0);
    EA.announce(`${state.done} of ${state.total} done`);
  };

  const mark = () => {
    for (const button of document.querySelectorAll("#choices button")) {
      const value = state.question.kind === "grade" ? Number(button.dataset.value) : button.dataset.value;
      button.setAttribute("aria-pressed", String(chosen(value)));
    }
    for (const side of document.querySelectorAll("[data-side]")) {
      side.classList.toggle("chosen", state.question.kind === "preference" && choice === side.dataset.side);
    }
  };

  const complain = (text) => {
    const message = document.getElementById("message");
    if (message) message.textContent = text;
    else main.replaceChildren(el("p", { class: "wrong", id: "message", role: "alert" }, text));
  };

  const choose = (value) => {
    if (!kind().several) choice = value;
    else if (!choice.delete(value)) choice.add(value);
    complain("");
    mark();
  };

  // Sends one thing at a time; what comes back is the next state, or why it was refused.
  const send = async (name, body) => {
    if (busy) return;
    busy = true;
    try {
      const options =
        body === undefined
          ? {}
          : {
              method: "POST",
              headers: { "Content-Type": "application/json" },
              body: JSON.stringify(body),
            };
      const reply = await fetch(name, options);
      const value = await reply.json();
      if (!reply.ok) {
        complain(value.error);
        return;
      }
      state = value;
      draw();
    } catch {
      complain("The server does not answer: was it stopped? What was sent before is kept.");
    } finally {
      busy = false;
    }
  };

  const submit = () => {
    const body = { key: state.question.key };
    if (kind().several) body.vote = [...choice];
    else if (choice !== null) body[state.question.kind === "grade" ? "grade" : "preferred"] = choice;
    const critique = document.getElementById("critique");
    if (critique) body.critique = critique.value;
    send("submit", body);
  };
  const skip = () => send("skip", { key: state.question.key });
  const undo = () => send("undo", {});

  document.addEventListener("keydown", (event) => {
    if (!state || event.altKey || event.metaKey || event.defaultPrevented || event.repeat) return;
    const at = event.target;
    const enter = event.key === "Enter" && state.question;
    if (at.matches("textarea")) {
      if (event.key === "Escape") at.blur();
      if (!enter || !event.ctrlKey) return;
    } else if (event.ctrlKey || (at.matches("audio, video, a, #skip, #undo, #next") && event.key === "Enter"))
      return;
    const keys = { u: undo };
    if (state.question) {
      keys.s = skip;
      keys.c = () => document.getElementById("critique")?.focus();
      kind()
        .options()
        .forEach(([value], i) => {
          keys[i + 1] = () => choose(value);
        });
    }
    const does = enter ? submit : keys[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  });

  send("state");
})();
