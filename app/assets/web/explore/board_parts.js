// @ts-check
// The parts of the board: sentences, pictures beside each other, bars, and the curve of what a map is worth.

import { element } from '../dom.js';
import { percentInTenths } from './facts.js';

/** @typedef {[text: string, strong: boolean][]} Sentence */

/**
 * What the workspace answers about a picture, see app.workspace.board.
 *
 * @typedef {object} Board
 * @property {string} picture
 * @property {string} title
 * @property {number | null} label its true class
 * @property {[width: number, height: number]} size
 * @property {string[]} notes
 * @property {import('./framing.js').Framing & { text: string }} framing
 * @property {string} seen as the network sees it
 * @property {string} whole turned, but neither cropped nor inverted
 * @property {[x: number, y: number] | null} place on the map
 * @property {Sentence} far that it is far from every image on the map; empty if it is not
 * @property {number[]} lines the prototypes it is compared with, nearest first
 * @property {Sentence} prepared the picture's size, and how it becomes the network's input
 * @property {Compared[]} prototypes
 * @property {number[]} rivals other classes, nearest first
 * @property {number} predicted
 * @property {number | null} beside what the black box predicts
 * @property {number[]} posterior
 * @property {number[] | null} blackBox
 * @property {number[]} distance
 * @property {boolean | null} correct
 * @property {[name: string, title: string][]} methods
 * @property {string} method the usual one
 * @property {Sentence} unusual
 * @property {Sentence} tie
 * @property {Sentence} headline
 * @property {Sentence} likelier
 * @property {Sentence} near
 * @property {Sentence} usual
 * @property {Sentence} decides
 * @property {[usual: number, limit: number] | null} scale of distances: the usual one, and one that is rarely exceeded
 *
 * @typedef {object} Prototype
 * @property {number} p its number among all
 * @property {number} class
 * @property {string} place what names it in addresses: its class and its place in it
 * @property {string} name that someone gave it; "" for none
 * @property {number} image the training image that is its exemplar
 *
 * @typedef {object} Comparison
 * @property {string} role in the comparison
 * @property {string} near how near the picture is to it
 * @property {number} share of its class's training images that it is the nearest prototype of
 * @property {number} count of those images
 *
 * @typedef {Prototype & Comparison} Compared
 *
 * @typedef {{ shares: number[], map: number[], random: number[], brightness: number[] }} Curve
 */

/** @typedef {import('./state.js').Model} Model */
/** @typedef {Pick<import('./state.js').WorkspaceData, 'model' | 'pictures' | 'can'>} BoardData */

const MOST_BARS = 5;

/**
 * A sentence, as the parent's content.
 *
 * @template {HTMLElement} Parent
 * @param {Parent} parent
 * @param {Sentence} sentence
 */
export function say(parent, sentence) {
  parent.replaceChildren(
    ...sentence.map(([text, strong]) => (strong ? element('strong', { text }) : document.createTextNode(text))),
  );
  return parent;
}

/**
 * A class with its colour.
 *
 * @param {Model} model
 * @param {number} label
 */
export function classTag(model, label) {
  const tag = element('span', { class: 'kx-class-tag' });
  element('span', { class: 'kx-class-dot', 'aria-hidden': 'true' }, tag).style.background = model.colours[label];
  element('span', { text: model.classes[label] }, tag);
  return tag;
}

/**
 * What a prototype is called: the name that someone gave it, or its number in its class, from 1.
 *
 * @param {Pick<Prototype, 'name' | 'place'>} prototype
 */
export const prototypeTitle = ({ name, place }) => name || `Prototype ${Number(place.split('.')[1]) + 1}`;

/**
 * The same with its class, as what an element contains.
 *
 * @param {Prototype} prototype
 * @param {Model} model
 */
export const titleParts = (prototype, model) => [prototypeTitle(prototype), ' of ', classTag(model, prototype.class)];

/** @param {Compared} prototype */
const importance = ({ share, count }) =>
  `Importance ${Math.round(100 * share)}% (${count.toLocaleString('en')} images)`;

/**
 * The warnings and the verdict, what matters most first.
 *
 * @param {Board} board
 */
export function verdict(board) {
  const root = element('div', { class: 'kx-verdict' });
  for (const [name, sentence] of /** @type {const} */ ([
    ['kx-alert kx-serious', board.unusual],
    ['kx-alert', board.tie],
  ])) {
    if (sentence.length) say(element('p', { class: name }, root), sentence);
  }
  const mark = board.correct === null ? '' : board.correct ? 'kx-is-right' : 'kx-is-wrong';
  say(element('p', { class: `kx-headline ${mark}` }, root), board.headline);
  if (board.likelier.length) say(element('p', {}, root), board.likelier);
  if (!board.unusual.length) say(element('p', { class: 'kx-fine' }, root), board.near);
  if (board.far.length) say(element('p', { class: 'kx-fine' }, root), board.far);
  return root;
}

/**
 * A picture with a caption.
 *
 * @param {string} source
 * @param {string} about
 * @param {boolean} crisp
 * @param {Element | null} [parent]
 */
export function tile(source, about, crisp, parent = null) {
  const figure = element('figure', { class: 'kx-tile' }, parent);
  element('img', { src: source, alt: about, class: crisp ? 'kx-crisp' : '' }, figure);
  element('figcaption', {}, figure);
  return figure;
}

/**
 * Where distances are on their scale, as shares of its length.
 *
 * @param {number[]} distances
 * @param {[usual: number, limit: number]} scale
 */
export function onScale(distances, [usual, limit]) {
  const most = 1.08 * Math.max(limit, ...distances);
  return { bars: distances.map((distance) => distance / most), usual: usual / most, limit: limit / most };
}

/**
 * The prototypes that the picture looks like, as buttons that pick them.
 *
 * @param {Board} board
 * @param {BoardData} data
 * @param {(prototype: Prototype) => string} source of its picture
 * @param {(prototype: Prototype) => void} pick
 */
export function likenesses(board, data, source, pick) {
  const root = element('div', { class: 'kx-likenesses' });
  const distances = board.prototypes.map(({ p }) => board.distance[p]);
  const lengths = board.scale && onScale(distances, board.scale);
  for (const [row, prototype] of board.prototypes.entries()) {
    const { class: label, role, near } = prototype;
    const about = `${prototypeTitle(prototype)} of ${data.model.classes[label]}, ${near}`;
    const button = element('button', { type: 'button', class: 'kx-like', title: `Show ${about}` }, root);
    button.style.setProperty('--class', data.model.colours[label]);
    button.addEventListener('click', () => pick(prototype));
    element('img', { src: source(prototype), alt: '', class: data.model.side <= 96 ? 'kx-crisp' : '' }, button);
    const words = element('span', { class: 'kx-like-words' }, button);
    const title = element('span', {}, words);
    title.append(...titleParts(prototype, data.model));
    element('span', { class: 'kx-role', text: role }, words);
    if (lengths) {
      const bar = element('span', { class: 'kx-distance', 'aria-hidden': 'true' }, words);
      element('span', {}, bar).style.width = `${100 * lengths.bars[row]}%`;
      element('i', { title: 'usual' }, bar).style.left = `${100 * lengths.usual}%`;
      element('i', { class: 'kx-limit', title: 'rarely exceeded' }, bar).style.left = `${100 * lengths.limit}%`;
    }
    element('span', { text: near }, words);
    element('span', { class: 'kx-fine', text: importance(prototype) }, words);
  }
  return root;
}

/**
 * The classes with the highest probabilities, the true one as well.
 *
 * @param {number[]} posterior
 * @param {(number | null)[]} always classes that are among them
 */
export function shownClasses(posterior, always) {
  const order = [...posterior.keys()].sort((a, b) => posterior[b] - posterior[a]);
  return order.filter((label, rank) => rank < MOST_BARS || always.includes(label));
}

/**
 * The probabilities as bars.
 *
 * @param {Board} board
 * @param {Model} model
 */
export function probabilities(board, model) {
  const root = element('table', { class: 'kx-bars' });
  const head = element('tr', {}, element('thead', {}, root));
  const columns = /** @type {[string, number[]][]} */ (
    [
      [model.by, board.posterior],
      ['Black box', board.blackBox],
    ].filter(([, values]) => values !== null)
  );
  element('th', { scope: 'col', text: 'Class' }, head);
  for (const [title] of columns) element('th', { scope: 'col', text: title }, head);
  const body = element('tbody', {}, root);
  for (const label of shownClasses(board.posterior, [board.label, board.beside, board.predicted])) {
    const row = element('tr', {}, body);
    const name = element('th', { scope: 'row' }, row);
    name.append(classTag(model, label));
    if (label === board.label) element('span', { class: 'kx-true', text: '✓ true class' }, name);
    for (const [, values] of columns) {
      const cell = element('td', {}, row);
      const bar = element('span', { class: 'kx-bar-track', 'aria-hidden': 'true' }, cell);
      const fill = element('span', {}, bar);
      fill.style.width = `${100 * values[label]}%`;
      fill.style.background = model.colours[label];
      element('span', { class: 'kx-number', text: percentInTenths(values[label]) }, cell);
    }
  }
  return root;
}

const [WIDE, HIGH, LEFT, BELOW] = [260, 120, 34, 18];

/**
 * The lines of a curve in a drawing of WIDE × HIGH: from all of the margin down to what is left.
 *
 * @param {Curve} curve
 */
export function curveLines({ shares, map, random, brightness }) {
  const lowest = Math.min(0, ...map, ...random, ...brightness);
  const highest = Math.max(1, ...map, ...random, ...brightness);
  const last = shares[shares.length - 1];
  const x = (/** @type {number} */ share) => LEFT + (share / last) * (WIDE - LEFT - 6);
  const y = (/** @type {number} */ value) => 6 + ((highest - value) / (highest - lowest)) * (HIGH - BELOW - 12);
  const line = (/** @type {number[]} */ values) =>
    values.map((value, i) => `${x(shares[i]).toFixed(1)},${y(value).toFixed(1)}`).join(' ');
  return { map: line(map), random: line(random), brightness: line(brightness), all: y(1), none: y(0), last };
}

const SVG = 'http://www.w3.org/2000/svg';

/**
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 * @param {Element} parent
 */
function drawn(tag, attributes, parent) {
  const created = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'text') created.textContent = String(value);
    else created.setAttribute(name, String(value));
  }
  parent.append(created);
  return created;
}

/**
 * What is left of the margin as the map's top pixels are replaced, beside random order and brightness.
 *
 * @param {Curve} curve
 */
export function marginCurve(curve) {
  const lines = curveLines(curve);
  const root = element('figure', { class: 'kx-curve' });
  const words = (/** @type {number[]} */ values) => `${Math.round(100 * values[values.length - 1])}%`;
  const replaced = `${Math.round(100 * lines.last)}%`;
  const about =
    `Margin left after replacing ${replaced} of the pixels: ${words(curve.map)} by the map, ` +
    `${words(curve.random)} in random order, ${words(curve.brightness)} brightest first`;
  const picture = document.createElementNS(SVG, 'svg');
  picture.setAttribute('viewBox', `0 0 ${WIDE} ${HIGH}`);
  picture.setAttribute('role', 'img');
  picture.setAttribute('aria-label', about);
  root.append(picture);
  for (const [y, text] of /** @type {const} */ ([
    [lines.all, '100%'],
    [lines.none, '0%'],
  ])) {
    drawn('line', { x1: LEFT, x2: WIDE, y1: y, y2: y, class: 'kx-grid' }, picture);
    drawn('text', { x: LEFT - 4, y: y + 4, 'text-anchor': 'end', text }, picture);
  }
  for (const name of /** @type {const} */ (['brightness', 'random', 'map'])) {
    drawn('polyline', { points: lines[name], class: `kx-line-${name}` }, picture);
  }
  drawn('text', { x: LEFT, y: HIGH - 4, text: '0' }, picture);
  drawn('text', { x: WIDE, y: HIGH - 4, 'text-anchor': 'end', text: `${replaced} of pixels replaced` }, picture);
  const legend = element('figcaption', { class: 'kx-curve-legend' }, root);
  for (const [name, text] of [
    ['map', 'this map'],
    ['random', 'random order'],
    ['brightness', 'brightest first'],
  ]) {
    const entry = element('span', {}, legend);
    element('span', { class: `kx-stroke kx-line-${name}`, 'aria-hidden': 'true' }, entry);
    element('span', { text }, entry);
  }
  return root;
}
