// @ts-check
// Cards with pictures in rows by group: kept in place where they stay the same, so that nothing flickers.

import { element, fit, set } from './dom.js';

/**
 * @typedef {object} Card
 * @property {string} id what a click on it gives; "" where the browser follows `href`
 * @property {string} picture its address below the data set's pictures, without ".png"; "" for none
 * @property {string} about what it is, for those who cannot see it and as a tool tip
 * @property {string} text below the picture
 * @property {string} href where it leads; "" when it cannot be clicked
 * @property {number | null} share drawn as a bar, 0…1; null for no bar
 * @property {boolean} ghost
 * @property {boolean} wrong
 *
 * @typedef {{ title: string, note: string, colour: string, cards: Card[] }} Group each text may be empty
 *
 * @typedef {{ pictures: string, pixelated: boolean, groups: Group[] }} GalleryData
 *
 * @typedef {import('./dom.js').Component<GalleryData>} GalleryComponent
 */

/** @type {WeakMap<HTMLElement, Gallery>} */
const galleries = new WeakMap();

/**
 * @param {GalleryComponent} component
 * @returns {Promise<() => void>} what takes the gallery off the page
 */
export async function show(component) {
  const { parentElement } = component;
  const gallery = galleries.get(parentElement) ?? new Gallery(component);
  galleries.set(parentElement, gallery);
  gallery.update(component);
  return () => {
    galleries.get(parentElement)?.root.remove();
    galleries.delete(parentElement);
  };
}

/**
 * How large the pictures of prototypes are: those of a class fill a row of the narrowest column (26rem), unless they would
 * be too large or too small.
 *
 * @param {Group[]} groups
 */
export function cardSide(groups) {
  const most = Math.max(1, ...groups.map(({ cards }) => cards.length));
  const arePrototypes = groups.some(({ cards }) => cards.some(({ share }) => share !== null));
  return arePrototypes ? Math.min(112, Math.max(72, Math.floor((416 - 10 * (most - 1)) / most))) : 72;
}

class Gallery {
  /** @param {GalleryComponent} component */
  constructor(component) {
    this.component = component;
    /** @type {Row[]} */
    this.rows = [];
    this.root = element('div', { class: 'kx-gallery' }, component.parentElement);
    this.root.addEventListener('click', (event) => this.click(event));
  }

  /** @param {GalleryComponent} component */
  update(component) {
    this.component = component;
    const { groups, pictures, pixelated } = component.data;
    this.root.classList.toggle('kx-single', groups.length === 1);
    this.root.classList.toggle('kx-smooth', !pixelated);
    this.root.style.setProperty('--card', `${cardSide(groups)}px`);
    fit(this.rows, groups.length, () => new Row(this.root));
    groups.forEach((group, i) => this.rows[i].fill(group, pictures));
  }

  /** @param {MouseEvent} event */
  click(event) {
    const card = event.target instanceof Element && event.target.closest('a');
    if (
      !card ||
      !card.href ||
      !card.dataset.id ||
      event.ctrlKey ||
      event.metaKey ||
      event.shiftKey ||
      event.button !== 0
    )
      return;
    event.preventDefault();
    this.component.setTriggerValue('picked', card.dataset.id);
  }
}

class Row {
  /** @param {Element} parent */
  constructor(parent) {
    this.root = element('div', { class: 'kx-class' }, parent);
    this.name = element('div', { class: 'kx-name' }, this.root);
    this.swatch = element('i', { class: 'kx-swatch' }, this.name);
    this.title = element('span', {}, this.name);
    this.note = element('small', {}, this.name);
    this.list = element('div', { class: 'kx-cards' }, this.root);
    /** @type {Place[]} */
    this.places = [];
  }

  /**
   * @param {Group} group
   * @param {string} pictures
   */
  fill({ title, note, colour, cards }, pictures) {
    this.name.hidden = !title;
    this.swatch.style.background = colour || 'none';
    this.swatch.hidden = !colour;
    this.title.textContent = title;
    this.note.textContent = note;
    fit(this.places, cards.length, () => new Place(this.list));
    cards.forEach((card, i) => this.places[i].fill(card, pictures));
  }
}

/** Where a card is shown. */
class Place {
  /** @param {Element} parent */
  constructor(parent) {
    this.root = element('a', {}, parent);
    this.image = element('img', { loading: 'lazy' }, this.root);
    this.caption = element('span', { class: 'kx-caption' }, this.root);
  }

  /**
   * @param {Card} card
   * @param {string} pictures
   */
  fill({ id, href, picture, about, text, share, ghost, wrong }, pictures) {
    this.root.dataset.id = id;
    if (href) set(this.root, 'href', href);
    else this.root.removeAttribute('href');
    set(this.root, 'title', about);
    this.root.className = `kx-card${ghost ? ' kx-ghost' : ''}${wrong ? ' kx-wrong' : ''}`;
    if (picture) set(this.image, 'src', `${pictures}${picture}.png`);
    else this.image.removeAttribute('src');
    set(this.image, 'alt', about);
    if (this.caption.textContent !== text) this.caption.textContent = text;
    this.caption.classList.toggle('kx-share', share !== null);
    this.caption.style.setProperty('--s', `${100 * (share ?? 0)}%`);
  }
}
