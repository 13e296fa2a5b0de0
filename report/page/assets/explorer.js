"use strict";
// The explorer of text over lam. The data are JSON in the page (report/page/explorer.py says what
// is in them). Texts of models are only ever set as text, never as HTML.

const element = (id) => document.getElementById(id);
const DATA = JSON.parse(element("explorer-data").textContent);

// What the four choices and the slider point at.
function chosen() {
  const task = DATA.tasks[element("task").value];
  const aligned = task.aligned[element("aligned").value];
  const [seed, prompt, lam] = ["seed", "prompt", "lam"].map((id) => Number(element(id).value));
  return { task, aligned, seed, prompt, lam };
}

// A number as people write it: three digits that count, and a real minus sign.
function written(number) {
  if (number === null) return "?";
  return String(Number(number.toPrecision(3))).replace("-", "\u2212");
}

function fill(select, names) {
  const kept = select.selectedIndex;
  select.replaceChildren(...names.map((name, index) => new Option(name, index)));
  select.selectedIndex = kept >= 0 && kept < names.length ? kept : 0;
}

function shortened(text, length) {
  const line = text.replace(/\s+/g, " ");
  return line.length > length ? line.slice(0, length) + "\u2026" : line;
}

// ---- the choices -------------------------------------------------------------------------------

function fillTask() {
  const task = DATA.tasks[element("task").value];
  const named = (item) => `${item.objective.toUpperCase()}, \u03b2\u2080 = ${written(item.anchor)}`;
  const asked = (item, index) =>
    `${index + 1}. ${item.harmful ? "(harmful) " : ""}${shortened(item.text, 90)}`;
  fill(element("aligned"), task.aligned.map(named));
  fill(element("prompt"), task.prompts.map(asked));
  fillAligned();
}

function fillAligned() {
  const { aligned } = chosen();
  const slider = element("lam");
  fill(element("seed"), aligned.seeds.map(String));
  slider.max = aligned.lams.length - 1;
  const middle = aligned.lams.indexOf(0.5);
  slider.value = middle >= 0 ? middle : Math.floor(aligned.lams.length / 2);
  show();
}

// ---- the texts ---------------------------------------------------------------------------------

function show() {
  const { task, aligned, seed, prompt, lam } = chosen();
  const [weight, beta] = [aligned.lams[lam], aligned.betas[lam]];
  const strength =
    beta === null
      ? "this is the reference"
      : beta < 0
        ? "no strength, because it moves away from the aligned model"
        : `effective strength \u03b2\u2080/\u03bb = ${written(beta)}`;
  const said = `\u03bb = ${written(weight)}, ${strength}`;
  element("lam-label").textContent = said;
  element("lam").setAttribute("aria-valuetext", said);

  element("prompt-text").textContent = task.prompts[prompt].text;
  element("dera-lam").textContent = `\u03bb = ${written(weight)}`;
  const retrained = aligned.retrained[seed][prompt][lam];
  element("retrained-beta").textContent = retrained ? `\u03b2 = ${written(beta)}` : "";
  showCompletion("reference", task.reference[prompt], "");
  showCompletion("dera", aligned.dera[seed][prompt][lam], "It was not decoded here.");
  showCompletion("retrained", retrained, "No model was trained at this strength.");
  draw(aligned, lam);
}

function showCompletion(name, completion, absent) {
  element(`${name}-text`).textContent = completion ? completion.text || "(nothing)" : "";
  element(`${name}-marks`).textContent = completion ? measured(completion) : absent;
}

function measured(completion) {
  return [`gold ${written(completion.gold)}`, ...completion.marks].join("; ");
}

// ---- the curves --------------------------------------------------------------------------------

const WIDTH = 380;
const HEIGHT = 170;
const EDGE = { left: 44, right: 10, top: 22, bottom: 24 };
const LEAST_KL = 0.01; // what is closer to the reference is drawn here

function draw(aligned, now) {
  const reward = panel(aligned, "reward", "mean reward", linear(aligned, "reward"), now);
  const kl = panel(aligned, "kl", "KL to the reference (nats, logarithmic scale)", logarithmic(aligned), now);
  element("curves").replaceChildren(reward, kl);
  element("curve-lam").textContent = `At \u03bb = ${written(aligned.lams[now])}`;
  for (const key of ["reward", "kl"]) {
    element(`${key}-dera`).textContent = withInterval(aligned.curves[key][now]);
    element(`${key}-retrained`).textContent = withInterval(aligned.retrained_curves[key][now]);
  }
}

function withInterval(point) {
  if (!point) return "none";
  const [value, low, high] = point;
  return low === null ? written(value) : `${written(value)} [${written(low)}, ${written(high)}]`;
}

// Every number that a panel must have room for.
function numbersOf(aligned, key) {
  const points = [...aligned.curves[key], ...aligned.retrained_curves[key]];
  return points.filter(Boolean).flat().filter((number) => number !== null);
}

// A scale has the numbers to label, and a place between 0 (bottom) and 1 (top) for each number.
function linear(aligned, key) {
  const numbers = numbersOf(aligned, key);
  const [least, most] = [Math.min(...numbers), Math.max(...numbers)];
  const step = roundStep((most - least || 1) / 3);
  const [first, last] = [Math.floor(least / step), Math.ceil(most / step)];
  const ticks = Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
  return { ticks, place: (number) => (number / step - first) / (last - first || 1) };
}

// The smallest of 1, 2, 5, 10, ... that is no smaller than a step.
function roundStep(step) {
  const power = 10 ** Math.floor(Math.log10(step));
  return [1, 2, 5, 10].map((digit) => digit * power).find((round) => round >= step * 0.999);
}

function logarithmic(aligned) {
  const most = Math.max(10 * LEAST_KL, ...numbersOf(aligned, "kl"));
  const decades = Math.ceil(Math.log10(most / LEAST_KL));
  const ticks = Array.from({ length: decades + 1 }, (_, power) => LEAST_KL * 10 ** power);
  return { ticks, place: (number) => Math.log10(Math.max(number, LEAST_KL) / LEAST_KL) / decades };
}

function panel(aligned, key, title, scale, now) {
  const x = (index) =>
    EDGE.left + ((WIDTH - EDGE.left - EDGE.right) * index) / Math.max(aligned.lams.length - 1, 1);
  const y = (number) => HEIGHT - EDGE.bottom - (HEIGHT - EDGE.top - EDGE.bottom) * scale.place(number);
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  const value = aligned.curves[key][now];
  const said = value ? `; at lam ${written(aligned.lams[now])} it is ${written(value[0])}` : "";
  picture.setAttribute("aria-label", `${title} against lam${said}`);
  picture.append(label(title, EDGE.left, 12, "start"));

  // the grid, and the position of the slider
  for (const tick of scale.ticks) {
    picture.append(svg("line", { class: "grid", x1: EDGE.left, x2: WIDTH - EDGE.right, y1: y(tick), y2: y(tick) }));
    picture.append(label(written(tick), EDGE.left - 5, y(tick) + 4, "end"));
  }
  aligned.lams.forEach((lam, index) => picture.append(label(written(lam), x(index), HEIGHT - 8, "middle")));
  picture.append(svg("line", { class: "now", x1: x(now), x2: x(now), y1: EDGE.top, y2: HEIGHT - EDGE.bottom }));

  // DeRa's means, their intervals, and the retrained models
  const points = [];
  aligned.curves[key].forEach((point, index) => {
    if (!point || point[0] === null) return;
    points.push(`${x(index)},${y(point[0])}`);
    if (point[1] !== null) {
      picture.append(svg("line", { class: "bar", x1: x(index), x2: x(index), y1: y(point[1]), y2: y(point[2]) }));
    }
    const size = index === now ? 10 : 6;
    picture.append(
      svg("rect", { class: "square", x: x(index) - size / 2, y: y(point[0]) - size / 2, width: size, height: size }),
    );
  });
  picture.append(svg("polyline", { class: "curve", points: points.join(" ") }));
  aligned.retrained_curves[key].forEach((point, index) => {
    if (!point || point[0] === null) return;
    picture.append(svg("circle", { class: "circle", cx: x(index), cy: y(point[0]), r: index === now ? 6 : 4 }));
  });
  return picture;
}

function svg(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function label(text, x, y, anchor) {
  const made = svg("text", { x, y, "text-anchor": anchor });
  made.textContent = text;
  return made;
}

// ---- the page ----------------------------------------------------------------------------------

function start() {
  const readable = DATA.tasks.filter((task) => task.aligned.length > 0 && task.prompts.length > 0);
  DATA.tasks = readable;
  if (readable.length === 0) return;
  fill(element("task"), readable.map((task) => task.name));
  fillTask();
  element("task").addEventListener("change", fillTask);
  element("aligned").addEventListener("change", fillAligned);
  for (const id of ["seed", "prompt"]) element(id).addEventListener("change", show);
  element("lam").addEventListener("input", show);
  element("explored").hidden = false;
}

// A printed page shows all that can be unfolded.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});

start();
