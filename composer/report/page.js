"use strict";
for (const tower of document.querySelectorAll(".tower")) {
  const slider = tower.querySelector(".layer");
  const said = tower.querySelectorAll(".described");
  const chart = tower.querySelector("[data-start]");
  const line = chart.querySelector(".now");
  const start = Number(chart.dataset.start), end = Number(chart.dataset.end);
  const show = () => {
    const layer = Number(slider.value);
    for (const map of tower.querySelectorAll(".map")) map.hidden = Number(map.dataset.layer) !== layer;
    for (const frame of tower.querySelectorAll(".features")) {
      frame.setAttribute("aria-label", `${frame.dataset.label} ${layer}`);
    }
    tower.querySelector("output").textContent = said[layer].textContent;
    slider.setAttribute("aria-valuetext", said[layer].textContent);
    const part = slider.max === "0" ? 0 : layer / Number(slider.max);
    line.setAttribute("transform", `translate(${start + part * (end - start)} 0)`);
    line.style.visibility = "visible";
  };
  slider.addEventListener("input", show);
  show();  // a browser may remember where the slider was
  for (const box of tower.querySelectorAll("[data-switch]")) {
    const set = () => tower.classList.toggle(`no-${box.dataset.switch}`, !box.checked);
    box.addEventListener("change", set);
    set();
  }
}
const theme = document.getElementById("theme");
const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (prefersDark.matches ? "dark" : "light")) === "dark";
const mark = () => theme.setAttribute("aria-pressed", String(isDark()));
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  mark();
});
prefersDark.addEventListener("change", mark);
theme.hidden = false;
mark();
