/* Steps through a backward pass. Draws what is shown and nothing else; loads nothing. */
(() => {
  "use strict";
  const PHASES = ["forward", "loss", "backward", "update"];
  const NAMES = { forward: "Forward", loss: "Loss", backward: "Backward", update: "Update" };
  const SPEEDS = [0.5, 1, 2, 4, 8];
  const SHOWN_TERMS = 4;
  const FEW = 6; // arrays that a step reads, of which all are shown
  const WIDE = 132, HIGH = 56; // of a node, as the layout has it
  const LINE = 20; // height of a line of source, as the style sheet has it
  const NUMBER = { value: "shown", gradient: "slope", update: "updated" }; // which array stands for a node
  const SVG = "http://www.w3.org/2000/svg";
  let count = 0;

  // ---- small things -------------------------------------------------------------------------------

  const make = (tag, about = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(about)) {
      if (key === "class") element.className = value;
      else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else if (value === true) element.setAttribute(key, "");
      else if (value !== false && value != null) element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  };

  const draw = (tag, about = {}, text) => {
    const element = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(about)) element.setAttribute(key, value);
    if (text != null) element.textContent = text;
    return element;
  };

  const number = (x) => (typeof x === "string" ? { NaN: NaN, Infinity: Infinity, "-Infinity": -Infinity }[x] : x);
  const minus = (text) => text.replaceAll("-", "−").replace("e+", "e");

  // A number with so many significant digits.
  const show = (x, digits = 4) => {
    x = number(x);
    if (Number.isNaN(x)) return "NaN";
    if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
    if (Number.isInteger(x) && Math.abs(x) < 1e6) return minus(String(x));
    const size = Math.abs(x);
    return minus(size >= 1e5 || size < 1e-3 ? x.toExponential(digits - 2) : String(Number(x.toPrecision(digits))));
  };

  // One way of writing for all numbers of an array, so that their points stand below each other.
  const writer = (array) => {
    const top = Math.max(Math.abs(number(array.about.min ?? 0)), Math.abs(number(array.about.max ?? 0)));
    const whole = array.v.every((x) => Number.isInteger(x)) && top < 1e6;
    if (whole) return show;
    if (top >= 1e5 || top < 1e-3) return (x) => (x === 0 ? "0" : Number.isFinite(number(x)) ? minus(x.toExponential(2)) : show(x));
    const places = Math.min(6, Math.max(0, 4 - Math.ceil(Math.log10(top + 1e-12))));
    const least = 0.5 * 10 ** -places;
    return (x) => {
      const value = number(x);
      if (x === 0) return "0";
      if (!Number.isFinite(value)) return show(x);
      return Math.abs(value) < least ? minus(value.toExponential(1)) : minus(value.toFixed(places));
    };
  };

  const by = (shape) => (shape.length ? shape.join(" × ") : "one number");

  // The place of row i, column j among the numbers kept; undefined where that one was left out.
  const at = (array, i, j) => {
    const r = array.rows ? array.rows.indexOf(i) : i;
    const c = array.columns ? array.columns.indexOf(j) : j;
    const wide = array.columns ? array.columns.length : array.k;
    return r < 0 || c < 0 ? undefined : array.v[r * wide + c];
  };

  // ---- one walk -----------------------------------------------------------------------------------

  function mount(root) {
    const data = JSON.parse(root.querySelector(".uw-data").textContent);
    const id = `uw${++count}`;
    const part = (name) => root.querySelector(`.uw-${name}`);
    const calm = matchMedia("(prefers-reduced-motion: reduce)");
    const state = { level: 0, step: 0, example: data.example, at: null, playing: false, speed: 1, operands: null };
    let level, steps, nodes, edges, marks, timer, shownLines = [], ui = {};

    // ---- the drawing

    function prepare() {
      level = data.levels[state.level];
      steps = level.steps;
      marks = level.nodes.map(() => ({ value: Infinity, gradient: Infinity, update: Infinity }));
      steps.forEach((step, i) => {
        const mark = marks[step.node], key = { forward: "value", loss: "value", backward: "gradient", update: "update" }[step.phase];
        mark[key] = Math.min(mark[key], i);
        const role = key === "update" ? "value" : key;
        const panel = step.panels.find((one) => one[2] === role);
        if (panel && mark[NUMBER[key]] === undefined) mark[NUMBER[key]] = panel[1];
      });
      level.nodes.forEach((node, i) => {
        if (node.kind !== "input" && node.kind !== "parameter") return;
        marks[i].value = -1;
        for (const step of steps) marks[i].shown ??= step.panels.find(([label]) => label === node.label)?.[1];
      });
      drawGraph();
      drawSlider();
    }

    function drawGraph() {
      const svg = draw("svg", { width: level.width, height: level.height, viewBox: `0 0 ${level.width} ${level.height}`, role: "img" });
      const names = level.nodes.map((node) => node.label);
      svg.setAttribute("aria-label", `${level.nodes.length} nodes: ${names.slice(0, 40).join(", ")}${names.length > 40 ? ", …" : ""}. The arrow keys step through them.`);
      const defs = draw("defs");
      for (const kind of ["idle", "forward", "backward"]) {
        const marker = draw("marker", { id: `${id}-${kind}`, viewBox: "0 0 8 8", refX: 8, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse", class: `uw-head-${kind}` });
        marker.append(draw("path", { d: "M0 0L8 4L0 8z" }));
        defs.append(marker);
      }
      svg.append(defs);
      edges = level.edges.map(([from, to, path]) => {
        const edge = draw("path", { d: path, class: "uw-edge", "marker-end": `url(#${id}-idle)` });
        svg.append(edge);
        return { from, to, edge, kind: "idle" };
      });
      nodes = level.nodes.map((node, i) => {
        const group = draw("g", { class: `uw-node uw-${node.kind}`, transform: `translate(${node.x} ${node.y})` });
        group.append(draw("title", {}, [node.label, node.shape, node.about].filter(Boolean).join("  ")));
        group.append(draw("rect", { width: WIDE, height: HIGH, rx: node.kind === "input" || node.kind === "parameter" ? 4 : 12 }));
        const label = draw("text", { x: WIDE / 2, y: 18, class: "uw-label" }, clip(node.label, node.shape ? 12 : 16));
        if (node.shape) label.append(draw("tspan", { class: "uw-about", dx: 5 }, clip(node.shape, 20 - Math.min(node.label.length, 12))));
        const size = draw("text", { x: WIDE / 2, y: node.about ? 49 : 40, class: "uw-size" }, "");
        group.append(label, size);
        const about = node.about && draw("text", { x: WIDE / 2, y: 34, class: "uw-about" }, clip(node.about, 22));
        if (about) group.append(about);
        group.addEventListener("click", () => jumpTo(i));
        svg.append(group);
        return { group, size, about, look: "", text: "" };
      });
      part("graph").replaceChildren(svg);
      for (const { about } of nodes) if (about) fit(about);
    }

    // Letters are of several widths: what is too wide for its box loses more of them. Out of sight all are 0 wide.
    function fit(text) {
      let shown = text.textContent.replace(/…$/, "");
      while (shown.length > 4 && text.getComputedTextLength() > WIDE - 10) {
        shown = shown.slice(0, -1);
        text.textContent = `${shown}…`;
      }
    }

    const clip = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

    // Show which values and gradients are known by now, and what moves in this step.
    function markGraph() {
      const step = steps[state.step], now = step.node;
      nodes.forEach((node, i) => {
        const mark = marks[i];
        let look = `uw-node uw-${level.nodes[i].kind}`;
        if (mark.value <= state.step) look += " uw-has-value";
        if (mark.gradient <= state.step) look += " uw-has-gradient";
        if (mark.update <= state.step) look += " uw-has-update";
        if (i === now) look += ` uw-now uw-${step.phase}`;
        if (look !== node.look) node.group.setAttribute("class", (node.look = look));
        const value = mark.shown, parts = [];
        if (mark.value <= state.step && typeof value === "number") parts.push(`rms ${brief(value)}`);
        if (mark.gradient <= state.step && mark.slope !== undefined) parts.push(`∂L ${brief(mark.slope)}`);
        const text = parts.join(" · ");
        if (text !== node.text) node.size.textContent = node.text = text;
      });
      for (const one of edges) {
        let kind = "idle";
        if ((step.phase === "forward" || step.phase === "loss") && one.to === now) kind = "forward";
        if (step.phase === "backward" && one.from === now) kind = "backward";
        if (kind === one.kind) continue;
        one.kind = kind;
        one.edge.setAttribute("class", `uw-edge uw-edge-${kind}`);
        one.edge.setAttribute("marker-end", kind === "backward" ? "none" : `url(#${id}-${kind})`);
        one.edge.setAttribute("marker-start", kind === "backward" ? `url(#${id}-backward)` : "none");
      }
    }

    // Bring the node and the line into view: after all changes, so that the page is laid out once.
    function scroll(step) {
      const { x, y } = level.nodes[step.node];
      const left = x + WIDE / 2 - ui.graphWidth / 2, top = y + HIGH / 2 - ui.graphHeight / 2;
      const near = Math.abs(left - ui.left) < ui.graphWidth;
      ui.graph.scrollTo({ left, top, behavior: near && !calm.matches && !state.playing ? "smooth" : "instant" });
      ui.left = left;
      const lines = linesOf(step);
      if (!lines.length) return;
      const first = (Math.min(...lines) - 0.5) * LINE, last = (Math.max(...lines) + 1.5) * LINE;
      if (first < ui.sourceTop + LINE || last > ui.sourceTop + ui.sourceSeen - LINE) {
        ui.sourceTop = Math.max(0, first - Math.min(100, ui.sourceHeight / 3));
        ui.source.scrollTo({ top: ui.sourceTop, behavior: "instant" });
      }
    }

    const brief = (i) => show(data.arrays[i].about.rms ?? 0, 2);

    // ---- controls

    function button(name, text, keys, action) {
      return make("button", { type: "button", class: "uw-button", "aria-label": name, title: `${name} (${keys})`, onclick: action }, icon(text));
    }

    function icon(path) {
      const svg = draw("svg", { viewBox: "0 0 20 20", width: 18, height: 18, "aria-hidden": "true" });
      svg.append(draw("path", { d: path }));
      return svg;
    }

    const ICONS = {
      first: "M4 4h2.4v12H4zM16 4v12L7 10z", back: "M14 4v12L5 10z", play: "M5 3.5v13L17 10z",
      pause: "M5 4h3.6v12H5zM11.4 4H15v12h-3.6z", next: "M6 4v12l9-6z", last: "M13.6 4H16v12h-2.4zM4 4v12l9-6z",
    };

    function drawControls() {
      ui.play = button("Play", ICONS.play, "space", toggle);
      ui.slider = make("input", { type: "range", min: 0, value: 0, class: "uw-slider", "aria-label": "Step", oninput: () => leap(Number(ui.slider.value)) });
      ui.count = make("span", { class: "uw-count" });
      ui.phases = make("div", { class: "uw-phases", role: "group", "aria-label": "Go to a pass" });
      const speeds = SPEEDS.map((speed) => make("option", { value: speed, selected: speed === 1 }, speed === 0.5 ? "½" : `${speed}`));
      const speed = make("select", { onchange: (event) => { state.speed = Number(event.target.value); if (state.playing) schedule(); } }, ...speeds);
      part("controls").replaceChildren(
        make("div", { class: "uw-buttons" },
          button("First step", ICONS.first, "Home", () => leap(0)),
          button("Step back", ICONS.back, "left arrow", () => leap(state.step - 1)),
          ui.play,
          button("Next step", ICONS.next, "right arrow", () => leap(state.step + 1)),
          button("Last step", ICONS.last, "End", () => leap(steps.length - 1)),
          ui.count,
          make("label", { class: "uw-speed" }, "Steps a second ", speed)),
        make("div", { class: "uw-track" }, ui.slider, ui.phases));
      const levels = data.levels.map((one, i) => {
        const radio = make("input", { type: "radio", name: `${id}-level`, value: i, checked: i === state.level, onchange: () => choose(i) });
        return make("label", { title: one.about }, radio, make("span", {}, one.name));
      });
      const options = [make("fieldset", { class: "uw-levels" }, make("legend", {}, "Show"), ...levels)];
      if (data.examples.length) {
        const rows = data.examples.map((i) => make("option", { value: i, selected: i === state.example }, `${i}`));
        options.push(make("label", { class: "uw-example" }, "Example ",
          make("select", { onchange: (event) => { state.example = Number(event.target.value); state.at = null; render(); } }, ...rows),
          ` of ${data.batch}`));
      }
      part("options").replaceChildren(...options);
    }

    function drawSlider() {
      ui.slider.max = steps.length - 1;
      const found = PHASES.map((phase) => [phase, steps.findIndex((step) => step.phase === phase), steps.filter((step) => step.phase === phase).length]);
      ui.phases.replaceChildren(...found.filter(([, first]) => first >= 0).map(([phase, first, n]) => {
        const one = make("button", { type: "button", class: `uw-phase uw-${phase}`, onclick: () => leap(first) }, NAMES[phase]);
        one.style.flexGrow = n;
        return one;
      }));
    }

    // ---- the source

    function drawSource() {
      const list = make("ol", { class: "uw-lines" });
      ui.lines = data.source.map((text) => {
        const [, code, comment] = /^(.*?)(\s{2}#.*)?$/.exec(text);
        const line = make("li", {}, make("code", {}, code, ...(comment ? [make("span", { class: "uw-comment" }, comment)] : []), code ? "" : "\n"));
        list.append(line);
        return line;
      });
      part("source").replaceChildren(list);
    }

    const linesOf = (step) => [...(step.line ? [step.line] : []), ...(step.also ?? [])];

    function markSource(step) {
      for (const line of shownLines) { line.removeAttribute("class"); line.removeAttribute("aria-current"); }
      shownLines = linesOf(step).map((line) => ui.lines[line - 1]);
      for (const line of shownLines) line.className = `uw-line-now uw-${step.phase}`;
      shownLines[0]?.setAttribute("aria-current", "true");
    }

    // ---- a step

    // The element that is written out: the example's, until a person chooses another.
    function place(array) {
      if (state.at && state.at.step === state.step) return state.at;
      if (array.block) return { i: (state.example ?? 0) * array.block, j: 0 };
      return { i: 0, j: array.across ? state.example ?? 0 : 0 };
    }

    const inside = (array, i, j) => [array.n === 1 ? 0 : i, array.k === 1 ? 0 : j];

    // Text with numbers, and which numbers of which arrays it reads.
    function workOut(step, array, i, j) {
      if (!step.work) return null;
      const [label, parts] = step.work, read = new Map();
      const note = (k, test) => read.set(k, [...(read.get(k) ?? []), test]);
      let text = "";
      const put = (x) => { const s = show(x); return s[0] === "−" && !/(^|[(,] ?)$/.test(text) ? `(${s})` : s; };
      for (const one of parts) {
        if (typeof one === "string") { text += one; continue; }
        const [kind, a, b, s, t] = one, A = data.arrays[a];
        if (kind === "v") {
          const [r, c] = inside(A, i, j), x = at(A, r, c);
          if (x === undefined) return null;
          note(a, (p, q) => p === r && q === c);
          text += put(x);
        } else if (kind === "f" || kind === "q" || kind === "e") {
          const down = A.k === 1 && A.n > 1, n = down ? A.n : A.k, all = [];
          const r = A.n === 1 ? 0 : i;
          for (let k = 0; k < n && all.length < SHOWN_TERMS; k++) {
            const x = down ? at(A, k, 0) : at(A, r, k);
            if (x !== undefined) all.push(show(x));
          }
          const mine = at(A, r, kind === "f" ? j : 0);
          if (!all.length || (kind === "f" && mine === undefined)) return null;
          note(a, down ? () => true : (p) => p === r);
          const more = n > all.length ? ` + … (${n} terms)` : "";
          const sum = (kind === "f" ? all.map((x) => `exp(${x})`) : all.map((x, k) => (k && x[0] === "−" ? `(${x})` : x))).join(" + ") + more;
          if (kind === "f") text += b ? `(${show(mine)} − log(${sum}))` : `exp(${show(mine)}) / (${sum})`;
          else text += kind === "q" ? sum : `(${sum}) / ${n}`; // around a Σ the formula has its own brackets
        } else {
          const B = kind === "d" ? data.arrays[b] : null, n = kind === "r" ? A.n : s ? A.n : A.k, terms = [];
          for (let k = 0; k < n && terms.length < SHOWN_TERMS; k++) {
            const x = kind === "r" ? at(A, k, j) : s ? at(A, k, i) : at(A, i, k);
            const y = B ? (t ? at(B, j, k) : at(B, k, j)) : 1;
            if (x === undefined || y === undefined) continue;
            terms.push([x, y]);
          }
          if (!terms.length) return null;
          if (kind === "r") note(a, (p, q) => q === j);
          else {
            note(a, s ? (p, q) => q === i : (p) => p === i);
            note(b, t ? (p) => p === j : (p, q) => q === j);
          }
          const alone = parts.length === 1;
          text += alone ? "" : "(";
          terms.forEach(([x, y], k) => {
            text += k ? " + " : "";
            text += put(x);
            if (B) text += ` · ${show(y)[0] === "−" ? `(${show(y)})` : show(y)}`;
          });
          if (n > terms.length) text += ` + … (${n} ${B ? "products" : "terms"})`;
          text += alone ? "" : ")";
        }
      }
      const result = at(array, i, j);
      const where = array.shape.length ? `[${array.shape.length === 1 ? (array.n === 1 ? j : i) : `${i}, ${j}`}]` : "";
      return result === undefined ? null : { text: `${label}${where} = ${text} = ${show(result, 6)}`, read };
    }

    function render() {
      const step = steps[state.step];
      const main = step.panels[0], array = main ? data.arrays[main[1]] : null;
      const { i, j } = array ? place(array) : { i: 0, j: 0 };
      const work = array ? workOut(step, array, i, j) : null;
      ui.what.replaceChildren(make("span", { class: `uw-chip uw-${step.phase}` }, NAMES[step.phase]), ` ${step.title}`);
      const told = [formulas(step)];
      if (work) told.push(make("p", { class: "uw-work" }, make("span", { class: "uw-small" }, "With numbers "), make("output", {}, work.text)));
      if (step.notes) told.push(make("ul", { class: "uw-notes" }, ...step.notes.map((note) => make("li", {}, note))));
      const panels = make("div", { class: "uw-panels" }, ...(main ? [panel(main, true, i, j, work)] : []));
      told.push(panels);
      const later = () => {
        panels.append(...step.panels.slice(1).filter(([, , role]) => role !== "operand").map((one) => panel(one, false, i, j, work)));
        const rest = step.panels.filter(([, , role]) => role === "operand");
        if (rest.length) ui.told.append(operands(rest, i, j, work));
        ui.told.style.minHeight = "";
      };
      const held = ui.told.contains(document.activeElement); // what has the focus is about to be drawn anew
      // The first array at once, the others in the next frame: stepping fast skips them.
      cancelAnimationFrame(ui.later);
      if (ui.moving) {
        ui.told.style.minHeight = `${ui.toldHeight}px`;
        ui.later = requestAnimationFrame(() => { ui.later = requestAnimationFrame(later); });
        ui.told.replaceChildren(...told);
      } else {
        ui.told.replaceChildren(...told);
        later();
      }
      if (held) (ui.told.querySelector(".uw-scroll:has(.uw-main)") ?? ui.told).focus({ preventScroll: true });
      ui.slider.value = state.step;
      ui.slider.setAttribute("aria-valuetext", `Step ${state.step + 1} of ${steps.length}: ${NAMES[step.phase]}, ${step.title}`);
      ui.count.textContent = `${state.step + 1} / ${steps.length}`;
      for (const one of ui.phases.children) {
        if (one.classList.contains(`uw-${step.phase}`)) one.setAttribute("aria-current", "step");
        else one.removeAttribute("aria-current");
      }
      if (!state.playing || state.speed <= 1) ui.live.textContent = sentence(step, array, work);
    }

    function operands(rest, i, j, work) {
      const list = make("div", { class: "uw-panels" });
      let open = state.operands ?? rest.length <= FEW; // until somebody opens or closes them, many are folded
      const fill = () => list.replaceChildren(...(open ? rest.map((one) => panel(one, false, i, j, work)) : []));
      fill();
      const details = make("details", { open }, make("summary", {}, "What it is computed from"), list);
      details.addEventListener("toggle", () => { if (details.open !== open) { state.operands = open = details.open; fill(); } });
      return details;
    }

    function formulas(step) {
      const list = make("dl", { class: "uw-formulas" });
      let last = "", group;
      const add = (name, text, look) => {
        if (name !== last) list.append((group = make("div", {}, make("dt", {}, name))));
        group.append(make("dd", { class: look }, text));
        last = name;
      };
      for (const [name, text] of step.formulas) add(name, text, "");
      for (const line of [...(step.quote ? [step.line] : []), ...(step.also ?? [])]) add("In the program", data.source[line - 1].replace(/\s+# .*$/, "").trim(), "uw-code-line");
      return list;
    }

    // What stands in an array, for those who hear it: a number itself, of several how many.
    const holds = (array) => (array.v.length === 1 && array.n * array.k === 1 ? show(array.v[0]) : `${by(array.shape)} numbers`);

    function sentence(step, array, work) {
      const said = step.formulas.map(([name, text]) => `${name}: ${text}.`);
      const shape = array ? ` ${step.panels[0][0]} is ${holds(array)}.` : "";
      return `Step ${state.step + 1} of ${steps.length}, ${step.phase}. ${step.title}. ${said.join(" ")}${shape}${work ? ` With numbers: ${work.text}.` : ""}`;
    }

    // ---- arrays

    function panel([label, k, role], main, i, j, work) {
      const array = data.arrays[k];
      const name = { value: "value", gradient: "gradient", local: "local derivative", update: "update", operand: "" }[role];
      const head = make("figcaption", {}, make("b", {}, label), make("span", { class: "uw-small" }, ` ${name ? `${name}, ` : ""}${by(array.shape)}`));
      return make("figure", { class: `uw-panel uw-panel-${role}` }, head, table(array, label, main, i, j, work?.read.get(k)), about(array));
    }

    function table(array, label, main, i, j, read) {
      const rows = array.rows ?? [...Array(array.n).keys()], columns = array.columns ?? [...Array(array.k).keys()];
      const write = writer(array), wide = columns.length;
      const top = Math.max(Math.abs(number(array.about.min ?? 0)), Math.abs(number(array.about.max ?? 0))) || 1;
      const mine = (r, c) => state.example != null && (array.block ? Math.floor(r / array.block) === state.example : array.across ? c === state.example : false);
      const single = array.n === 1 && array.k === 1;
      const made = document.createElement("table");
      made.className = main ? "uw-table uw-main" : "uw-table";
      made.setAttribute("aria-label", `${label}, ${by(array.shape)}`);
      // Nothing but numbers stands in this markup.
      let body = "";
      const jump = columns.map((c, q) => q && c > columns[q - 1] + 1);
      if (!single) body += `<tr><td></td>${columns.map((c, q) => `${jump[q] ? "<td>⋯</td>" : ""}<th scope="col">${c}</th>`).join("")}</tr>`;
      rows.forEach((r, p) => {
        if (p && r > rows[p - 1] + 1) body += '<tr class="uw-gap"><td>⋮</td></tr>';
        body += array.block && mine(r, 0) ? '<tr class="uw-mine">' : "<tr>";
        if (!single) body += `<th scope="row">${array.block ? Math.floor(r / array.block) : r}</th>`;
        columns.forEach((c, q) => {
          const x = array.v[p * wide + q], value = number(x);
          let look = Number.isFinite(value) ? (value ? `uw-${value > 0 ? "p" : "n"}${Math.ceil((Math.abs(value) / top) * 5) || 1}` : "") : "uw-bad";
          if (array.across && mine(r, c)) look += " uw-mine";
          if (main && r === i && c === j) look += " uw-at";
          else if (read?.some((test) => test(r, c))) look += " uw-read";
          body += `${jump[q] ? "<td>⋯</td>" : ""}<td${look ? ` class="${look}"` : ""}${main ? ` data-i="${r}" data-j="${c}"` : ""}>${write(x)}</td>`;
        });
        body += "</tr>";
      });
      made.innerHTML = body;
      if (main) made.addEventListener("click", pick);
      // What may have to be scrolled, or moved about in, can be reached with the keyboard.
      const reached = main || rows.length > 12 || columns.length > 5;
      const help = main && !single ? ". Up and down choose a row, shift with left and right a column" : "";
      return make("div", { class: "uw-scroll", ...(reached ? { tabindex: "0", role: "group", "aria-label": `Numbers of ${label}${help}` } : {}) }, made);
    }

    function pick(event) {
      const cell = event.target.closest("td[data-i]");
      if (!cell) return;
      state.at = { step: state.step, i: Number(cell.dataset.i), j: Number(cell.dataset.j) };
      render();
    }

    // The element that is written out, moved by the keyboard among those that are shown.
    function move(down, right) {
      const array = data.arrays[steps[state.step].panels[0][1]], { i, j } = place(array);
      const next = (list, n, now, by) => {
        const shown = list ?? [...Array(n).keys()];
        return shown[Math.max(0, Math.min(shown.length - 1, shown.indexOf(now) + by))];
      };
      state.at = { step: state.step, i: next(array.rows, array.n, i, down), j: next(array.columns, array.k, j, right) };
      render();
      root.querySelector(".uw-scroll:has(.uw-main)").focus({ preventScroll: true });
      root.querySelector(".uw-at")?.scrollIntoView({ block: "nearest", inline: "nearest" });
    }

    function about(array) {
      const said = array.about, size = array.shape.reduce((a, b) => a * b, 1), parts = [];
      if (size > 1 && said.rms !== undefined) parts.push(`min ${show(said.min, 3)}`, `mean ${show(said.mean, 3)}`, `max ${show(said.max, 3)}`, `rms ${show(said.rms, 3)}`);
      if (size > 1 && said.zero) parts.push(`${show((100 * said.zero) / size, 2)} % are 0`);
      const made = make("div", { class: "uw-about-array" });
      if (parts.length) made.append(make("span", { class: "uw-small" }, parts.join(" · ")));
      if (said.nonfinite) made.append(make("strong", { class: "uw-warning" }, ` ${said.nonfinite} not finite`));
      if (array.histogram?.counts) made.append(histogram(array.histogram));
      return made;
    }

    function histogram({ low, high, counts }) {
      const most = Math.max(...counts), svg = draw("svg", { viewBox: `0 0 ${counts.length * 6} 34`, class: "uw-histogram", role: "img", "aria-label": `Histogram from ${show(low, 3)} to ${show(high, 3)}` });
      counts.forEach((n, k) => {
        const tall = n ? Math.max(1, (n / most) * 32) : 0;
        svg.append(draw("rect", { x: k * 6, y: 33 - tall, width: 5, height: tall }));
      });
      return make("span", { class: "uw-histogram-row" }, make("span", { class: "uw-small" }, show(low, 2)), svg, make("span", { class: "uw-small" }, show(high, 2)));
    }

    // ---- moving

    function go(step) {
      state.step = Math.max(0, Math.min(steps.length - 1, step));
      state.at = null;
      ui.moving = true;
      render();
      ui.moving = false;
      markGraph();
      markSource(steps[state.step]);
      scroll(steps[state.step]);
      if (state.step === steps.length - 1) stop();
    }

    // Where a person goes by hand, playing ends: else its next step would come on top.
    function leap(step) {
      stop();
      go(step);
    }

    // A click on a node goes to where it is computed, or in the backward pass to its gradient.
    function jumpTo(node) {
      const phase = steps[state.step].phase;
      const found = steps.findIndex((step) => step.node === node && step.phase === phase);
      const other = steps.findIndex((step) => step.node === node);
      if (found >= 0 || other >= 0) leap(found >= 0 ? found : other);
    }

    function choose(i) {
      const { phase, title } = steps[state.step];
      state.level = i;
      prepare();
      const same = steps.findIndex((step) => step.phase === phase && step.title === title);
      const near = steps.findIndex((step) => step.phase === phase);
      part("lead").textContent = lead();
      go(Math.max(0, same >= 0 ? same : near));
    }

    function schedule() {
      clearTimeout(timer);
      timer = setTimeout(() => { if (state.playing) { go(state.step + 1); if (state.playing) schedule(); } }, 1000 / state.speed);
    }

    function toggle() {
      if (state.playing) return stop();
      if (state.step === steps.length - 1) go(0);
      state.playing = true;
      showPlaying();
      schedule();
    }

    function stop() {
      clearTimeout(timer);
      if (!state.playing) return;
      state.playing = false;
      showPlaying();
      render();
    }

    function showPlaying() {
      const name = state.playing ? "Pause" : "Play";
      ui.play.setAttribute("aria-label", name);
      ui.play.title = `${name} (space)`;
      ui.play.replaceChildren(icon(state.playing ? ICONS.pause : ICONS.play));
    }

    const lead = () => `${level.about} ${data.batch ? `m = ${data.batch} examples. ` : ""}L is the loss; δ is short for ∂L/∂z. ${data.optimizer ? `The last steps are those of ${data.optimizer}. ` : ""}Arrow keys step, space plays; choose a number to see how it is computed.`;

    // Keys are of the walk that has the focus; where nothing has it that takes keys itself, of the walk in view.
    function isFor(on) {
      if (root.contains(on)) return true;
      if (on.closest?.("input, select, textarea, [contenteditable], [tabindex='0'], dialog")) return false;
      if (root.closest(".uw-page")) return true;
      const { top, bottom } = root.getBoundingClientRect();
      return top <= innerHeight / 2 && innerHeight / 2 <= bottom;
    }

    function key(event) {
      if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || !isFor(event.target)) return;
      const on = event.target, space = event.key === " ";
      const inside = on.querySelector?.(".uw-main") && on.classList.contains("uw-scroll");
      const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ...(event.shiftKey ? { ArrowLeft: [0, -1], ArrowRight: [0, 1] } : {}) }[event.key];
      if (inside && moves) { event.preventDefault(); move(...moves); return; }
      if (event.shiftKey || isTaken(on, event.key)) return;
      if (space && !root.contains(on) && !root.closest(".uw-page")) return; // in a longer page it scrolls
      const action = { ArrowRight: () => leap(state.step + 1), ArrowLeft: () => leap(state.step - 1), Home: () => leap(0), End: () => leap(steps.length - 1), " ": toggle }[event.key];
      if (!action) return;
      event.preventDefault();
      if (!(space && event.repeat)) action();
    }

    // Whether a control does something of its own with a key.
    function isTaken(on, key) {
      if (on.closest("select, textarea")) return true;
      if (key === " ") return on.closest("a, button, summary") || (on.tagName === "INPUT" && on.type !== "range");
      return on.tagName === "INPUT" && !(on.type === "radio" && (key === "Home" || key === "End"));
    }

    // On paper every step stands below the other.
    function print() {
      const kept = { ...state };
      const all = steps.map((step, k) => {
        state.step = k;
        const array = step.panels[0] ? data.arrays[step.panels[0][1]] : null, { i, j } = array ? place(array) : {};
        const work = array ? workOut(step, array, i, j) : null;
        return make("li", {}, make("b", {}, `${NAMES[step.phase]}: ${step.title}`), formulas(step), ...(work ? [make("p", { class: "uw-work" }, work.text)] : []),
          make("div", { class: "uw-panels" }, ...step.panels.filter(([, , role]) => role !== "operand").map((one) => panel(one, false, i, j, null))));
      });
      Object.assign(state, kept);
      part("print").replaceChildren(make("ol", {}, ...all));
    }

    const measure = () => {
      ui.graphWidth = ui.graph.clientWidth;
      ui.graphHeight = ui.graph.clientHeight;
      ui.sourceHeight = ui.source.clientHeight;
      // how much of it is seen while the controls stand at the top of the window
      ui.sourceSeen = Math.min(ui.sourceHeight, Math.max(200, innerHeight - 640));
    };
    Object.assign(ui, { left: 0, sourceTop: 0, graph: part("graph"), source: part("source"), what: part("what"), told: part("told"), live: part("live") });

    drawControls();
    prepare();
    drawSource();
    part("lead").textContent = lead();
    measure();
    go(0);
    root.classList.add("uw-ready");
    ui.source.addEventListener("scroll", () => { ui.sourceTop = ui.source.scrollTop; }, { passive: true });
    const watch = new ResizeObserver(measure);
    new ResizeObserver(([entry]) => { if (!ui.told.style.minHeight) ui.toldHeight = entry.contentRect.height; }).observe(ui.told);
    watch.observe(ui.graph);
    watch.observe(ui.source);
    document.addEventListener("keydown", key);
    addEventListener("beforeprint", print);
    addEventListener("afterprint", () => part("print").replaceChildren());
    return { go, state, get steps() { return steps; } };
  }

  const start = () => {
    for (const root of document.querySelectorAll(".uw:not(.uw-ready)")) if (root.querySelector(".uw-data")) root.walk = mount(root);
  };
  globalThis.undertowWalk = { start, mount };
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", start);
  else start();
})();
