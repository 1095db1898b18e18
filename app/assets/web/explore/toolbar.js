// @ts-check
// Above the map: what colours the dots, which images are drawn, the lasso, and an image by its number.

import { element } from '../dom.js';
import { KINDS } from './colouring.js';
import { Menu } from './menu.js';

/** @typedef {import('./state.js').WorkspaceData} WorkspaceData */
/** @typedef {import('./state.js').Address} Address */

/**
 * @typedef {object} Hooks
 * @property {(part: Partial<Address>) => void} change
 * @property {(isLasso: boolean) => void} lasso whether a drag on the map draws an outline
 */

export class Toolbar {
  /**
   * @param {HTMLElement} parent
   * @param {Hooks} hooks
   */
  constructor(parent, hooks) {
    this.hooks = hooks;
    /** @type {WorkspaceData | null} */
    this.data = null;
    this.root = element('div', { class: 'kx-toolbar', role: 'toolbar', 'aria-label': 'The map' }, parent);
    const colours = this.group('Colour');
    this.colours = KINDS.map(([colour, text]) => this.pill(colours, text, () => hooks.change({ colour })));
    this.attributes = new Menu(colours, 'Attributes', false);
    const shows = this.group('Show');
    this.shows = /** @type {[Address['show'], string][]} */ ([
      ['all', 'All'],
      ['wrong', 'Wrong'],
      ['disagree', 'Models differ'],
    ]).map(([show, text]) => ({ show, button: this.pill(shows, text, () => hooks.change({ show })) }));
    this.classes = new Menu(shows, 'Classes', true);
    this.test = this.pill(shows, 'Test images', () => hooks.change({ test: !this.isOn(this.test) }));
    const select = this.group('');
    this.lasso = this.pill(select, 'Lasso', () => this.setLasso(!this.isOn(this.lasso)));
    this.lasso.title = 'Drag around images to select them, straight for a box. Shift and drag does the same.';
    this.addFinder(select);
    this.setLasso(false);
  }

  /** @param {string} label */
  group(label) {
    const group = element('div', { class: 'kx-toolbar-group', role: 'group' }, this.root);
    if (label) {
      group.setAttribute('aria-label', label);
      element('span', { class: 'kx-toolbar-label', text: label, 'aria-hidden': 'true' }, group);
    }
    return group;
  }

  /**
   * @param {HTMLElement} parent
   * @param {string} text
   * @param {() => void} act
   */
  pill(parent, text, act) {
    const button = element('button', { type: 'button', class: 'kx-pill', text, 'aria-pressed': 'false' }, parent);
    button.addEventListener('click', act);
    return button;
  }

  /** @param {HTMLElement} parent */
  addFinder(parent) {
    const form = element('form', { class: 'kx-finder', role: 'search' }, parent);
    this.field = element('input', { type: 'search', 'aria-label': 'Find an image by its number' }, form);
    this.answer = element('span', { class: 'kx-finder-answer', role: 'status' }, form);
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.find(this.field?.value ?? '');
    });
  }

  /** @param {string} text */
  find(text) {
    if (!this.data || !this.answer) return;
    const { train, test } = this.data.model;
    const found = imageOf(text, { train, test });
    this.answer.textContent = found
      ? ''
      : `No such image: train 0 to ${train - 1}${test ? `, test 0 to ${test - 1}` : ''}`;
    if (found) this.hooks.change({ point: found, ...(found.startsWith('test') ? { test: true } : {}) });
  }

  /** @param {HTMLElement} button */
  isOn(button) {
    return button.getAttribute('aria-pressed') === 'true';
  }

  /** @param {boolean} isLasso */
  setLasso(isLasso) {
    this.lasso.setAttribute('aria-pressed', String(isLasso));
    this.hooks.lasso(isLasso);
  }

  /**
   * @param {WorkspaceData} data
   * @param {Address} address
   */
  update(data, address) {
    this.data = data;
    const { model } = data;
    const press = (/** @type {HTMLElement} */ button, /** @type {boolean} */ isOn) =>
      button.setAttribute('aria-pressed', String(isOn));
    const attribute = address.colour.startsWith('attribute:') ? address.colour.slice('attribute:'.length) : '';
    KINDS.forEach(([kind], at) => press(this.colours[at], address.colour === kind));
    this.attributes.root.hidden = !model.attributes.length;
    this.attributes.update(
      attribute || 'Attribute',
      attribute !== '',
      model.attributes.map((text) => ({
        text,
        chosen: text === attribute,
        choose: () => this.hooks.change({ colour: `attribute:${text}` }),
      })),
    );
    for (const { show, button } of this.shows) press(button, address.show === show);
    this.shows[2].button.hidden = !model.beside;
    this.classes.update(classesText(address.classes, model.classes.length), address.classes.length > 0, [
      { text: 'All classes', chosen: !address.classes.length, choose: () => this.hooks.change({ classes: [] }) },
      ...model.classes.map((text) => ({
        text,
        chosen: address.classes.includes(text),
        choose: () => this.hooks.change({ classes: toggledClass(address.classes, text, model.classes) }),
      })),
    ]);
    press(this.test, address.test);
    this.test.hidden = !model.test;
    this.field?.setAttribute('placeholder', model.test ? 'train 12, test 7' : 'train 12');
  }

  destroy() {
    this.attributes.destroy();
    this.classes.destroy();
    this.root.remove();
  }
}

/**
 * The name of the image that a person means, "" for none.
 *
 * @param {string} text such as "train 12", "test 7", "test-7" or "12"
 * @param {{ train: number, test: number }} images how many there are
 */
export function imageOf(text, { train, test }) {
  const [, kind, digits] = /^\s*(?:(train|training|test)(?:\s+image)?)?[\s#-]*(\d{1,9})\s*$/i.exec(text) ?? [];
  if (!digits) return '';
  const split = kind?.toLowerCase() === 'test' ? 'test' : 'train';
  return Number(digits) < (split === 'test' ? test : train) ? `${split}-${Number(digits)}` : '';
}

/**
 * @param {string[]} shown
 * @param {number} all
 */
const classesText = (shown, all) => {
  if (!shown.length) return 'All classes';
  return shown.length === 1 ? shown[0] : `${shown.length} of ${all} classes`;
};

/**
 * The classes that are shown after a click on one, in their order; none stands for all.
 *
 * @param {string[]} shown
 * @param {string} name
 * @param {string[]} all
 * @returns {string[]}
 */
export function toggledClass(shown, name, all) {
  const next = shown.includes(name) ? shown.filter((other) => other !== name) : [...shown, name];
  return next.length === all.length ? [] : all.filter((other) => next.includes(other));
}
