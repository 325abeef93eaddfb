"use strict";
// Two models on the same samples: the paired difference at the head, then one sample after another,
// those first in which most changed.
(() => {
  // Means over repeats by sample and item.
  const bySample = (samples, place) => {
    const found = new Map();
    for (const row of samples.rows) {
      const value = row.values[place];
      if (typeof value !== "number") continue;
      const key = `${row.id}\n${row.item}`;
      if (!found.has(key)) found.set(key, { row, values: [] });
      found.get(key).values.push(value);
    }
    for (const one of found.values()) one.value = one.values.reduce((s, v) => s + v, 0) / one.values.length;
    return found;
  };

  // Samples with a value of the metric in both runs; `gain` is B minus A, turned so that up is good.
  EA.pairs = (a, b, name) => {
    const [i, j] = [a, b].map((samples) => samples.metrics.findIndex((m) => m.name === name));
    if (i < 0 || j < 0) return [];
    const up = a.metrics[i].better === "lower" ? -1 : 1;
    const others = bySample(b, j);
    const pairs = [];
    for (const [key, { row, value }] of bySample(a, i)) {
      const other = others.get(key);
      if (other)
        pairs.push({ a: row, b: other.row, from: value, to: other.value, gain: up * (other.value - value) });
    }
    return pairs;
  };

  EA.pages.compare = async (params, main) => {
    const board = EA.board();
    await board.complete;
    const runs = board.rows;
    const one = board.byId.get(params.a) || runs[0];
    const two = board.byId.get(params.b) || runs.find((r) => r !== one) || one;
    const tasks = one.tasks.filter((t) => two.tasks.includes(t));
    EA.trail([`${EA.modelLabel(one)} against ${EA.modelLabel(two)}`]);
    const task = tasks.includes(params.task) ? params.task : tasks[0];
    const view = { order: "", view: "", ...params, a: one.id, b: two.id, task };
    const pick = (label, key, value, options) => {
      const box = EA.el(
        "select",
        { onchange: () => EA.go("compare", { ...view, [key]: box.value, sample: "" }) },
        options.map(([v, text]) => EA.el("option", { value: v, selected: v === value }, text)),
      );
      return EA.el("label", { class: key }, EA.el("span", {}, label), box);
    };
    const models = runs.map((r) => [r.id, EA.modelLabel(r)]);
    const bar = EA.el(
      "div",
      { class: "filters" },
      pick("A", "a", one.id, models),
      pick("B", "b", two.id, models),
    );
    main.append(EA.el("h1", { class: "hidden" }, "Compare two models"), EA.el("div", { class: "bar" }, bar));
    if (!task) {
      main.append(EA.el("p", { class: "empty" }, "These two runs have no task in common."));
      return;
    }
    const [a, b] = await Promise.all([EA.samplesOf(one.id, task), EA.samplesOf(two.id, task)]);
    const names = a.metrics.map((m) => m.name).filter((n) => b.metrics.some((m) => m.name === n));
    const name = names.includes(params.metric) ? params.metric : names[0];
    view.metric = name;
    bar.append(
      pick(
        "Task",
        "task",
        task,
        tasks.map((t) => [t, t]),
      ),
      pick(
        "Metric",
        "metric",
        name,
        names.map((n) => [n, n]),
      ),
      pick("Order", "order", view.order, [
        ["", "largest changes first"],
        ["gains", "gains of B first"],
        ["losses", "losses of B first"],
      ]),
      EA.el(
        "button",
        { type: "button", onclick: () => EA.go("compare", { ...view, a: two.id, b: one.id }) },
        "Swap A and B",
      ),
    );
    const metric = a.metrics.find((m) => m.name === name);
    const pairs = EA.pairs(a, b, name);
    const rank = { "": (p) => -Math.abs(p.gain), gains: (p) => -p.gain, losses: (p) => p.gain }[view.order];
    pairs.sort((p, q) => rank(p) - rank(q) || p.a.i - q.a.i);

    // The head: how much better B is, and how sure that is.
    const column = board.byKey.get(`${task}:${name}`);
    const classes = column ? [one, two].map((r) => (r.cells[column.place] || [])[7] || 0) : [0, 0];
    const head = EA.el("div", { class: "estimate" });
    const figure = (label, text, about, kind) =>
      EA.el(
        "div",
        { class: `figure-number ${kind || ""}` },
        EA.el("span", { class: "soft" }, label),
        EA.el("b", {}, text),
        about ? EA.el("span", { class: "soft" }, about) : null,
      );
    if (classes[0] !== classes[1]) {
      const why = classes
        .map((c) => column.classes[c][1])
        .filter((w) => w)
        .join("; ");
      head.append(
        EA.el(
          "p",
          { class: "wrong" },
          "There is no estimate: these numbers cannot be compared. Other ",
          EA.said(why),
          ".",
        ),
      );
    } else if (!pairs.length) {
      head.append(EA.el("p", { class: "soft" }, "No sample has a value of this metric in both runs."));
    } else {
      const low = metric.range[0];
      const estimate = EA.paired(
        pairs.map((p) => p.gain),
        pairs.map((p) => p.a.cluster),
        metric.range[1] - low,
      );
      const [ofA, ofB] = [a, b].map((s) => new Set(s.rows.map((r) => `${r.id}\n${r.item}`)));
      const both = [...ofA].filter((key) => ofB.has(key)).length;
      const mean = (key) => pairs.reduce((s, p) => s + p[key], 0) / pairs.length;
      const sure =
        estimate.low === null
          ? ""
          : estimate.low > 0
            ? "B is better"
            : estimate.high < 0
              ? "A is better"
              : "no difference can be told";
      const width = Math.max(Math.abs(estimate.low ?? 0), Math.abs(estimate.high ?? 0), 1e-9) * 1.15;
      const scale = EA.el(
        "div",
        { class: "scale", "aria-hidden": "true" },
        EA.el("i", {}),
        EA.el("b", {}),
        EA.el("s", {}),
      );
      scale.style.setProperty("--low", EA.place(estimate.low ?? 0, [-width, width]));
      scale.style.setProperty("--high", EA.place(estimate.high ?? 0, [-width, width]));
      scale.style.setProperty("--at", EA.place(estimate.difference, [-width, width]));
      head.append(
        figure("A", EA.number(mean("from"), metric.range), EA.modelLabel(one), "a"),
        figure("B", EA.number(mean("to"), metric.range), EA.modelLabel(two), "b"),
        EA.el(
          "div",
          { class: "figure-number gain" },
          EA.el("span", { class: "soft" }, "gain of B over A, paired"),
          EA.el("b", { id: "gain" }, EA.signed(estimate.difference, metric.range)),
          EA.el(
            "span",
            { id: "gain-interval" },
            estimate.low === null
              ? "one cluster: no interval"
              : `95 % interval ${EA.signed(estimate.low, metric.range)} to ${EA.signed(estimate.high, metric.range)}`,
          ),
          scale,
          EA.el("span", { class: "verdict" }, sure),
        ),
        figure(
          "samples",
          String(estimate.n),
          `${estimate.clusters} clusters · ${pairs.filter((p) => p.gain > 0).length} gained · ${pairs.filter((p) => p.gain < 0).length} lost`,
        ),
      );
      if (both < Math.max(ofA.size, ofB.size))
        head.append(
          EA.el(
            "p",
            { class: "soft", id: "shared" },
            `Compared on the ${both} samples that both runs have: A has ${ofA.size}, B has ${ofB.size}.`,
          ),
        );
    }
    main.append(head);
    if (!pairs.length) return;

    const list = EA.el("ol", { class: "steps" });
    const stage = EA.el("article", { class: "stage-pair", "aria-label": "Sample" });
    let at = Math.max(
      0,
      pairs.findIndex((p) => p.a.id === params.sample),
    );
    let flip = null;

    // Parts of one modality in the order of both answers, side by side.
    const matched = (left, right) => {
      const rows = [];
      for (const kind of ["text", "image", "audio", "video"]) {
        const [x, y] = [left, right].map((parts) => parts.filter((part) => part.m === kind));
        for (let i = 0; i < Math.max(x.length, y.length); i++) rows.push([kind, x[i], y[i]]);
      }
      return rows;
    };

    const together = ([kind, x, y]) => {
      if (!x || !y || x.x || y.x) return null;
      if (kind === "text")
        return typeof x.t === "string" && typeof y.t === "string" ? EA.textDiff(x.t, y.t) : null;
      if (kind === "image") return EA.swipe(x, y);
      if (kind === "video") return EA.clipDuel(x, y);
      const duel = EA.soundDuel(x, y);
      flip = flip || duel.flip;
      return duel;
    };

    const show = async (i, focus = true) => {
      at = Math.max(0, Math.min(pairs.length - 1, i));
      const pair = pairs[at];
      view.sample = pair.a.id;
      EA.note("compare", view);
      for (const item of list.children)
        item.firstChild.setAttribute("aria-current", String(Number(item.dataset.at) === at));
      const item = list.children[at];
      if (item) {
        const above = item.getBoundingClientRect().top - ranking.getBoundingClientRect().top;
        ranking.scrollTop += above - ranking.clientHeight / 2;
      }
      const [left, right, questions] = await Promise.all([
        EA.wholeSample(a, pair.a),
        EA.wholeSample(b, pair.b),
        EA.questions(task, pair.a.item),
      ]);
      if (pairs[at] !== pair) return;
      flip = null;
      const heading = EA.said(pair.a.id, "h2", { tabindex: "-1" });
      // The scores are of all turns: they stand beneath the last one.
      const turns = EA.turns(questions, left, right);
      const side = (letter, run, sample, samples, value, [turn, name]) => {
        const last = turn === turns.length - 1;
        return EA.el(
          "section",
          { class: `half ${letter}`, "aria-label": `Response of ${letter.toUpperCase()}${name}` },
          EA.el(
            "h3",
            {},
            EA.el("span", { class: "letter" }, letter.toUpperCase()),
            EA.said(EA.modelLabel(run)),
            last ? EA.el("span", { class: "score" }, EA.number(value, metric.range)) : null,
          ),
          EA.response(sample, `${letter.toUpperCase()}${name}`, turn),
          last
            ? EA.el("details", {}, EA.el("summary", {}, "Scores and why"), EA.scoresTable(samples, sample))
            : null,
        );
      };
      const both = (name, turn) => {
        const found = matched(...[left, right].map((sample) => EA.answers(sample)[turn] || []))
          .map((row) => [row[0], together(row)])
          .filter((row) => row[1]);
        return found.length
          ? EA.el(
              "section",
              { class: "duels", "aria-label": `A against B${name}` },
              found.map(([kind, element]) =>
                EA.el(
                  "div",
                  { class: `against of-${kind}` },
                  EA.el(
                    "h3",
                    {},
                    {
                      text: "Text: what differs",
                      image: "Images: swipe",
                      audio: "Sounds: one playhead",
                      video: "Clips in step",
                    }[kind],
                  ),
                  element,
                ),
              ),
            )
          : "";
      };
      const asked = (name, prompt) =>
        prompt
          ? EA.el("details", { class: "asked", open: true }, EA.el("summary", {}, `Prompt${name}`), prompt)
          : "";
      stage.replaceChildren(
        EA.el(
          "div",
          { class: "title" },
          heading,
          EA.el(
            "div",
            { class: "row" },
            EA.el(
              "span",
              { class: pair.gain < 0 ? "delta worse" : pair.gain > 0 ? "delta better" : "delta" },
              `${EA.signed(pair.gain, metric.range)} for B`,
            ),
            EA.el(
              "button",
              { type: "button", disabled: at === 0, onclick: () => show(at - 1) },
              "← Previous",
            ),
            EA.el("span", { class: "soft" }, `${at + 1} of ${pairs.length}`),
            EA.el(
              "button",
              { type: "button", disabled: at === pairs.length - 1, onclick: () => show(at + 1) },
              "Next →",
            ),
            EA.el("button", { type: "button", onclick: EA.copyLink }, "Copy link"),
          ),
        ),
        ...turns.flatMap(([turn, name]) => [
          asked(name, EA.prompt(questions, turn)),
          EA.el(
            "div",
            { class: "halves" },
            side("a", one, left, a, pair.from, [turn, name]),
            side("b", two, right, b, pair.to, [turn, name]),
          ),
          both(name, turn),
        ]),
      );
      if (focus) heading.focus({ preventScroll: true });
      const { top } = stage.getBoundingClientRect();
      if ((focus || params.sample) && (top < 0 || top > innerHeight / 3)) stage.scrollIntoView();
    };

    const most = Math.max(...pairs.map((p) => Math.abs(p.gain)), 1e-12);
    const shown = pairs.slice(0, 200);
    list.append(
      ...shown.map((pair, i) => {
        const button = EA.el(
          "button",
          {
            type: "button",
            class: pair.gain < 0 ? "worse" : pair.gain > 0 ? "better" : "",
            onclick: () => show(i),
          },
          EA.said(pair.a.id),
          EA.el("span", { class: "score" }, EA.signed(pair.gain, metric.range)),
        );
        button.style.setProperty("--size", Math.abs(pair.gain) / most);
        return EA.el("li", { "data-at": i }, button);
      }),
    );
    const ranking = EA.el(
      "nav",
      { class: "side", "aria-label": "Samples by difference" },
      list,
      pairs.length > shown.length
        ? EA.el("p", { class: "soft" }, `and ${pairs.length - shown.length} more, by Next`)
        : null,
    );
    main.append(EA.el("div", { class: "split" }, ranking, stage));
    await show(at, false);
    EA.keys = {
      j: () => show(at + 1),
      k: () => show(at - 1),
      p: () => {
        const button = stage.querySelector("button.play");
        if (button) button.click();
        else EA.togglePlay();
      },
      c: () => flip?.(),
      Enter: () => EA.go("samples", { run: one.id, task, sample: pairs[at].a.id }),
    };
  };
})();
