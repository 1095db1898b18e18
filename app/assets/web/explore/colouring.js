// @ts-check
// What the colours of the dots mean. Colours are those of the classes, or custom properties of the page. No DOM.

import { mixed, parsed, written } from '../map/colour.js';
import { has } from '../map/mask.js';
import { numberOf } from './prototypes.js';

/** @typedef {import('../map/data.js').Cloud} Cloud */
/** @typedef {import('./columns.js').Layer} Layer */
/** @typedef {import('./state.js').WorkspaceData} WorkspaceData */

/**
 * @typedef {object} Colouring
 * @property {string} kind 'class', 'correct', 'prototype', 'confidence', 'distance' or 'attribute:<name>'
 * @property {string} title
 * @property {string[]} colours
 * @property {Uint8Array | Uint16Array} category an index into `colours` for each image
 * @property {string[]} squares the colour of each prototype
 * @property {LegendEntry[]} legend
 *
 * @typedef {object} LegendEntry
 * @property {string} colour
 * @property {'dot' | 'square' | 'diamond' | 'cross'} shape
 * @property {string} text
 * @property {string | null} condition selects what it means
 * @property {number | null} category whose images are counted; null for what is no image
 */

/**
 * @typedef {object} Given
 * @property {Pick<WorkspaceData, 'model'>} data
 * @property {Cloud} cloud
 * @property {Layer} layer
 * @property {import('./columns.js').Certainty | null} [certainty]
 * @property {import('./columns.js').Attributes | null} [attributes]
 */

const INK = 'var(--kx-ink)';
const PLAIN = 'var(--kx-plain)';
const WRONG = 'var(--kx-wrong)';
const HAS = 'var(--kx-accent)';
const UNKNOWN = 'var(--kx-unknown)';
const STEP_COLOURS = [
  'var(--kx-step-1)',
  'var(--kx-step-2)',
  'var(--kx-step-3)',
  'var(--kx-step-4)',
  'var(--kx-step-5)',
  'var(--kx-step-6)',
];
const STEPS = STEP_COLOURS.length;
const DARKEST = 0.25; // of black in a class's colour
const LIGHTEST = 0.6; // of white

/** Colourings by their kind; attributes have one each. @type {[kind: string, title: string][]} */
export const KINDS = [
  ['class', 'Class'],
  ['correct', 'Right / wrong'],
  ['prototype', 'Prototype'],
  ['confidence', 'Confidence'],
  ['distance', 'Distance'],
];

/** Whether it needs what `Given` has beside the layer, so that it cannot follow a drag. @param {string} kind */
export const needsCertainty = (kind) => kind === 'confidence' || kind === 'distance';

/**
 * What is not here, or not known by this name, is coloured by class.
 *
 * @param {string} kind
 * @param {Given} given
 * @returns {Colouring}
 */
export function colouring(kind, given) {
  const { certainty, attributes, data } = given;
  if (kind === 'correct') return byCorrect(given);
  if (kind === 'prototype') return byPrototype(given);
  if (kind === 'confidence' && certainty) return bySteps(kind, 'Confidence', certainty.confidence, given);
  if (kind === 'distance' && certainty) {
    return bySteps(kind, 'Distance to prototype', certainty.distance, given);
  }
  const at = kind.startsWith('attribute:') ? data.model.attributes.indexOf(kind.slice('attribute:'.length)) : -1;
  if (at >= 0 && attributes) return byAttribute(at, attributes, given);
  return byClass(given);
}

/**
 * @param {Given} given
 * @returns {Colouring}
 */
function byClass({ data, cloud, layer }) {
  const { classes, colours } = data.model;
  return {
    kind: 'class',
    title: 'Class',
    colours,
    category: cloud.labels,
    squares: layer.class.map((label) => colours[label]),
    legend: classes.map((text, label) => dot(colours[label], text, label, `class:${label}`)),
  };
}

/**
 * @param {Given} given
 * @returns {Colouring}
 */
function byCorrect({ data, cloud, layer }) {
  const { by } = data.model;
  return {
    kind: 'correct',
    title: `${by}: right or wrong`,
    colours: [PLAIN, WRONG],
    category: wrongs(layer.predicted, cloud.labels),
    squares: layer.class.map(() => INK),
    legend: [dot(WRONG, 'wrong', 1, 'wrong'), dot(PLAIN, 'right', 0, 'right')],
  };
}

/**
 * @param {Given} given
 * @returns {Colouring}
 */
function byPrototype({ data, layer }) {
  const { classes, colours } = data.model;
  const shades = shadesOf(layer.class, colours);
  return {
    kind: 'prototype',
    title: 'Nearest prototype',
    colours: shades,
    category: layer.nearest,
    squares: shades,
    legend: layer.class.map((label, p) =>
      dot(shades[p], layer.name[p] || `${classes[label]} ${numberOf(layer, p)}`, p, `prototype:${layer.place[p]}`),
    ),
  };
}

/**
 * @param {string} kind
 * @param {string} title
 * @param {Float32Array} values
 * @param {Given} given
 * @returns {Colouring}
 */
function bySteps(kind, title, values, { layer }) {
  const { category, limits } = steps(values);
  const colours = limits.map((_, step) => STEP_COLOURS[spread(step, limits.length)]);
  const texts = limitTexts(limits);
  return {
    kind,
    title,
    colours,
    category,
    squares: layer.class.map(() => INK),
    legend: limits.map((_, step) => dot(colours[step], texts[step], step, null)).reverse(),
  };
}

/**
 * @param {number} at
 * @param {import('./columns.js').Attributes} attributes
 * @param {Given} given
 * @returns {Colouring}
 */
function byAttribute(at, attributes, { data, cloud, layer }) {
  const name = data.model.attributes[at];
  const [known, having] = [attributes.known[at], attributes.has[at]];
  const category = categories(cloud.total, (i) => (has(known, i) ? Number(has(having, i)) : 2));
  const legend = [
    dot(HAS, name, 1, `attribute:${name}`),
    dot(PLAIN, `without ${name}`, 0, `without:${name}`),
    dot(UNKNOWN, 'not known', 2, null),
  ];
  return {
    kind: `attribute:${name}`,
    title: name,
    colours: [PLAIN, HAS, UNKNOWN],
    category,
    squares: layer.class.map(() => INK),
    legend: category.includes(2) ? legend : legend.slice(0, 2),
  };
}

/**
 * @param {string} colour
 * @param {string} text
 * @param {number} category
 * @param {string | null} condition
 * @returns {LegendEntry}
 */
const dot = (colour, text, category, condition) => ({ colour, shape: 'dot', text, category, condition });

/**
 * @param {number} total
 * @param {(i: number) => number} of the category of an image
 */
function categories(total, of) {
  const category = new Uint8Array(total);
  for (let i = 0; i < total; i += 1) category[i] = of(i);
  return category;
}

/**
 * @param {ArrayLike<number>} predicted class of each image
 * @param {ArrayLike<number>} labels
 * @returns {Uint8Array} 1 for each image whose class is another
 */
function wrongs(predicted, labels) {
  const category = new Uint8Array(labels.length);
  for (let i = 0; i < category.length; i += 1) if (predicted[i] !== labels[i]) category[i] = 1;
  return category;
}

/**
 * The place of each prototype in its class, from 0.
 *
 * @param {number[]} labels
 */
function placeInClass(labels) {
  /** @type {Map<number, number>} */
  const seen = new Map();
  return labels.map((label) => {
    const place = seen.get(label) ?? 0;
    seen.set(label, place + 1);
    return place;
  });
}

/**
 * A shade of its class's colour for each prototype, from dark to light.
 *
 * @param {number[]} labels
 * @param {string[]} colours
 * @returns {string[]}
 */
export function shadesOf(labels, colours) {
  const number = placeInClass(labels);
  /** @type {Map<number, number>} */
  const counts = new Map();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  return labels.map((label, p) => {
    const many = counts.get(label) ?? 1;
    const way = many > 1 ? (2 * number[p]) / (many - 1) - 1 : 0; // −1 dark … 1 light
    const end = way < 0 ? 0 : 255;
    return written(mixed(parsed(colours[label]), [end, end, end], way < 0 ? -DARKEST * way : LIGHTEST * way));
  });
}

/** @type {WeakMap<Float32Array, { category: Uint8Array, limits: number[] }>} */
const cut = new WeakMap(); // so that they are not sorted again at each drawing

/**
 * Values cut into at most six steps of as many images each; equal values are in the same step.
 *
 * @param {Float32Array} values
 * @returns {{ category: Uint8Array, limits: number[] }} the largest value of each step, ascending
 */
export function steps(values) {
  const known = cut.get(values);
  if (known) return known;
  const sorted = values.slice().sort();
  const quantiles = Array.from({ length: STEPS }, (_, step) => {
    return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(((step + 1) / STEPS) * sorted.length) - 1))];
  });
  const limits = [...new Set(quantiles)];
  const category = categories(values.length, (i) => {
    let step = 0;
    while (step < limits.length - 1 && values[i] > limits[step]) step += 1;
    return step;
  });
  const result = { category, limits };
  cut.set(values, result);
  return result;
}

/**
 * Where a step of few is among the colours for six.
 *
 * @param {number} step
 * @param {number} many
 */
const spread = (step, many) => (many > 1 ? Math.round((step * (STEPS - 1)) / (many - 1)) : STEPS - 1);

/**
 * What each step has, with as many digits as tell each limit from those beside it.
 *
 * @param {number[]} limits ascending
 * @returns {string[]}
 */
export function limitTexts(limits) {
  const write = (/** @type {number} */ value, /** @type {number} */ digits) => Number(value.toPrecision(digits));
  const texts = limits.map((limit, step) => {
    let digits = 2;
    const isTold = () =>
      [limits[step - 1], limits[step + 1]].every(
        (other) => other === undefined || write(other, digits) !== write(limit, digits),
      );
    while (digits < 9 && !isTold()) digits += 1;
    return String(write(limit, digits));
  });
  return texts.map((text, step) => (step ? `${texts[step - 1]} to ${text}` : `up to ${text}`));
}
