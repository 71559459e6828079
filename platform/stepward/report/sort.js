// Tables sort by the column whose heading is clicked: numbers as numbers, whatever stands around them.
document.querySelectorAll("thead th").forEach(heading => {
  heading.setAttribute("aria-sort", "none");
  heading.addEventListener("click", () => {
    const rising = heading.getAttribute("aria-sort") !== "ascending";
    heading.parentNode.querySelectorAll("th").forEach(other => other.setAttribute("aria-sort", "none"));
    heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const body = heading.closest("table").tBodies[0];
    const key = row => {
      const text = row.cells[heading.cellIndex].textContent.replace("\u2212", "-").replace(/,/g, "");
      const number = parseFloat(text.replace(/^[^0-9.+-]+/, ""));
      return isNaN(number) ? text : number;
    };
    const order = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
    [...body.rows].sort((a, b) => order(key(a), key(b)) * (rising ? 1 : -1)).forEach(row => body.append(row));
  });
});
