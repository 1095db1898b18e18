// @ts-check
// The density map, the cards beside it and the slider above: what is marked on one is marked on the other.

import { element, say, set } from '../dom.js';
import { count } from '../map/data.js';
import { Cards } from './cards.js';
import { Layers, NO_LAYER } from './layers.js';
import { DensityMap } from './map.js';
import { NumberSlider } from './number.js';

/** @typedef {import('./map.js').MapData} MapData */
/** @typedef {import('./layers.js').LayerData} LayerData */
/** @typedef {import('./tile.js').Look} Look */

/**
 * The numbers of prototypes per class that were computed.
 *
 * @typedef {object} Numbers
 * @property {number[]} ks ascending
 * @property {string[]} layers where the prototypes of each are
 * @property {string[]} words what each gives
 * @property {number} k the one that the page's address names
 * @property {number} turn how often the page has told of another
 */

/**
 * @typedef {object} LargeData
 * @property {string} name of the embedding
 * @property {string} pictures their address, "" for none
 * @property {boolean} pixelated
 * @property {string[]} names of the classes
 * @property {string[]} colours of the classes
 * @property {number[]} sizes images of each class
 * @property {number[] | null} classes that are shown, null for all
 * @property {boolean} beside whether a black box predicts
 * @property {MapData | null} map null while there are no tiles
 * @property {Numbers | null} numbers null while there are no prototypes
 */

/** @typedef {(told: { k: number, turn: number }) => void} Tell Python of another number */

/** @type {[Look['by'], string][]} */
const COLOURS = [
  ['class', 'Class'],
  ['density', 'Density'],
  ['wrong', 'Black box wrong'],
];
const REST = 350; // milliseconds after which another number is told

export class Large {
  /**
   * @param {HTMLElement} parent
   * @param {(address: string) => Promise<unknown>} ask for the JSON of an address
   */
  constructor(parent, ask) {
    this.root = element('div', { class: 'kx-large' }, parent);
    this.slider = new NumberSlider(this.root, (place) => this.slide(place));
    this.status = element('p', { class: 'kx-large-status', role: 'status', hidden: '' }, this.slider.root);
    this.left = element('div', { class: 'kx-large-left' }, this.root);
    this.bar = element('div', { class: 'kx-large-bar', role: 'group', 'aria-label': 'Colour of the map' }, this.left);
    element('span', { text: 'Colour', 'aria-hidden': 'true' }, this.bar);
    /** @type {Look['by']} */
    this.by = 'class';
    this.pills = COLOURS.map(([by, text]) => {
      const pill = element('button', { type: 'button', class: 'kx-large-pill', text }, this.bar);
      pill.addEventListener('click', () => this.colour(by));
      return { by, pill };
    });
    this.key = element('span', { class: 'kx-large-key' }, this.bar);
    this.map = new DensityMap(this.left, (p) => this.mark(p, true));
    this.cards = new Cards(this.root, (p) => this.mark(p, false));
    this.layers = new Layers(ask);
    this.layer = NO_LAYER;
    this.marked = -1;
    this.k = 0;
    this.turn = 0; // how often Python was told of `k`
    this.resting = 0;
    this.isNews = false; // whether Python does not know `k` yet
    /** @type {LargeData | null} */
    this.data = null;
    /** @type {Tell | null} */
    this.tell = null;
    /** @type {import('./map.js').Shown | null} */
    this.shown = null;
  }

  /**
   * @param {LargeData} data
   * @param {Tell} tell
   */
  async update(data, tell) {
    const isOther = this.data?.name !== data.name;
    this.data = data;
    this.tell = tell;
    const { numbers } = data;
    // what was chosen here since Python was told is newer than what it says
    if (numbers && (isOther || (numbers.turn === this.turn && !this.isNews) || !numbers.ks.includes(this.k))) {
      this.k = numbers.k;
      this.turn = numbers.turn;
    }
    if (!data.beside && this.by === 'wrong') this.by = 'class';
    this.root.classList.toggle('kx-smooth', !data.pixelated);
    this.map.root.classList.toggle('kx-map-pixelated', data.pixelated);
    this.left.hidden = data.map === null;
    this.slider.root.hidden = this.cards.root.hidden = numbers === null;
    this.root.classList.toggle('kx-large-alone', data.map === null || numbers === null);
    if (isOther || !numbers) this.forget();
    this.show();
    await this.present();
  }

  /** What is shown is of another embedding. */
  forget() {
    this.layer = NO_LAYER;
    this.marked = -1;
    this.cards.fill([], '', this.picture);
  }

  /** The address of the prototypes that are shown, or waited for; "" for none. */
  get address() {
    const numbers = this.data?.numbers;
    return numbers?.layers[numbers.ks.indexOf(this.k)] ?? '';
  }

  /** @param {number} place of a number among all */
  slide(place) {
    const k = this.data?.numbers?.ks[place];
    if (k === undefined || k === this.k) return;
    this.k = k;
    this.isNews = true;
    clearTimeout(this.resting);
    this.resting = window.setTimeout(() => this.tellNow(), REST);
    void this.present();
  }

  tellNow() {
    this.isNews = false;
    this.turn += 1;
    this.tell?.({ k: this.k, turn: this.turn });
  }

  /** Shows the prototypes of the chosen number: at once where they are here. */
  async present() {
    const { address, data } = this;
    const numbers = data?.numbers;
    if (!data || !numbers || !address) return;
    this.slider.show(numbers.ks, this.k, numbers.words[numbers.ks.indexOf(this.k)]);
    try {
      const layer = this.layers.here(address) ?? (await this.layers.get(address));
      if (address !== this.address) return; // another one was chosen meanwhile
      this.take(layer);
      void this.layers.ahead(numbers.layers, address);
    } catch (error) {
      if (address === this.address) this.fail(error);
    }
  }

  /** @param {import('./layers.js').Layer} layer */
  take(layer) {
    const { data } = this;
    if (!data) return;
    if (layer !== this.layer) this.marked = -1;
    this.layer = layer;
    this.status.hidden = true;
    const { listed } = layer.data;
    const every = (data.classes ?? data.names).length;
    this.cards.fill(groupsOf(data, layer.data), restOf(listed.length, every), this.picture);
    this.show();
  }

  /** @param {unknown} error */
  fail(error) {
    const reason = error instanceof Error ? error.message : String(error);
    say(this.status, `The prototypes could not be loaded: ${reason} Reload the page to try again.`);
    this.status.hidden = false;
  }

  /** @param {number} image */
  picture = (image) => (this.data?.pictures && image >= 0 ? `${this.data.pictures}${image}.png` : null);

  show() {
    const { data, layer } = this;
    if (!data) return;
    for (const { by, pill } of this.pills) {
      set(pill, 'aria-pressed', String(by === this.by));
      pill.hidden = by === 'wrong' && !data.beside;
    }
    this.explain();
    this.cards.mark(this.marked, false);
    if (!data.map) return;
    const { placed } = layer;
    const { title, about, far } = layer.data;
    const same = this.shown?.map.tiles === data.map.tiles;
    const classes = data.classes && new Set(data.classes);
    this.shown = {
      map: same && this.shown ? this.shown.map : data.map,
      names: data.names,
      colours: data.colours,
      layer: placed,
      marked: placed.x.length ? this.marked : -1,
      by: this.by,
      classes: equal(this.shown?.classes, classes) && this.shown ? this.shown.classes : classes,
      beside: data.beside,
      picture: this.picture,
      about: (p) => [title[p], about[p], ...(far[p] ? ['far from every image: its place says little'] : [])],
    };
    this.map.show(this.shown);
  }

  /** What the colours mean. */
  explain() {
    this.key.textContent = {
      class: 'The class that most images of a bin have; the more images, the fuller.',
      density: 'From few to many images, in steps of their logarithm.',
      wrong: 'The redder, the more images the black box gets wrong.',
    }[this.by];
    this.key.classList.toggle('kx-large-steps', this.by === 'density');
  }

  /** @param {Look['by']} by */
  colour(by) {
    this.by = by;
    this.show();
  }

  /**
   * @param {number} p −1 for none
   * @param {boolean} onMap whether it was marked there
   */
  mark(p, onMap) {
    this.marked = p;
    this.show();
    this.cards.mark(p, onMap);
    if (p >= 0 && !onMap && this.data?.map && this.layer.placed.x.length) this.map.reveal(p);
  }

  destroy() {
    clearTimeout(this.resting);
    if (this.isNews) this.tellNow();
    this.layers.stop();
    this.cards.destroy();
    this.map.destroy();
    this.root.remove();
  }
}

/**
 * @param {Set<number> | null | undefined} one
 * @param {Set<number> | null} other
 */
const equal = (one, other) =>
  one === other || (!!one && !!other && one.size === other.size && [...one].every((label) => other.has(label)));

/**
 * What is said where not all classes are listed.
 *
 * @param {number} listed
 * @param {number} every
 */
function restOf(listed, every) {
  return listed < every
    ? `Prototypes of ${count(listed)} of ${count(every)} classes. Choose classes to see theirs.`
    : '';
}

/**
 * @param {LargeData} data
 * @param {LayerData} layer
 * @returns {import('./cards.js').Group[]} those of the listed classes
 */
function groupsOf({ names, colours, sizes }, layer) {
  /** @type {Map<number, number[]>} */
  const members = new Map(layer.listed.map((label) => [label, []]));
  layer.class.forEach((label, p) => members.get(label)?.push(p));
  return [...members].map(([label, numbers]) => ({
    title: names[label],
    note: `${count(sizes[label])} images`,
    colour: colours[label],
    cards: numbers.map((p) => cardOf(layer, p)),
  }));
}

/**
 * @param {LayerData} layer
 * @param {number} p
 */
function cardOf({ title, about, share, count: images, ghost, nearest }, p) {
  const text = ghost[p] ? 'ghost' : `${Math.round(100 * share[p])}% · ${count(images[p])}`;
  return {
    number: p,
    title: title[p],
    about: `${title[p]}: ${about[p]}`,
    text,
    share: share[p],
    ghost: ghost[p],
    nearest: nearest[p],
  };
}
