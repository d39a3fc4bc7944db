// How old the page is, since a run that trains writes it at every save.
for (const written of document.querySelectorAll("[data-written]")) {
  const minutes = Math.round((Date.now() - Date.parse(written.dataset.written)) / 60000);
  if (!(minutes >= 1)) continue;
  const [size, unit] = minutes < 120 ? [1, "minute"] : minutes < 2880 ? [60, "hour"] : [1440, "day"];
  const count = Math.round(minutes / size);
  written.textContent += `, ${count} ${unit}${count === 1 ? "" : "s"} ago`;
  // A run that was killed could not say so on its page.
  if (60 * minutes > 600 + 3 * written.dataset.renewed)
    written.textContent += " and not renewed since, as a run that trains does: this one may have ended";
}
