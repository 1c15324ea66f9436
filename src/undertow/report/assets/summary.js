// What was trained and how it ended, what was found, and the settings.
(() => {
  const { el, table, scroller, details, heading, copyButton, part, show, written } = undertowReport;
  const MARKS = { error: "✕ Error", warning: "▲ Warning", note: "● Note" };
  const ENDED = { finished: "good", callback: "good", interrupted: "warning", diverged: "error", "": "note" };

  part("summary", (data) => [data.summary, data.remarks], (place, data) => {
    const { title, sentence, state, ended, mark, tiles } = data.summary;
    place.replaceChildren(
      el("p", { class: "eyebrow" }, el("span", { class: `badge ${mark || (ENDED[ended] ?? "note")}` }, state)),
      el("h1", { id: "summary-title" }, title),
      el("p", { class: "sentence" }, written(sentence)),
      tiles.length ? el("dl", { class: "tiles" }, tiles.map((tile) => el("div", {},
        el("dt", {}, tile.label),
        el("dd", { class: "value" }, tile.value),
        tile.note ? el("dd", { class: "small" }, tile.note) : ""))) : "",
      ...data.remarks.map((text) => el("p", { class: "remark" }, text)));
  });

  part("findings", (data) => [data.findings, Boolean(data.map), data.summary.ended, data.history.n_rows > 0], (place, data) => {
    const found = data.findings;
    const n = found?.length ?? 0;
    const lead = found === null ? (data.summary.ended === "" && !data.history.n_rows ? "No step is recorded yet."
      : data.map ? "This record was not diagnosed."
      : "Nobody looked: the run has no record of its gradient flow. Train with flow=True.")
      : n === 0 ? "" : n === 1 ? "One thing stands out." : `${n} things stand out, the most severe first.`;
    place.replaceChildren(...heading("findings", "Findings", lead), ...(found ?? []).map(finding),
      found && n === 0 ? healthy(data.summary.ended) : "");
  });

  function healthy(ended) {
    if (ended === "diverged") return el("p", { class: "lead" }, "No rule says why it diverged.");
    const all = ended === "" ? "Nothing has stood out so far in how the gradient flows." : "Nothing stands out in how the gradient flowed.";
    return el("p", { class: "sentence" }, el("span", { class: "badge good" }, "✓ Healthy"), ` ${all}`);
  }

  function finding(item, i) {
    const id = `finding-${i}`;
    return el("article", { class: `finding ${item.severity}`, "aria-labelledby": id },
      el("header", {}, el("span", { class: `badge ${item.severity}` }, MARKS[item.severity] ?? item.severity),
        el("h3", { id }, item.title)),
      where(item),
      el("p", { class: "cause" }, written(item.cause)),
      item.evidence.length ? evidence(item) : "",
      item.remedies.length ? [el("h4", {}, item.remedies.length === 1 ? "Remedy" : "Remedies"),
        el("ol", {}, item.remedies.map((x) => el("li", {}, x.sentence,
          x.code ? code("Python", x.code) : "", x.option ? code("Command", x.option) : "")))] : "",
      item.source ? el("p", { class: "source" }, `Source: ${item.source}`) : "");
  }

  // Numbers stand below each other; a sentence takes both columns.
  function evidence(item) {
    const short = (text) => text.length <= 24;
    const cell = (text, name) => el("td", { class: short(text) ? name : "words" }, written(text) || "–");
    const row = (x) => el("tr", {}, el("th", { scope: "row" }, x.text), !x.expected && !short(x.value)
      ? el("td", { class: "words", colspan: 2 }, written(x.value)) : [cell(x.value, "n"), cell(x.expected, "words")]);
    const head = [el("th", { scope: "col" }, "Evidence"), el("th", { class: "n", scope: "col" }, "Found"),
      el("th", { class: "words", scope: "col" }, "Expected")];
    return scroller(`Evidence for ${item.title}: table`, el("table", { class: "evidence" },
      el("caption", { class: "away" }, `Evidence for ${item.title}`), el("thead", {}, el("tr", {}, head)),
      el("tbody", {}, item.evidence.map(row))));
  }

  function where(item) {
    const shown = item.layers.slice(0, 3).join("; ");
    const more = item.layers.length > 3 ? ` and ${item.layers.length - 3} more` : "";
    const bits = [shown ? el("span", { title: item.layers.join("\n") }, shown + more) : ""];
    if (item.step === 0) bits.push(shown ? " · " : "", "before the first step");
    else if (item.step !== null) {
      const button = el("button", { type: "button", class: "link" }, `step ${show(item.step)}`);
      button.addEventListener("click", () => undertowReport.chooseStep?.(item.step, true));
      bits.push(shown ? " · first at " : "First at ", undertowReport.state.data.map ? button : `step ${show(item.step)}`);
    }
    return bits.some(Boolean) ? el("p", { class: "where" }, bits) : "";
  }

  function code(kind, text) {
    return el("div", { class: "code" }, el("span", { class: "kind" }, kind), el("pre", {}, text),
      copyButton(text, kind === "Python" ? "the code" : "the option"));
  }

  part("settings", (data) => [data.settings, data.model, data.environment], (place, data) => {
    const pairs = (title, rows, names) => rows.length
      ? el("div", {}, el("h3", {}, title), table(title, names, rows)) : "";
    place.replaceChildren(...heading("settings", "Settings, model, environment"),
      el("div", { class: "columns" },
        pairs("Settings", data.settings, ["Setting", "Value"]),
        pairs("Environment", data.environment, ["What", "Version"]),
        data.model.length ? el("div", { class: "whole" }, el("h3", {}, "Model"), model(data.model)) : ""));
  });

  function model(rows) {
    const head = ["Layer", "Output", "Parameters", "Not trained", "Forward", "Backward"];
    const full = rows.some((row) => row.trained !== undefined);
    const count = (row, name) => (row.container ? "" : row[name] ? show(row[name]) : "–");
    const lines = rows.map((row) => {
      const name = el("span", {}, row.name);
      name.style.paddingLeft = `${18 * row.depth}px`;
      const numbers = ["trained", "not_trained", "forward", "backward"].map((column) => count(row, column));
      return full ? [name, row.output, ...numbers] : [name, row.output];
    });
    const make = () => table("Model", full ? head : head.slice(0, 2), lines, { numbers: [2, 3, 4, 5] });
    const note = full ? el("p", { class: "small" }, "Forward and backward: floating-point operations an example.") : "";
    if (rows.length <= 30) return el("div", {}, make(), note);
    return el("div", {}, details("model", `All ${rows.length} rows`, make), note);
  }
})();
