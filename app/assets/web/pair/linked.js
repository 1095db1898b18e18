// @ts-check
// The maps of two models, and what of their images is chosen.

import { element, fit, reasonOf, set } from '../dom.js';
import { colouring } from '../explore/colouring.js';
import { readLayer } from '../explore/columns.js';
import { serverTransport } from '../explore/transport.js';
import { EmbeddingMap } from '../map/component.js';
import { aboutImage, aboutPrototype, nameOf, readCloud } from '../map/data.js';
import { insideMask } from '../map/lasso.js';
import { maskOf, size } from '../map/mask.js';
import { ofCell, otherClass, otherPrototype, shownFirst, summary } from './differences.js';

/** @typedef {import('../map/data.js').Cloud} Cloud */
/** @typedef {import('../map/mask.js').Mask} Mask */
/** @typedef {import('../map/geometry.js').Point} Point */
/** @typedef {import('../explore/columns.js').Layer} Layer */

/**
 * @typedef {object} ModelData
 * @property {string} title
 * @property {string} base where its workspace is
 * @property {string} cloud addresses in it
 * @property {string} layer
 * @property {string} explore the address of Explore with it
 * @property {import('../explore/state.js').Model} model
 *
 * @typedef {object} PairData
 * @property {string} pictures
 * @property {[ModelData, ModelData]} models
 * @property {number[]} match the prototype of B that each of A is matched with; -1 for none
 * @property {import('./differences.js').Cell | null} cell of the matrix below, that was clicked
 */

const MOST = 24; // pictures
const PIXELATED = 32; // pixels of the network's input, up to which pixels are seen as squares
const CHOICES = /** @type {const} */ (['all', 'class', 'prototype']);
/** @typedef {typeof CHOICES[number]} Choice */

export class Pair {
  /** @param {HTMLElement} parent */
  constructor(parent) {
    this.root = element('div', { class: 'kx-pair' }, parent);
    this.bar = element('div', { class: 'kx-pair-bar', role: 'toolbar', 'aria-label': 'Images' }, this.root);
    this.pills = CHOICES.map((choice) => this.pill(() => this.choose(choice)));
    this.lassoPill = this.pill(() => this.setLasso(!this.isLasso));
    this.lassoPill.textContent = 'Outline images';
    this.clearPill = this.pill(() => this.clear());
    this.clearPill.textContent = 'Clear outline';
    this.sides = [0, 1].map((at) => new Side(this.root, at, this));
    this.status = element('p', { class: 'kx-pair-status', role: 'status' }, this.root);
    this.tray = element('div', { class: 'kx-pair-tray' }, this.root);
    /** @type {Picture[]} */
    this.thumbs = [];
    /** @type {PairData | null} */
    this.data = null;
    /** @type {Choice} */
    this.choice = 'all';
    this.isLasso = false;
    /** @type {{ side: number, corners: Point[] } | null} */
    this.outline = null;
    this.marked = '';
  }

  /** @param {() => void} act */
  pill(act) {
    const button = element('button', { class: 'kx-pill', type: 'button', 'aria-pressed': 'false' }, this.bar);
    button.addEventListener('click', act);
    return button;
  }

  /** @param {PairData} data */
  async update(data) {
    const isNewCell = JSON.stringify(data.cell) !== JSON.stringify(this.data?.cell ?? null);
    if (isNewCell && data.cell) this.outline = null;
    this.data = data;
    try {
      await Promise.all(this.sides.map((side, at) => side.load(data.models[at])));
      if (this.data === data) this.draw();
    } catch (error) {
      this.status.textContent = `The maps could not be loaded: ${reasonOf(error)}`;
    }
  }

  /** @returns {{ layers: [Layer, Layer], clouds: [Cloud, Cloud] } | null} both, once they are here */
  get ready() {
    const [a, b] = this.sides;
    return a.layer && b.layer && a.cloud && b.cloud ? { layers: [a.layer, b.layer], clouds: [a.cloud, b.cloud] } : null;
  }

  draw() {
    const { data, ready } = this;
    if (!data || !ready) return;
    const { layers, clouds } = ready;
    const masks = { class: otherClass(layers), prototype: otherPrototype(layers, data.match) };
    const words = { all: 'All', class: 'Another class', prototype: 'Another prototype' };
    this.pills.forEach((pill, at) => {
      const choice = CHOICES[at];
      const count = choice === 'all' ? clouds[0].total : size(masks[choice]);
      pill.textContent = `${words[choice]} (${count.toLocaleString('en')})`;
      pill.setAttribute('aria-pressed', String(choice === this.choice));
    });
    this.lassoPill.setAttribute('aria-pressed', String(this.isLasso));
    this.clearPill.hidden = !this.outline;
    const shown = this.choice === 'all' ? null : masks[this.choice];
    const selected = this.selected(data, layers, clouds);
    this.sides.forEach((side, at) => side.draw(data, { shown, selected, marked: this.marked, at }, this.outline));
    const images = both(shown, selected);
    this.status.textContent = images ? summary(images, masks.class, masks.prototype) : '';
    // those of a cell are shown below the matrix, where it was clicked
    this.drawTray(data, images && this.outline ? shownFirst(images, masks.class, MOST) : [], ready);
  }

  /**
   * The images that are outlined, else those of the cell that was clicked; null for all.
   *
   * @param {PairData} data
   * @param {[Layer, Layer]} layers
   * @param {[Cloud, Cloud]} clouds
   * @returns {Mask | null}
   */
  selected({ cell }, layers, clouds) {
    if (this.outline) {
      const { corners, side } = this.outline;
      const { xs, ys } = clouds[side];
      return insideMask(corners, xs, ys);
    }
    return cell ? ofCell(layers, cell, clouds[0]) : null;
  }

  /**
   * @param {PairData} data
   * @param {number[]} images
   * @param {{ layers: [Layer, Layer], clouds: [Cloud, Cloud] }} ready
   */
  drawTray(data, images, { layers, clouds }) {
    this.tray.classList.toggle('kx-pair-pixelated', data.models[0].model.side <= PIXELATED);
    fit(this.thumbs, images.length, () => new Picture(this.tray));
    this.thumbs.forEach((thumb, at) => thumb.fill(data, images[at], clouds[0], layers));
  }

  /** @param {Choice} choice */
  choose(choice) {
    this.choice = choice;
    this.draw();
  }

  /** @param {boolean} isLasso whether a drag outlines images */
  setLasso(isLasso) {
    this.isLasso = isLasso;
    for (const { map } of this.sides) map.setLasso(isLasso);
    this.draw();
  }

  /**
   * @param {number} side
   * @param {Point[]} corners
   */
  lasso(side, corners) {
    this.outline = corners.length > 2 ? { side, corners } : null;
    this.setLasso(false);
  }

  clear() {
    this.outline = null;
    this.draw();
  }

  /** @param {string} name of an image or a prototype; "" beside them */
  pick(name) {
    this.marked = name.startsWith('prototype-') || name === this.marked ? '' : name;
    this.draw();
  }

  destroy() {
    for (const { map } of this.sides) map.destroy();
    this.root.remove();
  }
}

/**
 * @param {Mask | null} one null for all
 * @param {Mask | null} other
 */
const both = (one, other) => (one && other ? one.map((byte, at) => byte & other[at]) : (one ?? other));

/** One model's map. */
class Side {
  /**
   * @param {HTMLElement} parent
   * @param {number} at 0 for A, 1 for B
   * @param {Pair} pair
   */
  constructor(parent, at, pair) {
    this.root = element('section', { class: 'kx-pair-side' }, parent);
    this.title = element('h4', {}, this.root);
    const place = element('div', { class: 'kx-pair-map' }, this.root);
    this.map = new EmbeddingMap(place, {
      pick: (name) => pair.pick(name),
      view: () => {},
      lasso: (corners) => pair.lasso(at, corners),
    });
    /** @type {Cloud | null} */
    this.cloud = null;
    /** @type {Layer | null} */
    this.layer = null;
    this.loaded = { cloud: '', layer: '' };
  }

  /** @param {ModelData} data */
  async load({ base, cloud, layer, model }) {
    const transport = serverTransport(base);
    const places = { url: cloud, train: model.train, test: model.test };
    if (this.loaded.cloud !== base + cloud) {
      this.cloud = readCloud(places, await transport.bytes(cloud));
      this.loaded.cloud = base + cloud;
    }
    if (this.loaded.layer !== base + layer) {
      this.layer = readLayer(await transport.bytes(layer));
      this.loaded.layer = base + layer;
    }
  }

  /**
   * @param {PairData} data
   * @param {{ shown: Mask | null, selected: Mask | null, marked: string, at: number }} state
   * @param {{ side: number, corners: Point[] } | null} outline
   */
  draw(data, { shown, selected, marked, at }, outline) {
    const { cloud, layer } = this;
    if (!cloud || !layer) return;
    const { title, model } = data.models[at];
    const { classes: names, by, beside } = model;
    this.title.textContent = `${'AB'[at]}: ${title}`;
    this.map.show({
      cloud,
      layer,
      names,
      paint: colouring('class', { data: { model }, cloud, layer }),
      shown,
      selected,
      classes: null,
      focus: null,
      marked,
      outline: outline?.side === at ? outline.corners : [],
      picture: null,
      view: '',
      instead: 'The matrix and the pictures below have the same.',
      about: (thing) => {
        const { picture, lines } =
          'prototype' in thing
            ? aboutPrototype(layer, { names, by, beside }, thing.prototype)
            : aboutImage(cloud, layer, { names, by, beside }, thing.image);
        return { picture: picture && new URL(`${data.pictures}${picture}.png`, document.baseURI).href, lines };
      },
      from: null,
      splits: [],
    });
  }
}

/** An image of the selection, which leads to Explore. */
class Picture {
  /** @param {HTMLElement} parent */
  constructor(parent) {
    this.root = element('a', {}, parent);
    this.image = element('img', { loading: 'lazy', alt: '' }, this.root);
    this.words = element('span', {}, this.root);
  }

  /**
   * @param {PairData} data
   * @param {number} i
   * @param {Cloud} cloud
   * @param {[Layer, Layer]} layers
   */
  fill(data, i, cloud, layers) {
    const name = nameOf(cloud, i);
    const { classes } = data.models[0].model;
    const [before, after] = layers.map(({ predicted }) => classes[predicted[i]]);
    const [split, index] = name.split('-');
    const words = before === after ? before : `${before} → ${after}`;
    set(this.root, 'href', `${data.models[1].explore}&point=${name}`);
    set(this.root, 'title', `${split === 'train' ? 'Training' : 'Test'} image ${index}: ${words}`);
    set(this.image, 'src', new URL(`${data.pictures}${split}/${index}.png`, document.baseURI).href);
    this.words.textContent = words;
  }
}
