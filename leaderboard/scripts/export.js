"use strict";
// The table in view as CSV or JSON, made here and saved as a file.
(() => {
  const save = (name, type, text) => {
    const url = URL.createObjectURL(new Blob([text], { type }));
    EA.el("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  };

  // A field of CSV; what a spreadsheet would take for a formula is text.
  const field = (value) => {
    if (value === null || value === undefined) return "";
    let text = String(value);
    if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };

  const parts = ["value", "low", "high", "n", "failed", "rank_low", "rank_high", "group", "invalid"];

  EA.csv = (rows, columns) => {
    const head = [
      "id",
      "model",
      "run",
      "published",
      ...columns.flatMap((c) => parts.map((p) => `${c.key} ${p}`)),
    ];
    const lines = rows.map((row) => [
      row.id,
      row.name,
      row.folder,
      row.published ? "published, not measured here" : "",
      ...columns.flatMap((c) => parts.map((_, i) => (row.cells[c.place] || [])[i])),
    ]);
    return `${[head, ...lines].map((line) => line.map(field).join(",")).join("\r\n")}\r\n`;
  };

  EA.json = (rows, columns) =>
    JSON.stringify(
      rows.map((row) => ({
        id: row.id,
        model: row.name,
        run: row.folder,
        published: row.published,
        metrics: Object.fromEntries(
          columns
            .filter((c) => row.cells[c.place])
            .map((c) => [c.key, Object.fromEntries(row.cells[c.place].map((value, i) => [parts[i], value]))]),
        ),
      })),
      null,
      1,
    );

  EA.exportDialog = (rows, columns) => {
    const button = (name, make) => EA.el("button", { type: "button", onclick: make }, name);
    EA.dialog(
      "Export",
      EA.el(
        "p",
        {},
        `${EA.plural(rows.length, "row")} and ${EA.plural(columns.length, "column")}, as the table shows them.`,
      ),
      EA.el(
        "p",
        { class: "row" },
        button("Save CSV", () => save("leaderboard.csv", "text/csv", EA.csv(rows, columns))),
        button("Save JSON", () => save("leaderboard.json", "application/json", EA.json(rows, columns))),
      ),
    );
  };
})();
