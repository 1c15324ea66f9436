// The gradient-flow map: layers × steps, colour by size. One cell is chosen; the profile shows its step.
(() => {
  const { state, el, table, details, heading, announce, part, show, percent } = undertowReport;
  const [NOT_THERE, ZERO, NOT_FINITE] = [-32768, -32767, 32767];
  const BROKEN = "#ff5a1f";
  const ink = (text) => { const c = d3.rgb(text); return (255 << 24) | (c.b << 16) | (c.g << 8) | c.r; };
  const INKS = { zero: ink("#000"), broken: ink(BROKEN), ramp: d3.range(256).map((i) => ink(d3.interpolateViridis(i / 255))) };
  const view = { grid: null, svg: null, x: null, y: null, colour: null };

  // Numbers come as 16-bit codes in base64, little-endian: logarithms, or shares.
  function decode(text) {
    const found = atob(text);
    const bytes = new Uint8Array(found.length);
    for (let i = 0; i < found.length; i++) bytes[i] = found.charCodeAt(i);
    return new Int16Array(bytes.buffer);
  }

  // A quantity whose codes are read when somebody looks at it.
  function lazily(item) {
    let [codes, tops] = [null, null];
    return { ...item, get codes() { return (codes ??= decode(item.values)); },
      get tops() { return item.largest ? (tops ??= decode(item.largest)) : null; } };
  }

  function open(map) {
    const quantities = map.quantities.map(lazily);
    const n = map.layers.length;
    const read = (codes, scale, column, layer) => {
      const code = codes[column * n + layer];
      if (code === NOT_THERE) return NaN;
      if (code === NOT_FINITE) return Infinity;
      if (code === ZERO && scale === "log") return 0;
      return scale === "log" ? 10 ** (code / map.per_decade) : code / map.per_unit;
    };
    return {
      ...map, n, quantities,
      // Until a person chooses, the first one that has numbers: of a loop whose values have no names it is no delta.
      chosen() {
        return quantities.find((item) => item.name === state.quantity)
          ?? quantities.find((item) => item.codes.some((code) => code !== NOT_THERE)) ?? quantities[0];
      },
      value(item, column, layer) { return read(item.codes, item.scale, column, layer); },
      top(item, column, layer) { return item.tops ? read(item.tops, "log", column, layer) : NaN; },
      word(item, value) {
        if (Number.isNaN(value)) return "none";
        return value === Infinity ? "not finite" : item.scale === "linear" ? percent(value) : show(value);
      },
      column() {
        const last = map.first.length - 1;
        return state.column === null ? last : Math.max(0, Math.min(last, state.column));
      },
      stepsOf(column) { return undertowReport.stepText(map, column); },
    };
  }

  // The range of colours: what is neither rare nor broken; a decade at least.
  function range(map, item) {
    if (item.scale === "linear") return [0, 1];
    const codes = item.codes.filter((c) => c > ZERO && c < NOT_FINITE).sort();
    if (!codes.length) return [-1, 0];
    let [low, high] = [0.002, 0.998].map((share) => d3.quantileSorted(codes, share) / map.per_decade);
    if (high - low < 1) [low, high] = [(low + high) / 2 - 0.5, (low + high) / 2 + 0.5];
    return [low, high];
  }

  part("map", (data) => data.map, (place, data) => {
    place.hidden = !data.map;
    view.grid = null;
    if (!data.map) return place.replaceChildren();
    const map = (view.grid = open(data.map));
    undertowReport.grid = map;
    state.layer = Math.min(state.layer, map.n - 1);
    const figure = el("div", { class: "flow chart", id: "flow", tabindex: "0", role: "application",
      "aria-roledescription": "map", "aria-label": "Gradient-flow map. Arrow keys choose layer and step.",
      "aria-describedby": "flow-readout" });
    const slider = el("input", { type: "range", id: "flow-step", min: 0, max: map.first.length - 1, step: 1 });
    slider.addEventListener("input", () => choose(Number(slider.value), state.layer));
    place.replaceChildren(
      ...heading("map", "Gradient-flow map", "Each row is a layer, from the input at the top to the output; each column a step. " +
        "Choose a cell with the pointer or the arrow keys."),
      choices(map), el("p", { class: "small", id: "flow-explains" }), figure,
      el("p", { class: "readout", id: "flow-readout" }),
      el("div", { class: "slider", hidden: map.first.length < 2 }, el("label", { for: "flow-step" }, "Step"), slider, el("output", { id: "flow-steps", for: "flow-step" })),
      el("div", { class: "scale", id: "flow-scale" }),
      el("div", { id: "flow-numbers" }));
    listen(figure);
    draw();
  });

  function choices(map) {
    return el("fieldset", { class: "choices" }, el("legend", {}, "Show"), map.quantities.map((item) => {
      const input = el("input", { type: "radio", name: "quantity", id: `quantity-${item.name}`, value: item.name });
      input.checked = item === map.chosen();
      input.addEventListener("change", () => { state.quantity = item.name; draw(); });
      return el("label", {}, input, el("span", {}, item.title));
    }));
  }

  function draw() {
    const map = view.grid;
    const item = map.chosen();
    const [low, high] = range(map, item);
    view.colour = d3.scaleSequential(d3.interpolateViridis).domain([low, high]).clamp(true);
    document.getElementById("flow-explains").textContent = item.explains;
    drawCells(map, item);
    drawScale(map, item, low, high);
    document.getElementById("flow-numbers").replaceChildren(
      details("map", `The numbers: ${item.title}`, () => numbersTable(map, item)));
    mark();
  }

  function labelLayers(map, narrow) {
    const longest = narrow ? 0 : 24;
    const text = (layer) => {
      const full = `${layer.number} ${layer.name}`;
      return narrow ? String(layer.number) : full.length > longest ? `${full.slice(0, longest - 1)}…` : full;
    };
    return map.layers.map(text);
  }

  function drawCells(map, item) {
    const place = document.getElementById("flow");
    const width = Math.max(260, place.clientWidth);
    const row = Math.max(5, Math.min(26, 460 / map.n));
    const labels = labelLayers(map, width < 560);
    const left = Math.ceil(12 + 6.4 * d3.max(labels, (text) => text.length));
    const [right, top, bottom] = [8, 4, 36];
    const height = Math.round(row * map.n) + top + bottom;
    const skip = Math.ceil(13 / row);
    const every = skip <= 1 ? 1 : [2, 5, 10, 20, 50, 100, 200, 500].find((n) => n >= skip) ?? 1000;
    const ticks = d3.range(map.n).filter((i) => every === 1 || (i + 1) % every === 0 || i === 0);
    const end = map.last.at(-1) + 1;
    const xTicks = d3.ticks(map.first[0], end - 1, width < 560 ? 4 : 8).filter(Number.isInteger);
    const inner = width - left - right;
    const x = d3.scaleLinear([map.first[0], end], [left, left + inner]);
    const drawn = Plot.plot({
      width, height, marginLeft: left, marginRight: right, marginTop: top, marginBottom: bottom, figure: false,
      x: { domain: [map.first[0], end], label: "step", ticks: xTicks.map((v) => v + 0.5), tickFormat: (v) => show(v - 0.5) },  // below the middle of a step
      y: { type: "band", domain: d3.range(map.n), padding: 0, round: false, label: null, ticks, tickSize: 0, tickFormat: (i) => labels[i] },
      marks: [Plot.image([paint(map, item, inner, x)], { src: (d) => d, frameAnchor: "middle", width: inner,
        height: height - top - bottom, preserveAspectRatio: "none", imageRendering: "pixelated" })],
    });
    drawn.setAttribute("aria-hidden", "true");
    const band = (height - top - bottom) / map.n;
    Object.assign(view, { svg: d3.select(drawn), x, y: (i) => top + i * band, band, top, bottom: height - bottom });
    view.svg.append("rect").attr("class", "column").attr("fill", "none").attr("stroke", "var(--ink)").attr("stroke-width", 1.5);
    view.svg.append("rect").attr("class", "cell").attr("fill", "none").attr("stroke", "#fff").attr("stroke-width", 2)
      .style("paint-order", "stroke").style("filter", "drop-shadow(0 0 1px #000)");
    place.replaceChildren(drawn);
  }

  // One picture: a pixel a cell in height, the columns as wide as their steps.
  function paint(map, item, width, x) {
    const canvas = el("canvas", { width, height: map.n });
    const context = canvas.getContext("2d");
    const picture = context.createImageData(width, map.n);
    const pixels = new Uint32Array(picture.data.buffer);
    const [low, high] = view.colour.domain();
    const scale = item.scale === "log" ? map.per_decade : map.per_unit;
    let column = 0;
    for (let i = 0; i < width; i++) {
      const step = x.invert(x.range()[0] + i + 0.5);
      while (column + 1 < map.first.length && map.first[column + 1] <= step) column++;
      for (let layer = 0; layer < map.n; layer++) {
        const code = item.codes[column * map.n + layer];
        if (code === NOT_THERE) continue;
        const share = (code / scale - low) / (high - low);
        pixels[layer * width + i] = code === NOT_FINITE ? INKS.broken : code === ZERO && item.scale === "log" ? INKS.zero
          : INKS.ramp[Math.max(0, Math.min(255, Math.round(255 * share)))];
      }
    }
    context.putImageData(picture, 0, 0);
    return canvas.toDataURL();
  }

  function drawScale(map, item, low, high) {
    const ramp = el("i");
    ramp.style.background = `linear-gradient(90deg, ${d3.range(0, 1.01, 0.1).map((t) => d3.interpolateViridis(t)).join(",")})`;
    let ticks = item.scale === "linear" ? [0, 0.25, 0.5, 0.75, 1] : d3.range(Math.ceil(low - 1e-9), Math.floor(high + 1e-9) + 1);
    const skip = Math.ceil(ticks.length / 7);
    ticks = ticks.filter((t, i) => i % skip === 0);
    const power = (t) => ["10", el("sup", {}, String(t).replace("-", "−"))];
    const spans = ticks.map((t) => {
      const span = el("span", {}, item.scale === "linear" ? percent(t) : power(t));
      span.style.left = `${(100 * (t - low)) / (high - low)}%`;
      return span;
    });
    const has = (code) => item.codes.includes(code);
    const sample = (colour, text, hatch) => {
      const box = el("i", { class: hatch ? "hatch" : null });
      if (colour) box.style.background = colour;
      return el("span", { class: "key" }, box, text);
    };
    document.getElementById("flow-scale").replaceChildren(el("div", { class: "ramp" }, ramp, spans),
      has(ZERO) && item.scale === "log" ? sample("#000", "exactly 0") : "",
      has(NOT_FINITE) ? sample(BROKEN, "not finite") : "",
      has(NOT_THERE) ? sample(null, "the layer has none") : "");
  }

  // Which cell is chosen is drawn over the picture, which stays.
  function mark(layer = state.layer, column = view.grid.column()) {
    const map = view.grid;
    const end = (i) => (i + 1 < map.first.length ? map.first[i + 1] : map.last[i] + 1);
    const frame = (name, i, y, height, least) => {
      const [a, b] = [view.x(map.first[i]), view.x(end(i))];
      const width = Math.max(b - a, least);
      view.svg.select(name).attr("x", (a + b - width) / 2).attr("width", width).attr("y", y).attr("height", height);
    };
    frame(".column", map.column(), view.top, view.bottom - view.top, 3);
    frame(".cell", column, view.y(layer), view.band, 6);
    tell(layer, column);
    document.getElementById("flow-step").value = map.column();
    document.getElementById("flow-steps").textContent = place(map.column());
    undertowReport.drawProfile();
  }

  function place(column) {
    const map = view.grid;
    return map.stepsOf(column) + (map.epoch ? `, epoch ${show(map.epoch[column])}` : "");
  }

  function tell(layer, column) {
    const map = view.grid;
    const item = map.chosen();
    const value = map.word(item, map.value(item, column, layer));
    const top = map.top(item, column, layer);
    document.getElementById("flow-readout").replaceChildren(
      el("b", {}, value), ` ${item.title}, ${map.layers[layer].label}, ${place(column)}`,
      Number.isNaN(top) ? "" : ` · largest ${map.word(item, top)}`);
  }

  function choose(column, layer, speak = false) {
    const map = view.grid;
    state.column = Math.max(0, Math.min(map.first.length - 1, column));
    state.layer = Math.max(0, Math.min(map.n - 1, layer));
    if (state.column === map.first.length - 1) state.column = null; // the latest, also when more steps come
    mark();
    if (speak) announce(document.getElementById("flow-readout").textContent);
  }

  undertowReport.chooseStep = (step, go) => {
    const map = view.grid;
    if (!map) return;
    choose(Math.max(0, d3.bisectRight(map.first, step) - 1), state.layer, true);
    if (go) document.getElementById("map").scrollIntoView();
  };

  function listen(figure) {
    const at = (event) => {
      const map = view.grid;
      const box = view.svg.node().getBoundingClientRect();
      const zoom = view.svg.node().viewBox.baseVal.width / box.width;
      const step = view.x.invert((event.clientX - box.left) * zoom);
      const layer = Math.floor(((event.clientY - box.top) * zoom - view.top) / view.band);
      const inside = layer >= 0 && layer < map.n && step >= map.first[0] && step <= map.last.at(-1) + 1;
      return inside ? [d3.bisectRight(map.first, step) - 1, layer] : null;
    };
    const hover = (cell) => {
      const [column, layer] = cell ?? [view.grid.column(), state.layer];
      const map = view.grid;
      view.svg.select(".cell").attr("x", view.x(map.first[column])).attr("y", view.y(layer));
      tell(layer, column);
    };
    figure.addEventListener("pointermove", (event) => hover(at(event)));
    figure.addEventListener("pointerleave", () => mark());
    figure.addEventListener("click", (event) => { const cell = at(event); if (cell) choose(...cell); });
    figure.addEventListener("keydown", (event) => {
      const map = view.grid;
      const [column, layer, far] = [map.column(), state.layer, Math.ceil(map.first.length / 10)];
      const moves = {
        ArrowLeft: [column - 1, layer], ArrowRight: [column + 1, layer], ArrowUp: [column, layer - 1],
        ArrowDown: [column, layer + 1], Home: [0, layer], End: [Infinity, layer], PageUp: [column - far, layer],
        PageDown: [column + far, layer],
      };
      if (!moves[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      choose(...moves[event.key], true);
    });
  }

  function numbersTable(map, item) {
    const n = map.first.length;
    const columns = [...new Set([0, 0.25, 0.5, 0.75, 1].map((t) => Math.round(t * (n - 1))))];
    return table(`${item.title} by layer and step`, ["Layer", ...columns.map((i) => map.stepsOf(i))],
      map.layers.map((layer, l) => [layer.label, ...columns.map((i) => map.word(item, map.value(item, i, l)))]),
      { numbers: d3.range(1, columns.length + 1) });
  }
})();
