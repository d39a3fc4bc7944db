// The previews of several runs below one another, each the newest one at the images seen.
"use strict";

function rowsOf(run) {
  const known = run.sheets[0].grid.rows === run.names.length;
  return known && run.pairs.length ? run.pairs : [];
}

function strip(parent, name, colour) {
  const figure = element("figure", parent, { className: "strip" });
  const caption = element("figcaption", figure);
  if (colour !== null) {
    const swatch = element("span", caption, { className: "swatch" });
    swatch.style.background = `var(--c${colour})`;
  }
  caption.append(name);
  return element("canvas", figure);
}

function showRuns(section, runs) {
  const parent = section.querySelector(".strips");
  const drawn = runs.map(() => []); // for each run, functions of (image, grid)
  const titles = [...new Set(runs.flatMap((run) => rowsOf(run).map((pair) => pair.before)))];
  for (const before of titles) {
    const having = runs.filter((run) => rowsOf(run).some((pair) => pair.before === before));
    const first = having[0];
    if (titles.length > 1) {
      const pair = rowsOf(having[having.length - 1]).find((one) => one.before === before);
      element("h3", parent, { textContent: pair.title });
    }
    const canvas = strip(parent, first.names[before], null);
    drawn[runs.indexOf(first)].push((image, grid) => drawRows(canvas, image, grid, before, 1));
    for (const run of having) {
      const { after } = rowsOf(run).find((pair) => pair.before === before);
      const own = strip(parent, run.name, run.colour);
      drawn[runs.indexOf(run)].push((image, grid) => drawRows(own, image, grid, after, 1));
    }
    const target = first.names.indexOf("target");
    if (target >= 0) {
      const last = strip(parent, "target", null);
      drawn[runs.indexOf(first)].push((image, grid) => drawRows(last, image, grid, target, 1));
    }
  }
  runs.forEach((run, at) => {
    if (rowsOf(run).length) return;
    const canvas = strip(parent, run.name, run.colour);
    drawn[at].push((image, grid) => drawRows(canvas, image, grid, 0, grid.rows));
  });
  const times = [...new Set(runs.flatMap((run) => run.sheets.map((sheet) => sheet.images)))];
  times.sort((one, other) => one - other);
  const wanted = runs.map(() => null);
  const show = (place) => runs.forEach((run, at) => {
    const earlier = run.sheets.filter((sheet) => sheet.images <= times[place]);
    const sheet = earlier.length ? earlier[earlier.length - 1] : run.sheets[0];
    wanted[at] = sheet;
    pictureOf(sheet).then((image) => {
      if (wanted[at] === sheet) drawn[at].forEach((one) => one(image, sheet.grid));
    });
  });
  const title = (place) => `${times[place].toLocaleString("en")} images`;
  slider(section.querySelector(".control"), times.length, times.length - 1, title, show, 500);
}
