"use strict";
const at = (id) => document.getElementById(id);
const LEAST_WIDTH = 512; // of a shown picture, where the window has room

function say(words, wrong = false) {
  at("message").textContent = words;
  at("message").classList.toggle("wrong", wrong);
}

let newest = 0; // answers to older questions are dropped

async function ask(address, options, doing) {
  const mine = ++newest;
  say(doing);
  document.body.classList.add("busy");
  try {
    const response = await fetch(address, options);
    const answer = await response.json();
    if (mine !== newest) return null;
    say(answer.error ?? "", true);
    return response.ok ? answer : null;
  } catch {
    if (mine === newest) say("app.py did not answer; its terminal may say why.", true);
    return null;
  } finally {
    if (mine === newest) document.body.classList.remove("busy");
  }
}

function figure({ name, picture }, file) {
  const figure = document.createElement("figure");
  const image = Object.assign(new Image(), { src: picture, alt: name });
  const caption = document.createElement("figcaption");
  const save = Object.assign(document.createElement("a"), { href: picture, download: file });
  save.textContent = "save";
  caption.append(name, " (", save, ")");
  figure.append(image, caption);
  return figure;
}

// Several times the size, in whole steps, so that each pixel stays a square.
function enlarge(image) {
  const times = Math.max(1, Math.floor(LEAST_WIDTH / image.naturalWidth));
  image.width = image.naturalWidth * times;
  if (times > 1) image.style.imageRendering = "pixelated";
}

function setUpTranslation() {
  let file = null;
  let pictures = [];

  async function translate() {
    if (!file) return;
    const most = Number(document.body.dataset.megabytes);
    if (file.size > most * 1e6) {
      say(`${file.name} has ${(file.size / 1e6).toFixed(1)} MB; at most ${most} MB are accepted (--most_megabytes)`, true);
      return;
    }
    const query = new URLSearchParams({ direction: at("direction")?.value ?? "" });
    const answer = await ask(`translate?${query}`, { method: "POST", body: file }, `translating ${file.name} ...`);
    if (answer) show(answer);
  }

  function show(answer) {
    pictures = answer.pictures;
    const [width, height] = answer.size;
    const whole = answer.full_size;
    at("size").textContent = `${width} x ${height} pixels`
      + (whole[0] === width && whole[1] === height ? "" : `, shrunk from ${whole[0]} x ${whole[1]} (--longest_side)`);
    for (const [side, chosen] of [["left", 0], ["right", 1]]) {
      const before = at(side).selectedIndex;
      at(side).replaceChildren(...pictures.map(({ name }, number) => new Option(name, number)));
      at(side).selectedIndex = before < 0 ? chosen : before;
    }
    at("compare").style.width = `min(100%, ${Math.max(width, LEAST_WIDTH)}px)`;
    const stem = file.name.replace(/\.[^.]*$/, "");
    at("pictures").replaceChildren(
      ...pictures.map((shown, number) => figure(shown, number ? `${stem}_${number}.png` : `${stem}.png`)));
    compare();
    at("result").hidden = false;
  }

  function compare() {
    for (const side of ["left", "right"]) {
      const shown = pictures[at(side).value];
      Object.assign(at(`${side}_picture`), { src: shown.picture, alt: shown.name });
    }
  }

  function take(files) {
    if (!files?.length) return;
    file = files[0];
    translate();
  }

  at("file").addEventListener("change", () => {
    take(at("file").files);
    at("file").value = ""; // so that the same file can be chosen again
  });
  for (const [event, over] of [["dragenter", true], ["dragover", true], ["dragleave", false], ["drop", false]]) {
    document.addEventListener(event, (happened) => {
      happened.preventDefault(); // or the browser would leave the page for the file
      at("drop").classList.toggle("over-it", over);
    });
  }
  document.addEventListener("drop", (happened) => take(happened.dataTransfer.files));
  document.addEventListener("paste", (happened) => take(happened.clipboardData.files));
  at("translate").addEventListener("submit", (happened) => happened.preventDefault());
  at("direction")?.addEventListener("change", translate);
  at("left").addEventListener("change", compare);
  at("right").addEventListener("change", compare);
  movable(at("compare"));
}

function setUpSampling() {
  const values = (...names) => new URLSearchParams(
    names.filter((name) => at(name)).map((name) => [name, at(name).value]));

  function show(answer, kind) {
    const names = `seed_${at("seed").value}`;
    at("pictures").replaceChildren(
      ...answer.pictures.map((shown, number) => figure(shown, `${names}_${number}.${kind}`)));
    for (const image of at("pictures").querySelectorAll("img")) {
      image.decode().then(() => enlarge(image));
    }
    at("result").hidden = false;
  }

  async function sample() {
    if (!at("sample").reportValidity()) return;
    const answer = await ask(`sample?${values("seed", "count", "label", "truncation")}`, {}, "making pictures ...");
    if (answer) show(answer, "png");
  }

  async function interpolate() {
    if (!at("sample").reportValidity()) return;
    const answer = await ask(`interpolate?${values("seed", "other_seed", "label", "truncation")}`, {}, "interpolating ...");
    if (answer) show(answer, "gif");
  }

  at("sample").addEventListener("submit", (happened) => {
    happened.preventDefault();
    sample();
  });
  at("another").addEventListener("click", () => {
    at("seed").value = Math.floor(Math.random() * 1e6);
    sample();
  });
  at("interpolate").addEventListener("click", interpolate);
  at("truncation").addEventListener("input", () => {
    at("truncation_value").textContent = at("truncation").value;
  });
  sample();
}

if (document.body.dataset.kind === "translators") setUpTranslation();
else setUpSampling();
