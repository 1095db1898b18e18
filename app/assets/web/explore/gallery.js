// @ts-check
// The prototypes by class: kept in place while their number changes, so that nothing flickers.

import { element, fit, picture, say, set } from '../dom.js';
import { count } from '../map/data.js';
import { percent } from './facts.js';
import { Lineage } from './lineage.js';
import { shownClasses } from './panel_view.js';
import { byClass, counted, exemplarOf, importanceOf, lastStepOf, numberOf, splitFrom, titleOf } from './prototypes.js';
import { prototypePoint } from './state.js';

/** @typedef {import('./panel_view.js').PanelView} PanelView */

/**
 * @typedef {object} Hooks
 * @property {(part: Partial<import('./state.js').Address>) => void} change
 * @property {(name: string) => void} pick
 * @property {(address: string) => string} picture
 */

const REST = 150; // milliseconds after which what is not seen is filled, too
const MOST = 240; // prototypes that are shown before the rest is asked for
const SIZES = /** @type {const} */ ([
  [12, 'kx-large'],
  [48, 'kx-medium'],
  [Infinity, 'kx-small'],
]); // up to how many prototypes cards have each size

export class Gallery {
  /**
   * @param {HTMLElement} parent
   * @param {Hooks} hooks
   */
  constructor(parent, hooks) {
    this.hooks = hooks;
    /** @type {PanelView | null} */
    this.view = null;
    this.all = false;
    this.resting = 0;
    /** @type {Group[]} */
    this.groups = [];
    this.root = element('div', { class: 'kx-protos' }, parent);
    this.list = element('div', {}, this.root);
    /** @type {WeakMap<Element, Group>} */
    this.groupOf = new WeakMap();
    this.sight = new IntersectionObserver((entries) => this.see(entries), { root: parent, rootMargin: '100px' });
    this.more = element('button', { class: 'kx-pill', type: 'button' }, this.root);
    this.more.addEventListener('click', () => {
      this.all = true;
      if (this.view) this.update(this.view);
    });
  }

  /** @param {PanelView} view */
  update(view) {
    this.view = view;
    const { data, layer, before } = view;
    const groups = byClass(layer, shownClasses(view));
    let room = this.all ? Infinity : MOST;
    const shown = groups.filter(({ members }) => (room -= members.length) >= 0 || members === groups[0].members);
    const cards = shown.reduce((sum, { members }) => sum + members.length, 0);
    const size = SIZES.find(([most]) => cards <= most)?.[1] ?? 'kx-small';
    this.root.className = `kx-protos ${size}${data.model.side > 32 ? ' kx-smooth' : ''}`;
    fit(this.groups, shown.length, () => this.newGroup());
    const from = splitFrom(layer, before);
    shown.forEach((group, i) => this.groups[i].show(() => this.groups[i]?.fill(view, group, from, shown.length === 1)));
    clearTimeout(this.resting);
    this.resting = window.setTimeout(() => this.groups.forEach((group) => group.flush()), REST);
    this.more.hidden = shown.length === groups.length;
    say(this.more, `Show ${counted(groups.length - shown.length, 'more class').replace(/classs$/, 'classes')}`);
  }

  newGroup() {
    const group = new Group(this.list, this.hooks);
    this.groupOf.set(group.root, group);
    this.sight.observe(group.root);
    return group;
  }

  /** @param {IntersectionObserverEntry[]} entries */
  see(entries) {
    for (const { target, isIntersecting } of entries) {
      const group = this.groupOf.get(target);
      if (!group) continue;
      group.isSeen = isIntersecting;
      if (isIntersecting) group.flush();
    }
  }

  destroy() {
    clearTimeout(this.resting);
    this.sight.disconnect();
  }
}

/** A class and its prototypes. */
class Group {
  /**
   * @param {HTMLElement} parent
   * @param {Hooks} hooks
   */
  constructor(parent, hooks) {
    this.hooks = hooks;
    this.label = 0;
    this.isSeen = true;
    /** @type {(() => void) | null} */
    this.later = null;
    this.root = element('section', { class: 'kx-proto-class' }, parent);
    this.head = element('h3', {}, this.root);
    this.swatch = element('i', { class: 'kx-swatch' }, this.head);
    this.name = element('button', { type: 'button', class: 'kx-proto-name' }, this.head);
    this.note = element('small', {}, this.head);
    this.step = element('p', { class: 'kx-proto-step' }, this.root);
    this.list = element('div', { class: 'kx-proto-cards' }, this.root);
    this.lineage = new Lineage(this.root, hooks);
    /** @type {Card[]} */
    this.cards = [];
    this.name.addEventListener('click', () => this.hooks.change({ select: [`class:${this.label}`], point: '' }));
  }

  /**
   * Fills it now where it is seen, else at rest: a drag changes what is seen only.
   *
   * @param {() => void} fill
   */
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
   * @param {PanelView} view
   * @param {import('./prototypes.js').ClassGroup} group
   * @param {(number | null)[]} from see `splitFrom`
   * @param {boolean} alone whether no other class is shown
   */
  fill(view, { label, members }, from, alone) {
    const { data, layer, before } = view;
    const { classes, colours, sizes } = data.model;
    this.label = label;
    const size = sizes[label];
    if (this.swatch.style.background !== colours[label]) this.swatch.style.background = colours[label];
    say(this.name, classes[label]);
    set(this.name, 'title', `Select the images of ${classes[label]}`);
    say(this.note, `${counted(size, 'image')}, ${counted(members.length, 'prototype')}`);
    const step = lastStepOf(layer, before, members);
    say(this.step, step);
    this.step.hidden = !step;
    fit(this.cards, members.length, () => new Card(this.list, this.hooks));
    members.forEach((p, i) => this.cards[i].fill(view, p, from[p], size));
    this.lineage.update(view, label, alone);
  }
}

/** A prototype. */
class Card {
  /**
   * @param {HTMLElement} parent
   * @param {Hooks} hooks
   */
  constructor(parent, hooks) {
    this.point = '';
    this.root = element('button', { type: 'button', class: 'kx-proto' }, parent);
    this.image = element('img', { alt: '' }, this.root);
    this.number = element('span', { class: 'kx-proto-number', 'aria-hidden': 'true' }, this.root);
    this.bar = element('i', { class: 'kx-proto-bar' }, this.root);
    const caption = element('span', { class: 'kx-proto-caption' }, this.root);
    this.share = element('span', {}, caption);
    this.wrong = element('span', {}, caption);
    this.name = element('span', { class: 'kx-proto-given' }, this.root);
    this.mark = element('span', { class: 'kx-proto-mark' }, this.root);
    this.root.addEventListener('click', () => hooks.pick(this.point));
    this.root.addEventListener('pointerenter', () => this.explain()); // not at each step of a drag
    this.picture = hooks.picture;
    /** @type {() => string} */
    this.about = () => '';
  }

  /**
   * @param {PanelView} view
   * @param {number} p
   * @param {number | null} from the prototype that it split from
   * @param {number} size the training images of its class
   */
  fill({ data, layer, before, address }, p, from, size) {
    this.point = prototypePoint(layer, p);
    const parent = from === null || !before ? '' : `split from ${numberOf(before, from)}`;
    const mark = layer.ghost[p] ? 'ghost' : parent;
    const named = layer.name[p];
    const title = titleOf(layer, data.model, p);
    this.about = () => `${title}. ${importanceOf(layer, data.model, p, size)}${mark ? ` Now ${mark}.` : ''}`;
    picture(this.image, exemplarOf(layer, data.pictures, p, this.picture));
    this.bar.style.setProperty('--s', `${100 * layer.share[p]}%`);
    say(this.number, String(numberOf(layer, p)));
    say(this.share, percent(layer.share[p]));
    say(this.wrong, `${count(layer.others[p])} wrong`);
    say(this.name, named);
    say(this.mark, mark);
    set(
      this.root,
      'aria-label',
      `${named ? `${named}, ` : ''}${title}, ${percent(layer.share[p])}, ${layer.others[p]} wrong${mark && `, ${mark}`}`,
    );
    set(this.root, 'aria-pressed', String(address.point === this.point));
    this.root.classList.toggle('kx-ghost', layer.ghost[p]);
    this.root.classList.toggle('kx-new', parent !== '');
  }

  explain() {
    set(this.root, 'title', this.about());
  }
}
