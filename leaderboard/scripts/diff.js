"use strict";
// What changed between two texts, word by word: the longest common subsequence.
(() => {
  const MOST = 1500; // words a side, after what is alike at both ends

  const words = (text) => text.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) || [];

  // [["=", text], ["-", text], ["+", text], ...]; null for texts too long to compare.
  EA.diff = (one, other) => {
    const a = words(one);
    const b = words(other);
    let head = 0;
    while (head < a.length && head < b.length && a[head] === b[head]) head++;
    let tail = 0;
    while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail++;
    const x = a.slice(head, a.length - tail);
    const y = b.slice(head, b.length - tail);
    if (x.length > MOST || y.length > MOST) return null;
    const width = y.length + 1;
    const lengths = new Uint16Array((x.length + 1) * width);
    for (let i = x.length - 1; i >= 0; i--) {
      for (let j = y.length - 1; j >= 0; j--) {
        lengths[i * width + j] =
          x[i] === y[j]
            ? lengths[(i + 1) * width + j + 1] + 1
            : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
      }
    }
    const found = [];
    const add = (sign, word) => {
      if (found.length && found.at(-1)[0] === sign) found.at(-1)[1] += word;
      else found.push([sign, word]);
    };
    for (const word of a.slice(0, head)) add("=", word);
    let i = 0;
    let j = 0;
    while (i < x.length || j < y.length) {
      if (i < x.length && j < y.length && x[i] === y[j]) {
        add("=", x[i++]);
        j++;
      } else if (
        j >= y.length ||
        (i < x.length && lengths[(i + 1) * width + j] >= lengths[i * width + j + 1])
      )
        add("-", x[i++]);
      else add("+", y[j++]);
    }
    for (const word of a.slice(a.length - tail)) add("=", word);
    return found;
  };

  EA.textDiff = (one, other) => {
    const changes = EA.diff(one, other);
    if (!changes) return EA.el("p", { class: "soft" }, "These texts are too long to compare word by word.");
    return EA.el(
      "p",
      { class: "text diff", dir: "auto" },
      changes.map(([sign, text]) =>
        sign === "="
          ? text
          : EA.el(
              sign === "-" ? "del" : "ins",
              {},
              EA.el("span", { class: "hidden" }, sign === "-" ? "only A: " : "only B: "),
              text,
            ),
      ),
    );
  };
})();
