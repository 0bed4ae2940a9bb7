"use strict";
(() => {
  const about = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const made = (kind, values = {}, ...inside) => { const one = Object.assign(document.createElement(kind), values); one.append(...inside); return one; };
  const page = Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");
  const MOST_KEPT = 300;
  const known = new Map(); // answers by what was asked
  const now = { sample: null, place: 0, stages: [], turn: 0, abort: new AbortController() };

  const ask = async (path, body, signal) => {
    const raw = body instanceof Blob;
    const answer = await fetch(`apart/${path}`, {
      method: body === undefined ? "GET" : "POST", headers: { "X-Page": page }, signal,
      body: body === undefined || raw ? body : JSON.stringify(body),
    });
    const said = await answer.json().catch(() => ({ error: `The server answered ${answer.status}.` }));
    if (!answer.ok) throw Object.assign(new Error(said.error), { status: answer.status });
    return said;
  };
  const problem = (error) => {
    if (error && (error.name === "AbortError" || error.status === 409)) return;
    const said = !error ? "" : error instanceof TypeError ? "The server does not answer any more." : error.message;
    at("problem").textContent = said;
    at("problem").hidden = !said;
  };

  const chosen = () => [...document.querySelectorAll("input[name=method]:checked")].map((box) => box.value);
  const rows = () => {
    const wanted = chosen();
    for (const old of [...at("rows").children]) if (!wanted.includes(old.dataset.method)) old.remove();
    wanted.forEach((method, k) => {
      let row = [...at("rows").children].find((one) => one.dataset.method === method);
      if (!row) {
        row = made("article", { className: "map-row" });
        row.dataset.method = method;
        const figure = (name, said) => {
          const one = made("figure", { className: name }, made("div", { className: "layers" }), made("figcaption", { textContent: said }));
          one.dataset.said = said;
          return one;
        };
        const meter = made("div", { className: "meter" }, made("b"), made("span", { className: "rail" }, made("i"), made("u")), made("small"));
        row.append(made("h2", { textContent: method }), figure("trained", "trained"), figure("randomized", "now"), meter);
      }
      if (at("rows").children[k] !== row) at("rows").insertBefore(row, at("rows").children[k] ?? null);
    });
    if (!wanted.length) at("network").textContent = "Choose a method below.";
  };

  const cover = (layers) => { // the picture lies below the map, and shows as far as it is let
    const share = at("cover").value / 100;
    layers.querySelectorAll(".over").forEach((one) => { one.style.opacity = share; });
    layers.querySelectorAll(".under").forEach((one) => { one.hidden = share === 1; });
  };
  const draw = (figure, found, method, said) => {
    const layers = figure.querySelector(".layers"), map = found.map;
    layers.replaceChildren();
    layers.closest(".map-row").classList.toggle("of-words", Boolean(map.text));
    for (const [name, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", `${method}, ${said}`]]) map.text ? layers.setAttribute(name, value) : layers.removeAttribute(name);
    if (map.text) layers.innerHTML = map.text; // escaped by the server, where words were colored
    else if (map.flat) layers.append(made("p", { textContent: map.flat }));
    else {
      if (at("picture").src) layers.append(made("img", { src: at("picture").src, alt: "", className: "under" }));
      const image = made("img", { src: map.image, alt: `${method}, ${said}`, className: "over" });
      layers.append(image);
      cover(layers);
    }
    figure.querySelector("figcaption").textContent = `${said} · ${map.signed ? "±" : ""}${Number(map.scale.toPrecision(3))}${found.unit ? ` ${found.unit}` : ""}`;
    figure.removeAttribute("aria-busy");
  };
  const signed = (value) => value.toFixed(2).replace("-0.00", "0.00").replace("-", "−");
  const compare = (row, found, stage) => {
    const measure = at("measure").value, meter = row.querySelector(".meter");
    const [value, chance] = found.alike[measure] ?? [null, null];
    const shown = stage === 0 ? 1 : value;
    meter.dataset.value = stage === 0 ? "" : String(value);
    meter.querySelector("b").textContent = stage === 0 ? "" : value === null ? "cannot be told" : signed(value);
    meter.querySelector("small").textContent = stage === 0 ? "the trained network itself" : `${measure} to the trained map${chance === null ? "" : `; chance ${signed(chance)}`}`;
    const bounded = measure !== "mse" && stage !== 0 && shown !== null;
    meter.querySelector(".rail").hidden = !bounded;
    if (bounded) {
      meter.querySelector("i").style.width = `${100 * Math.min(1, Math.abs(shown))}%`;
      meter.querySelector("u").style.left = `${100 * Math.min(1, Math.abs(chance ?? 0))}%`;
      meter.querySelector("u").hidden = chance === null;
    }
  };

  const map = async (method, stage, signal) => {
    const asked = { sample: now.sample.sample, label: Number(at("label").value || now.sample.label), method, by: at("by").value, seed: stage ? Number(at("seed").value) : 0, stage };
    if (!stage) asked.by = about.randomizations[0]; // the trained network is the same before all of them
    const key = JSON.stringify(asked);
    if (!known.has(key)) {
      const found = await ask("map", asked, signal);
      known.set(key, found);
      if (known.size > MOST_KEPT) known.delete(known.keys().next().value);
    }
    return known.get(key);
  };
  const stageName = () => {
    const stage = Number(at("stage").value);
    const said = stage ? `${stage} of ${now.stages.length}: ${now.stages[stage - 1]}` : "trained";
    at("stage-name").textContent = said;
    at("stage").setAttribute("aria-valuetext", said);
  };
  const show = async () => { // everything that is chosen, method after method; what was asked before and not answered is dropped
    now.abort.abort();
    now.abort = new AbortController();
    const turn = ++now.turn, signal = now.abort.signal;
    rows();
    if (!now.sample) return;
    const stage = Number(at("stage").value);
    stageName();
    problem(null);
    for (const row of at("rows").children) row.querySelectorAll("figure").forEach((one) => one.setAttribute("aria-busy", "true"));
    for (const row of [...at("rows").children]) {
      const method = row.dataset.method, [first, second] = row.querySelectorAll("figure");
      row.querySelector(".failed")?.remove();
      try {
        const trained = await map(method, 0, signal);
        if (turn !== now.turn) return;
        draw(first, trained, method, "trained");
        const found = stage ? await map(method, stage, signal) : trained;
        if (turn !== now.turn) return;
        draw(second, found, method, stage ? `randomized to ${now.stages[stage - 1]}` : "now: trained");
        compare(row, found, stage);
        at("network").textContent = found.network;
      } catch (error) {
        if (turn !== now.turn || error.name === "AbortError") return;
        row.querySelectorAll("figure").forEach((one) => one.removeAttribute("aria-busy"));
        if (error.status === undefined) return problem(error);
        second.querySelector(".layers").replaceChildren();
        row.append(made("p", { className: "failed tone-bad", textContent: error.message }));
      }
    }
    document.body.dataset.shown = `${now.sample.sample} ${stage}`; // all of it is there
  };

  const stages = async () => {
    const found = await ask("stages", { by: at("by").value, seed: Number(at("seed").value) });
    now.stages = found.stages;
    at("stage").max = found.stages.length;
    const before = at("measure").value;
    at("measure").replaceChildren(...found.measures.map((name) => made("option", { textContent: name })));
    if (found.measures.includes(before)) at("measure").value = before;
  };
  const open = async (path, body) => {
    now.abort.abort();
    problem(null);
    at("drop").setAttribute("aria-busy", "true");
    try {
      const sample = await ask(path, body);
      now.sample = sample;
      at("picture").hidden = !sample.picture;
      if (sample.picture) { at("picture").src = sample.picture; at("picture").alt = `The sample ${sample.name}`; } else at("picture").removeAttribute("src");
      at("words").hidden = !sample.text;
      at("words").innerHTML = sample.text; // escaped as well
      at("cover-choice").hidden = !sample.picture;
      at("label").replaceChildren(...sample.labels.map(([value, said]) => made("option", { value, textContent: said })));
      at("label").value = sample.label;
      at("label-choice").hidden = Boolean(sample.fixed) || sample.labels.length < 2;
      if (at("place")) at("place").textContent = path.startsWith("sample/") ? sample.name : "yours";
      await stages();
      await show();
    } catch (error) {
      problem(error);
    } finally {
      at("drop").removeAttribute("aria-busy");
    }
  };
  const drop = (file) => { if (file && about.pictures) open("picture", file); };
  const go = (place) => {
    now.place = (place + about.samples) % about.samples;
    at("number").value = now.place + 1;
    open(`sample/${now.place}`);
  };

  let soon = 0;
  const later = () => { clearTimeout(soon); soon = setTimeout(show, 80); };
  at("stage").addEventListener("input", () => {
    stageName();
    later();
  });
  at("label").addEventListener("change", show);
  at("measure").addEventListener("change", show);
  at("methods").addEventListener("change", show);
  for (const id of ["by", "seed"]) at(id).addEventListener("change", async () => { try { if (now.sample) { await stages(); await show(); } } catch (error) { problem(error); } });
  at("cover").addEventListener("input", () => cover(document));
  if (at("file")) at("file").addEventListener("change", () => { drop(at("file").files[0]); at("file").value = ""; });
  document.addEventListener("paste", (event) => drop([...(event.clipboardData?.files ?? [])][0]));
  for (const kind of ["dragenter", "dragover"]) document.addEventListener(kind, (event) => { event.preventDefault(); at("drop").classList.add("over-it"); });
  for (const kind of ["dragleave", "drop"]) document.addEventListener(kind, (event) => { event.preventDefault(); at("drop").classList.remove("over-it"); });
  document.addEventListener("drop", (event) => drop(event.dataTransfer?.files[0]));
  if (matchMedia("(max-width: 760px)").matches) at("more").open = false;
  if (about.samples) {
    at("back").addEventListener("click", () => go(now.place - 1));
    at("on").addEventListener("click", () => go(now.place + 1));
    at("number").addEventListener("change", () => go(Math.min(about.samples, Math.max(1, Math.round(Number(at("number").value)) || 1)) - 1));
    go(0);
  } else {
    rows();
    at("network").textContent = "Give it a picture to begin with.";
  }
})();
