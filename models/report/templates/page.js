"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const numeric = head.dataset.kind === "number";
    const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
    const order = (a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const by = numeric ? Number(x) - Number(y) : x.localeCompare(y, undefined, { numeric: true });
      return down ? -by : by;
    };
    body.append(...[...body.rows].sort(order));
  }));
}
const filter = document.getElementById("filter");
const only = document.getElementById("only");
function show() {
  const wanted = filter.value.trim().toLowerCase();
  let shown = 0;
  for (const item of document.querySelectorAll("[data-name]")) {
    const hidden = !item.dataset.name.toLowerCase().includes(wanted) || (only.value !== "" && item.dataset.kind !== only.value);
    item.hidden = hidden;
    if (!hidden && item.tagName === "TR") shown += 1;
  }
  document.getElementById("shown").textContent = shown + " shown";
}
if (filter) {
  document.getElementById("tools").hidden = false;
  filter.addEventListener("input", show);
  only.addEventListener("change", show);
}
