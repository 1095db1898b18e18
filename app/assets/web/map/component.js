// @ts-check
// A cloud of points (WebGL) that stays, and a canvas over it for the prototypes, which change. Positions, labels and
// prototypes are fetched by address, each once.

import { element, penOf } from '../dom.js';
import createScatterplot from '../vendor/regl-scatterplot.js';
import {
  aboutImage,
  aboutPrototype,
  count,
  dots,
  farOf,
  filterKey,
  nameOf,
  readCloud,
  readLayer,
  visible,
} from './data.js';
import {
  WHOLE,
  imagePlace,
  isOnDot,
  linear,
  prototypePlace,
  prototypeUnder,
  ringOf,
  viewArea,
  viewText,
  zoomed,
} from './geometry.js';
import { paint } from './painting.js';
import { Tip } from './tip.js';

/** @typedef {import('../dom.js').Component<import('./data.js').MapData>} MapComponent */
/** @typedef {import('./geometry.js').Point} Point */
/** @typedef {import('./geometry.js').Scene} Scene */
/** @typedef {{ prototype: number } | { image: number }} Thing what can be under the pointer */

const ZOOM = 0.6; // of what is seen, at a press of a button
const REST = 400; // milliseconds after which a map is at rest
const FAR = 4; // CSS pixels that make a press a drag

/** @type {boolean | undefined} */
let able;
/** Asked once: a browser holds few WebGL contexts, and takes the oldest, the map's own, when there are too many. */
const hasWebGL = () => (able ??= Boolean(document.createElement('canvas').getContext('webgl')));

/** @param {string} url */
async function fetched(url) {
  const answer = await fetch(new URL(url, document.baseURI));
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText} for ${url}`);
  return answer;
}

export class EmbeddingMap {
  /** @param {MapComponent} component */
  constructor(component) {
    this.component = component;
    this.root = element('div', { class: 'kx-map' });
    this.canvas = element('canvas', { role: 'img', 'aria-label': 'The embedding map is loading' }, this.root);
    this.over = element('canvas', { class: 'kx-map-over', 'aria-hidden': 'true' }, this.root);
    this.tip = new Tip(this.root);
    this.status = element(
      'div',
      { class: 'kx-map-status', role: 'status', text: 'Loading the embedding map …' },
      this.root,
    );
    this.addButtons();
    this.x = linear();
    this.y = linear();
    this.turn = 0; // of `update`: a newer one overtakes
    /** @type {Scene | null} */
    this.scene = null;
    /** @type {Map<string, import('./data.js').Layer>} */
    this.layers = new Map();
    /** @type {import('../vendor/regl-scatterplot.js').Scatterplot | null} */
    this.scatter = null;
    /** @type {number[] | null} */
    this.filtered = null; // the images that are shown, null for all
    this.filteredKey = '';
    this.drawn = ''; // the address of the cloud that is drawn
    /** @type {string | null} */
    this.place = null; // where the view is right
    this.told = ''; // the view that Python knows
    this.resting = 0;
    this.fitted = false; // whether all of the map is seen
    /** @type {Thing | null} */
    this.hovered = null;
    /** @type {PointerEvent | null} */
    this.pointer = null;
    /** @type {Point | null} */
    this.down = null;
    this.listen();
    this.watcher = new ResizeObserver(() => this.resize());
    this.watcher.observe(this.root);
  }

  get data() {
    return this.component.data;
  }

  addButtons() {
    const buttons = element('div', { class: 'kx-map-buttons' }, this.root);
    const add = (/** @type {string} */ text, /** @type {string} */ title, /** @type {() => void} */ act) =>
      element('button', { type: 'button', title, 'aria-label': title, text }, buttons).addEventListener('click', act);
    add('+', 'Zoom in', () => this.zoom(ZOOM));
    add('−', 'Zoom out', () => this.zoom(1 / ZOOM));
    add('⤢', 'Show the whole map', () => this.showWhole());
  }

  listen() {
    this.root.addEventListener('pointermove', (event) => this.move(event));
    this.root.addEventListener('wheel', () => (this.fitted = false), { passive: true, capture: true });
    this.root.addEventListener('pointerleave', () => {
      this.pointer = null;
      this.hover(null);
    });
    this.root.addEventListener('pointerdown', (event) => (this.down = [event.clientX, event.clientY]));
    this.canvas.addEventListener('click', (event) => this.click(event), { capture: true });
  }

  /** @param {MapComponent} component with what is to be shown now */
  async update(component) {
    const turn = ++this.turn;
    this.component = component;
    this.told = this.data.view;
    if (!hasWebGL()) {
      this.root.hidden = true;
      if (!this.data.plain) component.setStateValue('webgl', false);
      return;
    }
    try {
      const [cloud, layer] = await Promise.all([this.loadCloud(), this.loadLayer()]);
      if (turn !== this.turn) return; // a newer state has overtaken this one
      const shown = visible(cloud, layer, component.data);
      const scene = { x: this.x, y: this.y, cloud, layer, far: farOf(cloud, shown), data: component.data };
      this.scene = scene;
      await this.draw(scene, shown);
      if (this.place !== this.data.place) await this.arrive();
      this.place = this.data.place;
      if (turn !== this.turn) return;
      this.point();
      this.describe(scene);
      this.status.hidden = true;
    } catch (error) {
      this.status.hidden = false;
      const reason = error instanceof Error ? error.message : String(error);
      this.status.textContent = `The map could not be loaded (${reason}). Reload the page to try again.`;
    }
  }

  async loadCloud() {
    const { cloud } = this.data;
    if (this.scene?.cloud.url === cloud.url) return this.scene.cloud;
    return readCloud(cloud, await (await fetched(cloud.url)).arrayBuffer());
  }

  async loadLayer() {
    const { url } = this.data.layer;
    const layer = this.layers.get(url) ?? readLayer(await (await fetched(url)).json());
    this.layers.set(url, layer);
    return layer;
  }

  /**
   * @param {Scene} scene
   * @param {number[] | null} shown the images to show, null for all
   */
  async draw({ cloud, data }, shown) {
    const scatter = (this.scatter ??= this.start());
    const key = filterKey(data);
    if (this.drawn !== cloud.url) {
      this.drawn = cloud.url;
      scatter.set({ pointColor: data.colours, ...dots(cloud.total) });
      await scatter.draw(
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
    } else if (key !== this.filteredKey) {
      if (shown === null) await scatter.unfilter();
      else await scatter.filter(shown);
      this.filtered = shown;
    }
    this.filteredKey = key;
    this.paint();
  }

  start() {
    const scatter = createScatterplot({
      canvas: this.canvas,
      width: 'auto',
      height: 'auto',
      xScale: this.x,
      yScale: this.y,
      colorBy: 'valueA',
      sizeBy: 'valueB',
      pointColorActive: this.style('--kx-neutral'),
      pointColorHover: this.style('--kx-neutral'),
      deselectOnDblClick: false,
      deselectOnEscape: false,
      lassoInitiator: false,
      backgroundColor: this.style('--st-background-color'),
    });
    scatter.subscribe('draw', () => this.paint()); // after it has moved, zoomed or changed its size
    // a prototype lies over the points, and `move` has seen it before regl-scatterplot sees the point below it
    const isAbove = () => this.hovered !== null && 'prototype' in this.hovered;
    scatter.subscribe('pointover', (image) => isAbove() || this.hover({ image }));
    scatter.subscribe('pointout', () => isAbove() || this.hover(null));
    scatter.subscribe('select', ({ points }) => {
      scatter.deselect({ preventEvent: true });
      if (points.length === 1 && this.scene) this.pick(nameOf(this.scene.cloud, points[0]));
    });
    return scatter;
  }

  /**
   * Says in words what is shown.
   *
   * @param {Scene} scene
   */
  describe({ cloud, layer, data }) {
    const images = count(this.filtered === null ? cloud.total : this.filtered.length);
    const prototypes = count(layer.x.length);
    this.canvas.setAttribute(
      'aria-label',
      `Embedding map of ${images} images and ${prototypes} prototypes. ${data.instead}`,
    );
  }

  /** @param {string} name */
  pick(name) {
    this.component.setTriggerValue('picked', name);
  }

  /** @param {string} name a custom property: Streamlit's (--st-…) or ours (app.figures.palette) */
  style(name) {
    return getComputedStyle(this.root).getPropertyValue(name).trim();
  }

  paint() {
    if (!this.scene) return;
    const ratio = window.devicePixelRatio || 1;
    const { width, height } = this.root.getBoundingClientRect();
    if (this.over.width !== Math.round(width * ratio) || this.over.height !== Math.round(height * ratio)) {
      this.over.width = Math.round(width * ratio);
      this.over.height = Math.round(height * ratio);
    }
    const pen = penOf(this.over);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    paint(pen, this.scene, {
      ink: this.style('--st-text-color'),
      paper: this.style('--st-background-color'),
      font: this.style('--st-font'),
    });
    this.point();
    const [left, right] = this.x.domain();
    this.root.dataset.span = (right - left).toFixed(4); // the width of what is seen, where the whole map is 2 wide
    this.tell();
  }

  /**
   * @param {MouseEvent} event
   * @returns {Point} from the map's corner
   */
  pointOf(event) {
    const box = this.root.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  /**
   * The prototype under the pointer, -1 for none.
   *
   * @param {MouseEvent} event
   */
  under(event) {
    return this.scene ? prototypeUnder(this.scene, this.pointOf(event)) : -1;
  }

  /** What is under the pointer may have moved, changed or gone without a move of the pointer: tells of it anew. */
  point() {
    if (!this.hovered) return;
    const p = this.pointer ? this.under(this.pointer) : -1;
    if (p >= 0) this.hover({ prototype: p });
    else if (!('image' in this.hovered && this.isUnder(this.hovered.image))) this.hover(null);
    else this.hover(this.hovered);
  }

  /**
   * Whether an image's dot is shown, and the pointer still on it.
   *
   * @param {number} i
   */
  isUnder(i) {
    if (!this.scene || !this.pointer) return false;
    if (i >= this.scene.cloud.total || this.filtered?.includes(i) === false) return false;
    return isOnDot(this.scene, i, this.pointOf(this.pointer));
  }

  /** @param {PointerEvent} event */
  move(event) {
    if (event.buttons) this.fitted = false;
    this.pointer = event;
    const p = this.under(event);
    this.root.classList.toggle('kx-map-hit', p >= 0);
    if (p >= 0) this.hover({ prototype: p });
    else if (this.hovered && 'prototype' in this.hovered) this.hover(null);
  }

  /** @param {MouseEvent} event */
  click(event) {
    const isDrag = this.down && Math.hypot(event.clientX - this.down[0], event.clientY - this.down[1]) > FAR;
    const p = this.under(event);
    if (isDrag || p < 0) return;
    event.stopImmediatePropagation();
    this.pick(`prototype-${p}`);
  }

  /** @param {Thing | null} thing */
  hover(thing) {
    this.hovered = thing;
    if (!thing || !this.scene) {
      this.tip.hide();
      return;
    }
    const { cloud, layer, data } = this.scene;
    const isPrototype = 'prototype' in thing;
    const place = isPrototype ? prototypePlace(this.scene, thing.prototype) : imagePlace(this.scene, thing.image);
    const { picture, lines } = isPrototype
      ? aboutPrototype(layer, data, thing.prototype)
      : aboutImage(cloud, layer, data, thing.image);
    this.tip.show(place, picture && `${data.pictures}${picture}.png`, lines);
  }

  /**
   * Where something is, from the map's corner; null for what is not on it.
   *
   * @param {string} name
   * @returns {Point | null}
   */
  placeOf(name) {
    return (this.scene && ringOf(this.scene, name)?.place) ?? null;
  }

  /** Goes to where the link says, else shows all. */
  async arrive() {
    if (!this.data.view) return this.showWhole();
    await this.scatter?.zoomToArea(viewArea(this.data.view));
    this.fitted = false;
    this.paint();
  }

  /** What is seen, for the link; "" for all of it. */
  view() {
    return this.fitted ? '' : viewText(this.x.domain(), this.y.domain());
  }

  /** Tells Python what is seen, once the map is at rest. */
  tell() {
    clearTimeout(this.resting);
    this.resting = window.setTimeout(() => {
      if (!this.root.isConnected || this.place !== this.data.place || this.view() === this.told) return;
      this.told = this.view();
      this.component.setStateValue('view', this.told);
    }, REST);
  }

  /** Shows all of the map, whatever the shape of the window. */
  async showWhole() {
    if (!this.scatter) return;
    await this.scatter.zoomToArea(WHOLE);
    this.paint();
    this.fitted = true; // until someone moves or zooms
  }

  /** @param {number} factor above 1 zooms out */
  zoom(factor) {
    if (!this.scatter) return;
    this.fitted = false;
    this.scatter.zoomToArea(zoomed(this.x.domain(), this.y.domain(), factor));
  }

  resize() {
    if (!this.root.isConnected || !this.scatter) return;
    this.scatter.set({ width: 'auto', height: 'auto' });
    this.scatter.redraw();
    // it knows its new shape once it is drawn
    if (this.fitted) this.scatter.subscribe('draw', () => this.showWhole(), 1);
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
