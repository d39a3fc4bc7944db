// Charts by plotly.js, drawn when they come into view; smoothing and zoom are shared by all.
"use strict";

async function plottingLibrary() {
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent.trim()), (sign) =>
    sign.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const script = document.createElement("script");
  script.src = URL.createObjectURL(new Blob([await new Response(stream).arrayBuffer()]));
  await new Promise((resolve, reject) => {
    script.onload = resolve;
    script.onerror = reject;
    document.head.append(script);
  });
  URL.revokeObjectURL(script.src);
  return Plotly;
}

// Exponential moving average without the bias of its start.
function smoothed(values, weight) {
  let sum = 0, total = 0;
  return values.map((value) => {
    sum = weight * sum + (1 - weight) * value;
    total = weight * total + (1 - weight);
    return sum / total;
  });
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function traces(chart, weight) {
  const isMeasured = chart.kind === "measurements";
  const smooth = chart.kind === "losses" && weight > 0;
  return chart.curves.flatMap((curve) => {
    const line = { color: colour(`--c${curve.colour % 8}`), width: 1.8 };
    const few = curve.images.length < 2;
    const main = {
      x: curve.images,
      y: smooth ? smoothed(curve.values, weight) : curve.values,
      name: curve.name,
      line,
      mode: isMeasured || few ? "lines+markers" : "lines",
      marker: { size: 5, color: line.color },
      hovertemplate: "%{y:.4g}<extra>" + escaped(curve.name) + "</extra>",
    };
    if (!smooth) return [main];
    const raw = { x: curve.images, y: curve.values, line: { ...line, width: 1 }, mode: "lines" };
    return [{ ...raw, opacity: 0.25, hoverinfo: "skip" }, main];
  });
}

// Plotly reads some tags in texts.
function escaped(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

// A value that never changes lies in the middle, whatever the rounding of its mean.
function heights(chart) {
  const values = chart.curves.flatMap((curve) => curve.values);
  const least = Math.min(...values), most = Math.max(...values);
  if (most > least) return { autorange: true };
  return { autorange: false, range: most > 0 ? [0, 2 * most] : [most - 1, most + 1] };
}

function layout(chart, view) {
  const axis = {
    gridcolor: colour("--line"), zerolinecolor: colour("--line"), linecolor: colour("--line"),
    automargin: true, fixedrange: false, separatethousands: true,
  };
  const floors = chart.floors.map(([, value]) => ({
    type: "line", xref: "paper", x0: 0, x1: 1, y0: value, y1: value,
    line: { color: colour("--faint"), width: 1, dash: "dot" },
  }));
  const words = chart.floors.map(([name, value]) => ({
    xref: "paper", x: 1, y: value, xanchor: "right", yanchor: "bottom", text: escaped(name),
    showarrow: false, font: { size: 10, color: colour("--faint") },
  }));
  const positive = chart.curves.every((curve) => curve.values.every((value) => value > 0));
  return {
    margin: { l: 8, r: 8, t: 8, b: 8 }, showlegend: false, hovermode: "x unified",
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 11, color: colour("--faint") },
    hoverlabel: { bgcolor: colour("--panel"), bordercolor: colour("--line"),
      font: { color: colour("--ink"), size: 12 } },
    xaxis: { ...axis, nticks: 5, tickformat: ",.0f", hoverformat: ",.0f", ...(view.range ? { range: view.range } : { autorange: true }) },
    yaxis: { ...axis, nticks: 5, tickformat: ",.6~g", type: view.isLog && positive ? "log" : "linear", ...heights(chart) },
    shapes: floors, annotations: view.isLog && positive ? [] : words, dragmode: "zoom",
  };
}

function showCharts(section, charts) {
  const smoothing = section.querySelector("input[type=range]");
  const output = section.querySelector("output");
  const isLong = charts.some((chart) => chart.curves.some((curve) => curve.images.length > 30));
  output.textContent = smoothing.value = isLong ? 0.6 : 0;
  const view = { weight: +smoothing.value, isLog: false, range: null };
  const library = plottingLibrary();
  const settings = {
    responsive: true, displaylogo: false, showTips: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "pan2d", "zoom2d"],
  };
  library.catch(() => element("p", section, {
    className: "faint", textContent: "This browser cannot show the curves: it is from before 2023.",
  }));
  const drawn = new Map(); // plot -> chart
  const draw = async (plot) =>
    (await library).react(plot, traces(drawn.get(plot), view.weight), layout(drawn.get(plot), view),
      settings);
  const redraw = () => [...drawn.keys()].forEach(draw);
  const start = async (plot, chart) => {
    drawn.set(plot, chart);
    await draw(plot);
    plot.on("plotly_relayout", (change) => {
      const isReset = change["xaxis.autorange"];
      if (!isReset && change["xaxis.range[0]"] === undefined) return;
      view.range = isReset ? null : [change["xaxis.range[0]"], change["xaxis.range[1]"]];
      [...drawn.keys()].filter((other) => other !== plot).forEach(draw);
    });
    plot.dataset.drawn = "yes";
  };
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      seen.unobserve(entry.target);
      start(entry.target, charts[+entry.target.dataset.chart]);
    }
  }, { rootMargin: "400px" });
  section.querySelectorAll(".plot").forEach((plot) => seen.observe(plot));
  smoothing.addEventListener("input", () => {
    view.weight = +smoothing.value;
    output.textContent = smoothing.value;
    redraw();
  });
  section.querySelector("input[type=checkbox]").addEventListener("change", (event) => {
    view.isLog = event.target.checked;
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}
