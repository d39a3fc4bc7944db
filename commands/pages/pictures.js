// Before and after over one another, sheets by images seen, and walks between latents.
"use strict";

function element(tag, parent, properties = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  parent.append(made);
  return made;
}

function overlaid(parent, label) {
  const over = element("div", parent, { className: "over" });
  const pair = ["before", "after"].map((name) => element("canvas", over, { className: name }));
  element("span", over, { className: "grip", textContent: "\u2194" });
  const range = element("input", over, { type: "range", min: 0, max: 100, step: 0.5, value: 50 });
  range.setAttribute("aria-label", label);
  movable(over);
  return pair;
}

// The address of a picture is given once; its image is made when it is first shown.
function pictureOf(holder) {
  if (!holder.image) {
    holder.image = new Image();
    holder.image.src = holder.source;
  }
  return holder.image.decode().then(() => holder.image);
}

function draw(canvas, image, left, top, width, height) {
  const across = Math.max(1, Math.round(width)), down = Math.max(1, Math.round(height));
  if (canvas.width !== across || canvas.height !== down) {
    canvas.width = across;
    canvas.height = down;
  }
  canvas.getContext("2d").drawImage(image, left, top, width, height, 0, 0, across, down);
}

function drawCell(canvas, image, grid, row, column) {
  const left = grid.gap + column * (grid.cell_width + grid.gap);
  const top = grid.gap + row * (grid.cell_height + grid.gap);
  draw(canvas, image, left, top, grid.cell_width, grid.cell_height);
}

function drawRows(canvas, image, grid, first, count) {
  const pitch = grid.cell_height + grid.gap;
  draw(canvas, image, 0, first * pitch, image.width, count * pitch + grid.gap);
  canvas.style.setProperty("--own-width", `${image.width}px`);
}

// A slider, with a button that plays: show(place) is called for each place.
function slider(control, count, first, title, show, milliseconds) {
  const range = control.querySelector("input");
  const button = control.querySelector("button");
  const output = control.querySelector("output");
  let timer = null;
  const move = () => {
    output.textContent = title(+range.value);
    show(+range.value);
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
  };
  range.max = count - 1;
  range.value = first;
  range.addEventListener("input", () => {
    if (timer) stop();
    move();
  });
  button.addEventListener("click", () => {
    if (timer) return stop();
    button.textContent = "Pause";
    timer = setInterval(() => {
      range.value = (+range.value + 1) % count;
      move();
    }, milliseconds);
  });
  button.hidden = count < 2;
  range.hidden = count < 2;
  move();
}

function showSheets(section, found) {
  const cards = section.querySelector(".pairs"), strips = section.querySelector(".strips");
  const newest = found.sheets[found.sheets.length - 1].grid;
  const drawn = []; // functions of (image, grid)
  if (newest.columns > 1 || found.names.length) {
    for (const pair of found.pairs) {
      if (found.pairs.length > 1) element("h3", cards, { textContent: pair.title });
      const group = element("div", cards, { className: "cards" });
      for (let column = 0; column < newest.columns; column++) {
        const figure = element("figure", group);
        const label = `${pair.title}, picture ${column + 1}: how much of the first is seen`;
        const [before, after] = overlaid(figure, label);
        drawn.push((image, grid) => {
          drawCell(before, image, grid, pair.before, column);
          drawCell(after, image, grid, pair.after, column);
        });
      }
    }
  }
  const rows = newest.rows === found.names.length ? found.names : [];
  const whole = [[found.caption, 0, null]];
  for (const [name, first, count] of rows.length ? rows.map((n, at) => [n, at, 1]) : whole) {
    const strip = element("figure", strips, { className: "strip" });
    if (name) element("figcaption", strip, { textContent: name });
    const canvas = element("canvas", strip);
    drawn.push((image, grid) => drawRows(canvas, image, grid, first, count || grid.rows));
  }
  let wanted = 0;
  const show = (place) => {
    const sheet = found.sheets[place];
    wanted = place;
    pictureOf(sheet).then((image) => {
      if (wanted === place) drawn.forEach((one) => one(image, sheet.grid));
    });
  };
  const title = (place) => `${found.sheets[place].images.toLocaleString("en")} images`;
  const last = found.sheets.length - 1;
  slider(section.querySelector(".control"), last + 1, last, title, show, 500);
}

function showWalk(section, walk) {
  const walks = section.querySelector(".walks");
  const drawn = walk.sheets.map((source, at) => {
    const figure = element("figure", walks), canvas = element("canvas", figure);
    if (walk.names[at]) element("figcaption", figure, { textContent: walk.names[at] });
    const holder = { source }, rows = Math.ceil(walk.frames / walk.columns);
    return (frame) =>
      pictureOf(holder).then((image) => {
        const width = image.width / walk.columns, height = image.height / rows;
        const left = (frame % walk.columns) * width;
        draw(canvas, image, left, Math.floor(frame / walk.columns) * height, width, height);
      });
  });
  const title = (frame) => `frame ${frame + 1} of ${walk.frames}`;
  const show = (frame) => drawn.forEach((one) => one(frame));
  slider(section.querySelector(".control"), walk.frames, 0, title, show, 90);
}
