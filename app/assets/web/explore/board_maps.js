// @ts-check
// Where the picture looks like its prototypes, and why one class and not another: relevance maps with their verdicts.

import { element } from '../dom.js';
import { Figures } from '../relevance/figures.js';
import { listeners, scaleOf } from '../relevance/look.js';
import { marginCurve, prototypeTitle, say, titleParts } from './board_parts.js';

/** @typedef {import('../relevance/figures.js').Figure} Figure */
/** @typedef {import('../relevance/look.js').Scales} Scales */
/** @typedef {import('./board_parts.js').Board} Board */
/** @typedef {import('./board_parts.js').Sentence} Sentence */
/** @typedef {import('./board_parts.js').Prototype} Prototype */
/** @typedef {import('./board_parts.js').Model} Model */

/**
 * @typedef {object} Maps see app.workspace.maps.maps
 * @property {string} picture
 * @property {string} title
 * @property {string} note
 * @property {(Prototype & { picture: Figure, exemplar: Figure })[]} rows
 * @property {Figure | null} blackBox
 * @property {Scales} scales
 * @property {string} frame
 *
 * @typedef {object} Contrast see app.workspace.maps.contrast
 * @property {Prototype} own the nearest prototype of the predicted class
 * @property {Prototype} rival that of the other class
 * @property {string} picture
 * @property {Figure} map
 * @property {Sentence} sides
 * @property {Scales} scales
 * @property {string} frame
 *
 * @typedef {{ p: number, worth: Sentence, words: Sentence, curve: import('./board_parts.js').Curve | null }} Judged
 */

/** Pictures with maps, drawn anew when their look changes. */
class Drawing {
  /**
   * @param {HTMLElement} parent
   * @param {{ scales: Scales, frame: string }} answer
   * @param {Figure[]} figures
   */
  constructor(parent, { scales, frame }, figures) {
    this.figures = new Figures(parent, scales);
    this.redraw = () => this.figures.draw();
    listeners.add(this.redraw);
    this.ready = this.figures.update({ figures, scales, frame, columns: figures.length });
  }

  leave() {
    listeners.delete(this.redraw);
    this.figures.leave();
  }
}

/** @param {HTMLElement} parent */
const waiting = (parent) => element('div', { class: 'kx-waiting', 'aria-hidden': 'true' }, parent);

/**
 * A choice from a list, with a label.
 *
 * @param {HTMLElement} parent
 * @param {string} title
 * @param {(value: string) => void} change
 */
export function choice(parent, title, change) {
  const label = element('label', { class: 'kx-choice' }, parent);
  element('span', { text: title }, label);
  const select = element('select', {}, label);
  select.addEventListener('change', () => change(select.value));
  return select;
}

/**
 * @param {HTMLSelectElement} select
 * @param {[value: string, text: string][]} options
 * @param {string} value
 */
export function offer(select, options, value) {
  select.replaceChildren(...options.map(([name, text]) => element('option', { value: name, text })));
  select.value = value;
}

/**
 * @typedef {object} ContrastHooks
 * @property {(label: number) => void} rival is chosen
 * @property {(name: string) => void} method is chosen
 * @property {(prototype: Prototype) => string} exemplar where its picture is
 */

/** Why the predicted class and not another. */
export class ContrastPart {
  /**
   * @param {HTMLElement} parent
   * @param {ContrastHooks} hooks
   */
  constructor(parent, hooks) {
    this.hooks = hooks;
    this.root = element('section', { class: 'kx-contrast' }, parent);
    this.heading = element('h3', {}, this.root);
    const body = element('div', { class: 'kx-contrast-body' }, this.root);
    this.map = element('div', { class: 'kx-contrast-map' }, body);
    const words = element('div', { class: 'kx-contrast-words' }, body);
    this.legend = element('p', { class: 'kx-sides' }, words);
    this.sides = element('p', { class: 'kx-fine' }, words);
    this.verdict = element('div', { role: 'status' }, words);
    this.curve = element('div', {}, this.root);
    const choices = element('div', { class: 'kx-choices' }, this.root);
    this.rival = choice(choices, 'Against', (value) => hooks.rival(Number(value)));
    this.method = choice(choices, 'Method', hooks.method);
    /** @type {Drawing | null} */
    this.drawing = null;
  }

  /**
   * Shows what is asked, until the answer comes.
   *
   * @param {Board} board
   * @param {Model} model
   * @param {{ rival: number, method: string }} chosen
   */
  ask(board, model, { rival, method }) {
    this.root.hidden = board.rivals.length === 0;
    if (this.root.hidden) return;
    this.heading.textContent = `Why ${model.classes[board.predicted]} and not ${model.classes[rival]}?`;
    offer(
      this.rival,
      board.rivals.map((label) => [String(label), model.classes[label]]),
      String(rival),
    );
    offer(this.method, board.methods, method);
    this.clear();
    waiting(this.map);
    this.verdict.textContent = 'Testing what this map is worth …';
  }

  clear() {
    this.drawing?.leave();
    this.drawing = null;
    for (const part of [this.map, this.curve, this.legend, this.sides, this.verdict]) part.replaceChildren();
  }

  /**
   * @param {Contrast} answer
   * @param {Model} model
   */
  show(answer, model) {
    this.map.replaceChildren();
    this.drawing?.leave();
    this.drawing = new Drawing(this.map, answer, [{ ...answer.map, picture: answer.picture }]);
    const { anchors } = scaleOf(answer.scales);
    this.legend.replaceChildren();
    for (const [prototype, colour, words] of /** @type {const} */ ([
      [answer.own, anchors[anchors.length - 1], 'speaks for '],
      [answer.rival, anchors[0], 'for '],
    ])) {
      const entry = element('span', { class: 'kx-side-entry' }, this.legend);
      const about = `${prototypeTitle(prototype)} of ${model.classes[prototype.class]}`;
      element('img', { src: this.hooks.exemplar(prototype), alt: about, title: about }, entry);
      element('span', { class: 'kx-side', 'aria-hidden': 'true' }, entry).style.background = `rgb(${colour})`;
      entry.append(words);
      element('strong', { text: model.classes[prototype.class] }, entry);
    }
    say(this.sides, answer.sides);
  }

  /** @param {Judged} judged */
  judge({ worth, words, curve }) {
    this.verdict.replaceChildren();
    say(element('p', {}, this.verdict), worth);
    const numbers = element('details', { class: 'kx-fine' });
    element('summary', { text: 'The test in numbers' }, numbers);
    say(element('p', {}, numbers), words);
    this.curve.replaceChildren(...(curve ? [marginCurve(curve)] : []), numbers);
  }

  /** @param {string} message */
  fail(message) {
    this.clear();
    element('p', { class: 'kx-alert', text: message }, this.map);
  }
}

/** Where the picture looks like its prototypes: a row for each, with maps on both sides. */
export class MapsPart {
  /** @param {HTMLElement} parent */
  constructor(parent) {
    this.root = element('section', { class: 'kx-maps' }, parent);
    element('h3', { text: 'Where it looks like them' }, this.root);
    this.about = element('p', { class: 'kx-fine' }, this.root);
    this.rows = element('div', {}, this.root);
    /** @type {Drawing[]} */
    this.drawings = [];
    /** @type {Map<number, HTMLElement>} */
    this.places = new Map(); // of verdicts, by prototype
  }

  ask() {
    this.clear();
    waiting(this.rows);
  }

  clear() {
    for (const drawing of this.drawings) drawing.leave();
    this.drawings = [];
    this.places.clear();
    this.rows.replaceChildren();
    this.about.replaceChildren();
  }

  /**
   * @param {Maps} answer
   * @param {Model} model
   */
  show(answer, model) {
    this.clear();
    this.about.textContent = [answer.note, answer.title].filter(Boolean).join(' ');
    for (const prototype of answer.rows) {
      const { p, picture, exemplar } = prototype;
      const row = element('div', { class: 'kx-map-row' }, this.rows);
      const title = element('p', {}, row);
      title.append(...titleParts(prototype, model));
      const place = element('div', { class: 'kx-map-pair' }, row);
      const pair = [
        { ...picture, picture: answer.picture, caption: 'in your picture' },
        { ...exemplar, caption: 'in its exemplar' },
      ];
      this.drawings.push(new Drawing(place, answer, pair));
      this.places.set(p, element('div', {}, row));
    }
    if (answer.blackBox) {
      const row = element('div', { class: 'kx-map-row' }, this.rows);
      element('p', { text: model.beside ? 'Black box' : 'By all prototypes' }, row);
      const figure = { ...answer.blackBox, picture: answer.picture, caption: 'in your picture' };
      this.drawings.push(new Drawing(row, answer, [figure]));
    }
  }

  /** @param {Judged[]} rows */
  judge(rows) {
    for (const { p, worth, words, curve } of rows) {
      const place = this.places.get(p);
      if (!place) continue;
      say(element('p', { class: 'kx-fine' }, place), worth);
      const numbers = element('details', { class: 'kx-fine' }, place);
      element('summary', { text: 'The test in numbers' }, numbers);
      if (curve) numbers.append(marginCurve(curve));
      say(element('p', {}, numbers), words);
    }
  }

  /** @param {string} message */
  fail(message) {
    this.clear();
    element('p', { class: 'kx-alert', text: message }, this.rows);
  }
}
