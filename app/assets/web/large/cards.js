// @ts-check
// Prototypes as cards, in rows by class: the exemplar, how many images it stands for, and the images nearest to it.

import { element, fit, picture, say, set } from '../dom.js';
import { count } from '../map/data.js';

/**
 * @typedef {object} Card
 * @property {number} number of the prototype
 * @property {string} title
 * @property {string} about it, in words
 * @property {string} text below its picture
 * @property {number} share of its class's images, 0…1
 * @property {boolean} ghost
 * @property {number[]} nearest images, the exemplar first
 */

/** @typedef {{ title: string, note: string, colour: string, cards: Card[] }} Group */

const REST = 150; // milliseconds after which what is not seen is filled, too

export class Cards {
  /**
   * @param {Element} parent
   * @param {(p: number) => void} pick is told of a click on a card
   */
  constructor(parent, pick) {
    this.root = element('div', { class: 'kx-large-cards', role: 'region', 'aria-label': 'Prototypes' }, parent);
    this.rest = element('p', { class: 'kx-large-rest', hidden: '' }, this.root);
    this.marked = -1;
    this.resting = 0;
    /** @type {Row[]} */
    this.rows = [];
    /** @type {WeakMap<Element, Row>} */
    this.rowOf = new WeakMap();
    this.sight = new IntersectionObserver((entries) => this.see(entries));
    this.root.addEventListener('click', (event) => {
      const button = event.target instanceof Element && event.target.closest('button');
      if (button) pick(button.getAttribute('aria-pressed') === 'true' ? -1 : Number(button.dataset.prototype));
    });
  }

  /**
   * Fills the rows that are seen, and the others at rest: a slide changes what is seen only.
   *
   * @param {Group[]} groups
   * @param {string} rest what is said of those that are not among them, "" for nothing
   * @param {(image: number) => string | null} address of a picture
   */
  fill(groups, rest, address) {
    say(this.rest, rest);
    this.rest.hidden = !rest;
    fit(this.rows, groups.length, () => this.newRow());
    groups.forEach((group, at) => this.rows[at].show(() => this.rows[at]?.fill(group, address, this.marked)));
    clearTimeout(this.resting);
    this.resting = window.setTimeout(() => this.flush(), REST);
  }

  newRow() {
    const row = new Row(this.root);
    this.rowOf.set(row.root, row);
    this.sight.observe(row.root);
    return row;
  }

  /** @param {IntersectionObserverEntry[]} entries */
  see(entries) {
    for (const { target, isIntersecting } of entries) {
      const row = this.rowOf.get(target);
      if (!row) continue;
      row.isSeen = isIntersecting;
      if (isIntersecting) row.flush();
    }
  }

  flush() {
    for (const row of this.rows) row.flush();
  }

  /**
   * @param {number} p −1 for none
   * @param {boolean} reveal whether its card comes into sight
   */
  mark(p, reveal) {
    this.marked = p;
    if (reveal) this.flush();
    for (const button of this.root.querySelectorAll('button')) {
      const marked = Number(button.dataset.prototype) === p;
      set(button, 'aria-pressed', String(marked));
      if (marked && reveal) this.show(button.closest('.kx-large-card') ?? button);
    }
  }

  /**
   * Scrolls the list, not the page.
   *
   * @param {Element} card
   */
  show(card) {
    const [own, list] = [card.getBoundingClientRect(), this.root.getBoundingClientRect()];
    if (own.top < list.top || own.bottom > list.bottom)
      this.root.scrollTop += own.top - list.top - (list.height - own.height) / 2;
  }

  destroy() {
    clearTimeout(this.resting);
    this.sight.disconnect();
  }
}

class Row {
  /** @param {Element} parent */
  constructor(parent) {
    this.isSeen = true;
    /** @type {(() => void) | null} */
    this.later = null;
    this.root = element('section', { class: 'kx-large-class' }, parent);
    const head = element('h3', {}, this.root);
    this.swatch = element('i', { class: 'kx-swatch' }, head);
    this.title = element('span', {}, head);
    this.note = element('small', {}, head);
    this.list = element('div', { class: 'kx-large-row' }, this.root);
    /** @type {Place[]} */
    this.places = [];
  }

  /** @param {() => void} fill now where it is seen, else at rest */
  show(fill) {
    this.later = fill;
    if (this.isSeen) this.flush();
  }

  flush() {
    const { later } = this;
    this.later = null;
    later?.();
  }

  /**
   * @param {Group} group
   * @param {(image: number) => string | null} address
   * @param {number} marked prototype, −1 for none
   */
  fill({ title, note, colour, cards }, address, marked) {
    say(this.title, title);
    say(this.note, note);
    this.swatch.style.background = colour;
    fit(this.places, cards.length, () => new Place(this.list));
    cards.forEach((card, at) => this.places[at].fill(card, address, marked));
  }
}

/** Where a card is shown. */
class Place {
  /** @param {Element} parent */
  constructor(parent) {
    this.root = element('div', { class: 'kx-large-card' }, parent);
    this.button = element('button', { type: 'button' }, this.root);
    this.image = element('img', { loading: 'lazy', alt: '' }, this.button);
    this.text = element('span', { class: 'kx-caption kx-share' }, this.button);
    this.nearest = element('div', { class: 'kx-large-nearest' }, this.root);
    /** @type {{ root: HTMLImageElement }[]} */
    this.images = [];
  }

  /**
   * @param {Card} card
   * @param {(image: number) => string | null} address
   * @param {number} marked prototype, −1 for none
   */
  fill({ number, about, text, share, ghost, nearest }, address, marked) {
    const [exemplar, ...others] = nearest;
    this.button.dataset.prototype = String(number);
    set(this.button, 'aria-label', about);
    set(this.button, 'title', about);
    set(this.button, 'aria-pressed', String(number === marked));
    this.root.classList.toggle('kx-ghost', ghost);
    picture(this.image, exemplar === undefined ? '' : (address(exemplar) ?? ''));
    say(this.text, text);
    this.text.style.setProperty('--s', `${100 * share}%`);
    const shown = others.filter((image) => address(image) !== null);
    fit(this.images, shown.length, () => ({ root: element('img', { loading: 'lazy' }, this.nearest) }));
    shown.forEach((image, at) => {
      const { root } = this.images[at];
      picture(root, address(image) ?? '');
      set(root, 'alt', `image ${count(image)}`);
      set(root, 'title', `Image ${count(image)}, among the nearest to this prototype`);
    });
  }
}
