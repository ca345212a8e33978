// The ledger's filters. Without scripts the whole table is there and this form is hidden; a page without a ledger is left alone.
document.addEventListener("DOMContentLoaded", () => {
  for (const ledger of document.querySelectorAll(".ledger")) {
    const form = ledger.querySelector("form");
    const rows = Array.from(ledger.querySelectorAll("tbody tr"));
    const { verdict, part, words } = form.elements;

    function filter() {
      const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = Boolean((verdict.value && row.dataset.verdict !== verdict.value)
          || (part.value && row.dataset.part !== part.value) || wanted.some((word) => !text.includes(word)));
      }
      const shown = rows.filter((row) => !row.hidden).length;
      form.querySelector(".ledger-shown").textContent = `${shown} of ${rows.length} shown.`;
    }

    // a link to a row must find it, whatever is filtered
    function reveal() {
      const row = rows.find((one) => `#${one.id}` === location.hash);
      if (row && row.hidden) {
        form.reset();
        filter();
        row.scrollIntoView();
      }
    }

    // ledger.html?verdict=false opens with that filter
    for (const [name, value] of new URLSearchParams(location.search)) if (name in form.elements) form.elements[name].value = value;
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    window.addEventListener("hashchange", reveal);
    form.hidden = false;
    filter();
    reveal();
  }
});
