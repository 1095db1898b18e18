// @ts-check
// Above the map: what colours the dots, which images are drawn, the lasso, and an image by its number.

import { element, say } from '../dom.js';
import { count } from '../map/data.js';
import { KINDS } from './colouring.js';
import { Menu } from './menu.js';

/** @typedef {import('./state.js').WorkspaceData} WorkspaceData */
/** @typedef {import('./state.js').Address} Address */

/**
 * @typedef {object} Hooks
 * @property {(part: Partial<Address>) => void} change
 * @property {(isLasso: boolean) => void} lasso whether a drag on the map draws an outline
 */

/** @type {[show: Address['show'], text: string][]} */
const SHOWS = [
  ['all', 'All'],
  ['wrong', 'Wrong'],
  ['disagree', 'Models differ'],
];

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
    const colours = this.group('Colour', true);
    this.colours = KINDS.map(([colour, text]) => this.wide(this.pill(colours, text, () => hooks.change({ colour }))));
    this.attributes = new Menu(colours, 'Attributes', false);
    this.wide(this.attributes.root);
    this.allColours = this.narrow(new Menu(colours, 'Colour', false));
    const shows = this.group('Show', false);
    this.shows = SHOWS.map(([show, text]) => ({
      show,
      button: this.wide(this.pill(shows, text, () => hooks.change({ show }))),
    }));
    this.allShows = this.narrow(new Menu(shows, 'Images', false));
    this.classes = new Menu(shows, 'Classes', true);
    this.test = this.pill(shows, 'Test images', () => hooks.change({ test: !this.isOn(this.test) }));
    const select = this.group('Find', false);
    this.lasso = this.pill(select, 'Lasso', () => this.setLasso(!this.isOn(this.lasso)));
    this.lasso.title = 'Drag around images to select them, straight for a box. Shift and drag does the same.';
    this.addFinder(select);
    this.setLasso(false);
  }

  /**
   * @param {string} label
   * @param {boolean} isSeen whether the label is
   */
  group(label, isSeen) {
    const group = element('div', { class: 'kx-toolbar-group', role: 'group', 'aria-label': label }, this.root);
    if (isSeen) element('span', { class: 'kx-toolbar-label', text: label, 'aria-hidden': 'true' }, group);
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

  /**
   * A menu that stands for the buttons beside it where there is no room for them.
   *
   * @param {Menu} menu
   */
  narrow(menu) {
    menu.root.classList.add('kx-menu-narrow');
    return menu;
  }

  /**
   * Something that is there only where there is room.
   *
   * @template {HTMLElement} Kind
   * @param {Kind} given
   */
  wide(given) {
    given.classList.add('kx-toolbar-wide');
    return given;
  }

  /** @param {HTMLElement} parent */
  addFinder(parent) {
    const form = element('form', { class: 'kx-finder', role: 'search' }, parent);
    this.field = element(
      'input',
      { type: 'search', 'aria-label': 'Find an image by its number, such as train 12' },
      form,
    );
    this.answer = element('span', { class: 'kx-finder-answer', role: 'status' }, form);
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.find(this.field?.value ?? '');
    });
  }

  /** @param {string} text */
  find(text) {
    if (!this.data || !this.answer) return;
    const { train, test, numbers } = this.data.model;
    const found = imageOf(text, this.data.model);
    const all = `No such image: train 0 to ${train - 1}${test ? `, test 0 to ${test - 1}` : ''}`;
    const some = `No such image among the ${count(train + test)} that are here`;
    say(this.answer, found ? '' : numbers ? some : all);
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
    const attributes = model.attributes.map((text) => this.colourChoice(`attribute:${text}`, text, address));
    const kinds = KINDS.map(([kind, text]) => this.colourChoice(kind, text, address));
    this.attributes.root.hidden = !attributes.length;
    this.attributes.update(attribute || 'Attribute', attribute !== '', attributes);
    const chosen = [...kinds, ...attributes].find((choice) => choice.chosen);
    this.allColours.update(chosen?.text ?? 'Class', true, [...kinds, ...attributes]);

    for (const { show, button } of this.shows) press(button, address.show === show);
    this.shows[2].button.hidden = !model.beside;
    const shows = SHOWS.filter(([show]) => show !== 'disagree' || model.beside);
    this.allShows.update(
      SHOWS.find(([show]) => show === address.show)?.[1] ?? 'All',
      address.show !== 'all',
      shows.map(([show, text]) => ({
        text,
        chosen: show === address.show,
        choose: () => this.hooks.change({ show }),
      })),
    );
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
    this.field?.setAttribute('placeholder', 'Find train 12');
  }

  /**
   * @param {string} colour
   * @param {string} text
   * @param {Address} address
   */
  colourChoice(colour, text, address) {
    return { text, chosen: address.colour === colour, choose: () => this.hooks.change({ colour }) };
  }

  destroy() {
    for (const menu of [this.attributes, this.classes, this.allColours, this.allShows]) menu.destroy();
    this.root.remove();
  }
}

/**
 * The name of the image that a person means, "" for none.
 *
 * @param {string} text such as "train 12", "test 7", "test-7" or "12"
 * @param {{ train: number, test: number, numbers?: number[] | null }} images how many there are, and their numbers in
 *     their splits where some are left out
 */
export function imageOf(text, { train, test, numbers }) {
  const [, kind, digits] = /^\s*(?:(train|training|test)(?:\s+image)?)?[\s#-]*(\d{1,9})\s*$/i.exec(text) ?? [];
  if (!digits) return '';
  const split = kind?.toLowerCase() === 'test' ? 'test' : 'train';
  const [first, count] = split === 'test' ? [train, test] : [0, train];
  const place = numbers ? numbers.slice(first, first + count).indexOf(Number(digits)) : Number(digits);
  return place >= 0 && place < count ? `${split}-${place}` : '';
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
