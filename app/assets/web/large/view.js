// @ts-check
// The density map and the cards beside it: what is marked on one is marked on the other.

import { element, set } from '../dom.js';
import { Cards } from './cards.js';
import { DensityMap } from './map.js';

/** @typedef {import('./map.js').MapData} MapData */
/** @typedef {import('./tile.js').Look} Look */

/**
 * Prototypes, as columns.
 *
 * @typedef {object} PrototypeData
 * @property {number[]} class
 * @property {number[]} x places on the map, in −1…1; empty where they are not known
 * @property {number[]} y
 * @property {boolean[]} far
 * @property {number[]} share of the class's images, 0…1
 * @property {number[]} count
 * @property {boolean[]} ghost
 * @property {number[][]} nearest images, the exemplar first
 * @property {string[]} title
 * @property {string[]} about
 */

/**
 * @typedef {object} LargeData
 * @property {string} pictures their address, "" for none
 * @property {boolean} pixelated
 * @property {string[]} names of the classes
 * @property {string[]} colours of the classes
 * @property {number[]} sizes images of each class
 * @property {number[] | null} classes that are shown, null for all
 * @property {number[]} listed classes whose prototypes are shown
 * @property {boolean} beside whether a black box predicts
 * @property {MapData | null} map null while there are no tiles
 * @property {PrototypeData | null} prototypes null while there are none
 */

/** @type {[Look['by'], string][]} */
const COLOURS = [
  ['class', 'Class'],
  ['density', 'Density'],
  ['wrong', 'Black box wrong'],
];
/** @type {PrototypeData} */
const NONE = { class: [], x: [], y: [], far: [], share: [], count: [], ghost: [], nearest: [], title: [], about: [] };

export class Large {
  /** @param {HTMLElement} parent */
  constructor(parent) {
    this.root = element('div', { class: 'kx-large' }, parent);
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
    this.marked = -1;
    /** @type {LargeData | null} */
    this.data = null;
    /** @type {import('./map.js').Shown | null} */
    this.shown = null;
  }

  /** @param {LargeData} data */
  update(data) {
    const before = this.data;
    this.data = data;
    if (JSON.stringify(before?.prototypes?.class) !== JSON.stringify(data.prototypes?.class)) this.marked = -1;
    if (!data.beside && this.by === 'wrong') this.by = 'class';
    this.root.classList.toggle('kx-smooth', !data.pixelated);
    this.map.root.classList.toggle('kx-map-pixelated', data.pixelated);
    this.left.hidden = data.map === null;
    this.cards.root.hidden = data.prototypes === null;
    this.root.classList.toggle('kx-large-alone', data.map === null || data.prototypes === null);
    this.cards.fill(groupsOf(data), this.address);
    this.show(data);
  }

  /** @param {number} image */
  address = (image) => (this.data?.pictures && image >= 0 ? `${this.data.pictures}${image}.png` : null);

  /** @param {LargeData} data */
  show(data) {
    for (const { by, pill } of this.pills) {
      set(pill, 'aria-pressed', String(by === this.by));
      pill.hidden = by === 'wrong' && !data.beside;
    }
    this.explain();
    this.cards.mark(this.marked, false);
    if (!data.map) return;
    const prototypes = data.prototypes ?? NONE;
    const placed = prototypes.x.length ? prototypes : NONE;
    const same = this.shown?.map.tiles === data.map.tiles;
    const classes = data.classes && new Set(data.classes);
    this.shown = {
      map: same && this.shown ? this.shown.map : data.map,
      names: data.names,
      colours: data.colours,
      layer: {
        ...placed,
        picture: placed.nearest.map(([exemplar]) => exemplar ?? -1),
        predicted: new Uint16Array(0),
      },
      marked: placed === NONE ? -1 : this.marked,
      by: this.by,
      classes: equal(this.shown?.classes, classes) && this.shown ? this.shown.classes : classes,
      beside: data.beside,
      picture: this.address,
      about: (p) => [
        placed.title[p],
        placed.about[p],
        ...(placed.far[p] ? ['far from every image: its place says little'] : []),
      ],
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
    if (this.data) this.show(this.data);
  }

  /**
   * @param {number} p −1 for none
   * @param {boolean} onMap whether it was marked there
   */
  mark(p, onMap) {
    this.marked = p;
    if (!this.data) return;
    this.show(this.data);
    this.cards.mark(p, onMap);
    if (p >= 0 && !onMap && this.data.map && this.data.prototypes?.x.length) this.map.reveal(p);
  }

  destroy() {
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
 * @param {LargeData} data
 * @returns {import('./cards.js').Group[]} those of the listed classes
 */
function groupsOf({ prototypes, names, colours, sizes, listed }) {
  if (!prototypes) return [];
  const numbers = prototypes.class.map((_, p) => p);
  return listed.map((label) => ({
    title: names[label],
    note: `${sizes[label].toLocaleString('en')} images`,
    colour: colours[label],
    cards: numbers.filter((p) => prototypes.class[p] === label).map((p) => cardOf(prototypes, p)),
  }));
}

/**
 * @param {PrototypeData} prototypes
 * @param {number} p
 */
function cardOf({ title, about, share, count, ghost, nearest }, p) {
  const text = ghost[p] ? 'ghost' : `${Math.round(100 * share[p])}% · ${count[p].toLocaleString('en')}`;
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
