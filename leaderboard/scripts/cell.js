"use strict";
// A cell of the main table, and the card with all that is known of its number.
(() => {
  EA.className = (i) => String.fromCharCode(65 + (i % 26));

  // What a cell says; `button` is whether it has a card.
  const told = (row, column) => {
    const cell = row.cells[column.place];
    if (!cell) return { kind: "none", value: "–" };
    const [value, low, high, n, failed, rankLow, rankHigh, group = 0, invalid = ""] = cell;
    if (row.published) return { kind: "", value: EA.number(value, column.scale), about: "published" };
    if (value === null) {
      const [kind, text] = invalid ? ["bad", "INVALID"] : ["unscored", "unscored"];
      return { kind, button: true, value: text, about: invalid };
    }
    const ranked = rankLow && (column.classes[group]?.[0] || 1) > 1;
    const worst = column.range ? column.range[column.better === "higher" ? 0 : 1] : 0;
    const top = ranked && rankLow === 1 && value !== worst;
    const bar =
      column.range && low !== null ? [low, high, value].map((v) => EA.place(v, column.range)) : null;
    return {
      kind: bar ? "barred" : "",
      button: true,
      bar,
      top,
      failed: failed > row.maxFailed * n,
      value: EA.number(value, column.scale),
      group: group ? EA.className(group) : "",
      rank: ranked ? `#${EA.ranks(rankLow, rankHigh)}${top ? " ★" : ""}` : "",
      interval: EA.interval(low, high, column.scale),
      about: n === null ? "" : `n ${n}${failed ? ` · ${EA.percent(failed / n)} failed` : ""}`,
    };
  };

  // Gives an element these children, but for null; those that it has already are left alone.
  const hold = (element, ...children) => {
    const now = children.filter((child) => child);
    if (now.length === element.childNodes.length && now.every((child, i) => child === element.childNodes[i]))
      return;
    element.replaceChildren(...now);
  };

  const saying = (element, text) => {
    if (!text) return null;
    EA.retext(element, text);
    return element;
  };

  // {element, draw(row, column), clear()}: a cell that can show one number after another.
  EA.boardCell = () => {
    let row = null;
    let column = null;
    const button = EA.el(
      "button",
      { type: "button", class: "value", onclick: () => EA.cellCard(row, column) },
      "",
    );
    const plain = EA.el("span", { class: "value" }, "");
    const group = EA.el("span", { class: "class", title: "not comparable with the unmarked ones" }, "");
    const rank = EA.el("span", { class: "rank" }, "");
    const first = EA.el("span", { class: "first" });
    const interval = EA.el("span", { class: "ci" }, "");
    const about = EA.el("small", { class: "meta" }, "");
    const last = EA.el("span", { class: "last" });
    const bar = EA.el("i", { class: "range" });
    const element = EA.el("td");
    return {
      element,
      draw(newRow, newColumn) {
        if (row === newRow && column === newColumn) return;
        [row, column] = [newRow, newColumn];
        const says = told(row, column);
        if (element.className !== says.kind) {
          element.className = says.kind;
          plain.className = says.kind === "none" ? "" : "value";
          plain.ariaLabel = says.kind === "none" ? "no value" : null;
          about.dir = says.kind === "bad" ? "auto" : ""; // a text of somebody else
        }
        rank.classList.toggle("top", Boolean(says.top));
        about.classList.toggle("failed", Boolean(says.failed));
        if (says.bar) {
          const [low, high, at] = says.bar.map((share) => 100 * share);
          const room = 100 - (high - low); // a position in per cent is one of the room that is left
          bar.style.backgroundPosition = `${at}% 0, ${room ? (100 * low) / room : 0}% 0`;
          bar.style.backgroundSize = `3px 100%, ${high - low}% 100%`;
        }
        hold(first, saying(says.button ? button : plain, says.value), saying(rank, says.rank));
        hold(last, saying(about, says.about), saying(group, says.group));
        hold(
          element,
          first,
          saying(interval, says.interval),
          says.about || says.group ? last : null,
          says.bar ? bar : null,
        );
      },
      clear() {
        row = column = null;
        element.className = "";
        hold(element);
      },
    };
  };

  const money = (value) =>
    value === null || value === undefined ? "not known" : value === 0 ? "none" : value.toPrecision(3);

  EA.cellCard = async (row, column) => {
    const cell = row.cells[column.place];
    const [value, low, high, n, failed, rankLow, rankHigh, group = 0, invalid = ""] = cell;
    const card = await EA.load(`cards/${row.id}`);
    const task = column.task ? `${column.suite}/${column.task}` : "";
    const name = task ? column.key.slice(task.length + 1) : column.key;
    const metric = task ? card.tasks[task].metrics[name] : card.aggregates[name];
    const facts = [];
    const meaning = column.about;
    const fact = (label, ...content) => facts.push(EA.el("dt", {}, label), EA.el("dd", {}, ...content));
    if (meaning) fact("measures", EA.said(meaning));
    fact(
      "value",
      value === null
        ? EA.el("b", {}, invalid ? "INVALID: " : "unscored")
        : EA.el("b", {}, EA.number(value, column.scale)),
      invalid ? EA.said(invalid) : null,
    );
    if (low !== null) fact("95 % interval", EA.interval(low, high, column.scale));
    if (column.range) fact("range", `${column.range[0]} to ${column.range[1]}, ${column.better} is better`);
    const members = column.classes[group]?.[0] || 1;
    if (rankLow && members > 1) {
      fact(
        "rank",
        `${EA.ranks(rankLow, rankHigh)} of ${members} comparable runs` +
          (rankLow === 1 ? ": cannot be told from the best" : "") +
          (column.uneven ? "; two runs are compared on the samples that both have" : ""),
      );
    } else if (column.unranked) fact("rank", `none: ${column.unranked}`);
    else if (members === 1) fact("rank", "none: no other run is comparable");
    if (column.classes.length > 1) {
      const why = group
        ? column.classes[group][1]
        : column.classes
            .slice(1)
            .map((c) => c[1])
            .join("; ");
      fact(
        "not ranked with",
        `${column.classes.reduce((sum, c) => sum + c[0], 0) - members} other runs of this column, which have other: `,
        EA.said(why),
      );
    }
    if (n !== null)
      fact(
        "samples",
        `${n}, of which the model failed ${failed}${metric.unscored ? `, unscored ${metric.unscored}` : ""}`,
      );
    if (metric.judge) {
      fact("judge", EA.said(metric.judge), metric.kind ? ` (${metric.kind})` : "");
      fact("agreement with people", EA.said(metric.quality || "not calibrated"));
      if (metric.fingerprint) fact("judge and rubric", EA.el("code", {}, metric.fingerprint));
    }
    if (metric.repeats) fact("repeats", metric.repeats);
    if (metric.effect) fact("detectable", EA.said(metric.effect));
    else if (metric.detects)
      fact(
        "detectable",
        `a difference of ${EA.number(metric.detects, column.scale)} from an independent run of this size (80 % power)`,
      );
    if (metric.formula)
      fact("computed as", EA.said(`${metric.formula} of ${Object.values(metric.inputs).join(", ")}`));
    const cost = card.cost;
    if (cost.by) {
      for (const [who, part] of Object.entries(cost.by)) {
        if (!who.startsWith("judge ") || who === `judge ${metric.judge}`) {
          fact(
            `cost of ${who.startsWith("judge ") ? "the judge" : "the answers"}`,
            `${part.tokens.estimated ? "about " : ""}${money(part.money)}${part.money ? ` ${cost.currency}` : ""} (${part.tokens.input || 0} tokens in, ${part.tokens.output || 0} out, whole run)`,
          );
        }
      }
    }
    if (row.latency) fact("seconds an answer", `${EA.seconds(row.latency)} (median)`);
    const prints = task ? Object.entries(card.tasks[task].fingerprints) : [];
    EA.dialog(
      `${EA.modelLabel(row)}: ${column.key}`,
      EA.el("dl", { class: "facts" }, facts),
      prints.length
        ? EA.el(
            "details",
            {},
            EA.el("summary", {}, "Fingerprints: equal ones can be compared"),
            EA.el(
              "dl",
              { class: "facts" },
              prints.flatMap(([key, sha]) => [EA.said(key, "dt"), EA.el("dd", {}, EA.el("code", {}, sha))]),
            ),
          )
        : null,
      EA.el(
        "p",
        { class: "row" },
        task
          ? EA.el(
              "a",
              {
                class: "button",
                href: EA.href("samples", { run: row.id, task }),
                onclick: () => document.querySelector("dialog")?.close(),
              },
              "See its samples",
            )
          : null,
        EA.el(
          "a",
          {
            class: "button",
            href: EA.href("model", { run: row.id }),
            onclick: () => document.querySelector("dialog")?.close(),
          },
          "All of this model",
        ),
      ),
    );
  };
})();
