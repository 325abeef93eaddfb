"use strict";
// A cell of the main table, and the card with all that is known of its number.
(() => {
  EA.className = (i) => String.fromCharCode(65 + (i % 26));

  EA.boardCell = (row, column) => {
    const cell = row.cells[column.place];
    if (!cell) return EA.el("td", { class: "none" }, EA.el("span", { "aria-label": "no value" }, "–"));
    const [value, low, high, n, failed, rankLow, rankHigh, group = 0, invalid = ""] = cell;
    if (row.published) return EA.el("td", {}, EA.el("span", { class: "value" }, EA.number(value, column.scale)), EA.el("small", { class: "meta" }, "published"));
    const open = () => EA.cellCard(row, column);
    if (value === null) {
      return EA.el("td", { class: "bad" }, EA.el("button", { type: "button", class: "value", onclick: open }, invalid ? "INVALID" : "unscored"),
        EA.said(invalid, "small", { class: "meta" }));
    }
    const members = column.classes[group]?.[0] || 1;
    const top = rankLow === 1 && members > 1;
    const td = EA.el("td", { class: top ? "best" : "" },
      EA.el("span", { class: "first" },
        EA.el("button", { type: "button", class: "value", onclick: open }, EA.number(value, column.scale)),
        group ? EA.el("span", { class: "class", title: "not comparable with the unmarked ones" }, EA.className(group)) : null,
        rankLow && members > 1 ? EA.el("span", { class: top ? "rank top" : "rank" }, `#${EA.ranks(rankLow, rankHigh)}${top ? " ★" : ""}`) : null),
      EA.el("span", { class: "ci" }, EA.interval(low, high, column.scale)),
      n === null ? null : EA.el("small", { class: failed ? "meta failed" : "meta" }, `n ${n}${failed ? ` · ${EA.percent(failed / n)} failed` : ""}`));
    if (column.range && low !== null) {
      td.classList.add("barred");
      td.style.setProperty("--low", EA.place(low, column.range));
      td.style.setProperty("--high", EA.place(high, column.range));
      td.style.setProperty("--at", EA.place(value, column.range));
    }
    return td;
  };

  const money = (value) => (value === null || value === undefined ? "not known" : value === 0 ? "none" : value.toPrecision(3));

  EA.cellCard = async (row, column) => {
    const cell = row.cells[column.place];
    const [value, low, high, n, failed, rankLow, rankHigh, group = 0, invalid = ""] = cell;
    const card = await EA.load(`cards/${row.id}`);
    const task = column.task ? `${column.suite}/${column.task}` : "";
    const name = task ? column.key.slice(task.length + 1) : column.key;
    const metric = task ? card.tasks[task].metrics[name] : card.aggregates[name];
    const facts = [];
    const fact = (label, ...content) => facts.push(EA.el("dt", {}, label), EA.el("dd", {}, ...content));
    fact("value", value === null ? EA.el("b", {}, invalid ? "INVALID: " : "unscored") : EA.el("b", {}, EA.number(value, column.scale)), invalid ? EA.said(invalid) : null);
    if (low !== null) fact("95 % interval", EA.interval(low, high, column.scale));
    if (column.range) fact("range", `${column.range[0]} to ${column.range[1]}, ${column.better} is better`);
    const members = column.classes[group]?.[0] || 1;
    if (rankLow && members > 1) {
      fact("rank", `${EA.ranks(rankLow, rankHigh)} of ${members} comparable runs` + (rankLow === 1 ? ": cannot be told from the best" : ""));
    } else if (column.unranked) fact("rank", `none: ${column.unranked}`);
    else if (members === 1) fact("rank", "none: no other run is comparable");
    if (column.classes.length > 1) {
      const why = group ? column.classes[group][1] : column.classes.slice(1).map((c) => c[1]).join("; ");
      fact("not ranked with", `${column.classes.reduce((sum, c) => sum + c[0], 0) - members} other runs of this column, which have other: `, EA.said(why));
    }
    if (n !== null) fact("samples", `${n}, of which the model failed ${failed}${metric.unscored ? `, unscored ${metric.unscored}` : ""}`);
    if (metric.judge) {
      fact("judge", EA.said(metric.judge), metric.kind ? ` (${metric.kind})` : "");
      fact("agreement with people", EA.said(metric.quality || "not calibrated"));
      if (metric.fingerprint) fact("judge and rubric", EA.el("code", {}, metric.fingerprint));
    }
    if (metric.effect) fact("detectable", EA.said(metric.effect));
    else if (metric.detects) fact("detectable", `a difference of ${EA.number(metric.detects, column.scale)} from an independent run of this size (80 % power)`);
    if (metric.formula) fact("computed as", EA.said(`${metric.formula} of ${Object.values(metric.inputs).join(", ")}`));
    const cost = card.cost;
    if (cost.by) {
      for (const [who, part] of Object.entries(cost.by)) {
        if (!who.startsWith("judge ") || who === `judge ${metric.judge}`) {
          fact(`cost of ${who.startsWith("judge ") ? "the judge" : "the answers"}`, `${money(part.money)}${part.money ? ` ${cost.currency}` : ""} (${part.tokens.input || 0} tokens in, ${part.tokens.output || 0} out, whole run)`);
        }
      }
    }
    if (row.latency) fact("seconds an answer", `${EA.seconds(row.latency)} (median)`);
    const prints = task ? Object.entries(card.tasks[task].fingerprints) : [];
    EA.dialog(`${EA.modelLabel(row)}: ${column.key}`, EA.el("dl", { class: "facts" }, facts),
      prints.length ? EA.el("details", {}, EA.el("summary", {}, "Fingerprints: equal ones can be compared"),
        EA.el("dl", { class: "facts" }, prints.map(([key, sha]) => [EA.said(key, "dt"), EA.el("dd", {}, EA.el("code", {}, sha))]).flat())) : null,
      EA.el("p", { class: "row" },
        task ? EA.el("a", { class: "button", href: EA.href("samples", { run: row.id, task }), onclick: () => document.querySelector("dialog")?.close() }, "See its samples") : null,
        EA.el("a", { class: "button", href: EA.href("model", { run: row.id }), onclick: () => document.querySelector("dialog")?.close() }, "All of this model")));
  };
})();
