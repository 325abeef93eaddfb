"use strict";
// What was asked and what was answered, turn by turn; most samples have one turn.
(() => {
  // The parts of the answers, one list a turn. A conversation ends where a turn fails.
  EA.answers = (sample) => [...(sample.t || []), sample.p];

  // The turns that were asked, or would have been, as [their place, what names them beside others].
  EA.turns = (questions, ...samples) => {
    const count = Math.max(questions?.length || 0, ...samples.map((sample) => EA.answers(sample).length));
    return Array.from({ length: count }, (_, i) => [i, count > 1 ? ` of turn ${i + 1}` : ""]);
  };

  // What the turns of an item ask; null if its task is not at hand.
  EA.questions = async (task, item) => {
    const key = EA.board().prompts[task];
    const places = key ? await EA.load(key) : {};
    return item in places ? (await EA.load(`${key}-${places[item]}`))[item] : null;
  };

  // What one turn asks; said once, for the first one, where that is not known.
  EA.prompt = (questions, turn) => {
    if (!questions?.[turn]) {
      return turn
        ? null
        : EA.el(
            "p",
            { class: "soft" },
            "The prompt is not shown: its task was not at hand when this site was built, or has changed since.",
          );
    }
    const { asked, fresh } = questions[turn];
    return EA.el(
      "div",
      { class: "parts" },
      fresh
        ? EA.el("p", { class: "soft" }, "Asked afresh: the model is not shown what was said before.")
        : null,
      asked.map(([role, parts]) =>
        EA.el(
          "div",
          {},
          asked.length > 1 ? EA.el("p", { class: "role" }, role) : null,
          parts.map((part) => EA.part(part, "the prompt")),
        ),
      ),
    );
  };

  // The answer to one turn. A failure is that of the last one there is.
  EA.response = (sample, whose, turn = EA.answers(sample).length - 1) => {
    const answers = EA.answers(sample);
    const parts = answers[turn];
    if (!parts) return EA.el("p", { class: "soft" }, "Not asked: the answer before failed.");
    const last = turn === answers.length - 1;
    return EA.el(
      "div",
      { class: "parts" },
      last && sample.e
        ? EA.el(
            "div",
            { class: "wrong" },
            EA.el("b", {}, `The model failed (${sample.e[0]}): `),
            EA.text(sample.e[1], "span"),
          )
        : null,
      parts.length ? parts.map((part) => EA.part(part, whose)) : EA.el("p", { class: "soft" }, "No parts."),
      !last || sample.o
        ? null
        : EA.el("p", { class: "soft" }, "The order of parts of different modality is not known."),
    );
  };
})();
