"use strict";
// Numbers as people read them.
(() => {
  EA.number = (value, range) => {
    if (value === null || value === undefined) return "–";
    const span = range ? range[1] - range[0] : Math.abs(value) * 2;
    const text = value.toFixed(span >= 5 ? 2 : 3);
    return text.replace("-", "−");
  };
  EA.interval = (low, high, range) =>
    low === null || low === undefined ? "" : `${EA.number(low, range)} – ${EA.number(high, range)}`;
  EA.signed = (value, range) => (value > 0 ? "+" : value === 0 ? "±" : "") + EA.number(value, range);
  EA.percent = (share) =>
    `${share > 0 && share < 0.01 ? (100 * share).toFixed(1) : Math.round(100 * share)} %`;
  EA.seconds = (s) =>
    s === null || s === undefined ? "–" : s < 0.1 ? `${Math.round(1000 * s)} ms` : `${s.toPrecision(2)} s`;
  EA.clock = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;
  EA.ranks = (low, high) => (low === high ? `${low}` : `${low}–${high}`);
  EA.plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
  // Where a value stands in its range, 0 to 1.
  EA.place = (value, range) => Math.min(1, Math.max(0, (value - range[0]) / (range[1] - range[0] || 1)));
  const names = { t: "text", i: "image", a: "audio", v: "video" };
  EA.modalities = (letters) => [...letters].map((letter) => names[letter]);
})();
