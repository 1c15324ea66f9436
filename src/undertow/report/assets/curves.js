// Loss and metrics: by epoch, and by step.
(() => {
  const { el, table, details, heading, key, chart, logTicks, ticksOf, tip, part, show, percent, number } = undertowReport;
  const COLOURS = ["var(--c1)", "var(--c2)"];

  part("curves", (data) => [data.history, data.steps], (place, data) => {
    const panels = data.history.panels;
    const curves = data.steps?.curves ?? [];
    const grid = el("div", { class: "grid" });
    place.replaceChildren(...heading("curves", "Loss and metrics"),
      panels.length || curves.length ? grid : el("p", { class: "lead" }, "No epoch has ended yet."));
    const todo = [];
    for (const curve of curves.filter((x) => x.name === "loss")) todo.push(byStep(grid, data.steps, curve));
    for (const panel of panels) todo.push(byEpoch(grid, data.history, panel));
    for (const curve of curves.filter((x) => x.name !== "loss")) todo.push(byStep(grid, data.steps, curve));
    if (todo.length % 2) grid.firstElementChild.classList.add("wide");
    for (const draw of todo) draw();
    if (panels.length) place.append(details("curves", "The numbers by epoch", () => epochTable(data.history)));
    if (curves.length) place.append(details("steps", "The numbers by step", () => stepTable(data.steps, curves)));
  });

  function frame(grid, title, keys) {
    const place = el("div", { class: "chart" });
    grid.append(el("figure", {}, el("figcaption", {}, el("h3", {}, title), keys), place));
    return place;
  }

  function axis(log, share, values, most = Infinity) {
    const known = values.filter(Number.isFinite);
    const format = { label: null, grid: true, tickFormat: (v) => show(v) };
    if (!known.length) return { ...format, domain: [0, 1], ticks: [] };
    let [low, high] = d3.extent(known);
    if (log) return { ...format, type: "log", domain: [low, high], ticks: logTicks([low, high], 5), tickFormat: ticksOf([low, high]) };
    if (low === high) [low, high] = low ? [low - Math.abs(low) / 2, high + Math.abs(high) / 2] : [-1, 1];
    const domain = d3.scaleLinear([low, high], [0, 1]).nice(5).domain();
    const size = Math.max(Math.abs(low), Math.abs(high));  // as many digits as tell neighbouring ticks apart
    const digits = Math.max(3, Math.ceil(Math.log10(size / d3.tickStep(low, high, 5))) + 1);
    return { ...format, tickFormat: (v) => (share ? percent(v, digits) : ticksOf(domain, digits)(v)), domain: [share ? Math.max(0, domain[0]) : domain[0], Math.min(share ? 1 : most, domain[1])], ticks: 5 };
  }

  function byEpoch(grid, history, panel) {
    const lone = panel.series.length === 1;
    const place = frame(grid, panel.title, panel.series.map((line) =>
      key(line.name, { colour: COLOURS[colour(line, lone)], dash: line.name === "validation" })));
    return () => {
      const marks = [];
      panel.series.forEach((line) => {
        const points = line.values.map((y, j) => ({ x: history.x[j], y: number(y), name: line.name }));
        const stroke = COLOURS[colour(line, lone)];
        marks.push(Plot.lineY(points, { x: "x", y: "y", stroke, strokeWidth: 2,
          strokeDasharray: line.name === "validation" ? "5 3" : null }));
        if (points.length <= 30) marks.push(Plot.dot(points, { x: "x", y: "y", fill: stroke, r: 2.5 }));
        marks.push(broken(line.values.map((y, j) => (isBroken(y) ? history.x[j] : null)).filter((x) => x !== null)));
      });
      const all = panel.series.flatMap((line) => line.values.map((y, j) => ({ x: history.x[j], y: number(y), name: line.name })));
      marks.push(tip(all, { x: "x", y: "y",
        title: (d) => `${history.across} ${show(d.x)}\n${d.name} ${panel.share ? percent(d.y) : show(d.y, 4)}` }));
      chart(place, `${panel.title} by ${history.across}. The numbers are in the table below.`, {
        height: 230, marginLeft: 52, marginRight: 14, marginBottom: 34, marginTop: 12,
        x: { label: history.across, nice: false, ...across(history.x) }, y: axis(panel.log, panel.share, all.map((d) => d.y), panel.most ?? Infinity), marks,
      });
    };
  }

  const colour = (line, lone) => (!lone && line.name === "validation" ? 1 : 0);
  const isBroken = (value) => typeof value === "string";

  // Whole numbers below the axis, and room around a single point.
  function across(x) {
    const [low, high] = [Math.min(...x), Math.max(...x)];
    const spread = high > low ? [low, high] : [low - 1, high + 1];
    const ticks = d3.ticks(spread[0], spread[1], 7).filter((v) => Number.isInteger(v) && v >= low && v <= high);
    return { domain: spread, ticks, tickFormat: (v) => show(v) };
  }

  function broken(places) {
    const skip = Math.ceil(places.length / 60);
    return Plot.text(places.filter((_, i) => i % skip === 0), { x: (d) => d, text: () => "✕", frameAnchor: "top", fill: "var(--bad)", fontSize: 13 });
  }

  function byStep(grid, steps, curve) {
    const place = frame(grid, curve.title, [el("span", {}, curve.explains),
      curve.broken.length ? el("span", {}, "✕ not finite") : ""]);
    return () => {
      const points = steps.x.map((x, i) => ({ x, i, y: number(curve.mean[i]), low: number(curve.low[i]), high: number(curve.high[i]) }));
      const banded = steps.first.some((first, i) => first !== steps.last[i]);
      const label = (d) => `${stepText(steps, d.i)}\n${show(d.y, 4)}` + (banded ? `\nfrom ${show(d.low)} to ${show(d.high)}` : "");
      const place_x = { ...across(steps.x), label: "step" };
      chart(place, `${curve.title}, ${curve.explains}.`, {
        height: 230, marginLeft: 52, marginRight: 14, marginBottom: 34, marginTop: 12, x: place_x, 
        y: axis(curve.log, false, points.flatMap((d) => [d.y, d.low, d.high])),
        marks: [
          banded ? Plot.areaY(points, { x: "x", y1: "low", y2: "high", fill: "var(--c1)", fillOpacity: 0.2 }) : null,
          Plot.lineY(points, { x: "x", y: "y", stroke: "var(--c1)", strokeWidth: 1.5 }),
          points.length <= 30 ? Plot.dot(points, { x: "x", y: "y", fill: "var(--c1)", r: 2.5 }) : null,
          broken(curve.broken.map((i) => steps.x[i])),
          tip(points, { x: "x", y: "y", title: label }),
        ],
      });
    };
  }

  function stepText(steps, i) {
    const [first, last] = [steps.first[i], steps.last[i]];
    return first === last ? `step ${show(first)}` : `steps ${show(first)} to ${show(last)}`;
  }
  undertowReport.stepText = stepText;

  function stepTable(steps, curves) {
    const skip = Math.max(1, Math.ceil(steps.x.length / 50));
    const word = (curve, i) => (curve.mean[i] === null ? "not finite" : show(curve.mean[i], 4));
    const rows = d3.range(steps.x.length).filter((i) => i % skip === 0 || i === steps.x.length - 1);
    return table("Numbers by step", ["Step", ...curves.map((curve) => curve.title.replace(" by step", ""))],
      rows.map((i) => [stepText(steps, i), ...curves.map((curve) => word(curve, i))]), { numbers: d3.range(1, curves.length + 1) });
  }

  function epochTable(history) {
    const lines = history.panels.flatMap((panel) => panel.series.map((line) => ({ ...line, share: panel.share })));
    const skip = Math.max(1, Math.ceil(history.x.length / 200));
    const rows = history.x.map((x, j) => [show(x), ...lines.map((line) =>
      (line.share && typeof line.values[j] === "number" ? percent(line.values[j]) : show(line.values[j], 4)))])
      .filter((_, j) => j % skip === 0 || j === history.x.length - 1);
    return table("History", [history.across, ...lines.map((line) => line.column.replaceAll("_", " "))], rows,
      { numbers: d3.range(lines.length + 1) });
  }
})();
