"use strict";
// The page of a training: its metrics and its log over steps, and its checkpoints.
(() => {
  EA.trainingLink = (training) => EA.href("training", { key: training.key });

  // Links to the trainings of the site, for the page of the table.
  EA.trainingLinks = (trainings) =>
    EA.el(
      "p",
      { class: "trainings" },
      EA.el("span", { class: "soft" }, "Trainings: "),
      trainings.flatMap((training, i) => [
        i ? ", " : "",
        EA.el("a", { href: EA.trainingLink(training) }, EA.said(training.name)),
        EA.el("small", {}, ` ${EA.plural(training.runs.length, "run")}`),
      ]),
    );

  EA.pages.training = async (params, main) => {
    const board = EA.board();
    await board.complete;
    const training = board.trainings.find((t) => t.key === params.key);
    if (!training) throw new Error("This site has no such training. It may have been built anew without it.");
    EA.trail([training.name]);
    const { metrics, log } = await EA.load(training.key);
    const rows = training.runs.map(([id, step]) => [board.byId.get(id), step]);
    const last = rows.at(-1)[1];

    const figures = (title, trees, about = "") =>
      EA.el(
        "section",
        { "aria-label": title },
        EA.el("h2", {}, title),
        about ? EA.el("p", { class: "soft" }, about) : null,
        EA.el(
          "div",
          { class: "figures" },
          trees.map((tree) => EA.chart(tree)),
        ),
      );

    main.append(
      EA.el(
        "div",
        { class: "title" },
        EA.el(
          "div",
          {},
          EA.said(training.name, "h1"),
          EA.el(
            "p",
            { class: "soft" },
            [training.method, EA.plural(rows.length, "evaluation"), `up to step ${last.toLocaleString("en")}`]
              .filter((t) => t)
              .join(" · "),
          ),
        ),
        EA.el(
          "div",
          { class: "row" },
          rows.length > 1 && rows[0][0].id !== rows.at(-1)[0].id
            ? EA.el(
                "a",
                {
                  class: "button primary",
                  href: EA.href("compare", { a: rows[0][0].id, b: rows.at(-1)[0].id }),
                },
                `Compare ${rows[0][1] ? "first" : "start"} and last`,
              )
            : null,
          EA.el("button", { type: "button", onclick: EA.copyLink }, "Copy link"),
        ),
      ),
    );
    if (metrics.length)
      main.append(
        figures(
          "Evaluations",
          metrics.map(([, , tree]) => tree),
          "Values of the checkpoints with 95 % intervals. The dotted line is the start; a filled dot is the best checkpoint, if it is better than the start.",
        ),
      );
    const first = log.filter(([, main]) => main).map(([tree]) => tree);
    const more = log.filter(([, main]) => !main).map(([tree]) => tree);
    if (first.length) main.append(figures("Log of the training", first));
    if (more.length) {
      const fold = EA.el(
        "details",
        { class: "more" },
        EA.el("summary", {}, `${more.length} more quantities of the log`),
      );
      fold.addEventListener("toggle", () => fold.open && fold.append(figures("More of the log", more)), {
        once: true,
      });
      main.append(fold);
    }
    main.append(checkpoints(board, rows, metrics));
    EA.keys = { p: EA.copyLink };
  };

  // The checkpoints with their values.
  const checkpoints = (board, rows, metrics) => {
    const columns = metrics.map(([key, best]) => [board.byKey.get(key), best]);
    const value = (row, [c, best]) => {
      const [value, low, high] = row.cells[c.place] || [];
      return EA.el(
        "td",
        {},
        typeof value !== "number"
          ? "–"
          : [
              EA.el("b", {}, EA.number(value, c.scale)),
              " ",
              typeof low === "number" ? EA.el("small", {}, EA.interval(low, high, c.scale)) : null,
              best === row.id ? EA.el("span", { class: "tag" }, "best") : null,
            ],
      );
    };
    return EA.el(
      "section",
      { "aria-label": "Checkpoints" },
      EA.el("h2", {}, "Checkpoints"),
      EA.el(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": "Checkpoints and their values" },
        EA.el(
          "table",
          { class: "checkpoints" },
          EA.el(
            "thead",
            {},
            EA.el(
              "tr",
              {},
              EA.el("th", { scope: "col" }, "step"),
              columns.map(([c]) => EA.el("th", { scope: "col" }, EA.breakable(c.key))),
            ),
          ),
          EA.el(
            "tbody",
            {},
            rows.map(([row, step]) =>
              EA.el(
                "tr",
                {},
                EA.el(
                  "th",
                  { scope: "row" },
                  EA.el(
                    "a",
                    { href: EA.href("model", { run: row.id }), title: EA.modelLabel(row) },
                    step ? step.toLocaleString("en") : "start",
                  ),
                ),
                columns.map((c) => value(row, c)),
              ),
            ),
          ),
        ),
      ),
    );
  };
})();
