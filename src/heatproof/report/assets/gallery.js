// Grey pictures in, colored maps out: a sheet a sample is decoded once, and painted tile by tile through a lookup table.
const rgb = (hex) => [0, 2, 4].map((k) => parseInt(hex.slice(k, k + 2), 16));
const TABLES = { signed: DATA.colors.signed.map(rgb), unsigned: DATA.colors.unsigned.map(rgb) };

const decoded = new Map();
function pixelsOf(uri) {
  if (!decoded.has(uri)) {
    decoded.set(uri, (async () => {
      const image = new Image();
      image.src = uri;
      await image.decode();
      const canvas = make("canvas", { width: image.naturalWidth, height: image.naturalHeight });
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      return { image, width: canvas.width, height: canvas.height, pixels: context.getImageData(0, 0, canvas.width, canvas.height).data };
    })());
  }
  return decoded.get(uri);
}

// A map without a pattern is no solid color: a hatched ground, and the words for it below.
function hatch(canvas, height, width) {
  canvas.width = width; canvas.height = height;
  const context = canvas.getContext("2d"), out = context.createImageData(width, height);
  for (let i = 0; i < height; i++) for (let j = 0; j < width; j++) {
    const shade = (i + j) % 8 < 2 ? 190 : 235, at = 4 * (i * width + j);
    out.data.set([shade, shade, shade, 255], at);
  }
  context.putImageData(out, 0, 0);
}

// Paint tile (row, column) of a sheet; with `under`, the input shows through where the map is weak.
function paint(canvas, sheet, row, column, height, width, signed, under, strength = 1, slices = 1, slice = 0) {
  const across = Math.floor(width / slices), from = slice * across;
  canvas.width = across; canvas.height = height;
  const context = canvas.getContext("2d"), table = signed ? TABLES.signed : TABLES.unsigned;
  if (under) {
    const part = under.naturalWidth / slices;
    context.filter = "grayscale(1)"; context.drawImage(under, slice * part, 0, part, under.naturalHeight, 0, 0, across, height); context.filter = "none";
  }
  const base = under ? context.getImageData(0, 0, across, height).data : null, out = context.createImageData(across, height);
  for (let i = 0; i < height; i++) for (let j = 0; j < across; j++) {
    const grey = sheet.pixels[4 * ((row * height + i) * sheet.width + column * width + from + j)], at = 4 * (i * across + j), color = table[grey];
    const weight = base ? Math.min(1, 1.6 * strength * (signed ? Math.abs(grey - 128) / 127 : grey / 255)) : 1;
    for (let c = 0; c < 3; c++) out.data[at + c] = base ? color[c] * weight + (255 - 0.45 * (255 - base[at + c])) * (1 - weight) : color[c];
    out.data[at + 3] = 255;
  }
  context.putImageData(out, 0, 0);
}

function gallery(state) {
  const G = DATA.gallery, at = (id) => document.getElementById(id);
  const groups = [...new Set(G.columns.map((c) => c.group).filter(Boolean))];
  const view = { sample: 0, stage: 0, group: groups[0] || "", overlay: 0, slice: 0, large: null };
  const columns = () => G.columns.map((c, k) => ({ ...c, k })).filter((c) => !c.group || c.group === view.group);
  const fine = (size) => (size >= 48 ? "" : "pixelated");
  const scoreOf = (method, column) => (column.group ? (G.samples[view.sample].scores[method] || {})[`${column.group}/${column.index}`] : undefined);
  const guessed = (sample, lead) => (sample.predicted === null ? "" : `${lead}predicted ${sample.predicted}`);
  let turn = 0;

  // Of a volume, whose slices stand side by side in its picture, one slice is seen.
  const pictureOf = (uri, alt, kind = "") => {
    const image = make("img", { src: uri, alt, class: kind });
    if (G.slices > 1) { image.style.objectFit = "cover"; image.style.aspectRatio = `${G.tile[1] / G.slices} / ${G.tile[0]}`; image.style.objectPosition = `${(100 * view.slice) / (G.slices - 1)}% 0`; }
    return image;
  };
  if (G.slices > 1) view.slice = Math.floor((G.slices - 1) / 2);

  G.samples.forEach((sample, k) => {
    const guess = make("span", { class: sample.right ? "" : "wrong" }, !sample.right ? `taken for ${sample.predicted}` : sample.probability === null ? "" : `${(100 * sample.probability).toFixed(0)} % sure`);
    const button = make("button", { "aria-label": `Sample ${k + 1}: ${sample.target}${guessed(sample, ", ")}`, title: `${sample.target}${guessed(sample, "; ")}${sample.probability === null ? "" : `, probability ${say(sample.probability)}`}`, onclick: () => show({ sample: k }) });
    if (sample.picture) button.append(pictureOf(sample.picture, ""));
    button.append(make("span", {}, sample.target), guess);
    at("samples").append(button);
  });
  if (groups.length > 1) {
    at("gallery-group-choice").hidden = false;
    groups.forEach((g) => at("gallery-group").append(make("option", { value: g }, g)));
    at("gallery-group").addEventListener("change", (e) => show({ group: e.target.value, stage: 0 }));
  }
  const step = (name, by) => {
    const length = name === "sample" ? G.samples.length : columns().length;
    show({ [name]: (view[name] + by + length) % length });
  };
  at("sample-back").onclick = () => step("sample", -1); at("sample-on").onclick = () => step("sample", 1);
  at("stage-back").onclick = () => step("stage", -1); at("stage-on").onclick = () => step("stage", 1);
  at("overlay").oninput = (e) => show({ overlay: Number(e.target.value) / 100 });
  if (G.slices > 1) {
    at("slice-choice").hidden = false;
    at("slice").max = G.slices - 1;
    at("slice").value = view.slice;
    at("slice").oninput = (e) => show({ slice: Number(e.target.value) });
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName)) return;
    const move = { ArrowLeft: ["stage", -1], ArrowRight: ["stage", 1], j: ["sample", 1], k: ["sample", -1] }[event.key];
    if (move) { step(...move); event.preventDefault(); }
  });

  const scaleOf = (method, column) => (G.samples[view.sample].scales[method] || {})[column.state];
  const flatOf = (method, column) => { const scale = scaleOf(method, column); return typeof scale === "string" ? scale : ""; };
  // The value of the strongest color stands at the bar's end, with the method's unit.
  function colorBar(method, signed, column) {
    const scale = scaleOf(method, column), name = signed ? "signed" : "unsigned";
    if (typeof scale !== "number") return make("span", {}, scale || "");
    return make("span", { class: "color-bar" }, make("span", {}, signed ? `−${scale}` : "0"), make("span", { class: `key ${name}`, role: "img", "aria-label": "color bar" }), make("span", {}, `${scale} ${G.units[method] || ""}`.trim()));
  }

  function label(method, column) {
    const score = scoreOf(method, column);
    return `${method}, ${column.said}, sample ${view.sample + 1}${score === undefined ? "" : `, similarity ${say(score)}`}${flatOf(method, column) ? `, ${flatOf(method, column)}` : ""}`;
  }

  async function show(change) {
    Object.assign(view, change);
    const mine = ++turn, sample = G.samples[view.sample], list = columns();
    const absent = new Set(sample.absent.map((pair) => JSON.stringify(pair)));
    const sheet = await pixelsOf(sample.sheet), under = view.overlay > 0 && sample.picture ? (await pixelsOf(sample.picture)).image : null;
    if (mine !== turn) return;
    [...at("samples").children].forEach((b, k) => { b.setAttribute("aria-pressed", k === view.sample); b.classList.toggle("fine", G.tile[1] >= 48); });
    at("sample-now").textContent = `sample ${view.sample + 1} of ${G.samples.length}: ${sample.target}`;
    at("slice-now").textContent = `${view.slice + 1} of ${G.slices}`;
    const now = list[view.stage];
    at("stage-now").textContent = now.group ? `stage ${now.index}: ${now.label}` : "trained";
    const head = make("tr", {}, make("td"), ...list.map((c, k) => make("th", { scope: "col", class: k === view.stage ? "now" : "" }, c.label)));
    const body = G.methods.map(([method, signed], row) => {
      const cells = list.map((column, k) => {
        const cell = make("td", { class: k === view.stage ? "now" : "" });
        if (absent.has(JSON.stringify([method, column.state]))) { cell.append(make("span", { class: "absent" }, "no map")); return cell; }
        const canvas = make("canvas", { class: fine(G.tile[1]) });
        const flat = flatOf(method, column), score = scoreOf(method, column);
        if (flat) hatch(canvas, G.tile[0], Math.floor(G.tile[1] / G.slices)); else paint(canvas, sheet, row, column.k, ...G.tile, signed, under, 1.5 - view.overlay, G.slices, view.slice);
        cell.append(make("button", { "aria-label": label(method, column), title: label(method, column), onclick: () => { view.large = row; show({ stage: k }); } }, canvas), make("small", {}, flat || (score === undefined ? "\u00a0" : say(score))));
        return cell;
      });
      return make("tr", {}, make("th", { scope: "row" }, method), ...cells);
    });
    const scroll = at("maps").parentElement.scrollLeft;
    const focused = [...at("maps").querySelectorAll("button")].indexOf(document.activeElement);
    at("maps").replaceChildren(make("thead", {}, head), make("tbody", {}, ...body));
    at("maps").parentElement.scrollLeft = scroll;
    if (focused >= 0 && !at("large").open) at("maps").querySelectorAll("button")[focused]?.focus({ preventScroll: true });
    const marked = at("maps").querySelector("thead .now"), box = at("maps").parentElement;
    if ("stage" in change && marked) {
      const first = at("maps").querySelector("tbody th").offsetWidth, from = marked.offsetLeft - first, to = marked.offsetLeft + marked.offsetWidth - box.clientWidth;
      if (box.scrollLeft > from) box.scrollLeft = from; else if (box.scrollLeft < to) box.scrollLeft = to;
    }
    at("maps-note").textContent = "The number under a map is its similarity to the same method’s trained map on this sample: Spearman of signed values where measured.";
    if ("stage" in change || "group" in change) state.stage(view.group, now.group ? now.index : 0);
    if (view.large !== null) await enlarge(sheet, sample, list);
  }

  async function enlarge(sheet, sample, list) {
    const [method, signed] = G.methods[view.large], column = list[view.stage], dialog = at("large");
    const full = G.full && view.sample === 0, size = full ? G.grid : G.tile, source = full ? await pixelsOf(G.full[view.large]) : sheet, line = full ? 0 : view.large;
    const under = view.overlay > 0 && sample.picture ? (await pixelsOf(sample.picture)).image : null;
    const score = scoreOf(method, column);
    const picture = (c, caption) => { const canvas = make("canvas", { class: fine(size[1]) }); if (flatOf(method, c)) hatch(canvas, size[0], Math.floor(size[1] / G.slices)); else paint(canvas, source, line, c.k, ...size, signed, under, 1.5 - view.overlay, G.slices, view.slice); return make("figure", {}, canvas, make("figcaption", {}, caption, make("br"), colorBar(method, signed, c))); };
    const input = sample.picture ? make("figure", {}, pictureOf(sample.picture, "The input", fine(G.tile[1])), make("figcaption", {}, `input: ${sample.target}${guessed(sample, ", ")}${sample.probability === null ? "" : ` (${say(sample.probability)})`}`)) : make("figure");
    const close = () => dialog.close();
    dialog.replaceChildren(
      make("header", {}, make("h3", { id: "large-title" }, `${method}: ${DATA.methods[method].verdict}`), make("button", { onclick: close, autofocus: "" }, "Close")),
      make("p", { class: "note" }, DATA.methods[method].text),
      make("div", { class: "trio" }, input, picture(list[0], "trained"), picture(column, column.group ? `${column.said}${score === undefined ? "" : `, similarity ${say(score)}`}` : "trained: step through the stages")),
      make("div", { class: "bar" }, make("button", { onclick: () => step("stage", -1) }, "‹ stage"), make("button", { onclick: () => step("stage", 1) }, "stage ›"), make("button", { onclick: () => step("sample", -1) }, "‹ sample"), make("button", { onclick: () => step("sample", 1) }, "sample ›"), make("span", { class: "note" }, G.full && !full ? `drawn at ${size[1]} × ${size[0]}; the first sample has full size` : `${size[1]} × ${size[0]}`)),
    );
    if (!dialog.open) dialog.showModal();
  }
  at("large").addEventListener("close", () => { view.large = null; });
  at("large").addEventListener("click", (event) => { if (event.target === at("large")) at("large").close(); });
  show({ sample: 0 });
  return (group, index) => {
    if (groups.includes(group)) view.group = group;
    const k = columns().findIndex((c) => (c.group ? c.index : 0) === index);
    if (k >= 0 && k !== view.stage) show({ stage: k });
  };
}
