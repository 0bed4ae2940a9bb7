// The matrix: sorted by a column, sieved by name and answer; a mark tells its number, interval, samples and rule.
function matrix() {
  const at = (id) => document.getElementById(id), table = document.querySelector("table.matrix"), body = table.tBodies[0];
  const lines = [...body.rows], heads = [...table.tHead.rows[0].cells];
  const view = { name: "", answer: "all", controls: true };
  const rank = (line, k) => Number(line.cells[k].dataset.rank);

  heads.forEach((head, k) => {
    const name = head.textContent, title = head.title || "Method";
    const sort = () => {
      const before = head.getAttribute("aria-sort"), down = before === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const order = k === 0 ? lines : lines.slice().sort((a, b) => rank(a, k) - rank(b, k));
      const sorted = down ? order.slice().reverse() : order;
      // Controls stay below: they are what others are held against.
      body.append(...sorted.filter((line) => !line.classList.contains("control")), ...sorted.filter((line) => line.classList.contains("control")));
    };
    head.replaceChildren(make("button", { type: "button", title: `${title} Sort by it.`, onclick: sort }, make("span", {}, name)));
  });
  heads[0].setAttribute("aria-sort", "ascending");

  function sieve() {
    let shown = 0;
    for (const line of lines) {
      const control = line.classList.contains("control");
      line.hidden = !line.dataset.method.toLowerCase().includes(view.name) || (control ? !view.controls : view.answer !== "all" && line.dataset.answer !== view.answer);
      shown += !line.hidden;
    }
    at("sieve-count").textContent = shown === lines.length ? "" : `${shown} of ${lines.length} methods`;
    [...at("sieve-answer").children].forEach((b) => b.setAttribute("aria-pressed", b.dataset.answer === view.answer));
  }
  for (const [answer, name] of [["all", "all"], ["yes", "● use"], ["unknown", "? not shown"], ["no", "✕ not"]]) {
    at("sieve-answer").append(make("button", { type: "button", "data-answer": answer, onclick: () => { view.answer = answer; sieve(); } }, name));
  }
  at("sieve-name").addEventListener("input", (event) => { view.name = event.target.value.trim().toLowerCase(); sieve(); });
  at("sieve-controls").addEventListener("change", (event) => { view.controls = event.target.checked; sieve(); });
  at("sieve").hidden = false;
  sieve();

  const dialog = at("mark");
  function told(one) {
    const number = one.mean === null ? null : make("p", { class: "number" }, make("b", {}, say(one.mean)), one.low === null ? "" : ` 95 % interval ${say(one.low)} to ${say(one.high)}`);
    const facts = [one.margin, one.n ? `${one.n} samples` : "", one.missing ? `${one.missing} without a value` : "", one.more ? `about ${one.more} samples would tell` : "", [one.check, one.setting, one.metric].filter(Boolean).join(", ")].filter(Boolean);
    const bar = one.low === null || one.margin === "" || Math.abs(one.mean) > 1.5 ? null : interval(one);
    return make("section", { class: `tone-${one.tone}` }, make("h4", {}, one.word || say(one.mean), one.name ? make("small", {}, ` ${one.name}`) : ""), ...[number, bar].filter(Boolean), make("p", {}, one.why), make("p", { class: "note" }, facts.join("; ")));
  }
  function interval(one) {
    const x = (v) => 10 + 280 * (Math.min(1.1, Math.max(-0.3, v)) + 0.3) / 1.4;
    return make("svg", { viewBox: "0 0 300 26", class: "interval", role: "img", "aria-label": `${say(one.mean)}, from ${say(one.low)} to ${say(one.high)}` },
      make("line", { class: "axis", x1: x(-0.3), x2: x(1.1), y1: 9, y2: 9 }), ...[0, 0.5, 1].flatMap((v) => [make("line", { class: "axis", x1: x(v), x2: x(v), y1: 5, y2: 13 }), make("text", { x: x(v), y: 25, "text-anchor": "middle" }, String(v))]),
      make("line", { class: "range", x1: x(one.low), x2: x(one.high), y1: 9, y2: 9 }), make("circle", { cx: x(one.mean), cy: 9, r: 5 }));
  }
  // How to compute one cell again: the specification with this method and this check alone.
  function alone(method, check) {
    const one = DATA.entries.methods[method], other = DATA.entries.checks[check];
    if (!one || !other) return [];
    return [make("p", { class: "note" }, "This alone: the specification below with"), make("pre", { tabindex: "0" }, `methods = [${one}]\nchecks = [${other}]\n\nheatproof audit audit.toml --out alone`)];
  }
  function open(method, question) {
    const asked = DATA.questions[question], found = DATA.answers[method][question] || [];
    const panel = document.getElementById(`q-${question}`);
    dialog.replaceChildren(
      make("header", {}, make("h3", { id: "mark-title" }, `${method}: ${question.replaceAll("-", " ")}`), make("button", { type: "button", onclick: () => dialog.close(), autofocus: "" }, "Close")),
      ...(asked ? [make("p", {}, make("b", {}, asked.title), ` ${asked.asks || ""}`)] : []),
      ...found.map(told),
      ...alone(method, found[0] && found[0].check),
      ...(asked && asked.cannot ? [make("p", { class: "note" }, make("b", {}, "What it cannot tell: "), asked.cannot)] : []),
      ...(panel ? [make("p", {}, make("a", { href: `#q-${question}`, onclick: () => dialog.close() }, "Go to its panel"))] : []),
    );
    dialog.showModal();
  }
  body.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) open(button.closest("tr").dataset.method, button.dataset.question);
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}
