// Two pictures over one another: the range moves the line between them.
function movable(over) {
  const range = over.querySelector("input");
  const move = () => over.style.setProperty("--at", `${range.value}%`);
  range.addEventListener("input", move);
  move();
}
