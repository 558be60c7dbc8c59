// Turns each before/after pair into one picture with a movable border; without it both stand side by side.
for (const pair of document.querySelectorAll(".compare")) {
  const slider = document.createElement("input");
  Object.assign(slider, { type: "range", min: 0, max: 100, value: 50, ariaLabel: "border between before and after" });
  slider.oninput = () => pair.style.setProperty("--border", slider.value + "%");
  pair.append(slider);
  pair.classList.add("live");
}
