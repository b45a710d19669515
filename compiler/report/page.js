"use strict";
(() => {
  const table = document.getElementById("table");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const find = document.getElementById("find");
  const action = document.getElementById("action");

  const filter = () => {
    const wanted = find.value.toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const matches = row.textContent.toLowerCase().includes(wanted);
      const decided = !action.value || row.dataset.actions.split(" ").includes(action.value);
      row.hidden = !(matches && decided);
      shown += row.hidden ? 0 : 1;
    }
    document.getElementById("count").textContent = `${shown} of ${rows.length}`;
  };
  find.addEventListener("input", filter);
  action.addEventListener("change", filter);

  const value = (row, index) => {
    const cell = row.cells[index];
    if (cell.dataset.order === undefined) return cell.textContent.trim();
    return cell.dataset.order === "" ? null : Number(cell.dataset.order);
  };
  const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b));
  const sort = (head, index) => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const keyed = rows.map((row) => [value(row, index), row]);
    keyed.sort(([a], [b]) => {
      if (a === null || b === null || a === "" || b === "") return (a === null || a === "") - (b === null || b === "");
      return down ? compare(b, a) : compare(a, b);
    });
    body.append(...keyed.map(([, row]) => row));
  };
  [...table.tHead.rows[0].cells].forEach((head, index) => {
    head.tabIndex = 0;
    head.addEventListener("click", () => sort(head, index));
    head.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      sort(head, index);
    });
  });
})();
