// The map of an embedding: a cloud of points (WebGL) that stays, and prototypes over it that change.
// Positions, labels and prototypes are fetched by address, each once; Python sends addresses and choices only.

import createScatterplot from './vendor/regl-scatterplot.js';

const maps = new WeakMap();
const idle = []; // the map of the last page, kept so that coming back costs nothing and finds the same view
const roots = new WeakMap();

// asked once: a browser holds few WebGL contexts, and takes the oldest, the map's own, when there are too many
let able;
const hasWebGL = () => (able ??= Boolean(document.createElement('canvas').getContext('webgl')));

// where an image ("train", "test") or a "prototype" is in the window, for tests
export function places(root, kind, index) {
  const [x, y] = roots.get(root).placeOf(`${kind}-${index}`);
  const box = root.getBoundingClientRect();
  return [box.left + x, box.top + y];
}

export async function show(component) {
  const { parentElement, data } = component;
  if (!maps.has(parentElement)) {
    const at = idle.findIndex((map) => map.cloud?.url === data.cloud.url);
    const map = at < 0 ? new EmbeddingMap() : idle.splice(at, 1)[0];
    maps.set(parentElement, map);
    parentElement.append(map.root);
  }
  const map = maps.get(parentElement);
  await map.update(component);
  return () => {
    maps.delete(parentElement);
    map.leave();
    idle.unshift(map);
    while (idle.length > 1) idle.pop().destroy();
  };
}

const element = (tag, attributes = {}, parent = null) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'text') made.textContent = value;
    else made.setAttribute(name, value);
  }
  parent?.append(made);
  return made;
};

// what regl-scatterplot needs of a d3 scale: it keeps them in step with the camera
const linear = () => {
  let domain = [-1, 1];
  let range = [0, 1];
  const scale = (value) => range[0] + ((value - domain[0]) / (domain[1] - domain[0])) * (range[1] - range[0]);
  scale.domain = (given) => (given ? ((domain = given), scale) : domain);
  scale.range = (given) => (given ? ((range = given), scale) : range);
  return scale;
};

const count = (number) => number.toLocaleString('en');
const fetched = async (url) => {
  const answer = await fetch(new URL(url, document.baseURI));
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText} for ${url}`);
  return answer;
};

class EmbeddingMap {
  constructor() {
    this.root = element('div', { class: 'kx-map' });
    roots.set(this.root, this);
    this.canvas = element('canvas', { role: 'img', 'aria-label': 'The map is loading' }, this.root);
    this.over = element('canvas', { class: 'kx-map-over', 'aria-hidden': 'true' }, this.root);
    this.tip = element('div', { class: 'kx-map-tip', hidden: '' }, this.root);
    this.status = element('div', { class: 'kx-map-status', role: 'status', text: 'Loading the map …' }, this.root);
    const buttons = element('div', { class: 'kx-map-buttons' }, this.root);
    for (const [text, title, act] of [
      ['+', 'Zoom in', () => this.zoom(0.6)],
      ['−', 'Zoom out', () => this.zoom(1 / 0.6)],
      ['⤢', 'Show the whole map', () => this.scatter && this.whole()],
    ]) {
      element('button', { type: 'button', title, 'aria-label': title, text }, buttons).addEventListener('click', act);
    }
    this.x = linear();
    this.y = linear();
    this.turn = 0;
    this.hovered = null;
    this.layers = new Map();
    this.root.addEventListener('pointermove', (event) => this.move(event));
    this.root.addEventListener('wheel', () => (this.fitted = false), { passive: true, capture: true });
    this.root.addEventListener('pointerleave', () => {
      this.pointer = null;
      this.hover(null);
    });
    this.root.addEventListener('pointerdown', (event) => (this.down = [event.clientX, event.clientY]));
    this.canvas.addEventListener('click', (event) => this.click(event), { capture: true });
    this.watcher = new ResizeObserver(() => this.resize());
    this.watcher.observe(this.root);
  }

  async update(component) {
    const turn = ++this.turn;
    this.component = component;
    this.data = component.data;
    this.told = this.data.view;
    if (!hasWebGL()) {
      this.root.hidden = true;
      if (!this.data.plain) component.setStateValue('webgl', false);
      return;
    }
    try {
      await Promise.all([this.loadCloud(), this.loadLayer()]);
      if (turn !== this.turn) return; // a newer state has overtaken this one
      await this.draw();
      if (this.place !== this.data.place) await this.arrive();
      this.place = this.data.place;
      if (turn !== this.turn) return;
      this.point();
      this.say();
      this.status.hidden = true;
    } catch (error) {
      this.status.hidden = false;
      this.status.textContent = `The map could not be loaded (${error.message}). Reload the page to try again.`;
    }
  }

  // positions, labels and the black box's predictions: training images first, then test images
  async loadCloud() {
    const { url, train, test } = this.data.cloud;
    if (this.cloud?.url === url) return;
    const buffer = await (await fetched(url)).arrayBuffer();
    const total = train + test;
    const places = new Float32Array(buffer, 0, 2 * total);
    const labels = new Uint16Array(buffer, 8 * total, total);
    const blackBox = new Uint16Array(buffer, 10 * total, total);
    const low = [Infinity, Infinity];
    const high = [-Infinity, -Infinity];
    for (let i = 0; i < 2 * total; i += 1) {
      low[i % 2] = Math.min(low[i % 2], places[i]);
      high[i % 2] = Math.max(high[i % 2], places[i]);
    }
    const half = Math.max(high[0] - low[0], high[1] - low[1], 1e-6) * 0.525;
    const middle = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2];
    const normal = (value, axis) => (value - middle[axis]) / half;
    const xs = new Float32Array(total);
    const ys = new Float32Array(total);
    for (let i = 0; i < total; i += 1) {
      xs[i] = normal(places[2 * i], 0);
      ys[i] = normal(places[2 * i + 1], 1);
    }
    this.cloud = { url, train, total, xs, ys, labels, blackBox, normal, names: this.nameplaces(xs, ys, labels, train) };
  }

  // the median place of each class's training images, where its name is written
  nameplaces(xs, ys, labels, train) {
    const members = new Map();
    for (let i = 0; i < train; i += 1) {
      if (!members.has(labels[i])) members.set(labels[i], []);
      members.get(labels[i]).push(i);
    }
    const median = (values) => Float32Array.from(values).sort()[values.length >> 1];
    return [...members].map(([label, of]) => [label, median(of.map((i) => xs[i])), median(of.map((i) => ys[i]))]);
  }

  async loadLayer() {
    const { url } = this.data.layer;
    if (!this.layers.has(url)) {
      const layer = await (await fetched(url)).json();
      layer.predicted = new Uint16Array(
        Uint8Array.from(atob(layer.predicted), (letter) => letter.charCodeAt(0)).buffer,
      );
      this.layers.set(url, layer);
    }
    this.layer = this.layers.get(url);
  }

  async draw() {
    const { cloud } = this;
    if (!this.scatter) this.start();
    const shown = this.visible();
    if (this.drawn !== cloud.url) {
      this.drawn = cloud.url;
      this.scatter.set(this.look());
      await this.scatter.draw(
        {
          x: cloud.xs,
          y: cloud.ys,
          z: Float32Array.from(cloud.labels),
          w: Float32Array.from({ length: cloud.total }, (_, i) => (i < cloud.train ? 0 : 1)),
        },
        { zDataType: 'categorical', wDataType: 'categorical', filter: shown ?? undefined },
      );
      this.place = null;
      this.filtered = shown;
    } else if (String(this.filterKey) !== this.filteredKey) {
      if (shown === null) await this.scatter.unfilter();
      else await this.scatter.filter(shown);
      this.filtered = shown;
    }
    this.filteredKey = String(this.filterKey);
    this.paint();
  }

  // what is shown, in words
  say() {
    const points = this.filtered === null ? this.cloud.total : this.filtered.length;
    const prototypes = this.layer.x.length;
    this.canvas.setAttribute(
      'aria-label',
      `Map of ${count(points)} images and ${count(prototypes)} prototypes. ${this.data.instead}`,
    );
  }

  // what depends on the data set: another one may be shown in the same place
  look() {
    const many = this.cloud.total > 5000;
    return {
      pointColor: this.data.colours,
      pointSize: many ? [2.5, 5] : [6, 9],
      opacity: many ? 0.55 : 0.8,
    };
  }

  start() {
    this.scatter = createScatterplot({
      canvas: this.canvas,
      width: 'auto',
      height: 'auto',
      xScale: this.x,
      yScale: this.y,
      colorBy: 'valueA',
      sizeBy: 'valueB',
      pointColorActive: '#888888',
      pointColorHover: '#888888',
      deselectOnDblClick: false,
      deselectOnEscape: false,
      lassoInitiator: false,
      backgroundColor: this.style('--st-background-color', '#ffffff'),
    });
    this.scatter.subscribe('draw', () => this.paint()); // after it has moved, zoomed or changed its size
    // a prototype lies over the points, and `move` has seen it before regl-scatterplot sees the point below it
    const above = () => this.hovered && 'prototype' in this.hovered;
    this.scatter.subscribe('pointover', (i) => above() || this.hover({ point: i }));
    this.scatter.subscribe('pointout', () => above() || this.hover(null));
    this.scatter.subscribe('select', ({ points }) => {
      this.scatter.deselect({ preventEvent: true });
      if (points.length === 1) this.pick(this.nameOf(points[0]));
    });
  }

  // indices of the images to show, null for all; also what names this choice
  visible() {
    const { cloud, data, layer } = this;
    const { show: which, classes, test } = data;
    this.filterKey = [which, classes, test, which === 'all' ? '' : data.layer.url];
    if (which === 'all' && !classes && test) return null;
    const wanted = classes && new Set(classes);
    const found = [];
    for (let i = 0; i < (test ? cloud.total : cloud.train); i += 1) {
      if (wanted && !wanted.has(cloud.labels[i])) continue;
      const said = layer.predicted[i];
      if (which === 'wrong' && said === cloud.labels[i]) continue;
      if (which === 'disagree' && said === cloud.blackBox[i]) continue;
      found.push(i);
    }
    return found;
  }

  nameOf(i) {
    return i < this.cloud.train ? `train-${i}` : `test-${i - this.cloud.train}`;
  }

  pick(name) {
    this.component.setTriggerValue('picked', name);
  }

  style(name, otherwise) {
    return getComputedStyle(this.root).getPropertyValue(name).trim() || otherwise;
  }

  side(p) {
    return (5 + 12 * Math.sqrt(this.layer.share[p])) * this.scale();
  }

  // many prototypes are drawn smaller, so that they do not hide the map
  scale() {
    return Math.min(1, Math.max(0.4, Math.sqrt(150 / this.layer.x.length)));
  }

  placed(p) {
    const { normal } = this.cloud;
    return [this.x(normal(this.layer.x[p], 0)), this.y(normal(this.layer.y[p], 1))];
  }

  // everything over the cloud: prototypes, the names of the classes, what is selected
  paint() {
    if (!this.cloud || !this.layer) return;
    const { data, cloud, layer } = this;
    const ratio = window.devicePixelRatio || 1;
    const { width, height } = this.root.getBoundingClientRect();
    if (this.over.width !== Math.round(width * ratio) || this.over.height !== Math.round(height * ratio)) {
      this.over.width = Math.round(width * ratio);
      this.over.height = Math.round(height * ratio);
    }
    const pen = this.over.getContext('2d');
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const ink = this.style('--st-text-color', '#222222');
    const paper = this.style('--st-background-color', '#ffffff');
    const wanted = data.classes && new Set(data.classes);
    for (let p = layer.x.length - 1; p >= 0; p -= 1) {
      if (wanted && !wanted.has(layer.class[p])) continue;
      const [x, y] = this.placed(p);
      this.mark(pen, x, y, this.side(p), layer.ghost[p]);
      pen.fillStyle = data.colours[layer.class[p]];
      pen.fill();
      pen.lineWidth = 3.5 * this.scale();
      pen.strokeStyle = paper;
      pen.stroke();
      pen.lineWidth = 1.8 * this.scale();
      pen.strokeStyle = ink;
      pen.setLineDash(layer.ghost[p] ? [3, 2] : []);
      pen.stroke();
      pen.setLineDash([]);
    }
    pen.font = `600 13px ${this.style('--st-font', 'sans-serif')}`;
    pen.textAlign = 'center';
    pen.lineJoin = 'round';
    const named = cloud.names.filter(([label]) => !wanted || wanted.has(label));
    for (const [label, x, y] of named.length <= 40 ? named : []) {
      const text = data.names[label];
      pen.lineWidth = 4;
      pen.strokeStyle = paper;
      pen.strokeText(text, this.x(x), this.y(y) - 14);
      pen.fillStyle = ink;
      pen.fillText(text, this.x(x), this.y(y) - 14);
    }
    this.ring(pen, ink, paper);
    this.point();
    this.root.dataset.span = this.span().toFixed(4);
    this.tell();
  }

  mark(pen, x, y, side, ghost) {
    pen.beginPath();
    if (ghost) {
      pen.moveTo(x, y - side);
      pen.lineTo(x + side, y);
      pen.lineTo(x, y + side);
      pen.lineTo(x - side, y);
      pen.closePath();
    } else {
      pen.rect(x - side / 2, y - side / 2, side, side);
    }
  }

  ring(pen, ink, paper) {
    const at = this.placeOf(this.data.selected);
    if (!at) return;
    for (const [width, colour] of [[6, paper], [2.5, ink]]) {
      pen.beginPath();
      pen.arc(at[0], at[1], at[2], 0, 2 * Math.PI);
      pen.lineWidth = width;
      pen.strokeStyle = colour;
      pen.stroke();
    }
  }

  placeOf(name) {
    const [kind, number] = (name ?? '').split('-');
    const index = Number(number);
    if (kind === 'prototype' && index < this.layer.x.length) return [...this.placed(index), this.side(index) + 4];
    if (kind !== 'train' && kind !== 'test') return null;
    const i = kind === 'train' ? index : index + this.cloud.train;
    return i < this.cloud.total ? [this.x(this.cloud.xs[i]), this.y(this.cloud.ys[i]), 9] : null;
  }

  under(event) {
    if (!this.layer || !this.cloud) return -1;
    const box = this.root.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const wanted = this.data.classes && new Set(this.data.classes);
    for (let p = 0; p < this.layer.x.length; p += 1) {
      if (wanted && !wanted.has(this.layer.class[p])) continue;
      const [px, py] = this.placed(p);
      const reach = (this.layer.ghost[p] ? this.side(p) : this.side(p) / 2) + 2;
      if (Math.abs(px - x) <= reach && Math.abs(py - y) <= reach) return p;
    }
    return -1;
  }

  // what is under the pointer may have moved, changed or gone without a move of the pointer: tell of it anew
  point() {
    if (!this.hovered) return;
    const p = this.pointer ? this.under(this.pointer) : -1;
    const i = this.hovered.point;
    if (p >= 0) this.hover({ prototype: p });
    else this.hover(this.pointer && i !== undefined && this.isUnder(i) ? { point: i } : null);
  }

  // whether an image's dot is shown, and the pointer still on it
  isUnder(i) {
    if (i >= this.cloud.total || this.filtered?.includes(i) === false) return false;
    const box = this.root.getBoundingClientRect();
    const [x, y] = [this.pointer.clientX - box.left, this.pointer.clientY - box.top];
    return Math.hypot(this.x(this.cloud.xs[i]) - x, this.y(this.cloud.ys[i]) - y) < 12;
  }

  move(event) {
    if (event.buttons) this.fitted = false;
    this.pointer = event;
    const p = this.under(event);
    this.root.classList.toggle('kx-map-hit', p >= 0);
    if (p >= 0) this.hover({ prototype: p });
    else if (this.hovered && 'prototype' in this.hovered) this.hover(null);
  }

  click(event) {
    const far = this.down && Math.hypot(event.clientX - this.down[0], event.clientY - this.down[1]) > 4;
    const p = this.under(event);
    if (far || p < 0) return;
    event.stopImmediatePropagation();
    this.pick(`prototype-${p}`);
  }

  hover(what) {
    this.hovered = what;
    if (!what) {
      this.tip.hidden = true;
      return;
    }
    const { data, cloud, layer } = this;
    let at, picture, lines;
    if ('prototype' in what) {
      const p = what.prototype;
      const name = data.names[layer.class[p]];
      at = this.placed(p);
      picture = layer.picture[p] < 0 ? null : `train/${layer.picture[p]}`;
      lines = layer.ghost[p]
        ? [`Prototype ${p} of ${name}`, 'a ghost: nearest to no image of its class']
        : [
            `Prototype ${p} of ${name}`,
            `${Math.round(100 * layer.share[p])} % of its class, ${count(layer.count[p])} images`,
          ];
    } else {
      const i = what.point;
      const test = i >= cloud.train;
      const index = test ? i - cloud.train : i;
      const [label, said, black] = [cloud.labels[i], layer.predicted[i], cloud.blackBox[i]];
      const verdict = (given) => `${data.names[given]} ${given === label ? '✓' : '✗'}`;
      at = [this.x(cloud.xs[i]), this.y(cloud.ys[i])];
      picture = `${test ? 'test' : 'train'}/${index}`;
      lines = [
        `${test ? 'Test' : 'Training'} image ${count(index)}: ${data.names[label]}`,
        data.beside ? `${data.by} says ${verdict(said)}, black box ${verdict(black)}` : `${data.by} says ${verdict(said)}`,
      ];
    }
    this.tip.replaceChildren();
    if (picture) element('img', { src: `${data.pictures}${picture}.png`, alt: '' }, this.tip);
    const text = element('div', {}, this.tip);
    for (const line of lines) element('div', { text: line }, text);
    this.tip.hidden = false;
    const { width, height } = this.root.getBoundingClientRect();
    const box = this.tip.getBoundingClientRect();
    const left = at[0] + 16 + box.width > width ? at[0] - box.width - 16 : at[0] + 16;
    const top = Math.min(Math.max(4, at[1] - box.height / 2), Math.max(4, height - box.height - 4));
    this.tip.style.left = `${Math.max(4, left)}px`;
    this.tip.style.top = `${top}px`;
  }

  // where the link says, else all of it
  async arrive() {
    if (!this.data.view) return this.whole();
    const [x, y, side] = this.data.view.split('_').map(Number);
    await this.scatter.zoomToArea({ x: x - side / 2, y: y - side / 2, width: side, height: side });
    this.fitted = false;
    this.paint();
  }

  // what is seen, for the link: its middle and its smaller side, where the whole map is 2 wide; "" for all of it
  view() {
    if (this.fitted) return '';
    const [x0, x1] = this.x.domain();
    const [y0, y1] = this.y.domain();
    const numbers = [(x0 + x1) / 2, (y0 + y1) / 2, Math.max(1e-4, Math.min(x1 - x0, y1 - y0))];
    return numbers.map((number) => number.toFixed(4)).join('_');
  }

  // tells Python what is seen, once the map is at rest
  tell() {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      if (!this.root.isConnected || this.place !== this.data.place || this.view() === this.told) return;
      this.told = this.view();
      this.component.setStateValue('view', this.told);
    }, 400);
  }

  // all of the map, whatever the shape of the window
  async whole() {
    await this.scatter.zoomToArea({ x: -1, y: -1, width: 2, height: 2 });
    this.paint();
    this.fitted = true; // until someone moves or zooms
  }

  // the width of what is seen, where the whole map is 2 wide
  span() {
    const [left, right] = this.x.domain();
    return right - left;
  }

  zoom(factor) {
    if (!this.scatter) return;
    this.fitted = false;
    const [x0, x1] = this.x.domain();
    const [y0, y1] = this.y.domain();
    const [width, height] = [(x1 - x0) * factor, (y1 - y0) * factor];
    this.scatter.zoomToArea({
      x: (x0 + x1 - width) / 2,
      y: (y0 + y1 - height) / 2,
      width,
      height,
    });
  }

  resize() {
    if (!this.root.isConnected || !this.scatter) return;
    this.scatter.set({ width: 'auto', height: 'auto' });
    this.scatter.redraw();
    // it knows its new shape once it is drawn
    if (this.fitted) this.scatter.subscribe('draw', () => this.whole(), 1);
  }

  leave() {
    this.turn += 1;
    this.hover(null);
    this.root.remove();
  }

  destroy() {
    this.watcher.disconnect();
    this.scatter?.destroy();
  }
}
