// The page: draws what has changed, keeps what a person has chosen, and follows theme, width and print.
(() => {
  const { parts, state, el } = undertowReport;
  const NAMES = { summary: "Summary", findings: "Findings", curves: "Loss", map: "Flow map", profile: "Profile",
    distributions: "Distributions", outcome: "Predictions", walk: "Step by step", settings: "Settings" };
  const SOME = { classes: "Confusion", labels: "Labels", numbers: "Residuals" };

  // While somebody drags a slider, new data waits.
  const held = { on: false, data: null };
  function waits() {
    addEventListener("pointerdown", (event) => { held.on = event.target instanceof Element && event.target.matches("input[type=range]"); });
    for (const name of ["pointerup", "pointercancel"]) {
      addEventListener(name, () => {
        held.on = false;
        if (held.data) undertowReport.render(held.data);
      });
    }
  }

  // May be called again with new data: parts whose data is the same stay as they are.
  undertowReport.render = (data, { all = false } = {}) => {
    if (held.on) {
      held.data = data;
      return;
    }
    held.data = null;
    state.data = data;
    const focused = document.activeElement?.id;
    for (const part of parts) {
      const needed = JSON.stringify(part.needs(data)) ?? "";
      if (!all && needed === part.last) continue;
      part.last = needed;
      part.draw(document.getElementById(part.id), data);
    }
    if (focused && document.activeElement === document.body) document.getElementById(focused)?.focus({ preventScroll: true });
    contents();
    document.getElementById("written").textContent = `Written by Undertow on ${data.written}.`;
    document.title = `${data.summary.title} · Undertow report`;
  };

  function contents() {
    const shown = Object.keys(NAMES).filter((id) => !document.getElementById(id).hidden);
    const name = (id) => (id === "outcome" ? SOME[state.data.outcome.kind] ?? NAMES[id] : NAMES[id]);
    document.getElementById("contents").replaceChildren(...shown.map((id) => el("a", { href: `#${id}` }, name(id))));
  }

  function themes() {
    const button = document.getElementById("theme");
    const system = matchMedia("(prefers-color-scheme: dark)");
    const root = document.documentElement;
    const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
    const tell = () => {
      button.textContent = isDark() ? "Light" : "Dark";
      button.setAttribute("aria-label", `${button.textContent} colours`);
    };
    button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; tell(); });
    system.addEventListener("change", tell);
    tell();
  }

  function widths() {
    let [last, timer] = [document.documentElement.clientWidth, null];
    addEventListener("resize", () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        if (document.documentElement.clientWidth === last) return;
        last = document.documentElement.clientWidth;
        undertowReport.render(state.data, { all: true });
      }, 120);
    });
  }

  // The charts of a printed page are drawn for its width.
  function prints() {
    const draw = (on) => {
      document.documentElement.classList.toggle("printing", on);
      undertowReport.render(state.data, { all: true });
    };
    addEventListener("beforeprint", () => draw(true));
    addEventListener("afterprint", () => draw(false));
  }

  undertowReport.fade(document.getElementById("contents"));
  themes();
  widths();
  prints();
  waits();
  const block = document.getElementById("undertow-report-data");
  undertowReport.render(JSON.parse(block.textContent));
})();
