"use strict";
// The main table: models and metrics.
(() => {
  const ROW = 72; // pixels, as in board.css
  const WINDOW = 200; // rows; a table with more holds the ones in sight
  const CELLS = 4000; // and one with more cells, too
  const PRINTED = 2000;

  let board = null;
  // All that is known of the table; rows come in several chunks.
  EA.board = () => {
    if (board) return board;
    const data = EA.have("board");
    board = {
      ...data,
      columns: data.columns.map((c, place) => ({ ...c, place })),
      rows: [],
      byId: new Map(),
    };
    board.byKey = new Map(board.columns.map((c) => [c.key, c]));
    board.add = (rows) => {
      for (const [id, name, folder, latency, cost, [tasks, counts], cells, maxFailed] of rows) {
        const row = { id, name, folder, latency, cost, tasks, counts, cells, maxFailed, published: false };
        row.text = `${name} ${folder}`.toLowerCase();
        board.rows.push(row);
        board.byId.set(id, row);
      }
    };
    board.add(data.rows);
    for (const c of board.columns) {
      // Aggregates have no range; how large they are says how many digits to show.
      c.scale = c.range || [0, Math.max(...board.rows.map((r) => Math.abs(r.cells[c.place]?.[0] || 0)))];
    }
    board.published = data.published.map(([name, values]) => ({
      id: "",
      name,
      folder: "",
      published: true,
      text: name.toLowerCase(),
      tasks: [],
      cells: values.map((value) => (value === null ? null : [value, null, null, null, null, null, null])),
    }));
    board.complete = (async () => {
      for (let i = 0; i < data.more; i++) board.add(await EA.load(`board-${i}`));
    })();
    return board;
  };

  EA.modelLabel = (row) => (row.folder && row.folder !== row.name ? `${row.name} (${row.folder})` : row.name);

  EA.pages.board = (params, main) => {
    const data = EA.board();
    const view = {
      q: "",
      suite: "",
      mod: "",
      sort: "",
      dir: "",
      sel: "",
      hide: "",
      all: "",
      only: "",
      ...params,
    };
    const selected = new Set(view.sel.split(",").filter((id) => id));
    const hidden = new Set(view.hide.split("|").filter((key) => key));
    let rows = [];
    let columns = [];
    let order = null; // the column that the table is sorted by; null: by name
    let direction = "asc";
    let active = -1;

    const note = () =>
      EA.note("board", { ...view, sel: [...selected].join(","), hide: [...hidden].join("|") });

    // --- what is in view ---------------------------------------------------------------------
    const inView = (c) =>
      (view.all || c.main) &&
      !hidden.has(c.key) &&
      (!view.suite || c.suite === view.suite) &&
      (!view.mod || c[view.mod.split(" ")[0]].includes(view.mod.split(" ")[1]));

    const chosen = (row) =>
      (!row.published || columns.some((c) => row.cells[c.place])) &&
      (!view.q || row.text.includes(view.q.toLowerCase())) &&
      (!view.only || selected.has(row.id));

    // The column that orders the table at first: the aggregate of the first suite that is part of no other
    // one, or the first main metric that has values.
    const leading = () => {
      const valued = columns.filter((c) =>
        data.rows.some((row) => typeof row.cells[c.place]?.[0] === "number"),
      );
      const aggregates = valued.filter((c) => !c.task && c.suite === valued[0].suite);
      const inner = new Set(aggregates.flatMap((c) => Object.values(c.inputs || {})));
      return aggregates.find((c) => !inner.has(c.key)) || valued[0] || null;
    };

    // The class of a row in the column of the order; published rows are one of their own.
    const classOf = (row) => (row.published ? -1 : row.cells[order.place]?.[7] || 0);

    // Classes are kept apart, the ranked ones first: an order across them would say something untrue.
    const sorted = (found, column) => {
      const last = Number.MAX_SAFE_INTEGER;
      const up = direction === "desc" ? -1 : 1;
      const keys = found.map((row, i) => {
        if (!column) return [row.published ? 1 : 0, row.name.toLowerCase(), i];
        const cell = row.cells[column.place];
        if (!cell || cell[0] === null) return [last, 0, i];
        return [row.published ? last - 1 : cell[7] || 0, up * cell[0], i];
      });
      const flip = column || direction !== "desc" ? 1 : -1;
      keys.sort((a, b) => a[0] - b[0] || (a[1] < b[1] ? -flip : a[1] > b[1] ? flip : a[2] - b[2]));
      return keys.map((key) => found[key[2]]);
    };

    const refresh = () => {
      columns = data.columns.filter(inView);
      order = view.sort === "name" ? null : data.byKey.get(view.sort) || leading();
      direction = view.dir || (order?.better === "higher" ? "desc" : "asc");
      rows = sorted([...data.rows, ...data.published].filter(chosen), order);
      active = -1;
      header();
      notices();
      drawLeaders();
      body.parentNode.setAttribute("aria-rowcount", rows.length + 2);
      grid.style.setProperty("--columns", columns.length);
      table.reset(rows.length);
      empty.hidden = rows.length > 0;
      const measured = rows.filter((row) => !row.published).length;
      count.textContent = `${EA.plural(measured, "run")}${rows.length > measured ? ` and ${rows.length - measured} published` : ""}, ${EA.plural(columns.length, "column")}`;
      EA.announce(count.textContent);
      note();
      chips();
    };

    // Of many rows the table is painted first: the plot above it reads them all.
    let waiting = 0;
    const drawLeaders = () => {
      const draw = () => leaders.replaceChildren(...EA.leaders(rows, order, direction));
      clearTimeout(waiting);
      if (rows.length <= WINDOW) draw();
      else
        requestAnimationFrame(() => {
          clearTimeout(waiting);
          waiting = setTimeout(draw);
        });
    };

    // --- the table ---------------------------------------------------------------------------
    const widths = EA.el("colgroup");
    const head = EA.el("thead");
    const body = EA.el("tbody");
    const caption = EA.el(
      "caption",
      { class: "hidden" },
      "Models and metrics. Each cell has the value, its 95 % interval, the rank as an interval, n and the failed share.",
    );
    const grid = EA.el("table", { class: "board" }, caption, widths, head, body);
    const scroller = EA.el(
      "div",
      { class: "scroller", tabindex: "0", role: "region", "aria-label": "Table of models and metrics" },
      grid,
    );
    const table = EA.windowed({
      scroller,
      body,
      height: ROW,
      row: () => newRow(),
      spacer: () => EA.el("tr", { "aria-hidden": "true", class: "spacer" }, EA.el("td", {})),
      whole: (n) => whole(n),
      look: () => lookAcross(),
    });
    const whole = (n) => n <= WINDOW && n * columns.length <= CELLS;

    const sortBy = (key, first) => {
      if ((order?.key || "name") === key) view.dir = direction === "desc" ? "asc" : "desc";
      else view.dir = first;
      view.sort = key;
      refresh();
      scroller.scrollTop = 0;
      head.querySelector("[aria-sort] button.sorted")?.focus();
    };

    const sortButton = (key, first, text, about) => {
      const on = (order?.key || "name") === key;
      const up = direction !== "desc";
      const button = EA.el(
        "button",
        { type: "button", class: on ? "sorted" : "", title: about, onclick: () => sortBy(key, first) },
        EA.breakable(text),
        EA.el("span", { class: "arrow", "aria-hidden": "true" }, on ? (up ? "▲" : "▼") : ""),
      );
      return [button, on ? (up ? "ascending" : "descending") : null];
    };

    const header = () => {
      const groups = [];
      for (const c of columns) {
        const name = c.task ? `${c.suite}/${c.task}` : c.suite;
        if (groups.length && groups.at(-1).name === name) groups.at(-1).span++;
        else groups.push({ name, span: 1, published: !c.classes.length, title: c.title || name });
      }
      const [button, sortOfNames] = sortButton("name", "asc", "model", "sort by name");
      const top = EA.el(
        "tr",
        {},
        EA.el("th", { rowspan: 2, scope: "col", class: "model", "aria-sort": sortOfNames || "none" }, button),
        groups.map((g) =>
          EA.el(
            "th",
            { colspan: g.span, scope: "colgroup", class: "group" },
            EA.el(
              "span",
              { class: "group-name", title: g.name },
              EA.breakable(g.title),
              g.published ? EA.el("small", {}, " published") : null,
            ),
          ),
        ),
      );
      const second = EA.el(
        "tr",
        {},
        columns.map((c) => {
          const about = `${c.key}${c.about ? `: ${c.about}` : ""}; ${c.better} is better${c.range ? `; from ${c.range[0]} to ${c.range[1]}` : ""}`;
          const [b, d] = sortButton(c.key, c.better === "higher" ? "desc" : "asc", c.label, about);
          return EA.el(
            "th",
            { scope: "col", class: c.main ? "main" : "", "aria-sort": d || "none" },
            b,
            c.better === "lower" ? EA.el("small", {}, "lower is better") : null,
          );
        }),
      );
      widths.replaceChildren(EA.el("col", { class: "model" }), ...columns.map(() => EA.el("col")));
      head.replaceChildren(top, second);
    };

    // A row that can be drawn as one model after another. In a long table the cells beyond the sides of
    // the window are empty until they come into sight.
    const newRow = () => {
      let row = null;
      const box = EA.el("input", { type: "checkbox", onchange: () => choose(row) });
      const name = EA.said("");
      const folder = EA.said("", "small");
      const link = EA.el("a", { class: "name" }, name);
      const names = EA.el("div", { class: "names" }, link, folder);
      const who = EA.el("div", { class: "who" }, box, names);
      const element = EA.el("tr", { tabindex: "-1" }, EA.el("th", { scope: "row", class: "model" }, who));
      const cells = [];
      const draw = (i) => {
        row = rows[i];
        element.setAttribute("aria-rowindex", i + 3);
        const chosen = selected.has(row.id);
        const apart = order && i > 0 && classOf(row) !== classOf(rows[i - 1]);
        element.className = `${row.published ? "published" : chosen ? "chosen" : ""}${apart ? " apart" : ""}`;
        if (row.published) {
          who.replaceChildren(
            EA.el("span", { class: "nobox" }),
            EA.el(
              "div",
              { class: "names" },
              EA.el("span", { class: "name" }, EA.said(row.name)),
              EA.el("small", {}, "published, not measured here"),
            ),
          );
        } else {
          if (!box.parentNode) who.replaceChildren(box, names);
          box.ariaLabel = `Choose ${EA.modelLabel(row)}`;
          box.checked = chosen;
          link.href = EA.href("model", { run: row.id });
          EA.retext(name, row.name);
          EA.retext(folder, row.folder);
        }
        while (cells.length > columns.length) cells.pop().element.remove();
        for (let j = 0; j < columns.length; j++) {
          if (!cells[j]) {
            cells[j] = EA.boardCell();
            element.append(cells[j].element);
          }
          if (j >= across[0] && j < across[1]) cells[j].draw(row, columns[j]);
          else cells[j].clear();
        }
      };
      return { element, draw };
    };

    let across = [0, Infinity];
    let printing = false;
    const lookAcross = () => {
      const before = across.join();
      const width = (!printing && !whole(rows.length) && head.rows[1]?.cells[0]?.offsetWidth) || 0;
      const first = Math.floor(scroller.scrollLeft / width);
      across = width ? [first - 1, first + Math.ceil(scroller.clientWidth / width) + 1] : [0, Infinity];
      return across.join() !== before;
    };

    // --- choosing, filtering -----------------------------------------------------------------
    const choose = (row) => {
      if (!selected.delete(row.id)) selected.add(row.id);
      const place = rows.indexOf(row);
      table.row(place)?.draw(place);
      chips();
      note();
    };

    const compare = () => {
      const [a, b] = [...selected];
      if (b) EA.go("compare", { a, b });
      else EA.toast("Choose two models to compare: the box beside a name, or c on its row");
    };

    const chips = () => {
      const two = selected.size === 2;
      choice.replaceChildren(
        ...(selected.size === 0
          ? []
          : [
              EA.el("span", {}, `${selected.size} chosen`),
              EA.el(
                "button",
                {
                  type: "button",
                  class: "primary",
                  disabled: !two,
                  onclick: compare,
                  title: two ? "" : "choose exactly two",
                },
                "Compare",
              ),
              EA.el(
                "button",
                {
                  type: "button",
                  "aria-pressed": view.only ? "true" : "false",
                  onclick: () => {
                    view.only = view.only ? "" : "1";
                    refresh();
                  },
                },
                "Only these",
              ),
              EA.el(
                "button",
                {
                  type: "button",
                  onclick: () => {
                    selected.clear();
                    view.only = "";
                    refresh();
                  },
                },
                "Clear",
              ),
            ]),
      );
    };

    const select = (label, key, options) => {
      const box = EA.el(
        "select",
        {
          onchange: () => {
            view[key] = box.value;
            refresh();
          },
        },
        options.map(([value, text]) => EA.el("option", { value, selected: view[key] === value }, text)),
      );
      return EA.el("label", {}, EA.el("span", {}, label), box);
    };
    const suites = [...new Set(data.columns.map((c) => c.suite))];
    const kinds = ["reads", "writes"].flatMap((what) =>
      ["text", "image", "audio", "video"]
        .filter((m) => data.columns.some((c) => c[what].includes(m)))
        .map((m) => [`${what} ${m}`, `${what} ${m}`]),
    );
    const search = EA.el("input", {
      type: "search",
      placeholder: "Search models",
      "aria-label": "Search models",
      value: view.q,
      oninput: () => {
        view.q = search.value;
        refresh();
      },
    });
    const everything = EA.el("input", {
      type: "checkbox",
      checked: view.all === "1",
      onchange: () => {
        view.all = everything.checked ? "1" : "";
        refresh();
      },
    });
    const count = EA.el("p", { class: "count" });
    const choice = EA.el("div", { class: "choice", role: "group", "aria-label": "Chosen models" });
    const notice = EA.el("div", { class: "notices" });
    const leaders = EA.el("section", { class: "leaders", "aria-label": "The best models" });
    const empty = EA.el(
      "p",
      { class: "empty", hidden: true },
      "No model matches. ",
      EA.el("button", { type: "button", onclick: () => EA.go("board", {}) }, "Show all"),
    );

    const columnsDialog = () => {
      const known = data.columns.filter((c) => view.all || c.main);
      EA.dialog(
        "Columns",
        EA.el(
          "div",
          { class: "checks" },
          known.map((c) => {
            const box = EA.el("input", {
              type: "checkbox",
              checked: !hidden.has(c.key),
              onchange: () => {
                if (box.checked) hidden.delete(c.key);
                else hidden.add(c.key);
                refresh();
              },
            });
            return EA.el("label", {}, box, EA.said(c.key));
          }),
        ),
      );
    };

    // Why numbers of one column are not ranked together, and which runs are not here at all.
    const notices = () => {
      const found = columns
        .filter((c) => c.classes.length > 1)
        .map((c) =>
          EA.el(
            "li",
            {},
            EA.said(c.key, "b"),
            ": ",
            c.classes
              .slice(1)
              .map(([n, why], i) =>
                EA.el(
                  "span",
                  {},
                  `${EA.plural(n, "run")} marked ${EA.className(i + 1)} not comparable with the others: other `,
                  EA.said(why),
                  ". ",
                ),
              ),
          ),
        );
      const uneven = columns
        .filter((c) => c.uneven)
        .map((c) =>
          EA.el(
            "li",
            {},
            EA.said(c.key, "b"),
            ": ranks compare two runs at a time, on the samples that both have.",
          ),
        );
      const left = data.leftOut.map(([folder, why]) =>
        EA.el("li", {}, EA.said(folder, "b"), " is left out: ", EA.said(why)),
      );
      const groups = [];
      if (found.length)
        groups.push(
          EA.el(
            "details",
            {},
            EA.el(
              "summary",
              {},
              `${EA.plural(found.length, "column")} with numbers that are not ranked together`,
            ),
            EA.el("ul", {}, found),
          ),
        );
      if (uneven.length)
        groups.push(
          EA.el(
            "details",
            {},
            EA.el("summary", {}, `${EA.plural(uneven.length, "column")} whose runs have different samples`),
            EA.el("ul", {}, uneven),
          ),
        );
      if (left.length)
        groups.push(
          EA.el(
            "details",
            {},
            EA.el("summary", {}, `${EA.plural(left.length, "run")} left out`),
            EA.el("ul", {}, left),
          ),
        );
      notice.replaceChildren(...groups);
    };

    main.append(
      EA.said(data.title || "Leaderboard", "h1", { class: "hidden" }),
      data.about ? EA.said(data.about, "p", { class: "about" }) : "",
      EA.el(
        "div",
        { class: "bar" },
        EA.el(
          "div",
          { class: "filters", role: "search" },
          search,
          select("Suite", "suite", [["", "all"], ...suites.map((s) => [s, s])]),
          select("Modality", "mod", [["", "all"], ...kinds]),
          EA.el("label", { class: "check" }, everything, "all metrics"),
        ),
        EA.el(
          "div",
          { class: "actions" },
          EA.el("button", { type: "button", onclick: columnsDialog }, "Columns"),
          EA.el("button", { type: "button", onclick: () => EA.exportDialog(rows, columns) }, "Export"),
          EA.el("button", { type: "button", onclick: EA.copyLink }, "Copy link"),
        ),
      ),
      EA.el(
        "div",
        { class: "status" },
        count,
        EA.el(
          "p",
          { class: "legend" },
          EA.el("span", { class: "rank top" }, "#1–3 ★"),
          " rank as a 95 % interval; ★ cannot be told from the best",
        ),
        choice,
      ),
      leaders,
      data.trainings.length ? EA.trainingLinks(data.trainings) : "",
      notice,
      scroller,
      empty,
      data.published.length
        ? EA.el(
            "p",
            { class: "source" },
            "Rows in italics: published, not measured here, never ranked. ",
            EA.said(data.source[0]),
            ", ",
            EA.el("a", { href: data.source[1] }, data.source[1]),
          )
        : "",
    );
    refresh();
    if (data.rows.length < data.count) {
      count.textContent = `${data.rows.length} of ${data.count} runs, loading the rest …`;
      data.complete.then(() => {
        if (body.isConnected) refresh();
      });
    }
    performance.mark("rows");

    const step = (by) => {
      if (!rows.length) return;
      active = Math.max(0, Math.min(rows.length - 1, active + by));
      table.reveal(active, head.offsetHeight).element.focus({ preventScroll: true });
    };
    const current = () => {
      const focused = document.activeElement?.closest("tr[aria-rowindex]");
      if (focused) active = Number(focused.getAttribute("aria-rowindex")) - 3;
      return rows[active];
    };
    EA.keys = {
      j: () => {
        current();
        step(1);
      },
      k: () => {
        current();
        step(-1);
      },
      Enter: () => {
        const row = current();
        if (row && !row.published) EA.go("model", { run: row.id });
      },
      c: () => {
        const row = current();
        if (row && !row.published) choose(row);
        if (!row || selected.size === 2) compare();
      },
      p: EA.copyLink,
      "/": () => search.focus(),
    };
    const before = () => {
      printing = true;
      table.whole(true, PRINTED);
    };
    const after = () => {
      printing = false;
      table.whole(false);
    };
    addEventListener("beforeprint", before);
    addEventListener("afterprint", after);
    EA.leave = () => {
      table.close();
      removeEventListener("beforeprint", before);
      removeEventListener("afterprint", after);
    };
  };
})();
