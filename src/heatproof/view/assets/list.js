"use strict";
(() => {
  history.replaceState(null, "", location.pathname); // the token that opened the page does not stay in the history
  const items = [...document.querySelectorAll("#runs li")];
  const sieve = document.getElementById("sieve");
  if (sieve) sieve.addEventListener("input", () => {
    const wanted = sieve.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const item of items) {
      const words = item.dataset.words.toLowerCase();
      item.hidden = !wanted.every((word) => words.includes(word));
      shown += item.hidden ? 0 : 1;
    }
    document.getElementById("sieve-count").textContent = wanted.length ? `${shown} of ${items.length}` : "";
  });
  const chosen = () => [...document.querySelectorAll("input[name=compare]:checked")].map((box) => box.value);
  const compare = document.getElementById("compare");
  if (compare) {
    document.getElementById("runs").addEventListener("change", () => { compare.disabled = chosen().length < 2; });
    compare.addEventListener("click", () => { location.href = `compare?runs=${chosen().join(",")}`; });
  }
  const say = async () => { // one after the other: each may read a run of a million rows
    for (const item of items) {
      const place = item.querySelector("[aria-busy]");
      if (!place) continue;
      try {
        const answer = await fetch(`run/${item.dataset.run}/headline`);
        const said = await answer.json();
        place.textContent = said.headline ?? said.error;
      } catch {
        place.textContent = "The server does not answer any more.";
      }
      place.removeAttribute("aria-busy");
    }
  };
  say();
})();
