"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, at) => head.querySelector("button").addEventListener("click", () => {
    const was = head.getAttribute("aria-sort");
    const now = was === null ? "descending" : was === "descending" ? "ascending" : null;
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    if (now) head.setAttribute("aria-sort", now);
    const sign = now === "ascending" ? 1 : -1;
    const order = (a, b) => {
      const [x, y] = [a.cells[at], b.cells[at]];
      const [p, q] = [x.dataset.v, y.dataset.v];
      if (p !== undefined && q !== undefined) return sign * (Number(p) - Number(q));
      if ((p === undefined) !== (q === undefined)) return p === undefined ? 1 : -1;
      return sign * x.textContent.localeCompare(y.textContent, undefined, { numeric: true });
    };
    body.append(...(now ? [...original].sort(order) : original));
  }));
  const search = document.querySelector(`input[data-for="${table.id}"]`);
  if (search) search.addEventListener("input", () => {
    const wanted = search.value.toLowerCase();
    for (const row of original) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}
