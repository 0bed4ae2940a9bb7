"use strict";
// Curves with intervals and bands as inline SVG. Names are data: they only ever enter as text or attributes.
const DATA = JSON.parse(document.getElementById("data").textContent);

function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "path", "line", "rect", "text", "circle", "title"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const say = (value) => (value === null || value === undefined ? "–" : Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2).replace(/^-(0\.0+)$/, "$1"));

// A power of ten as a number that is read at once; beyond a thousand, with its exponent.
const power = (t) => (Math.abs(t) <= 3 ? String(+(10 ** t).toPrecision(2)) : (10 ** t).toExponential(Number.isInteger(t) ? 0 : 1).replace("e+", "e"));

function ticksOf(low, high) {
  const step = [0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100].find((s) => (high - low) / s <= 6) || (high - low) / 5;
  const ticks = [];
  for (let t = Math.ceil(low / step - 1e-9) * step; t <= high + 1e-9; t += step) ticks.push(Math.abs(t) < 1e-9 ? 0 : t);
  return ticks;
}

// Draw `lines` {method: [[position, mean, low, high, n, nan], …]} over `stages` [[position, label], …].
// `bands` [{name, kind, low, high}] lie behind; `marks` [{name, at, mean, low, high}] stand at one stage.
function drawChart(host, { stages, lines, bands = [], marks = [], focus = null, now = null, height = 400, percent = false, log = false, independent = false, axis, title, onPoint, onPick }) {
  const width = Math.max(240, host.clientWidth || 700), small = height < 300;
  const left = 42, right = 14, top = 10, bottom = small ? 26 : 64;
  const shown = Object.values(lines).flat().flatMap((p) => [p[1], p[2], p[3]]).concat(bands.flatMap((b) => [b.low, b.high]));
  const values = shown.filter((v) => v !== null && v !== undefined);
  let low = Math.min(log ? -1 : 0, ...values), high = Math.max(log ? 0 : percent ? 0.05 : 0.2, ...values);
  if (!percent && !log && high <= 1) high = 1;
  if (high > 3 && !log) { const sorted = values.slice().sort((a, b) => a - b); high = Math.max(1, Math.min(high, 1.5 * sorted[Math.floor(0.97 * (sorted.length - 1))])); }
  const pad = (high - low) * 0.03, first = stages[0][0], last = stages[stages.length - 1][0];
  const x = (p) => left + ((p - first) / Math.max(1, last - first)) * (width - left - right);
  const y = (v) => top + ((high + pad - Math.min(v, high + pad)) / (high - low + 2 * pad)) * (height - top - bottom);
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
  for (const t of ticksOf(low, high)) {
    svg.append(make("line", { class: "grid", x1: left, x2: width - right, y1: y(t), y2: y(t) }));
    svg.append(make("text", { x: left - 8, y: y(t) + 4, "text-anchor": "end" }, log ? power(t) : percent ? `${Math.round(100 * t)} %` : String(+t.toFixed(2))));
  }
  const letters = Math.min(12, Math.max(...stages.map(([, label]) => label.length)));
  const every = Math.ceil(stages.length / Math.max(2, Math.floor((width - left) / (small ? 90 : Math.max(64, 7 * letters)))));
  stages.forEach(([p, label], k) => {
    if (p !== last && (k % every || stages.length - 1 - k < every)) return;
    const text = label.length > 12 ? `…${label.slice(-11)}` : label;
    const tick = make("text", { x: x(p), y: height - bottom + 18, "text-anchor": k === 0 ? "start" : p === last ? "end" : "middle" }, make("title", {}, label), text);
    if (!small || k === 0 || p === last) svg.append(tick);
  });
  if (!small) svg.append(make("text", { x: (left + width - right) / 2, y: height - 14, "text-anchor": "middle" }, axis));
  for (const band of bands) {
    const a = y(band.high), b = y(band.low), thick = Math.max(4, b - a);
    const rect = make("rect", { class: `band ${band.kind}`, x: left, width: width - left - right, y: (a + b) / 2 - thick / 2, height: thick }, make("title", {}, `${band.name}: ${say(band.low)} to ${say(band.high)}`));
    svg.append(rect);
  }
  if (now !== null) svg.append(make("line", { class: "now", x1: x(now), x2: x(now), y1: top, y2: height - bottom }));
  for (const [method, points] of Object.entries(lines)) {
    const style = DATA.methods[method], known = points.filter((p) => p[1] !== null);
    const state = focus === null ? "" : focus === method ? "focus" : "dim";
    const group = make("g", { class: `series ${state}`, "data-method": method });
    const ranged = known.filter((p) => p[2] !== null);
    if (ranged.length) {
      const up = ranged.map((p) => `${x(p[0])},${y(p[3])}`), down = ranged.map((p) => `${x(p[0])},${y(p[2])}`).reverse();
      group.append(make("path", { class: `spread ${state}`, fill: style.color, d: `M${up.concat(down).join("L")}Z` }));
    }
    if (independent || known.length === 1) known.forEach((p) => group.append(make("circle", { cx: x(p[0]), cy: y(p[1]), r: 4, fill: style.color })));
    group.append(make("path", { class: "curve", stroke: style.color, "stroke-dasharray": style.dash, d: known.length ? `M${known.map((p) => `${x(p[0]).toFixed(1)},${y(p[1]).toFixed(1)}`).join("L")}` : "M0,0" }));
    svg.append(group);
  }
  let lastLabel = -99;
  for (const band of bands.slice().sort((a, b) => b.high - a.high)) {
    const at = Math.max(y((band.high + band.low) / 2) - 7, lastLabel + 14);
    lastLabel = at;
    svg.append(make("text", { class: band.kind, x: left + 8, y: at }, band.name));
  }
  for (const mark of marks) {
    const at = x(mark.at) - (mark.at === last ? 5 : -5);
    svg.append(make("line", { class: "yardstick", x1: at, x2: at, y1: y(mark.low ?? mark.mean), y2: y(mark.high ?? mark.mean) }));
    svg.append(make("circle", { class: "yardstick", cx: at, cy: y(mark.mean), r: 4.5 }, make("title", {}, `${mark.name}: ${say(mark.mean)}`)));
    const end = mark.at === last;
    svg.append(make("text", { x: end ? at - 9 : at + 9, y: y(mark.mean) + (end ? (y(mark.mean) < 40 ? 20 : -8) : 4), "text-anchor": end ? "end" : "start" }, mark.name));
  }
  const nearest = (event) => {
    const box = svg.getBoundingClientRect(), scale = width / box.width;
    const px = (event.clientX - box.left) * scale, py = (event.clientY - box.top) * scale;
    const stage = stages.reduce((a, b) => (Math.abs(x(b[0]) - px) < Math.abs(x(a[0]) - px) ? b : a));
    let best = null;
    for (const [method, points] of Object.entries(lines)) {
      const point = points.find((p) => p[0] === stage[0] && p[1] !== null);
      if (point && (!best || Math.abs(y(point[1]) - py) < best.far)) best = { method, point, stage, far: Math.abs(y(point[1]) - py) };
    }
    return best;
  };
  svg.addEventListener("pointermove", (event) => onPoint && onPoint(nearest(event), event));
  svg.addEventListener("pointerleave", () => onPoint && onPoint(null));
  svg.addEventListener("click", (event) => { const best = nearest(event); if (best && onPick) onPick(best); });
  host.replaceChildren(svg);
}
