"use strict";
// The mean paired difference and its interval, as eval_anything/statistics computes them (paired.py,
// `ends_of_mean` of intervals.py): clustered errors (CR3) with Student's quantile, moved by the skewness,
// and the rule of three where fewer than ten clusters have another value than the commonest one.
(() => {
  const FEW = 10;
  const NOTHING = 1e-18;
  const UNKNOWN_ICC = 2 / 3;
  const PRIOR_DF = 4;
  const Z95 = 1.959963984540054;

  const sum = (values) => values.reduce((s, v) => s + v, 0);
  const mean = (values) => sum(values) / values.length;

  // The logarithm of the gamma function (Lanczos, g = 7).
  const lanczos = [
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
    12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
  ];
  const logGamma = (x) => {
    if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
    const t = x + 6.5;
    let a = lanczos[0];
    for (let i = 1; i < 9; i++) a += lanczos[i] / (x - 1 + i);
    return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(a);
  };

  // The regularised incomplete beta function by its continued fraction (Lentz).
  const beta = (x, a, b) => {
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    if (x > (a + 1) / (a + b + 2)) return 1 - beta(1 - x, b, a);
    const front =
      Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log(1 - x)) / a;
    let c = 1;
    let d =
      (1 / Math.max(1e-300, Math.abs(1 - ((a + b) * x) / (a + 1)))) *
      Math.sign(1 - ((a + b) * x) / (a + 1) || 1);
    let f = d;
    for (let m = 1; m < 500; m++) {
      for (const top of [
        (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m)),
        (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1)),
      ]) {
        d = 1 / (1 + top * d || 1e-300);
        c = 1 + top / c || 1e-300;
        f *= c * d;
      }
      if (Math.abs(c * d - 1) < 1e-15) break;
    }
    return front * f;
  };

  // Student's 97.5 % quantile; df need not be whole.
  EA.student = (df) => {
    let low = 0;
    let high = 1e4;
    for (let i = 0; i < 200; i++) {
      const t = (low + high) / 2;
      if (beta(df / (df + t * t), df / 2, 0.5) / 2 > 0.025) low = t;
      else high = t;
    }
    return (low + high) / 2;
  };

  // {difference, low, high, n, clusters}; low and high are null for a single cluster. `largest` is
  // the width of the metric's range.
  EA.paired = (differences, clusters, largest) => {
    const n = differences.length;
    const codes = new Map();
    for (const cluster of clusters) if (!codes.has(cluster)) codes.set(cluster, codes.size);
    const code = clusters.map((cluster) => codes.get(cluster));
    const groups = codes.size;
    const centre = mean(differences);
    const found = { difference: centre, low: null, high: null, n, clusters: groups };
    if (groups < 2) return found;
    const sums = new Array(groups).fill(0);
    differences.forEach((d, i) => {
      sums[code[i]] += d - centre;
    });
    const squares = sums.map((s) => s * s);
    const second = mean(squares);
    const share = groups / (groups - 1);
    const variance = (share * groups * second) / (n * n);
    const clump = 1 + (n / groups - 1) * UNKNOWN_ICC;
    const unseen = 1 - 0.05 ** (clump / n);
    const ends = (low, high) => {
      found.low = Math.max(-largest, low);
      found.high = Math.min(largest, high);
      return found;
    };
    const lowest = centre - unseen * (centre + largest);
    const highest = centre + unseen * (largest - centre);
    if (variance < NOTHING * (2 * largest) ** 2) return ends(lowest, highest);
    const excess = mean(squares.map((s) => s * s)) - second * second;
    let df = groups - 1;
    if (excess > 1e-12 * second * second)
      df = Math.min(df, Math.max(1, (2 * groups * second * second) / excess));
    const wide = groups < n ? variance * share : variance;
    const simple = sum(differences.map((d) => (d - centre) ** 2)) / (n * (n - 1));
    const assumed = (Math.max(0, (clump * simple) / wide - 1) * PRIOR_DF) / (PRIOR_DF + df);
    const half = EA.student(df) * Math.sqrt(wide * (1 + assumed));
    const skew = mean(sums.map((s) => s ** 3)) / second / n;
    const shift = Math.min(half, Math.max(-half, ((1 + 2 * Z95 ** 2) / 6) * skew * (1 + assumed)));
    const few = fewDiffer(differences, code, largest);
    return ends(
      Math.min(few ? lowest : centre, centre + shift - half),
      Math.max(few ? highest : centre, centre + shift + half),
    );
  };

  // Whether most differences are one and the same, and few clusters have another one.
  const fewDiffer = (differences, code, largest) => {
    const ordered = [...differences].sort((a, b) => a - b);
    const commonest = ordered[Math.floor(ordered.length / 2)];
    const others = differences.map((d) => Math.abs(d - commonest) / (2 * largest) > 1e-11);
    if (2 * others.filter((o) => o).length >= differences.length) return false;
    const clusters = new Set(code.filter((_, i) => others[i]));
    return clusters.size < FEW;
  };
})();
