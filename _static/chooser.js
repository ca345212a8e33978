// The chooser's questions. Without scripts the whole table is there and this form is hidden; a page without a chooser is left alone.
document.addEventListener("DOMContentLoaded", () => {
  for (const form of document.querySelectorAll(".chooser-questions")) {
    const root = form.parentElement;
    const rows = Array.from(root.querySelectorAll("tbody tr"));
    const names = Array.from(new Set(Array.from(form.elements).filter((one) => one.type === "radio").map((one) => one.name)));
    const fits = (row, name) => !form.elements[name].value || row.dataset[name].split(" ").includes(form.elements[name].value);

    // no answer fits both: those for the trouble alone, and say so
    function choose() {
      const both = rows.filter((row) => names.every((name) => fits(row, name)));
      const shown = both.length ? both : rows.filter((row) => fits(row, "trouble"));
      for (const row of rows) row.hidden = !shown.includes(row);
      const takes = `${shown.map((row) => row.dataset.take).join("; ")}.`;
      const head = both.length ? (shown.length === 1 ? "One answer: " : `${shown.length} answers: `) : "No loss of this book does both. For the trouble alone: ";
      form.querySelector(".chooser-shown").textContent = shown.length === rows.length ? `All ${rows.length} answers.` : head + takes;
    }

    // the choice stands in the address, beside what the page's figures keep there: #chooser.need=probability&chooser.trouble=few
    function pairs() {
      return location.hash.slice(1).split("&").filter((pair) => pair.includes("="));
    }
    function remember() {
      const others = pairs().filter((pair) => !pair.startsWith("chooser."));
      const own = names.map((name) => `chooser.${name}=${form.elements[name].value}`);
      try { history.replaceState(history.state, "", `#${[...others, ...own].join("&")}`); } catch (error) { /* a sandboxed frame has no address of its own */ }
    }
    function recall() {
      const own = pairs().filter((pair) => pair.startsWith("chooser.")).map((pair) => pair.slice(8).split("="));
      for (const [name, value] of own) {
        const button = Array.from(form.elements).find((one) => one.name === name && one.value === value);
        if (button) button.checked = true;
      }
      choose();
      return own.length > 0;
    }

    form.addEventListener("input", () => { choose(); remember(); });
    form.addEventListener("submit", (event) => event.preventDefault());
    // a link from the table to a figure of this very page
    window.addEventListener("hashchange", () => {
      const figure = pairs().map((pair) => document.getElementById(pair.split("=")[0].replace(/\.[^.]*$/, ""))).find(Boolean);
      if (figure) figure.scrollIntoView();
      recall();
    });
    form.hidden = false;
    if (recall()) root.scrollIntoView();
  }
});
