"use strict";
// The sample browser: a list of a run's samples of one task, and the one that is open.
(() => {
  const ROW = 64;
  const WINDOW = 200;

  // All rows of a task of a run: {metrics, starts, rows}; a row is an object.
  const known = new Map();
  EA.samplesOf = async (run, task) => {
    const place = EA.board().byId.get(run).tasks.indexOf(task);
    if (place < 0) return null;
    const key = `runs/${run}/${place}`;
    if (!known.has(key)) {
      const head = await EA.load(key);
      const rows = [...head.rows];
      for (let i = 0; i < head.more; i++) rows.push(...(await EA.load(`${key}-rows-${i}`)));
      const named = rows.map(
        ([id, item, repeat, cluster, mods, failure, excerpt, thumb, values, groups], i) => ({
          id,
          item,
          repeat,
          cluster,
          mods,
          failure,
          excerpt,
          thumb,
          values,
          groups,
          i,
        }),
      );
      known.set(key, { key, metrics: head.metrics, starts: head.starts, rows: named });
    }
    return known.get(key);
  };

  // The whole sample of a row: its parts, explanations, errors.
  EA.wholeSample = async (samples, row) => {
    let k = samples.starts.length - 1;
    while (samples.starts[k] > row.i) k--;
    return (await EA.load(`${samples.key}-${k}`))[row.i - samples.starts[k]];
  };

  EA.togglePlay = () => {
    const media = document.querySelector("#main audio, #main video");
    if (media) media.paused ? media.play() : media.pause();
  };

  EA.scoresTable = (samples, sample) =>
    EA.el(
      "table",
      { class: "scores" },
      EA.el("caption", {}, "Scores"),
      EA.el(
        "thead",
        {},
        EA.el(
          "tr",
          {},
          ["metric", "value", "judge", "why"].map((t) => EA.el("th", { scope: "col" }, t)),
        ),
      ),
      EA.el(
        "tbody",
        {},
        samples.metrics.map((metric, i) => {
          const score = sample.s[i];
          if (!score) return null;
          return EA.el(
            "tr",
            {},
            EA.said(metric.name, "th", { scope: "row" }),
            EA.el("td", {}, score[0] === null ? "unscored" : EA.number(score[0], metric.range)),
            EA.said(metric.judge, "td"),
            EA.el("td", {}, score[1] ? EA.text(score[1], "span") : ""),
          );
        }),
      ),
    );

  EA.pages.samples = async (params, main) => {
    const board = EA.board();
    await board.complete;
    const run = board.byId.get(params.run);
    if (!run) throw new Error("This site has no such run. It may have been built anew without it.");
    const task = run.tasks.includes(params.task) ? params.task : run.tasks[0];
    const view = {
      q: "",
      outcome: "",
      mod: "",
      metric: "",
      least: "",
      most: "",
      order: "",
      ...params,
      run: run.id,
      task,
    };
    EA.trail([EA.modelLabel(run), EA.href("model", { run: run.id })], [task]);
    const samples = await EA.samplesOf(run.id, task);
    const metrics = samples.metrics;
    let rows = [];
    let open = -1;

    const metricAt = () =>
      Math.max(
        0,
        metrics.findIndex((m) => m.name === view.metric),
      );
    const value = (row) => row.values[metricAt()];
    const outcome = (row) =>
      row.failure ? "failed" : value(row) === null ? "unscored" : value(row) === undefined ? "" : "scored";

    const refresh = () => {
      const q = view.q.toLowerCase();
      const metric = metrics[metricAt()];
      rows = samples.rows.filter(
        (row) =>
          (!q ||
            row.id.toLowerCase().includes(q) ||
            row.excerpt.toLowerCase().includes(q) ||
            Object.values(row.groups).join(" ").toLowerCase().includes(q)) &&
          (!view.outcome || outcome(row) === view.outcome || row.failure === view.outcome) &&
          (!view.mod || (view.mod === "none" ? !row.mods : row.mods.includes(view.mod))) &&
          (view.least === "" || (value(row) ?? -Infinity) >= Number(view.least)) &&
          (view.most === "" || (value(row) ?? Infinity) <= Number(view.most)),
      );
      if (view.order) {
        const best = (metric?.better === "lower" ? -1 : 1) * (view.order === "worst" ? 1 : -1);
        const at = (row) => (typeof value(row) === "number" ? value(row) : NaN);
        rows.sort((a, b) => {
          const [x, y] = [at(a), at(b)];
          return Number.isNaN(x) - Number.isNaN(y) || best * (x - y) || a.i - b.i;
        });
      }
      list.reset(rows.length);
      count.textContent = `${rows.length} of ${EA.plural(samples.rows.length, "sample")}`;
      EA.announce(count.textContent);
      empty.hidden = rows.length > 0;
      open = rows.findIndex((row) => row.id === view.sample && String(row.repeat) === (view.repeat || "0"));
      mark();
      EA.note("samples", view);
    };

    const drawRow = (element, i) => {
      const row = rows[i];
      const metric = metrics[metricAt()];
      const v = value(row);
      const link = { ...view, sample: row.id, repeat: row.repeat || "" };
      element.className = i === open ? "open" : "";
      element.ariaSetSize = rows.length;
      element.ariaPosInSet = i + 1;
      element.replaceChildren(
        EA.el(
          "a",
          {
            href: EA.href("samples", link),
            "aria-current": i === open ? "true" : null,
            onclick: (event) => {
              event.preventDefault();
              show(i);
            },
          },
          row.thumb
            ? EA.el("img", { src: EA.file(row.thumb), alt: "", loading: "lazy", width: 44, height: 44 })
            : EA.el("span", { class: "nothumb", "aria-hidden": "true" }, row.mods.toUpperCase() || "–"),
          EA.el(
            "span",
            { class: "what" },
            EA.el("span", { class: "id" }, EA.said(row.id), row.repeat ? ` #${row.repeat + 1}` : ""),
            row.failure
              ? EA.el("span", { class: "excerpt wrong" }, row.failure)
              : row.excerpt
                ? EA.said(row.excerpt, "span", { class: "excerpt" })
                : EA.el("span", { class: "excerpt" }, EA.modalities(row.mods).join(" + ") || "no parts"),
          ),
          EA.el(
            "span",
            { class: "score" },
            v === undefined ? "" : v === null ? "unscored" : EA.number(v, metric.range),
          ),
        ),
      );
    };

    const newRow = () => {
      const element = EA.el("li");
      return { element, draw: (i) => drawRow(element, i) };
    };

    const mark = () => {
      for (const element of listBody.querySelectorAll("li.open")) {
        element.classList.remove("open");
        element.firstChild.removeAttribute("aria-current");
      }
      const drawn = list.row(open)?.element;
      if (drawn) {
        drawn.classList.add("open");
        drawn.firstChild.setAttribute("aria-current", "true");
      }
    };

    const section = (kind, title, content) =>
      content ? EA.el("section", { class: kind, "aria-label": title }, EA.el("h2", {}, title), content) : "";

    const show = async (i, focus = true) => {
      if (!rows[i]) return;
      open = i;
      const row = rows[i];
      view.sample = row.id;
      view.repeat = row.repeat ? String(row.repeat) : "";
      EA.note("samples", view);
      list.reveal(i);
      mark();
      const [sample, questions] = await Promise.all([
        EA.wholeSample(samples, row),
        EA.questions(task, row.item),
      ]);
      if (rows[open] !== row) return; // another one was opened meanwhile
      const heading = EA.said(row.repeat ? `${row.id} #${row.repeat + 1}` : row.id, "h1", { tabindex: "-1" });
      const about = sample.u.estimated ? "about " : "";
      const counts = Object.entries(sample.u).filter(([k]) => k !== "estimated");
      const tokens = counts.map(([k, v]) => `${about}${v} tokens ${k}`);
      const times = Object.entries(sample.l).map(([k, v]) => `${k.replaceAll("_", " ")} ${EA.seconds(v)}`);
      const facts = [...times, ...tokens, sample.stop ? `stopped: ${sample.stop}` : ""]
        .filter((t) => t)
        .join(" · ");
      detail.replaceChildren(
        EA.el(
          "div",
          { class: "title" },
          heading,
          EA.el(
            "div",
            { class: "row" },
            EA.el(
              "button",
              { type: "button", disabled: i === 0, onclick: () => show(open - 1) },
              "← Previous",
            ),
            EA.el(
              "button",
              { type: "button", disabled: i === rows.length - 1, onclick: () => show(open + 1) },
              "Next →",
            ),
            others.length
              ? EA.el(
                  "a",
                  {
                    class: "button",
                    href: EA.href("compare", { a: run.id, b: others[0].id, task, sample: row.id }),
                  },
                  "Compare",
                )
              : null,
            EA.el("button", { type: "button", onclick: EA.copyLink }, "Copy link"),
          ),
        ),
        EA.el(
          "p",
          { class: "groups" },
          Object.entries(row.groups).map(([k, v]) => EA.el("span", { class: "tag" }, EA.said(`${k}: ${v}`))),
        ),
        ...EA.turns(questions, sample).flatMap(([turn, name]) => [
          section("asked", `Prompt${name}`, EA.prompt(questions, turn)),
          section("answered", `Response${name}`, EA.response(sample, `the response${name}`, turn)),
        ]),
        EA.scoresTable(samples, sample),
        EA.el("p", { class: "soft" }, EA.said(facts)),
        sample.d
          ? EA.el(
              "details",
              {},
              EA.el("summary", {}, "Details of the model"),
              EA.text(sample.d, "pre", { class: "text" }),
            )
          : "",
      );
      detail.scrollTop = 0;
      if (focus) heading.focus({ preventScroll: false });
    };

    const others = board.rows.filter((r) => r !== run && r.tasks.includes(task));
    const select = (label, key, options, redraw) => {
      const box = EA.el(
        "select",
        {
          onchange: () => {
            view[key] = box.value;
            (redraw || refresh)();
          },
        },
        options.map(([v, text]) => EA.el("option", { value: v, selected: view[key] === v }, text)),
      );
      return EA.el("label", {}, EA.el("span", {}, label), box);
    };
    const bound = (label, key) => {
      const box = EA.el("input", {
        type: "number",
        step: "any",
        value: view[key],
        "aria-label": label,
        placeholder: label,
        oninput: () => {
          view[key] = box.value;
          refresh();
        },
      });
      return box;
    };
    const kinds = [...new Set(samples.rows.map((r) => r.failure).filter((k) => k))].sort();
    const search = EA.el("input", {
      type: "search",
      placeholder: "Search samples",
      "aria-label": "Search samples",
      value: view.q,
      oninput: () => {
        view.q = search.value;
        refresh();
      },
    });
    const count = EA.el("p", { class: "count" });
    const listBody = EA.el("ul", {});
    const scroller = EA.el(
      "div",
      { class: "list", tabindex: "0", role: "region", "aria-label": "Samples" },
      listBody,
    );
    const list = EA.windowed({
      scroller,
      body: listBody,
      height: ROW,
      row: newRow,
      spacer: () => EA.el("li", { "aria-hidden": "true", class: "spacer" }),
      whole: (n) => n <= WINDOW,
    });
    const detail = EA.el("article", { class: "detail", "aria-label": "Sample" });
    const empty = EA.el("p", { class: "empty", hidden: true }, "No sample matches.");
    main.append(
      EA.el(
        "div",
        { class: "bar" },
        EA.el(
          "div",
          { class: "filters", role: "search" },
          select(
            "Task",
            "task",
            run.tasks.map((t) => [t, t]),
            () => EA.go("samples", { run: run.id, task: view.task }),
          ),
          search,
          select("Outcome", "outcome", [
            ["", "all"],
            ["scored", "scored"],
            ["failed", "failed"],
            ["unscored", "unscored"],
            ...kinds.map((k) => [k, k.replaceAll("_", " ")]),
          ]),
          select("Has", "mod", [
            ["", "any"],
            ["t", "text"],
            ["i", "image"],
            ["a", "audio"],
            ["v", "video"],
            ["none", "nothing"],
          ]),
          select(
            "Metric",
            "metric",
            metrics.map((m, i) => [i ? m.name : "", m.name]),
          ),
          EA.el("span", { class: "bounds" }, bound("from", "least"), bound("to", "most")),
          select("Order", "order", [
            ["", "by id"],
            ["worst", "worst first"],
            ["best", "best first"],
          ]),
        ),
      ),
      EA.el("div", { class: "split" }, EA.el("div", { class: "side" }, count, scroller, empty), detail),
    );
    refresh();
    await show(Math.max(0, open), false);
    EA.keys = {
      j: () => show(Math.min(rows.length - 1, open + 1)),
      k: () => show(Math.max(0, open - 1)),
      p: EA.togglePlay,
      c: () => {
        if (others.length) EA.go("compare", { a: run.id, b: others[0].id, task, sample: view.sample });
      },
      Enter: () => detail.querySelector("button.picture")?.click(),
      "/": () => search.focus(),
    };
    EA.leave = () => list.close();
  };
})();
