"use strict";
// What every part of the page needs: elements, numbers, tables. All texts become text nodes, never HTML.
window.undertowReport = (() => {
  const parts = [];
  const state = { data: null, quantity: null, column: null, layer: 0, look: null, open: new Set() };

  function el(name, attributes = {}, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (key === "class") node.className = value;
      else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else node.setAttribute(key, value === true ? "" : value);
    }
    node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
    return node;
  }

  function svg(name, attributes = {}, ...children) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }

  // Numbers for people. Words stand for what is not finite, as JSON has no such numbers.
  function show(value, digits = 3) {
    if (value === null || value === undefined) return "–";
    if (typeof value === "string") return { nan: "NaN", inf: "∞", "-inf": "−∞" }[value] ?? value;
    if (Number.isNaN(value)) return "–";
    if (!Number.isFinite(value)) return "not finite";
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (Number.isInteger(value) && size < 1e7) return minus(value.toLocaleString("en"));
    if (size < 1e-3 || size >= 1e6) return minus(Number(value.toPrecision(digits)).toExponential().replace("e+", "e"));
    return minus(String(Number(value.toPrecision(digits))));
  }
  const minus = (text) => text.replaceAll("-", "−");
  // Numbers within sentences, as `show` writes them: 2.64e-07 as 2.64e−7, which no line breaks.
  const written = (text) => text.replace(/(\d)e([+-]?)0*(\d+)\b/g, (_, digit, sign, power) => `${digit}e${sign === "-" ? "−" : ""}${power}`);
  // One notation for the ticks of an axis: where the largest are powers of ten, all large ones are.
  const ticksOf = (domain, digits = 3) => (Math.max(...domain.map(Math.abs)) < 1e6 ? (v) => show(v, digits)
    : (v) => (Math.abs(v) < 1000 ? show(v, digits) : minus(Number(v.toPrecision(digits)).toExponential().replace("e+", "e"))));
  const percent = (value, digits = 3) =>
    (Number.isFinite(value) ? `${show(Number((100 * value).toPrecision(digits)), digits)} %` : show(value));
  const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : NaN);

  function table(caption, head, rows, { numbers = [] } = {}) {
    const cell = (name, value, i, scope) =>
      el(name, { class: numbers.includes(i) ? "n" : null, scope }, value === null ? "–" : value);
    return scroller(`${caption}: table`,
      el("table", {},
        el("caption", { class: "away" }, caption),
        el("thead", {}, el("tr", {}, head.map((text, i) => cell("th", text, i, "col")))),
        el("tbody", {}, rows.map((row) =>
          el("tr", {}, row.map((value, i) => (i === 0 ? cell("th", value, i, "row") : cell("td", value, i))))))));
  }

  // What may be wider or higher than its place can be scrolled with the keyboard too, if it is.
  function scroller(label, content, name = "scroll") {
    const node = el("div", { class: name }, content);
    fade(node);
    requestAnimationFrame(() => {
      if (node.scrollWidth <= node.clientWidth && node.scrollHeight <= node.clientHeight) return;
      for (const [key, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", label]]) node.setAttribute(key, value);
    });
    return node;
  }

  // On which sides something goes on out of sight.
  function fade(node) {
    const tell = () => {
      node.classList.toggle("more-left", node.scrollLeft > 1);
      node.classList.toggle("more-right", node.scrollLeft + node.clientWidth < node.scrollWidth - 1);
    };
    node.addEventListener("scroll", tell, { passive: true });
    const seen = new ResizeObserver(tell);
    for (const one of [node, ...node.children]) seen.observe(one);
    new MutationObserver(tell).observe(node, { childList: true });
  }

  // Details remember whether they were open when the page is drawn again, and make their content only then.
  function details(key, title, make) {
    const node = el("details", { "data-key": key }, el("summary", {}, title));
    const fill = () => { if (node.open && node.childElementCount === 1) node.append(make()); };
    node.addEventListener("toggle", () => { state.open[node.open ? "add" : "delete"](key); fill(); });
    if (state.open.has(key)) { node.open = true; fill(); }
    return node;
  }

  function heading(id, title, lead) {
    return [el("h2", { id: `${id}-title` }, title), lead ? el("p", { class: "lead" }, lead) : ""];
  }

  function key(text, { dash = false, colour = "var(--c1)", width = 2 } = {}) {
    const line = svg("line", { x1: 0, x2: 22, y1: 5, y2: 5, "stroke-width": width });
    line.style.stroke = colour;
    if (dash) line.setAttribute("stroke-dasharray", "5 3");
    return el("span", { class: "key" }, svg("svg", { "aria-hidden": "true" }, line), text);
  }

  function copyButton(text, what) {
    const button = el("button", { type: "button", class: "quiet", "aria-label": `Copy ${what}` }, "Copy");
    button.addEventListener("click", async () => {
      const done = await copy(text);
      button.textContent = done ? "Copied" : "Press Ctrl+C";
      announce(done ? `Copied ${what}` : "It could not be copied");
      setTimeout(() => { button.textContent = "Copy"; }, 1600);
    });
    return button;
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = el("textarea", { class: "away", "aria-hidden": "true" });
      area.value = text;
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  }

  function announce(text) {
    document.getElementById("announce").textContent = text;
  }

  // A chart of the width that its place has; `label` is what a screen reader says of it.
  function chart(place, label, options) {
    const width = Math.max(260, Math.floor(place.clientWidth || 480));
    const plot = (more) => Plot.plot({ width, style: { overflow: "visible" }, ...options, ...more, figure: false });
    let drawn = plot();
    place.replaceChildren(drawn);
    const names = [...drawn.querySelectorAll("[aria-label='y-axis tick label'] text")].map((text) => text.getBoundingClientRect().left);
    const beyond = Math.ceil(drawn.getBoundingClientRect().left - Math.min(...names));  // labels that are long, such as 100,000
    if (beyond > 0 && beyond < width / 3) drawn = plot({ marginLeft: options.marginLeft + beyond });
    for (const node of drawn.querySelectorAll("[aria-label]")) node.removeAttribute("aria-label");
    drawn.setAttribute("role", "img");
    drawn.setAttribute("aria-label", label);
    place.replaceChildren(drawn);
    return drawn;
  }

  // Ticks of a logarithmic axis: powers of ten, or fewer or finer ones.
  function logTicks([low, high], most = 6) {
    const powers = d3.range(Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9) + 1);
    const skip = Math.ceil(powers.length / most);
    if (powers.length > 1) return powers.filter((p) => (p - powers[0]) % skip === 0).map((p) => Number(`1e${p}`));
    return d3.ticks(low, high, 4);
  }

  // What is told of the point nearest to the pointer.
  function tip(points, { x, y, title }) {
    return Plot.tip(points.filter((d) => Number.isFinite(d[y])), Plot.pointerX({ x, y, title, ariaLabel: null, fontSize: 12 }));
  }

  // A part of the page: `id` of its section, what it needs of the data, and how it is drawn into it.
  function part(id, needs, draw) {
    parts.push({ id, needs, draw, last: null });
  }

  return { parts, state, el, svg, show, percent, number, written, ticksOf, fade, table, scroller, details, heading, key, copyButton, announce, chart, logTicks, tip, part };
})();
