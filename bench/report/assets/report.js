"use strict";
(() => {
  const comparisons = JSON.parse(document.getElementById("page-data").textContent);
  const byId = (id) => document.getElementById(id);
  document.documentElement.classList.add("scripts");

  const make = (tag, text, attributes = {}) => {
    const element = document.createElement(tag);
    if (text !== undefined && text !== null) element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const score = (value) => (value === null || value === undefined ? "–" : value.toFixed(3).replace("-", "−"));
  const count = (value) => value.toLocaleString("en-GB");
  const signed = (value) => {
    if (value === null || value === undefined) return "–";
    const text = Math.abs(value).toFixed(3);
    return Number(text) === 0 ? text : (value > 0 ? "+" : "−") + text;
  };

  // --- sorting: every table with a head; missing values stay last ---------------------------------------------
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    const raw = cell.dataset.value ?? cell.textContent.trim();
    const number = Number(raw);
    if (raw === "" || raw === "–" || raw === "nan") return null;
    return Number.isNaN(number) ? raw.toLowerCase() : number;
  };
  const sort = (table, column) => {
    const heads = table.tHead.rows[0].cells;
    const up = heads[column].getAttribute("aria-sort") === "descending";
    for (const head of heads) head.removeAttribute("aria-sort");
    heads[column].setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows].map((row) => [keyOf(row, column), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
      return up ? order : -order;
    });
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };
  const sortable = (table) => {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = make("button", null, { type: "button", title: "Sort by this column" });
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, column));
    });
  };
  const headed = (table, names) => {
    const row = make("tr");
    names.forEach((name, column) => row.append(make("th", name, { scope: "col", class: column && name !== "stratum" ? "number" : "" })));
    table.tHead.replaceChildren(row);
    sortable(table);
  };
  document.querySelectorAll("table.sortable").forEach((table) => table.tHead.rows.length && sortable(table));

  // --- descriptions on the marks of a plot, also for touch -------------------------------------------
  const tip = byId("tip");
  document.querySelectorAll(".mark").forEach((mark) => {
    mark.querySelector("title")?.remove();
    mark.setAttribute("aria-label", mark.dataset.hint);
    const show = (event) => {
      tip.textContent = mark.dataset.hint;
      tip.hidden = false;
      tip.style.left = Math.min(event.clientX + 12, window.innerWidth - tip.offsetWidth - 8) + "px";
      tip.style.top = Math.max(4, event.clientY - tip.offsetHeight - 10) + "px";
    };
    mark.addEventListener("pointermove", show);
    mark.addEventListener("pointerdown", show);
    mark.addEventListener("pointerleave", () => (tip.hidden = true));
  });
  window.addEventListener("scroll", () => (tip.hidden = true), { passive: true });

  // --- one comparison at a time ------------------------------------------------------------------------------------
  const fill = (select, pairs) => {
    const before = select.value;
    select.replaceChildren(...pairs.map(([value, text]) => make("option", text, { value })));
    if (pairs.some(([value]) => String(value) === before)) select.value = before;
  };
  byId("facet")?.addEventListener("change", (event) => {
    const name = event.target.value;
    document.querySelectorAll("[data-facet]").forEach((group) => (group.hidden = name !== "" && group.dataset.facet !== name));
    const position = comparisons.findIndex((comparison) => comparison.name === name);
    for (const id of ["measure-comparison", "single-comparison"]) {
      if (position >= 0 && byId(id)) {
        byId(id).value = position;
        byId(id).dispatchEvent(new Event("change"));
      }
    }
  });
  if (!comparisons.length) return;
  const titles = comparisons.map((comparison, position) => [position, comparison.title]);

  // --- any measure ----------------------------------------------------------------------------------------------
  const measureTable = byId("measure-table");
  const drawMeasures = () => {
    const comparison = comparisons[byId("measure-comparison").value];
    fill(byId("measure-key"), comparison.measures.map((measure) => [measure.key, measure.name]));
    fill(byId("measure-stratum"), Object.keys(comparison.n).map((name) => [name, `${name} (n = ${count(comparison.n[name])})`]));
    const [key, stratum] = [byId("measure-key").value, byId("measure-stratum").value];
    const name = comparison.measures.find((measure) => measure.key === key).name;
    measureTable.caption.textContent = `${name} on ${comparison.title}: ${count(comparison.n[stratum])} ${stratum === "all" ? "" : stratum + " "}test queries`;
    headed(measureTable, ["strategy", name, `difference from ${comparison.baseline}`, "95% CI, uncorrected"]);
    measureTable.tBodies[0].replaceChildren(...comparison.strategies.map((strategy, position) => {
      const [mean, difference, low, high] = comparison.table[key][stratum][position];
      const row = make("tr");
      const head = make("th", null, { scope: "row", "data-value": strategy });
      head.append(make("code", strategy));
      const cell = (text, value) => make("td", text, { class: "number", ...(value === null ? {} : { "data-value": value }) });
      row.append(head, cell(score(mean), mean), cell(signed(difference), difference),
        cell(low === null ? "–" : `${signed(low)} to ${signed(high)}`, low));
      return row;
    }));
  };
  fill(byId("measure-comparison"), titles);
  byId("measure-key").append(make("option", "", { value: comparisons[0].primary }));
  byId("measure-key").value = comparisons[0].primary;
  for (const id of ["measure-comparison", "measure-key", "measure-stratum"]) byId(id).addEventListener("change", drawMeasures);
  byId("measure-stratum").append(make("option", "", { value: comparisons[0].headline }));
  byId("measure-stratum").value = comparisons[0].headline;
  drawMeasures();

  // --- single queries -------------------------------------------------------------------------------------------
  const singleTable = byId("single-table");
  const hitsOf = (comparison, query, strategy) => {
    const { docs } = comparison.single;
    const grades = new Map(query.relevant ?? []);
    const box = make("div");
    const title = make("h4");
    title.append(make("code", comparison.strategies[strategy]), ` ${comparison.single.measure} ${score(query.scores[strategy])}`);
    box.append(title);
    const ranked = query.top[strategy];
    if (ranked === null) {
      box.append(make("p", "These records do not contain its ranking."));
      return box;
    }
    if (query.first) {
      const rank = query.first[strategy];
      box.append(make("p", rank === null ? "No relevant document in the ranking." : `First relevant document at rank ${rank}.`, { class: "note" }));
    }
    const list = make("ol");
    for (const position of ranked) {
      const item = make("li");
      const relevant = grades.has(position);
      item.append(make("span", docs[position][0] + (relevant ? ` ✓ relevant (${grades.get(position)})` : ""), relevant ? { class: "hit" } : {}));
      if (docs[position][1]) item.append(make("span", docs[position][1], { class: "doc" }));
      list.append(item);
    }
    box.append(ranked.length ? list : make("p", "The ranking is empty."));
    return box;
  };
  const showQuery = (comparison, query, chosen) => {
    const { docs } = comparison.single;
    const detail = make("div", null, { class: "detail", tabindex: "-1" });
    detail.append(make("h3", query.text || `Query ${query.id}`));
    const facts = [`Query ${query.id}`, query.seen ? "seen: a relevant document was a training positive" : "unseen"];
    if (query.group) facts.push(`group: ${query.group}`);
    detail.append(make("p", facts.join(" · "), { class: "note" }));
    if (query.relevant) {
      detail.append(make("h4", "Relevant documents"));
      const list = make("ul");
      for (const [position, grade] of query.relevant) {
        const item = make("li", `${docs[position][0]} (grade ${grade})`);
        if (docs[position][1]) item.append(make("span", docs[position][1], { class: "doc" }));
        list.append(item);
      }
      detail.append(list);
    }
    const columns = make("div", null, { class: "columns" });
    const order = [...new Set([...chosen, ...comparison.strategies.keys()])];
    columns.append(...order.map((strategy) => hitsOf(comparison, query, strategy)));
    detail.append(make("h4", "First documents of each strategy"), columns);
    byId("single-detail").replaceChildren(detail);
    detail.focus();
  };
  const drawSingle = () => {
    const comparison = comparisons[byId("single-comparison").value];
    const { single } = comparison;
    const names = comparison.strategies.map((name, position) => [position, name]);
    for (const id of ["single-strategy", "single-other"]) fill(byId(id), names);
    const [one, other] = [Number(byId("single-strategy").value), Number(byId("single-other").value)];
    byId("single-note").textContent =
      `The ${single.queries.length} of ${count(single.of)} test queries on which the strategies differ most. Scores are means over seeds; rankings are from the first seed.` +
      (single.reason ? ` Only ids are shown, because ${single.reason}.` : "");
    const search = byId("single-find").value.toLowerCase();
    const found = single.queries
      .filter((query) => !search || [query.text, query.id, query.group ?? ""].some((text) => text.toLowerCase().includes(search)))
      .map((query) => ({ query, change: query.scores[one] - query.scores[other] }))
      .sort((a, b) => Math.abs(b.change) - Math.abs(a.change));
    singleTable.caption.textContent = `${found.length} ${found.length === 1 ? "query" : "queries"}: ${single.measure} of ${comparison.strategies[one]} and ${comparison.strategies[other]}`;
    headed(singleTable, ["query", comparison.strategies[one], comparison.strategies[other], "difference", "stratum"]);
    singleTable.tBodies[0].replaceChildren(...found.map(({ query, change }) => {
      const row = make("tr");
      const head = make("th", null, { scope: "row", "data-value": query.text || query.id });
      const button = make("button", query.text || query.id, { type: "button", class: "query" });
      button.addEventListener("click", () => showQuery(comparison, query, [one, other]));
      head.append(button);
      row.append(head);
      for (const value of [query.scores[one], query.scores[other]]) row.append(make("td", score(value), { class: "number", "data-value": value }));
      row.append(make("td", signed(change), { class: "number", "data-value": change }), make("td", query.seen ? "seen" : "unseen"));
      return row;
    }));
  };
  const resetSingle = () => {
    const comparison = comparisons[byId("single-comparison").value];
    byId("single-strategy").replaceChildren();
    byId("single-other").replaceChildren();
    for (const id of ["single-strategy", "single-other"]) fill(byId(id), comparison.strategies.map((name, position) => [position, name]));
    const base = Math.max(0, comparison.strategies.indexOf(comparison.baseline));
    byId("single-other").value = base;
    byId("single-strategy").value = comparison.strategies.length > 1 ? (base === 0 ? 1 : 0) : 0;
    byId("single-detail").replaceChildren();
    drawSingle();
  };
  fill(byId("single-comparison"), titles);
  byId("single-comparison").addEventListener("change", resetSingle);
  for (const id of ["single-strategy", "single-other"]) byId(id).addEventListener("change", drawSingle);
  byId("single-find").addEventListener("input", drawSingle);
  resetSingle();
})();
