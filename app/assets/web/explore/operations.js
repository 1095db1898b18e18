// @ts-check
// Edits of prototypes as a list with undo and redo, and in words. No DOM.

import { percentInTenths } from './facts.js';

/**
 * One edit; prototypes have the numbers that the base gives them, new ones follow.
 *
 * @typedef {object} Operation
 * @property {'hide' | 'show' | 'move' | 'merge' | 'split' | 'add' | 'name' | 'note'} op
 * @property {number | [number, number]} [p]
 * @property {number} [class]
 * @property {number} [image]
 * @property {string} [name]
 * @property {string} [note]
 */

/**
 * How predictions do on one part of the held-out images.
 *
 * @typedef {object} PartScores
 * @property {number} images
 * @property {number} accuracy
 * @property {number | null} agreement
 * @property {GroupScore | null} worst of this part
 * @property {GroupScore | null} chosen the worst of the scored part, measured here
 * @property {GroupScore | null} first the one that was the worst of the scored part before the edits, measured here
 *
 * @typedef {object} GroupScore
 * @property {string} name
 * @property {number} images
 * @property {number} accuracy
 * @property {number} low
 * @property {number} high
 * @property {string[]} conditions
 *
 * @typedef {object} Scores
 * @property {PartScores} scored
 * @property {PartScores} untouched
 * @property {{ scored: PartScores, untouched: PartScores }} before
 * @property {string} from
 */

export const MOST_NAME = 80;
export const MOST_NOTE = 2000;
const OPS = ['hide', 'show', 'move', 'merge', 'split', 'add', 'name', 'note'];

/** A list of edits, and those that were undone. */
export class History {
  /** @param {Operation[]} [done] */
  constructor(done = []) {
    this.done = done;
    /** @type {Operation[]} */
    this.undone = [];
  }

  /**
   * One more edit; what was undone is forgotten.
   *
   * @param {Operation} operation
   */
  add(operation) {
    this.done = [...this.done, operation];
    this.undone = [];
  }

  undo() {
    const last = this.done.at(-1);
    if (!last) return;
    this.done = this.done.slice(0, -1);
    this.undone = [...this.undone, last];
  }

  redo() {
    const next = this.undone.at(-1);
    if (!next) return;
    this.undone = this.undone.slice(0, -1);
    this.done = [...this.done, next];
  }

  /**
   * Takes edits back for good: they were refused.
   *
   * @param {Operation[]} accepted those that were not
   */
  revert(accepted) {
    this.done = accepted;
    this.undone = [];
  }
}

/**
 * The prototypes that are hidden after some edits.
 *
 * @param {Operation[]} operations
 * @returns {number[]}
 */
export function hiddenAfter(operations) {
  /** @type {Set<number>} */
  const hidden = new Set();
  for (const { op, p } of operations) {
    if (op === 'hide') hidden.add(Number(p));
    if (op === 'show') hidden.delete(Number(p));
  }
  return [...hidden];
}

/**
 * An edit in words.
 *
 * @param {Operation} operation
 * @param {{ classes: string[], titles: (p: number) => string }} names of the classes, and what prototypes are called
 */
export function words({ op, p, image, name, note, class: label }, { classes, titles }) {
  const [first, second] = (Array.isArray(p) ? p : [p ?? 0]).map(titles);
  const of = classes[label ?? -1] ?? 'its class';
  switch (op) {
    case 'hide':
      return `${first} hidden`;
    case 'show':
      return `${first} shown again`;
    case 'move':
      return `${first} moved to ${of}`;
    case 'merge':
      return `${first} and ${second} merged`;
    case 'split':
      return `${first} split in two`;
    case 'add':
      return `Training image ${image} added as a prototype of ${of}`;
    case 'name':
      return name ? `${first} named “${name}”` : `The name of ${first} removed`;
    default:
      return note ? `Note on ${first}` : `The note on ${first} removed`;
  }
}

/**
 * Edits by the places of prototypes in a layer, with the numbers that the server knows.
 *
 * @param {Operation} operation
 * @param {number[]} index the number of each prototype of the layer
 * @returns {Operation}
 */
export function numbered(operation, index) {
  const { p } = operation;
  if (p === undefined) return operation;
  return { ...operation, p: Array.isArray(p) ? [index[p[0]], index[p[1]]] : index[p] };
}

/**
 * Under what edits are kept while a page is reloaded.
 *
 * @param {string} model
 * @param {string} source
 */
export const storageKey = (model, source) => `kmex-edits ${JSON.stringify([model, source])}`;

/**
 * What was kept: edits, and what prototypes were called. Nothing of a text that says something else.
 *
 * @param {string | null} text
 * @returns {{ operations: Operation[], titles: [number, string][] }}
 */
export function kept(text) {
  const nothing = { operations: [], titles: [] };
  if (!text) return nothing;
  try {
    const { operations, titles } = JSON.parse(text);
    if (!Array.isArray(operations) || !operations.every((each) => OPS.includes(each?.op))) return nothing;
    const known = Array.isArray(titles) ? titles.filter((each) => Array.isArray(each) && each.length === 2) : [];
    return { operations, titles: known.map(([p, title]) => [Number(p), String(title)]) };
  } catch {
    return nothing;
  }
}

/**
 * A line of scores: before and after the edits, on both parts.
 *
 * @typedef {object} Line
 * @property {string} title with the direction
 * @property {[string, string, number]} scored before, after, and −1, 0 or 1 for worse, equal or better
 * @property {[string, string, number]} untouched
 * @property {string} about what the figures are of; "" where that is all images
 * @property {string} beside what the untouched figure is to be compared with; "" for nothing
 */

/**
 * @param {Scores} scores
 * @returns {Line[]}
 */
export function scoreLines(scores) {
  const { before } = scores;
  /** @type {(title: string, pick: (part: PartScores) => number | null, about?: string, beside?: string) => Line[]} */
  const line = (title, pick, about = '', beside = '') => {
    const pairs = /** @type {const} */ (['scored', 'untouched']).map((part) => [
      pick(before[part]),
      pick(scores[part]),
    ]);
    if (pairs.some((pair) => pair.includes(null))) return [];
    const told = pairs.map(([was, is]) => [points(was), percentInTenths(is ?? 0), Math.sign((is ?? 0) - (was ?? 0))]);
    return [{ title, scored: told[0], untouched: told[1], about, beside }].map((each) => /** @type {Line} */ (each));
  };
  const first = before.scored.first;
  const now = scores.scored.worst;
  const there = scores.untouched.chosen;
  const same = there ? `${there.name} there: ${percentInTenths(there.accuracy)}` : '';
  return [
    ...line('Accuracy ↑', (part) => part.accuracy),
    ...line('Agreement with the black box ↑', (part) => part.agreement),
    ...line('Worst subgroup ↑', (part) => part.worst?.accuracy ?? null, now ? `now ${interval(now)}` : '', same),
    ...(first
      ? line('The subgroup that was the worst ↑', (part) => part.first?.accuracy ?? null, interval(first))
      : []),
  ];
}

/** @param {GroupScore} group */
const interval = ({ name, images, low, high }) =>
  `${name}, ${images.toLocaleString('en')} images, 95% interval ${percentInTenths(low)} to ${percentInTenths(high)}`;

/** @param {number | null} share */
const points = (share) => (100 * (share ?? 0)).toFixed(1);
