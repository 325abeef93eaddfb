"use strict";
// The best models by one column, with their intervals on one scale: a forest plot above the table.
(() => {
  const MOST = 8;

  // Elements for the rows in view, which are sorted by `column` in `direction`; none without a column.
  EA.leaders = (rows, column, direction) => {
    if (!column) return [];
    const cell = (row) => row.cells[column.place];
    const ranked = [];
    let tied = 0;
    for (const row of rows) {
      const numbers = row.published ? null : cell(row);
      if (!numbers || numbers[0] === null || numbers[7]) continue;
      ranked.push(row);
      if (numbers[5] === 1) tied++;
    }
    if (direction !== (column.better === "higher" ? "desc" : "asc")) ranked.reverse();
    const best = ranked.slice(0, MOST).filter((row) => cell(row)[1] !== null);
    if (best.length < 2) return [];
    const ends = best.flatMap((row) => cell(row).slice(0, 3));
    const scale = [Math.min(...ends), Math.max(...ends)];
    const names = best.map((row) => row.name);
    const alone = (row) => names.indexOf(row.name) === names.lastIndexOf(row.name);
    const line = (row) => {
      const [value, low, high, , , rankLow] = cell(row);
      const plot = EA.el("span", { class: "scale", "aria-hidden": "true" }, EA.el("i"), EA.el("b"));
      for (const [name, at] of Object.entries({ low, high, at: value }))
        plot.style.setProperty(`--${name}`, EA.place(at, scale));
      return EA.el(
        "li",
        { class: rankLow === 1 ? "top" : "" },
        EA.el(
          "a",
          { href: EA.href("model", { run: row.id }) },
          EA.said(alone(row) ? row.name : EA.modelLabel(row)),
        ),
        plot,
        EA.el("b", {}, EA.number(value, column.scale)),
        EA.el("small", {}, EA.interval(low, high, column.scale)),
      );
    };
    const name = column.task ? column.title || `${column.suite}/${column.task}` : column.suite;
    const more = ranked.length > best.length ? `, the first ${best.length} of ${ranked.length}` : "";
    const leader =
      tied > 1 ? `: the first ${tied} cannot be told apart` : tied ? `: ${EA.modelLabel(best[0])} leads` : "";
    return [
      EA.el(
        "h2",
        {},
        EA.said(column.label),
        " of ",
        EA.said(name),
        EA.el("small", {}, EA.said(`${leader}${more}`)),
      ),
      EA.el("ol", {}, best.map(line)),
    ];
  };
})();
