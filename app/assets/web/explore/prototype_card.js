// @ts-check
// The card of one prototype: its exemplars, what it attracts from other classes, and its nearest rival.

import { element, picture, reasonOf, say, set } from '../dom.js';
import { percent } from './facts.js';
import { cardPrototype } from './panel_view.js';
import { counted, exemplarOf, importanceOf, numberOf, splitFrom, testImagesOf, titleOf } from './prototypes.js';
import { prototypePoint } from './state.js';
import { Tray } from './tray.js';

/** @typedef {import('./panel_view.js').PanelView} PanelView */

/**
 * What the workspace says of a prototype.
 *
 * @typedef {object} Details
 * @property {number[]} exemplars the training images of its class nearest to it
 * @property {[label: number, images: number][]} attracts of other classes, most first
 * @property {number[]} others the nearest of those images
 * @property {{ p: number, distance: number } | null} rival the nearest prototype of another class
 */

/**
 * @typedef {object} Hooks
 * @property {import('./transport.js').Transport} transport
 * @property {(part: Partial<import('./state.js').Address>) => void} change
 * @property {(name: string) => void} pick
 * @property {(target: { page: string, query: Record<string, string> }) => void} open
 * @property {(address: string) => string} picture
 */

const REST = 150; // milliseconds after which details are asked for: not at each step of a drag
const SHOWN = 12;

export class PrototypeCard {
  /**
   * @param {HTMLElement} parent
   * @param {Hooks} hooks
   */
  constructor(parent, hooks) {
    this.hooks = hooks;
    /** @type {PanelView | null} */
    this.view = null;
    this.asked = ''; // the address of the details that are shown or waited for
    /** @type {Details | null} */
    this.details = null;
    this.waiting = 0;
    this.root = element('article', { class: 'kx-card-view' }, parent);
    this.title = element('h3', { tabindex: '-1' }, this.root);
    this.place = element('p', { class: 'kx-quiet' }, this.root);
    const head = element('div', { class: 'kx-card-head' }, this.root);
    this.image = element('img', { class: 'kx-card-picture' }, head);
    const facts = element('div', {}, head);
    this.importance = element('p', {}, facts);
    this.test = element('p', {}, facts);
    this.origin = element('p', {}, facts);
    this.note = element('p', { class: 'kx-card-note' }, facts);
    this.buttons = element('div', { class: 'kx-pills' }, this.root);
    this.select = element('button', { type: 'button', class: 'kx-pill', text: 'Select its images' }, this.buttons);
    this.page = element('button', { type: 'button', class: 'kx-pill', text: 'Open prototype' }, this.buttons);
    this.rest = element('div', {}, this.root);
    this.exemplarsTitle = element('h4', { text: 'Exemplars: the nearest training images of its class' }, this.rest);
    this.exemplars = new Tray(this.rest, hooks, SHOWN);
    this.othersTitle = element('h4', {}, this.rest);
    this.others = new Tray(this.rest, hooks, SHOWN);
    this.rivalTitle = element('h4', { text: 'Nearest rival: the nearest prototype of another class' }, this.rest);
    this.rival = element('button', { type: 'button', class: 'kx-row' }, this.rest);
    this.rivalImage = element('img', { alt: '' }, this.rival);
    this.rivalText = element('span', {}, this.rival);
    this.status = element('p', { class: 'kx-quiet', role: 'status' }, this.root);
    this.listen();
  }

  listen() {
    const picked = () => (this.view ? cardPrototype(this.view) : -1);
    this.select.addEventListener('click', () => {
      if (this.view) this.hooks.change({ select: [`prototype:${this.view.layer.place[picked()]}`], point: '' });
    });
    this.page.addEventListener('click', () => {
      const place = this.view?.layer.place[picked()];
      if (place) this.hooks.open({ page: 'prototypes', query: { prototype: place } });
    });
    this.rival.addEventListener('click', () => {
      if (this.view && this.details?.rival) this.hooks.pick(prototypePoint(this.view.layer, this.details.rival.p));
    });
  }

  /** @param {PanelView} view */
  update(view) {
    this.view = view;
    const { data, cloud, layer, before, address } = view;
    const p = cardPrototype(view);
    this.page.hidden = !data.can.open;
    for (const part of [this.buttons, this.rest, this.image]) part.hidden = p < 0;
    if (p < 0) {
      this.showMissing(address.point);
      return;
    }
    const { classes, sizes } = data.model;
    const title = titleOf(layer, data.model, p);
    const size = sizes[layer.class[p]];
    const same = layer.class.filter((label) => label === layer.class[p]).length;
    say(this.title, layer.name[p] || title);
    const among = `of ${counted(same, 'prototype')} of ${classes[layer.class[p]]}`;
    say(this.place, layer.name[p] ? `${title}, one ${among}` : `One ${among}`);
    picture(this.image, exemplarOf(layer, data.pictures, p, this.hooks.picture));
    set(this.image, 'alt', `Its exemplar: training image ${layer.picture[p]} of ${classes[layer.class[p]]}`);
    say(this.importance, importanceOf(layer, data.model, p, size));
    const { images, right } = testImagesOf(layer, cloud, p);
    const share = images ? ` ${percent(right / images)} of them are of ${classes[layer.class[p]]}.` : '';
    say(this.test, `Nearest prototype of ${counted(images, 'test image')}.${share}`);
    const from = splitFrom(layer, before)[p];
    say(this.origin, from === null || !before ? '' : `By the last step of k it split from ${numberOf(before, from)}.`);
    say(this.note, layer.note[p]);
    for (const part of [this.origin, this.note]) part.hidden = !part.textContent;
    this.ask(p);
    this.showDetails();
  }

  /** @param {string} point the name of a prototype that this layer lacks */
  showMissing(point) {
    const { data, layer } = /** @type {PanelView} */ (this.view);
    const [label, number] = point.replace('prototype-', '').split('.').map(Number);
    const name = data.model.classes[label] ?? '';
    say(this.title, 'No such prototype');
    const count = layer.class.filter((each) => each === label).length;
    say(this.place, name ? `${name} has ${counted(count, 'prototype')} now, so there is no number ${number + 1}.` : '');
    for (const part of [this.importance, this.test, this.origin, this.note, this.status]) say(part, '');
    this.asked = '';
    clearTimeout(this.waiting);
  }

  /**
   * Asks for the details, once the view is at rest.
   *
   * @param {number} p
   */
  ask(p) {
    const { data, layer } = /** @type {PanelView} */ (this.view);
    const key = layer.index ? '' : data.sources[layer.source]?.key;
    const address = key ? `prototype/${key}.json?source=${encodeURIComponent(layer.source)}&p=${p}` : '';
    if (address && address === this.asked) return;
    this.asked = address;
    this.details = null;
    clearTimeout(this.waiting);
    const unsaved = layer.index ? 'Exemplars and rival are shown once the edits are saved as a version.' : '';
    say(this.status, address ? 'Exemplars and rival are being fetched …' : unsaved);
    if (address) this.waiting = window.setTimeout(() => void this.fetch(address), REST);
  }

  /** @param {string} address */
  async fetch(address) {
    try {
      const details = /** @type {Details} */ (await this.hooks.transport.json(address));
      if (address !== this.asked) return;
      this.details = details;
      say(this.status, '');
      this.showDetails();
    } catch (error) {
      if (address !== this.asked) return;
      this.asked = ''; // to be asked again
      say(this.status, reasonOf(error));
    }
  }

  showDetails() {
    const { view, details } = this;
    this.rest.hidden = !details;
    if (!view || !details) return;
    const { data, layer } = view;
    const { classes } = data.model;
    this.exemplarsTitle.hidden = details.exemplars.length === 0;
    this.exemplars.show(view, details.exemplars);
    const attracted = details.attracts.map(([label, images]) => `${classes[label]} ${images.toLocaleString('en')}`);
    say(this.othersTitle, attracted.length ? `Attracted from other classes: ${attracted.join(', ')}` : '');
    this.othersTitle.hidden = !attracted.length;
    this.others.show(view, details.others, true);
    const { rival } = details;
    for (const part of [this.rival, this.rivalTitle]) part.hidden = !rival;
    if (!rival) return;
    picture(this.rivalImage, exemplarOf(layer, data.pictures, rival.p, this.hooks.picture));
    const name = layer.name[rival.p] || titleOf(layer, data.model, rival.p);
    say(this.rivalText, `${name}, at a distance of ${rival.distance.toPrecision(3)}`);
  }
}
