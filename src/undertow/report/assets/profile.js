// The profile over depth: one number a layer, at the chosen step.
(() => {
  const { state, el, table, details, heading, key, chart, logTicks, tip, part, show, percent } = undertowReport;

  part("profile", (data) => [data.map, data.theory], (place, data) => {
    place.hidden = !data.map;
    if (!data.map) return place.replaceChildren();
    place.replaceChildren(...heading("profile", "Profile over depth"),
      el("p", { class: "lead", id: "profile-lead" }),
      el("figure", {}, el("figcaption", { id: "profile-keys" }), el("div", { class: "chart", id: "profile-chart" })),
      el("div", { id: "profile-numbers" }));
    redraw();
  });

  // At most once a frame, however fast the steps go by.
  let waiting = false;
  undertowReport.drawProfile = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; redraw(); });
  };

  function redraw() {
    const place = document.getElementById("profile-chart");
    const map = undertowReport.grid;
    if (!place || !map) return;
    const item = map.chosen();
    const column = map.column();
    const now = profile(map, item, column);
    const first = profile(map, item, 0);
    const theory = expected(map, item, now);
    document.getElementById("profile-lead").textContent =
      `${item.title} in each layer at ${map.stepsOf(column)}. The map above chooses what and when.`;
    document.getElementById("profile-keys").replaceChildren(
      key(map.stepsOf(column)), column === 0 ? "" : key(map.stepsOf(0), { colour: "var(--soft)", width: 1 }),
      theory ? key("theory at initialisation, relative to the last layer", { colour: "var(--c2)", dash: true }) : "",
      now.some((d) => d.value === Infinity) ? el("span", {}, "✕ not finite") : "");
    draw(place, map, item, { now, first: column === 0 ? [] : first, theory: theory ?? [] });
    document.getElementById("profile-numbers").replaceChildren(
      details("profile", "The numbers of the profile", () => numbers(map, item, now, first, theory)));
  }

  const profile = (map, item, column) => map.layers.map((layer, i) => {
    const value = map.value(item, column, i);
    return { i: i + 1, layer, value, y: Number.isFinite(value) && (value > 0 || item.scale === "linear") ? value : NaN };
  });

  // Theory knows sizes relative to the last layer; the last layer that was measured puts them on the scale.
  function expected(map, item, now) {
    const values = state.data.theory?.[item.name];
    if (!values) return null;
    const last = d3.greatest(now.filter((d) => Number.isFinite(d.y) && values[d.i - 1] > 0), (d) => d.i);
    if (!last) return null;
    return now.map((d) => ({ ...d, y: values[d.i - 1] > 0 ? (last.y * values[d.i - 1]) / values[last.i - 1] : NaN }));
  }

  function draw(place, map, item, lines) {
    const n = map.n;
    const word = (d) => `${d.layer.label}\n${map.word(item, d.value)}`;
    const log = item.scale === "log";
    const ys = [...lines.now, ...lines.first, ...lines.theory].map((d) => d.y).filter(Number.isFinite);
    // Of a loop of one's own, watched values have no weights, and parameters no delta.
    const there = lines.now.filter((d, i) => [d, lines.first[i]].some((x) => x && !Number.isNaN(x.value))).map((d) => d.i);
    const [from, to] = there.length ? d3.extent(there) : [1, n];
    const ticks = d3.ticks(from, to, Math.min(to - from + 1, place.clientWidth < 560 ? 6 : 14)).filter(Number.isInteger);
    const span = log ? logRange(ys) : [0, 1];
    const dots = n <= 60 ? 3 : 1.8;
    const line = (data, options) => Plot.lineY(data, { x: "i", y: "y", ...options });
    const missing = (data, test, text, frameAnchor, fill) => Plot.text(data.filter(test),
      { x: "i", text: () => text, frameAnchor, fill, fontSize: 12 });
    chart(place, `${item.title} by layer. The numbers are in the table below.`, {
      height: 280, marginLeft: 58, marginRight: 16, marginTop: 12, marginBottom: 36,
      x: { domain: to > from ? [from, to] : [from - 0.5, to + 0.5], ticks, tickFormat: (v) => show(v), label: "layer, from the input to the output", inset: to > from ? 8 : 0 },
      y: { type: log ? "log" : "linear", domain: span, grid: true, label: null,
        ticks: log ? logTicks(span) : 5, tickFormat: log ? (v) => show(v) : (v) => percent(v) },
      marks: [
        line(lines.first, { stroke: "var(--soft)", strokeWidth: 1 }),
        line(lines.theory, { stroke: "var(--c2)", strokeWidth: 2, strokeDasharray: "5 3" }),
        line(lines.now, { stroke: "var(--c1)", strokeWidth: 2 }),
        Plot.dot(lines.now, { x: "i", y: "y", fill: "var(--c1)", r: dots }),
        missing(lines.now, (d) => d.value === Infinity, "✕", "top", "var(--bad)"),
        missing(log ? lines.now : [], (d) => d.value === 0, "0", "bottom", "var(--c1)"),
        tip(lines.now, { x: "i", y: "y", title: word }),
      ],
    });
  }

  function logRange(ys) {
    if (!ys.length) return [0.1, 1];
    const [low, high] = d3.extent(ys);
    return high / low < 10 ? [Math.sqrt(low * high) / 4, Math.sqrt(low * high) * 4] : [low / 1.5, high * 1.5];
  }

  function numbers(map, item, now, first, theory) {
    const word = (value) => map.word(item, value);
    const head = ["Layer", "Now", "Largest", "First step", ...(theory ? ["Theory"] : [])];
    return table("Profile over depth", head, now.map((d, i) => [d.layer.label, word(d.value),
      word(map.top(item, map.column(), i)), word(first[i].value), ...(theory ? [word(theory[i].y)] : [])]),
    { numbers: [1, 2, 3, 4] });
  }
})();
