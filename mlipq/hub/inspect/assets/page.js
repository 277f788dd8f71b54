"use strict";
// What the page does beside being read: the periodic table's cells, the filter, and structures in 3D.
(() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // The periodic table: a cell says more when it is chosen.
  const cells = all(".elements button");
  for (const cell of cells) {
    cell.addEventListener("click", () => {
      for (const other of cells) other.setAttribute("aria-pressed", String(other === cell));
      one("#element").textContent = cell.title.replaceAll("; ", "\n");
    });
  }

  // Structures: one hidden viewer draws still pictures as they come into sight, another is put where the reader turns one.
  const structures = JSON.parse(one("#structures").textContent);
  const ballAndStick = (scale) => ({
    stick: { radius: 0.13, colorscheme: "Jmol" }, sphere: { scale, colorscheme: "Jmol" },
  });
  const options = { backgroundAlpha: 0, antialias: true, disableFog: true };
  const say = (figure, text) => {
    const note = one("p", figure) || figure.appendChild(document.createElement("p"));
    note.textContent = text;
  };

  function show(viewer, structure) {
    viewer.removeAllModels();
    viewer.removeAllShapes();
    viewer.removeAllLabels();
    const atoms = structure.elements.map((elem, i) => ({
      elem, serial: i, bonds: [], bondOrder: [],
      x: structure.positions[3 * i] / 1000, y: structure.positions[3 * i + 1] / 1000, z: structure.positions[3 * i + 2] / 1000,
    }));
    for (let k = 0; k < structure.bonds.length; k += 2) {
      const [i, j] = [structure.bonds[k], structure.bonds[k + 1]];
      atoms[i].bonds.push(j); atoms[i].bondOrder.push(1);
      atoms[j].bonds.push(i); atoms[j].bondOrder.push(1);
    }
    viewer.addModel().addAtoms(atoms);
    viewer.setStyle({}, ballAndStick(0.26));
    for (const i of structure.marked) {
      viewer.setStyle({ serial: i }, ballAndStick(0.36));
      viewer.addLabel(`${atoms[i].elem} ${i}`, {
        position: atoms[i], fontSize: 13, fontColor: "white", backgroundColor: "#8a3c00", backgroundOpacity: 0.9, inFront: true,
        screenOffset: { x: 16, y: 16 },
      });
    }
    if (structure.cell.length) addCell(viewer, structure);
    viewer.rotate(25, "x");
    viewer.rotate(-20, "y"); // nothing that stands along an axis is seen end on
    viewer.zoomTo();
    viewer.render();
  }

  function addCell(viewer, { cell, origin }) {
    const corner = (a, b, c) => {
      const [x, y, z] = [0, 1, 2].map((k) => (origin[k] + a * cell[k] + b * cell[3 + k] + c * cell[6 + k]) / 1000);
      return { x, y, z };
    };
    for (const [u, v] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
      viewer.addLine({ start: corner(0, u, v), end: corner(1, u, v), color: "#7a8794" });
      viewer.addLine({ start: corner(u, 0, v), end: corner(u, 1, v), color: "#7a8794" });
      viewer.addLine({ start: corner(u, v, 0), end: corner(u, v, 1), color: "#7a8794" });
    }
  }

  const viewers = {};
  function viewerIn(name, box) {
    viewers[name] ??= $3Dmol.createViewer(box, options);
    if (!viewers[name]) throw new Error("no WebGL");
    return viewers[name];
  }

  const stage = one("#stage");
  function still(figure) {
    const size = figure.getBoundingClientRect();
    stage.style.width = `${size.width}px`;
    stage.style.height = `${size.height}px`;
    const viewer = viewerIn("still", stage);
    viewer.resize();
    show(viewer, structures[figure.dataset.structure]);
    const drawn = one("canvas", stage), copy = one("canvas", figure);
    copy.width = drawn.width;
    copy.height = drawn.height;
    copy.getContext("2d").drawImage(drawn, 0, 0);
    for (const label of all("canvas", stage).slice(1)) copy.getContext("2d").drawImage(label, 0, 0);
    figure.dataset.drawn = "yes";
  }

  const live = document.createElement("div");
  live.className = "live";
  let turning = null;
  function stop() {
    if (!turning) return;
    live.remove();
    one(".turn", turning).textContent = "Turn";
    turning = null;
  }
  function turn(figure) {
    if (turning === figure) { stop(); return; }
    stop();
    figure.append(live);
    turning = figure;
    const viewer = viewerIn("live", live);
    viewer.resize();
    show(viewer, structures[figure.dataset.structure]);
    one(".turn", figure).textContent = "Done";
  }

  const figures = all(".picture[data-structure]");
  const drawOrSay = (figure, action) => {
    try { action(figure); } catch (error) { say(figure, "This browser draws no WebGL, so there is no picture."); }
  };
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      drawOrSay(target, still);
    }
  }, { rootMargin: "300px" });
  for (const figure of figures) {
    watcher.observe(figure);
    const button = one(".turn", figure);
    button.hidden = false;
    button.addEventListener("click", () => drawOrSay(figure, turn));
  }

  // The filter by reason.
  const chips = all(".chips button");
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      stop();
      for (const other of chips) other.setAttribute("aria-pressed", String(other === chip));
      let shown = 0;
      for (const card of all(".suspect")) {
        card.hidden = chip.dataset.kind !== "" && !card.dataset.kinds.split(" ").includes(chip.dataset.kind);
        shown += card.hidden ? 0 : 1;
      }
      one("#shown").textContent = `${shown} shown`;
    });
  }
})();
