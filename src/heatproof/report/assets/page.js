// The curves' controls, and what the curves and the gallery tell each other.
const tip = document.getElementById("tip");
function showTip(event, ...lines) {
  tip.replaceChildren(...lines.flatMap((line, k) => (k ? [make("br"), line] : [make("b", {}, line)])));
  tip.hidden = false;
  tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
  tip.style.top = `${Math.max(8, event.clientY - tip.offsetHeight - 12)}px`;
}

function curves() {
  const at = (id) => document.getElementById(id), names = Object.keys(DATA.curves);
  const measured = (group) => Object.keys(DATA.metrics).filter((m) => DATA.curves[group].lines[m]);
  const view = { group: names[0], metric: null, pinned: null, hover: null, now: null };
  const picked = { move: () => {} };
  if (names.length > 1) {
    at("group-choice").hidden = false;
    names.forEach((g) => at("group").append(make("option", { value: g }, g)));
    at("group").addEventListener("change", (e) => { view.group = e.target.value; view.now = null; draw(); });
  }
  const focus = () => view.hover || view.pinned;

  function bandsOf(method) {
    const { bands } = DATA.curves[view.group], mine = bands[view.metric] || {};
    const pooled = [], marks = [], pool = (name, kind, list) => {
      const known = list.filter((b) => b && b[0] !== null);
      if (known.length) pooled.push({ name, kind, low: Math.min(...known.map((b) => b[1] ?? b[0])), high: Math.max(...known.map((b) => b[2] ?? b[0])) });
    };
    const part = (who, start) => Object.entries(mine[who] || {}).filter(([name]) => name.startsWith(start));
    if (method === null) {
      pool("noise: all maps against random masks", "noise", Object.keys(mine).filter((m) => m && !DATA.methods[m].control).flatMap((m) => part(m, "noise:").map((e) => e[1])));
      part("", "control:").filter(([, b]) => b[0] !== null && b[0] < 0.999).forEach(([name, b]) => pool(`${name.slice(9)}: two draws, no network`, "control", [b]));
    } else {
      pool("this map against random masks", "noise", part(method, "noise:").map((e) => e[1]));
      part(method, "control:").forEach(([name, b]) => { if (name.slice(9) !== method) pool(`this map against ${name.slice(9)}`, "control", [b]); });
      const stages = DATA.curves[view.group].stages, floor = (mine[method] || {})["two random networks"], again = (mine[method] || {})["two runs, same network"];
      if (floor && floor[0] !== null) marks.push({ name: "two random networks", at: stages[stages.length - 1][0], mean: floor[0], low: floor[1], high: floor[2] });
      if (again && again[0] !== null && again[0] < 0.9999) marks.push({ name: "two runs, trained network", at: stages[0][0], mean: again[0], low: again[1], high: again[2] });
    }
    return { bands: pooled, marks };
  }

  // What is drawn now: the randomization, its stages, and the points of each method.
  function scene() {
    const group = DATA.curves[view.group];
    if (!group.lines[view.metric]) view.metric = measured(view.group)[0];
    const stages = group.independent ? group.stages.slice(1) : group.stages, ours = group.lines[view.metric] || {}, lines = {};
    for (const method of DATA.order) if (ours[method]) lines[method] = ours[method].filter((p) => !group.independent || p[0] > 0);
    if (view.now === null) view.now = stages[stages.length - 1][0];
    return { group, stages, lines };
  }
  const tell = (percent, log = false) => (best, event) => {
    if (!best) { tip.hidden = true; return; }
    const [, mean, low, high, n, nan] = best.point, form = log ? (v) => (v === null ? "0" : (10 ** v).toPrecision(2)) : percent ? (v) => `${(100 * v).toFixed(1)} %` : say;
    showTip(event, best.method, `${best.stage[0] === 0 ? "trained" : best.stage[1]}: ${form(mean)}`, low === null ? "by definition" : `95 %: ${form(low)} to ${form(high)}; ${n} samples${nan ? `, ${nan} NaN` : ""}`);
  };
  const pin = (method) => { view.pinned = view.pinned === method ? null : method; };
  const pick = (best) => { pin(best.method); view.now = best.stage[0]; picked.move(view.group, view.now); draw(); };

  // The curves alone: pointing at a method must not replace the legend under the pointer, which would fire its events again.
  function charts() {
    const { group, stages, lines } = scene();
    const common = { stages, now: view.now, independent: group.independent, axis: group.axis, onPick: pick };
    drawChart(at("chart"), { ...common, lines, ...bandsOf(focus()), focus: focus(), height: Math.min(640, Math.max(400, 21 * Object.keys(lines).length)), title: `${DATA.metrics[view.metric]} by stage, ${Object.keys(lines).length} methods`, onPoint: tell(false) });
    const some = Object.entries(DATA.panels).filter(([metric]) => group.lines[metric]).map(([metric, name]) => ({ metric, name, host: make("div", { class: "chart" }) }));
    at("panels").replaceChildren(...some.map(({ name, host }) => make("div", {}, make("h3", {}, name), host)));
    for (const { metric, name, host } of some) {
      const small = {}, log = metric === "relative-energy", share = !log;
      const scale = (v, k) => (!log || k === 0 || k > 3 || v === null ? v : v > 0 ? Math.log10(v) : null);
      for (const method of DATA.order) if (group.lines[metric][method]) small[method] = group.lines[metric][method].map((p) => p.map(scale));
      const bands = metric === "surviving-share" ? [{ name: `chance: ${(100 * DATA.chance).toFixed(DATA.chance < 0.1 ? 1 : 0)} %`, kind: "noise", low: DATA.chance, high: DATA.chance }] : [];
      drawChart(host, { ...common, lines: small, bands, focus: small[focus()] ? focus() : null, height: 200, percent: share, log, title: `${name} by stage`, onPoint: tell(share, log) });
    }
  }

  function draw() {
    charts();
    const { group, stages, lines } = scene();
    [...at("metric").children].forEach((b) => { b.setAttribute("aria-pressed", b.dataset.metric === view.metric); b.hidden = !group.lines[b.dataset.metric]; });
    const stage = stages.find((s) => s[0] === view.now) || stages[stages.length - 1];
    const rows = Object.keys(lines).map((method) => [method, (lines[method].find((p) => p[0] === stage[0]) || [0, null])[1]]).sort((a, b) => (b[1] ?? -9) - (a[1] ?? -9));
    const hadFocus = document.activeElement?.dataset?.method;
    at("legend").replaceChildren(make("div", { class: "head" }, stage[0] === 0 ? "at the trained network" : `at ${stage[1]}`), ...rows.map(([method, value]) => {
      const style = DATA.methods[method], stroke = make("svg", { class: "stroke", viewBox: "0 0 26 10", "aria-hidden": "true" }, make("line", { x1: 1, x2: 25, y1: 5, y2: 5, stroke: style.color, "stroke-dasharray": style.dash }));
      return make("button", { "data-method": method, "aria-pressed": view.pinned === method, title: style.text, onclick: () => { pin(method); draw(); }, onpointerenter: () => hover(method), onpointerleave: () => hover(null) }, stroke, make("span", { class: "label" }, method), make("span", { class: "value" }, say(value)));
    }));
    if (hadFocus) [...at("legend").children].find((b) => b.dataset.method === hadFocus)?.focus({ preventScroll: true });
    at("chart-note").textContent = view.metric.startsWith("mse") ? "MSE is a distance: 0 is the same map, and high is different." : "1 is the same map. Grey band: random masks. Amber: maps made with no network. Features that are zero in both maps raise every rank similarity: their share is drawn below.";
    table(stages, lines);
  }

  // From one method to the next the pointer leaves and enters: one picture, once it has come to rest.
  let frame = 0;
  function hover(method) {
    view.hover = method;
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(charts);
  }

  function table(stages, lines) {
    const head = make("tr", {}, make("th", { scope: "col" }, DATA.metrics[view.metric]), ...stages.map((s) => make("th", { scope: "col" }, s[1])));
    const body = Object.entries(lines).map(([method, points]) => make("tr", {}, make("th", { scope: "row" }, method), ...stages.map((s) => {
      const p = points.find((q) => q[0] === s[0]);
      return make("td", {}, !p ? "" : p[2] === null ? say(p[1]) : `${say(p[1])} (${say(p[2])} to ${say(p[3])})`);
    })));
    at("numbers").replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)));
  }

  Object.entries(DATA.metrics).forEach(([metric, name]) => {
    if (names.some((g) => DATA.curves[g].lines[metric])) at("metric").append(make("button", { "data-metric": metric, onclick: () => { view.metric = metric; draw(); } }, name));
  });
  view.metric = measured(view.group).includes("spearman-absolute") ? "spearman-absolute" : measured(view.group)[0];
  draw();
  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(draw, 120); });
  return { picked, stage: (group, index) => { if (DATA.curves[group] && group === view.group && view.now !== index) { view.now = index; draw(); } } };
}

// A phone shows questions folded: each opens by itself, and where a link leads to it.
function folds() {
  const every = [...document.querySelectorAll(".fold")];
  const open = () => { const panel = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)))?.querySelector(".fold"); if (panel) panel.open = true; };
  if (matchMedia("(max-width: 640px)").matches) every.forEach((fold) => { fold.open = false; });
  addEventListener("beforeprint", () => every.forEach((fold) => { fold.open = true; }));
  addEventListener("hashchange", open);
  open();
}
folds();
matrix();
const drawn = Object.keys(DATA.curves).length ? curves() : { picked: {}, stage: () => {} };
if (DATA.gallery) drawn.picked.move = gallery({ stage: drawn.stage });

document.getElementById("download").addEventListener("click", () => {
  const safe = (v) => (typeof v === "string" && /^[=+\-@\t\r]/.test(v) ? `'${v}` : String(v));  // no formula in a spreadsheet
  const cell = (v) => (v === null ? "" : /[",\n\r]/.test(safe(v)) ? `"${safe(v).replaceAll('"', '""')}"` : safe(v));
  const keys = Object.keys(DATA.findings[0] || {}), text = [keys, ...DATA.findings.map((f) => keys.map((k) => f[k]))].map((row) => row.map(cell).join(",")).join("\n");
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: "heatproof-findings.csv" });
  link.click();
  URL.revokeObjectURL(link.href);
});
