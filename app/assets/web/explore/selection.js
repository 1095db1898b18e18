// @ts-check
// A selection: a set of images by conditions that all hold, and what it has more of than the other images. No DOM.

import { insideMask } from '../map/lasso.js';
import { agreeing, and, emptyMask, every, has, having, indices, maskOf, not, or, size as count } from '../map/mask.js';

export { and, count, indices, not, or };

/** @typedef {import('../map/data.js').Cloud} Cloud */
/** @typedef {import('../map/mask.js').Mask} Mask */
/** @typedef {[x: number, y: number]} Point */

/**
 * What conditions are about.
 *
 * @typedef {object} Subject
 * @property {Cloud} cloud
 * @property {{ predicted: ArrayLike<number>, nearest: ArrayLike<number>, place: string[] }} layer
 * @property {import('./columns.js').Attributes | null} attributes null while they are not here
 * @property {string[]} attributeNames
 */

/**
 * @typedef {{ kind: 'class' | 'predicted' | 'blackbox', label: number }
 *   | { kind: 'attribute' | 'without' | 'prototype', name: string }
 *   | { kind: 'wrong' | 'right' | 'differ' }
 *   | { kind: 'split', isTest: boolean }
 *   | { kind: 'lasso', corners: Point[] }} Condition
 */

export const NOT_PREDICTED = 65535; // where the black box has said nothing
const MOST_CORNERS = 60;
const CORNER = /^-?\d(\.\d{1,6})?$/;

/**
 * A condition of an address, null for a text that is none: anyone may have written it.
 *
 * @param {string} text its kind, and its value after the first ":"
 * @returns {Condition | null}
 */
export function parsed(text) {
  const at = text.indexOf(':');
  const [kind, value] = at < 0 ? [text, null] : [text.slice(0, at), text.slice(at + 1)];
  if (kind === 'wrong' || kind === 'right' || kind === 'differ') return value === null ? { kind } : null;
  if (!value) return null;
  switch (kind) {
    case 'class':
    case 'predicted':
    case 'blackbox':
      return /^\d{1,5}$/.test(value) ? { kind, label: Number(value) } : null;
    case 'attribute':
    case 'without':
      return { kind, name: value };
    case 'prototype':
      return /^\d{1,5}\.\d{1,5}$/.test(value) ? { kind, name: value } : null;
    case 'split':
      return value === 'train' || value === 'test' ? { kind, isTest: value === 'test' } : null;
    case 'lasso':
      return lasso(value);
    default:
      return null;
  }
}

/**
 * @param {string} value
 * @returns {Condition | null}
 */
function lasso(value) {
  const parts = value.split('_', 2 * MOST_CORNERS + 1);
  if (
    parts.length < 6 ||
    parts.length > 2 * MOST_CORNERS ||
    parts.length % 2 ||
    !parts.every((part) => CORNER.test(part))
  )
    return null;
  const corners = Array.from(
    { length: parts.length / 2 },
    (_, at) => /** @type {Point} */ ([Number(parts[2 * at]), Number(parts[2 * at + 1])]),
  );
  return { kind: 'lasso', corners };
}

/**
 * The condition that an outline on the map is.
 *
 * @param {Point[]} corners in the map's coordinates
 */
export const lassoText = (corners) =>
  `lasso:${corners.flatMap((corner) => corner.map((value) => String(Number(value.toFixed(3)) + 0))).join('_')}`;

/**
 * The outline on the map among conditions; empty for none.
 *
 * @param {string[]} conditions
 * @returns {Point[]}
 */
export function outlineIn(conditions) {
  const found = conditions.map(parsed).find((condition) => condition?.kind === 'lasso');
  return found?.kind === 'lasso' ? found.corners : [];
}

/**
 * Conditions with one more, or without it if it is among them. A new outline takes the place of another.
 *
 * @param {string[]} conditions
 * @param {string} condition
 * @returns {string[]}
 */
export function toggled(conditions, condition) {
  if (conditions.includes(condition)) return conditions.filter((other) => other !== condition);
  const isLasso = (/** @type {string} */ text) => text.startsWith('lasso:');
  return [...conditions.filter((other) => !isLasso(condition) || !isLasso(other)), condition];
}

/**
 * The images for which all conditions hold. A condition that is none, or about something that is not here, holds for
 * no image.
 *
 * @param {string[]} conditions
 * @param {Subject} subject
 * @returns {Mask}
 */
export function conditionsMask(conditions, subject) {
  return conditions.map((text) => maskFor(text, subject)).reduce(and, every(subject.cloud.total));
}

/**
 * @param {string} text
 * @param {Subject} subject
 * @returns {Mask}
 */
function maskFor(text, subject) {
  const { cloud, layer } = subject;
  const condition = parsed(text);
  const { total } = cloud;
  switch (condition?.kind) {
    case 'class':
      return having(cloud.labels, condition.label);
    case 'predicted':
      return having(layer.predicted, condition.label);
    case 'blackbox':
      return condition.label === NOT_PREDICTED ? emptyMask(total) : having(cloud.blackBox, condition.label);
    case 'wrong':
      return not(agreeing(layer.predicted, cloud.labels), total);
    case 'right':
      return agreeing(layer.predicted, cloud.labels);
    case 'differ':
      return not(or(agreeing(layer.predicted, cloud.blackBox), having(cloud.blackBox, NOT_PREDICTED)), total);
    case 'split':
      return maskOf(total, (i) => i >= cloud.train === condition.isTest);
    case 'prototype':
      return having(layer.nearest, layer.place.indexOf(condition.name));
    case 'lasso':
      return lassoMask(text, condition.corners, cloud);
    case 'attribute':
    case 'without':
      return attributeMask(condition.name, condition.kind === 'attribute', subject);
    default:
      return emptyMask(total);
  }
}

/**
 * @param {string} name
 * @param {boolean} with_ whether the images have it
 * @param {Subject} subject
 * @returns {Mask} of those of which that is known
 */
function attributeMask(name, with_, { cloud, attributes, attributeNames }) {
  const at = attributeNames.indexOf(name);
  if (!attributes || at < 0) return emptyMask(cloud.total);
  const { has: images, known } = attributes;
  return and(known[at], with_ ? images[at] : not(images[at], cloud.total));
}

/** The outline of last time: it stays while the prototypes change. */
let last = { text: '', cloud: /** @type {Cloud | null} */ (null), mask: /** @type {Mask} */ (new Uint8Array(0)) };

/**
 * @param {string} text
 * @param {Point[]} corners
 * @param {Cloud} cloud
 * @returns {Mask}
 */
function lassoMask(text, corners, cloud) {
  if (last.text === text && last.cloud === cloud) return last.mask;
  const mask = insideMask(corners, cloud.xs, cloud.ys);
  last = { text, cloud, mask };
  return mask;
}

/**
 * A condition in words.
 *
 * @param {string} text
 * @param {{ classes: string[], by: string }} model
 */
export function conditionTitle(text, { classes, by }) {
  const condition = parsed(text);
  const name = (/** @type {number} */ label) => classes[label] ?? `unknown class ${label}`;
  switch (condition?.kind) {
    case 'class':
      return name(condition.label);
    case 'predicted':
      return `${by} predicts ${name(condition.label)}`;
    case 'blackbox':
      return `black box predicts ${name(condition.label)}`;
    case 'attribute':
      return condition.name;
    case 'without':
      return `without ${condition.name}`;
    case 'prototype': {
      const [label, place] = condition.name.split('.').map(Number);
      return `nearest to prototype ${place + 1} of ${name(label)}`;
    }
    case 'split':
      return condition.isTest ? 'test images' : 'training images';
    case 'lasso':
      return 'outlined on the map';
    case 'wrong':
      return `${by} is wrong`;
    case 'right':
      return `${by} is right`;
    case 'differ':
      return `${by} and the black box differ`;
    default:
      return `not understood: ${text.slice(0, 80)}`;
  }
}

/**
 * Whether a mask has an image.
 *
 * @param {Mask | null} mask null for all
 * @param {number} i
 */
export const isIn = (mask, i) => !mask || has(mask, i);
