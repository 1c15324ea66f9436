// Histograms of weights, activations and gradients at the steps that were looked at closely.
(() => {
  const { state, el, svg, table, details, heading, part, show, percent } = undertowReport;
  const COLOURS = { W: "var(--c1)", h: "var(--c3)", delta: "var(--c2)", dW: "var(--c4)" };
  const COLUMNS = [
    ["units", "Units"], ["dead", "Dead"], ["saturated_units", "Saturated"], ["constant_units", "Constant"],
    ["identical", "Identical"], ["rank", "Rank"], ["rank_of_input", "Rank of input"], ["correlation", "Correlation"],
    ["zeros", "Zeros", percent], ["h_rms", "h"], ["delta_rms", "delta"], ["dW_rms", "dW"], ["W_rms", "W"],
  ];
  const view = { ranges: null, names: [] };

  part("distributions", (data) => [data.looks, data.map?.layers], (place, data) => {
    const looks = data.looks?.looks ?? [];
    place.hidden = !looks.length;
    if (!looks.length) return place.replaceChildren();
    view.names = data.looks.names;
    view.ranges = ranges(looks);
    const slider = el("input", { type: "range", id: "look", min: 0, max: looks.length - 1, step: 1, value: chosen(looks) });
    slider.addEventListener("input", () => {
      state.look = Number(slider.value) === looks.length - 1 ? null : Number(slider.value);
      draw();
    });
    place.replaceChildren(
      ...heading("distributions", "Distributions", "Weights, activations and gradients of each layer, at chosen steps of the training."),
      looks.length > 1 ? el("div", { class: "slider" }, el("label", { for: "look" }, "Look"), slider,
        el("output", { id: "look-name", for: "look" })) : el("p", { class: "small", id: "look-name" }),
      el("p", { class: "small", id: "look-facts" }),
      el("div", { class: "histograms", tabindex: "0", role: "region", "aria-label": "Histograms by layer", id: "histograms" }),
      el("div", { id: "look-numbers" }));
    draw();
  });

  const chosen = (looks) => (state.look === null ? looks.length - 1 : Math.min(state.look, looks.length - 1));

  // Of each layer and quantity, the range over all looks, so that one sees a distribution spread.
  function ranges(looks) {
    const found = new Map();
    looks.forEach((look) => look.layers.forEach((layer, i) => Object.entries(layer.histograms).forEach(([name, x]) => {
      const key = `${i} ${name}`;
      const [low, high] = found.get(key) ?? [Infinity, -Infinity];
      found.set(key, [Math.min(low, x.low), Math.max(high, x.high)]);
    })));
    return found;
  }

  function draw() {
    const { data } = state;
    const looks = data.looks.looks;
    const look = looks[chosen(looks)];
    const when = look.step === 0 ? "before the first step" : `after step ${show(look.step)}${look.epoch === null ? "" : `, epoch ${show(look.epoch)}`}`;
    document.getElementById("look-name").textContent = when;
    const scale = look.noise_scale === null ? "" : ` Gradient noise scale: ${show(look.noise_scale)} examples.`;
    document.getElementById("look-facts").textContent =
      `${show(look.n_examples)} examples, their loss ${show(look.loss, 4)}.${scale}`;
    const titles = data.looks.titles;
    const label = (i) => data.map?.layers[i] ?? { number: i + 1, name: "", label: `layer ${i + 1}` };
    const rows = look.layers.map((layer, i) => el("tr", {},
      el("th", { scope: "row" }, `${label(i).number} ${label(i).name}`),
      view.names.map((name) => el("td", {}, layer.histograms[name]
        ? histogram(layer.histograms[name], name, view.ranges.get(`${i} ${name}`)) : ""))));
    document.getElementById("histograms").classList.toggle("tall", rows.length > 12);
    const head = el("tr", {}, el("th", { scope: "col" }, "Layer"), view.names.map((name) => el("th", { scope: "col" }, titles[name])));
    document.getElementById("histograms").replaceChildren(el("table", {},
      el("caption", { class: "away" }, `Histograms ${when}`), el("thead", {}, head), el("tbody", {}, rows)));
    document.getElementById("look-numbers").replaceChildren(
      details("looks", "The numbers by layer at this look", () => numbers(look, label)));
  }

  function histogram(packed, name, [unionLow, unionHigh]) {
    const bars = Uint8Array.from(atob(packed.bars), (c) => c.charCodeAt(0));
    const wide = (packed.high - packed.low) * 8 >= unionHigh - unionLow;
    const [low, high] = wide ? [unionLow, unionHigh] : [packed.low, packed.high];
    const [width, height] = [160, 34];
    const span = high - low || 1;
    const x = (i) => (width * (packed.low + ((packed.high - packed.low) * i) / bars.length - low)) / span;
    let path = `M${x(0).toFixed(1)},${height}`;
    bars.forEach((bar, i) => {
      const y = (height - (bar / 255) * (height - 2)).toFixed(1);
      path += `V${y}H${x(i + 1).toFixed(1)}`;
    });
    const area = svg("path", { d: `${path}V${height}Z` });
    area.style.fill = COLOURS[name];
    const base = svg("line", { x1: 0, x2: width, y1: height, y2: height, "vector-effect": "non-scaling-stroke" });
    base.style.stroke = "var(--line)";
    const said = bound(packed.low) === bound(packed.high) ? `all ${bound(packed.low)}` : `from ${bound(packed.low)} to ${bound(packed.high)}`;
    const drawn = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": said }, base, area);
    if (low < 0 && high > 0) {
      const zero = svg("line", { x1: x0(low, span, width), x2: x0(low, span, width), y1: 0, y2: height, "vector-effect": "non-scaling-stroke", "stroke-dasharray": "2 2" });
      zero.style.stroke = "var(--soft)";
      drawn.append(zero);
    }
    return [drawn, el("div", { class: "range", "aria-hidden": "true" }, el("span", {}, bound(low, 2)), el("span", {}, bound(high, 2)))];
  }

  // The range of numbers that are all 0 is as small as its bars need.
  const bound = (value, digits = 3) => (Math.abs(value) < 1e-300 ? "0" : show(value, digits));

  const x0 = (low, span, width) => ((width * -low) / span).toFixed(1);

  function numbers(look, label) {
    const columns = COLUMNS.filter(([name]) => look.layers.some((layer) => layer[name] !== undefined));
    return table("Layers at this look", ["Layer", ...columns.map(([, title]) => title)],
      look.layers.map((layer, i) => [label(i).label,
        ...columns.map(([name, , word]) => (layer[name] === undefined ? "–" : (word ?? show)(layer[name])))]),
      { numbers: d3.range(1, columns.length + 1) });
  }
})();
