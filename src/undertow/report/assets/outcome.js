// Predictions against targets: a confusion matrix, or residuals.
(() => {
  const { el, table, scroller, heading, chart, part, show, percent } = undertowReport;
  const TITLES = { classes: "Confusion matrix", labels: "Labels", numbers: "Residuals", none: "Predictions" };

  part("outcome", (data) => data.outcome, (place, data) => {
    const found = data.outcome;
    const lead = found.kind === "none" ? found.why : found.kind === "classes"
      ? `${show(found.right)} of ${show(found.n)} examples right (${percent(found.right / found.n)}).`
      : `${show(found.n)} examples.`;
    place.replaceChildren(...heading("outcome", TITLES[found.kind], lead));
    if (found.kind === "classes") place.append(classes(found));
    if (found.kind === "labels") place.append(labels(found));
    if (found.kind === "numbers") found.outputs.forEach((output) => numbers(place, output));
    if (found.kind === "numbers" && found.n_outputs > found.outputs.length) {
      place.append(el("p", { class: "small" }, `The first ${found.outputs.length} of ${found.n_outputs} outputs.`));
    }
  });

  function classes(found) {
    const common = found.confusions.length ? el("div", {}, el("h3", {}, "Most frequent confusions"),
      table("Most frequent confusions", ["True", "Predicted", "Examples"],
        found.confusions.map((x) => [x.true, x.predicted, show(x.n)]), { numbers: [2] })) : "";
    if (!found.matrix) {
      return el("div", { class: "beside" }, el("p", { class: "small" }, `${found.n_classes} classes are too many for a matrix.`), common);
    }
    return el("div", { class: "beside" }, el("div", {}, matrix(found), el("p", { class: "small" },
      "A row for each true class, a column for the class that was predicted: what is right stands on the diagonal. The stronger the colour, the more of the row.")), common);
  }

  function matrix(found) {
    const dense = found.labels.length > 16;
    const sums = found.matrix.map((row) => d3.sum(row) || 1);
    const cell = (n, i, j) => {
      const node = el("td", { title: `true ${found.labels[i]}, predicted ${found.labels[j]}: ${show(n)}` }, n || !dense ? show(n) : "");
      if (n) node.style.background = `color-mix(in oklab, ${i === j ? "var(--c1)" : "var(--c2)"} calc(var(--heat) * ${Math.sqrt(n / sums[i]).toFixed(3)}), var(--paper))`;
      return node;
    };
    // The axes stand in the heads, for those who see them and for those who hear them cell by cell.
    const said = (word, label, scope) => el("th", { scope, title: `${word} ${label}` }, el("span", { class: "away" }, `${word} `), label);
    const arrow = (text) => el("span", { "aria-hidden": "true" }, text);
    const axes = el("tr", {}, el("td", { class: "corner" }), el("th", { class: "axis", scope: "colgroup", colspan: found.labels.length }, "Predicted class ", arrow("→")));
    const heads = el("tr", {}, el("th", { class: "axis", scope: "col" }, "True class ", arrow("↓")), found.labels.map((label) => said("predicted", label, "col")));
    const rows = found.matrix.map((row, i) => el("tr", {}, said("true", found.labels[i], "row"), row.map((n, j) => cell(n, i, j))));
    return scroller("Confusion matrix: table",
      el("table", { class: dense ? "confusion dense" : "confusion" },
        el("caption", { class: "away" }, "Confusion matrix: a row for each true class, a column for each predicted one"),
        el("thead", {}, axes, heads), el("tbody", {}, rows)));
  }

  function labels(found) {
    return table("Labels", ["Label", "Found", "Missed", "Wrongly given", "Rightly not given"],
      found.rows.map((x) => [x.label, show(x.right), show(x.missed), show(x.wrong), show(x.neither)]), { numbers: [1, 2, 3, 4] });
  }

  function numbers(place, output) {
    const points = output.target.map((y, i) => ({ y, p: output.predicted[i], r: output.predicted[i] - y }));
    const grid = el("div", { class: "grid" });
    place.append(grid);
    const frame = (title) => {
      const inner = el("div", { class: "chart" });
      grid.append(el("figure", {}, el("figcaption", {}, el("h3", {}, title)), inner));
      return inner;
    };
    const [left, right] = [frame(`${output.name}: predicted against true`), frame(`${output.name}: residual against predicted`)];
    const dot = { fill: "var(--c1)", fillOpacity: points.length > 400 ? 0.35 : 0.6, r: 2.5 };
    const shape = { height: 300, marginLeft: 56, marginRight: 14, marginBottom: 38, marginTop: 30 };
    const format = { grid: true, tickFormat: (v) => show(v), ticks: 5, nice: true };
    chart(left, `${output.name}: predicted against true values`, { ...shape,
      x: { label: "true", ...format }, y: { label: "predicted", ...format},
      marks: [Plot.link(points.length ? [d3.extent(points.flatMap((d) => [d.y, d.p]))] : [],
        { x1: (d) => d[0], y1: (d) => d[0], x2: (d) => d[1], y2: (d) => d[1], stroke: "var(--soft)", strokeDasharray: "4 3" }),
      Plot.dot(points, { x: "y", y: "p", ...dot })] });
    chart(right, `${output.name}: residuals against predicted values`, { ...shape,
      x: { label: "predicted", ...format }, y: { label: "predicted − true", ...format },
      marks: [Plot.ruleY([0], { stroke: "var(--soft)", strokeDasharray: "4 3" }), Plot.dot(points, { x: "p", y: "r", ...dot })] });
    const q = output.quantiles;
    place.append(table(`Errors of ${output.name}`, ["Root mean square", "Mean absolute", "Mean (bias)", "R²", "5 % below", "Median", "95 % below", "Largest"],
      [[output.rmse, output.mae, output.bias, output.r2, q[1], q[3], q[5], q.length ? Math.max(Math.abs(q[0]), q[6]) : null].map((v) => show(v, 4))],
      { numbers: d3.range(1, 8) }));
    if (output.n_broken) place.append(el("p", { class: "small" }, `${show(output.n_broken)} predictions are not finite and left out.`));
  }
})();
