"use strict";
(() => {
  const { columns, rows, sheet, key, words } = JSON.parse(document.getElementById("data").textContent);
  const store = "adaptbench-judge-" + key;
  const at = (id) => document.getElementById(id);
  const buttons = [...document.querySelectorAll("[data-grade]")];
  let grades = {};
  let unsaved = false;
  let place = 0;

  try { grades = JSON.parse(localStorage.getItem(store)) || {}; } catch { grades = {}; }
  place = Math.max(0, rows.findIndex((_, number) => !(number in grades)));

  function keep() {
    unsaved = true;
    try { localStorage.setItem(store, JSON.stringify(grades)); } catch { /* a browser may forbid it: saving still works */ }
  }

  function show() {
    const row = rows[place];
    const done = Object.keys(grades).length;
    at("progress").value = done;
    at("status").textContent = row
      ? `${words.item} ${place + 1} of ${rows.length}, ${done} ${words.done}.${unsaved ? " Not saved yet." : ""}`
      : words.none;
    if (!row) return;
    columns.forEach((name, column) => { if (at(name)) at(name).textContent = row[column]; });
    for (const folded of document.querySelectorAll("details")) folded.open = false;
    for (const button of buttons) button.setAttribute("aria-pressed", String(grades[place] === button.dataset.grade));
    at("back").disabled = place === 0;
    at("next").disabled = place === rows.length - 1;
  }

  function move(step) {
    place = Math.min(rows.length - 1, Math.max(0, place + step));
    scrollTo(0, 0);
    show();
  }

  function grade(value) {
    if (!rows[place]) return;
    if (value === null) delete grades[place];
    else grades[place] = value;
    keep();
    if (value !== null && place < rows.length - 1) move(1);
    else show();
  }

  const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;

  function save() {
    const lines = [columns, ...rows.map((row, number) => [...row, grades[number] ?? ""])];
    const text = "\ufeff" + lines.map((line) => line.map(quoted).join(",")).join("\r\n") + "\r\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = sheet;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    unsaved = false;
    show();
  }

  for (const button of buttons) button.addEventListener("click", () => grade(button.dataset.grade));
  at("back").addEventListener("click", () => move(-1));
  at("next").addEventListener("click", () => move(1));
  at("save").addEventListener("click", save);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const known = buttons.find((button) => button.dataset.key === event.key);
    if (known) grade(known.dataset.grade);
    else if (event.key === "ArrowLeft") move(-1);
    else if (event.key === "ArrowRight") move(1);
    else if (event.key === "Delete" || event.key === "Backspace") grade(null);
    else if (event.key === "s" || event.key === "S") save();
    else return;
    event.preventDefault();
  });
  addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
  show();
})();
