// The stream of a training that goes on: keeps the data of the page up to date, and says how training stands.
(() => {
  const settings = JSON.parse(document.querySelector('meta[name="undertow-live"]').content);
  const WORDS = { training: "Live", paused: "Paused", waiting: "Waiting", ended: "Ended", gone: "Not connected" };
  const AGAIN = 2000, HIDDEN = 30000, EVERY = 400; // ms: between two tries; until a hidden page lets go; between drawings
  const live = { version: -1, data: null, status: null, held: false, source: null, drawn: 0, timer: null };

  if (location.search) history.replaceState(null, "", location.pathname); // the token is in a cookie now

  // ---- what is shown ------------------------------------------------------------------------

  const make = (kind, attributes = {}, ...inner) => {
    const made = document.createElement(kind);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else made.setAttribute(name, value);
    }
    made.append(...inner);
    return made;
  };
  const word = make("span", { class: "word" });
  const sentence = make("span", { class: "live-sentence" });
  const answer = make("p", { class: "answer", role: "status" });
  const hold = make("button", { type: "button", id: "live-hold", "aria-pressed": "false", onclick: toggleHold }, "Hold the page");
  const inner = make("div", { class: "live-inner" }, make("p", { class: "tell" }, word, sentence), hold);
  const bar = make("div", { class: "live", role: "region", "aria-label": "How training stands" }, inner);
  if (settings.control) inner.append(controls(), answer);
  document.querySelector("main").before(bar);

  function show(kind, text) {
    bar.dataset.kind = kind;
    if (word.textContent !== WORDS[kind]) {
      word.textContent = WORDS[kind];
      document.getElementById("announce").textContent = text; // read out where the state changes, not at every step
    }
    if (sentence.textContent !== text) sentence.textContent = text;
  }

  function showStatus(status) {
    live.status = status;
    const rate = status.scale === 1 ? "" : ` The learning rate is ${format(status.scale)} times the planned one.`;
    const asked = status.asked ? " A control was sent; training heeds it at the next pause between its steps." : "";
    const trouble = live.data && live.data.trouble ? ` ${live.data.trouble}` : "";
    show(status.kind, status.sentence + rate + asked + trouble);
    for (const button of bar.querySelectorAll("[data-when]")) {
      button.disabled = !status.listens || !button.dataset.when.split(" ").includes(status.kind);
    }
  }

  const format = (number) => String(Number(number.toPrecision(4)));

  function toggleHold() {
    live.held = !live.held;
    hold.setAttribute("aria-pressed", String(live.held));
    hold.textContent = live.held ? "Let the page go on" : "Hold the page";
    if (!live.held) draw();
  }

  function draw() {
    clearTimeout(live.timer);
    live.timer = null;
    if (live.held || !live.data) return;
    const since = performance.now() - live.drawn;
    if (since < EVERY) {
      live.timer = setTimeout(draw, EVERY - since);
      return;
    }
    undertowReport.render(live.data);
    live.drawn = performance.now();
  }

  // ---- the stream ---------------------------------------------------------------------------

  // As undertow.report.live.changes.apply_changes does; the lists that hold a change are made anew.
  function apply(data, [path, what, value]) {
    if (!path.length) return what === "set" ? value : data.slice(0, value[0]).concat(value[1]);
    const [key, ...rest] = path;
    const copy = Array.isArray(data) ? data.slice() : { ...data };
    if (rest.length) copy[key] = apply(copy[key], [rest, what, value]);
    else if (what === "set") copy[key] = value;
    else if (what === "remove") delete copy[key];
    else copy[key] = typeof copy[key] === "string" ? copy[key].slice(0, value[0]) + value[1] : copy[key].slice(0, value[0]).concat(value[1]);
    return copy;
  }

  function open() {
    close();
    const source = (live.source = new EventSource("events"));
    source.addEventListener("start", (event) => {
      const told = JSON.parse(event.data);
      [live.version, live.data] = [told.version, told.data];
      showStatus(told.status);
      draw();
    });
    source.addEventListener("update", (event) => {
      const told = JSON.parse(event.data);
      if (told.version <= live.version) return;
      if (told.since !== live.version) return open(); // something was lost: begin with all data
      live.data = told.changes.reduce(apply, live.data);
      live.version = told.version;
      showStatus(told.status);
      draw();
    });
    source.addEventListener("trouble", (event) => {
      show(live.status ? live.status.kind : "waiting", JSON.parse(event.data).sentence);
    });
    source.addEventListener("closed", () => {
      const told = live.status && live.status.kind === "ended" ? `${live.status.sentence} ` : "";
      show("gone", `${told}The server of this page has ended; what is shown is the last it told.`);
    });
    source.onerror = () => {
      if (live.source !== source) return;
      if (bar.dataset.kind !== "gone") show("gone", "The server does not answer. The page goes on by itself when it does again.");
      if (source.readyState !== EventSource.CLOSED) return;
      askWhy();
      setTimeout(() => live.source === source && open(), AGAIN);
    };
  }

  // A server that was started again has another token.
  async function askWhy() {
    const found = await fetch(".", { method: "HEAD" }).catch(() => null);
    if (found?.status === 403) {
      show("gone", "The server was started again and does not know this page. Open the address that undertow watch printed, with its token.");
    }
  }

  function close() {
    if (live.source) live.source.close();
    live.source = null;
  }

  // ---- controls -----------------------------------------------------------------------------

  function controls() {
    const send = (action, more = {}) => () => control({ action, ...more });
    const factor = make("input", { type: "number", id: "live-factor", min: "0.000001", max: "1000000", step: "any", value: "0.5", required: "" });
    const form = make("form", { onsubmit: (event) => { event.preventDefault(); control({ action: "rate", factor: Number(factor.value) }); } },
      make("label", { for: "live-factor" }, "Planned learning rate ×"), factor,
      make("button", { type: "submit", "data-when": "training paused" }, "Set"));
    return make("div", { class: "controls", role: "group", "aria-label": "Controls" },
      make("button", { type: "button", "data-when": "training", onclick: send("pause") }, "Pause training"), " ",
      make("button", { type: "button", "data-when": "paused", onclick: send("resume") }, "Resume training"), " ",
      make("button", { type: "button", "data-when": "training paused", onclick: () => confirm("Stop the training? It keeps what was trained.") && control({ action: "stop" }) }, "Stop training"), form);
  }

  async function control(told) {
    answer.textContent = "";
    try {
      const found = await fetch("control", {
        method: "POST", body: JSON.stringify(told),
        headers: { "Content-Type": "application/json", "X-Undertow-Page": settings.token },
      });
      answer.textContent = found.ok ? "Sent." : await found.text();
      if (found.ok) setTimeout(() => { if (answer.textContent === "Sent.") answer.textContent = ""; }, AGAIN);
    } catch {
      answer.textContent = "The server does not answer.";
    }
  }

  // A page that nobody sees lets go of its stream: a browser keeps only six to one server.
  let leaving = null;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(leaving);
    if (document.hidden) leaving = setTimeout(close, HIDDEN);
    else if (!live.source) open();
  });

  show("waiting", "Asking the server …");
  open();
})();
