"use strict";
// The page of a model: its profile, all its numbers, its checkpoints, what it takes.
(() => {
  EA.pages.model = async (params, main) => {
    const board = EA.board();
    await board.complete;
    const row = board.byId.get(params.run);
    if (!row) throw new Error("This site has no such model. It may have been built anew without it.");
    EA.trail([EA.modelLabel(row)]);
    const card = await EA.load(`cards/${row.id}`);
    const columns = board.columns.filter((c) => row.cells[c.place]);

    const others = board.rows.filter((r) => r !== row).slice(0, 500);
    const other = EA.el(
      "select",
      {
        "aria-label": "Compare with",
        onchange: () => {
          if (other.value) EA.go("compare", { a: row.id, b: other.value });
        },
      },
      EA.el("option", { value: "" }, "Compare with …"),
      others.map((r) => EA.el("option", { value: r.id }, EA.modelLabel(r))),
    );

    main.append(
      EA.el(
        "div",
        { class: "title" },
        EA.el(
          "div",
          {},
          EA.said(row.name, "h1"),
          EA.el(
            "p",
            { class: "soft" },
            "run ",
            EA.said(row.folder),
            ` · ${card.facts.created.slice(0, 10)} · temperature ${card.facts.temperature ?? "–"} · seed ${card.facts.seed}`,
          ),
        ),
        EA.el(
          "div",
          { class: "row" },
          EA.el(
            "a",
            { class: "button primary", href: EA.href("samples", { run: row.id, task: row.tasks[0] }) },
            "Samples",
          ),
          others.length ? other : null,
          EA.el("button", { type: "button", onclick: EA.copyLink }, "Copy link"),
        ),
      ),
    );

    const section = (title, ...content) => {
      const id = `s-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
      return EA.el("section", { "aria-labelledby": id }, EA.el("h2", { id }, title), ...content);
    };

    const profile = card.charts.filter((c) => c[1]["aria-label"].startsWith("Score where"));
    const dimensions = card.charts.filter((c) => !profile.includes(c));
    if (profile.length) {
      main.append(
        section(
          "Modality profile",
          EA.el(
            "p",
            { class: "soft" },
            "The main metric of every task, from the bad end of its range (0 %) to the good one (100 %), with 95 % intervals.",
          ),
          EA.el(
            "div",
            { class: "figures" },
            profile.map((c) => EA.chart(c)),
          ),
        ),
      );
    }

    const line = (c) => {
      const cell = EA.boardCell();
      cell.draw(row, c);
      return EA.el(
        "tr",
        { class: c.main ? "main" : "" },
        EA.el(
          "th",
          { scope: "row" },
          EA.said(c.label),
          c.better === "lower" ? EA.el("small", {}, " lower is better") : null,
        ),
        cell.element,
      );
    };
    const named = (c) => (c.task ? `${c.suite}/${c.task}` : `${c.suite}: aggregates`);
    const tasks = [...new Set(columns.map(named))];
    main.append(
      section(
        "Numbers",
        EA.el(
          "div",
          { class: "cards" },
          tasks.map((task) =>
            EA.el(
              "table",
              { class: "numbers" },
              EA.el(
                "caption",
                {},
                EA.said(task),
                row.tasks.includes(task)
                  ? EA.el("a", { href: EA.href("samples", { run: row.id, task }) }, "samples")
                  : null,
              ),
              EA.el(
                "thead",
                {},
                EA.el(
                  "tr",
                  {},
                  ["metric", "value"].map((t) =>
                    EA.el("th", { scope: "col" }, EA.el("span", { class: "hidden" }, t)),
                  ),
                ),
              ),
              EA.el("tbody", {}, columns.filter((c) => named(c) === task).map(line)),
            ),
          ),
        ),
      ),
    );

    if (dimensions.length)
      main.append(
        section(
          "By dimension",
          EA.el(
            "div",
            { class: "figures" },
            dimensions.map((c) => EA.chart(c)),
          ),
        ),
      );

    for (const training of board.trainings.filter((t) => t.runs.some(([id]) => id === row.id))) {
      const { metrics } = await EA.load(training.key);
      main.append(
        section(
          "Over training",
          EA.el(
            "p",
            {},
            EA.el("a", { href: EA.trainingLink(training) }, "The training ", EA.said(training.name)),
            EA.el(
              "span",
              { class: "soft" },
              `: ${EA.plural(training.runs.length, "run")}. This one is the large dot.`,
            ),
          ),
          EA.el(
            "div",
            { class: "figures" },
            metrics.map(([, , tree]) => EA.chart(tree, row.id)),
          ),
        ),
      );
    }

    const scatters = board.scatters.filter((s) => s.runs.includes(row.id));
    if (scatters.length) {
      const place = EA.el("div", { class: "figures" });
      const show = async () => place.replaceChildren(EA.chart(await EA.load(box.value), row.id));
      const box = EA.el(
        "select",
        { "aria-label": "Chart", onchange: show },
        scatters.map((s) => EA.el("option", { value: s.key }, `${s.column} against ${s.what}`)),
      );
      main.append(
        section(
          "What it takes",
          EA.el(
            "p",
            { class: "row" },
            box,
            EA.el(
              "span",
              { class: "soft" },
              "The line is the efficient front: nobody is better for less. This model is the large dot.",
            ),
          ),
          place,
        ),
      );
      await show();
    }

    const facts = Object.entries(card.facts).filter(([, v]) => v !== "" && v !== null);
    main.append(
      section(
        "How it was run",
        EA.el(
          "dl",
          { class: "facts" },
          facts.flatMap(([k, v]) => [EA.el("dt", {}, k), EA.said(String(v), "dd")]),
        ),
      ),
    );
    EA.keys = {
      p: EA.copyLink,
      Enter: () => EA.go("samples", { run: row.id, task: row.tasks[0] }),
      c: () => other.focus(),
    };
  };
})();
