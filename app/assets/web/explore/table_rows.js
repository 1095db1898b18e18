// @ts-check
// The rows and columns of the tables. No DOM.

import { count, nameOf } from '../map/data.js';
import { percent } from './facts.js';
import { shownClasses } from './panel_view.js';
import { byClass, imageTitle, numberOf, titleOf } from './prototypes.js';
import { NOT_PREDICTED, indices } from './selection.js';
import { prototypePoint } from './state.js';

/** @typedef {import('./panel_view.js').PanelView} PanelView */

/**
 * A column of a table over rows that are numbers.
 *
 * @typedef {object} Column
 * @property {string} title
 * @property {(row: number) => string | number} value what it is sorted by
 * @property {(row: number) => string} text
 * @property {(row: number) => string} [point] what names the row in addresses
 */

/**
 * Rows in the order of a column; those with equal values stay in their order.
 *
 * @param {number[]} rows
 * @param {Column} column
 * @param {boolean} down the largest first
 * @returns {number[]}
 */
export function sorted(rows, column, down) {
  const direction = down ? -1 : 1;
  const keyed = rows.map((row) => /** @type {const} */ ([row, column.value(row)]));
  const compare = (/** @type {string | number} */ a, /** @type {string | number} */ b) =>
    typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b), 'en');
  return keyed.sort((a, b) => direction * compare(a[1], b[1])).map(([row]) => row);
}

/**
 * @param {string} title
 * @param {(row: number) => string} text
 * @returns {Column}
 */
const words = (title, text) => ({ title, text, value: text });

/**
 * @param {string} title
 * @param {(row: number) => number} value
 * @param {(value: number) => string} [shown]
 * @returns {Column}
 */
const numbers = (title, value, shown = count) => ({ title, value, text: (row) => shown(value(row)) });

/** @param {number} value */
const place = (value) => value.toFixed(3).replace('-', '−');

/** @param {PanelView} view */
export const shownPrototypes = (view) => byClass(view.layer, shownClasses(view)).flatMap(({ members }) => members);

/**
 * The images that are selected; without a selection, those on the map.
 *
 * @param {PanelView} view
 * @returns {number[]}
 */
export function shownImages({ cloud, selection, shown }) {
  const mask = selection?.mask ?? shown;
  return mask ? indices(mask) : [...Array(cloud.total).keys()];
}

/**
 * @param {PanelView} view
 * @returns {Column[]}
 */
export function columnsOfPrototypes({ data, cloud, layer }) {
  const { model } = data;
  return [
    {
      title: 'Prototype',
      text: (p) => `${model.classes[layer.class[p]]} · ${numberOf(layer, p)}`,
      value: (p) => p,
      point: (p) => prototypePoint(layer, p),
    },
    ...(layer.name.some(Boolean) ? [words('Name', (p) => layer.name[p])] : []),
    numbers('Share', (p) => layer.share[p], percent),
    numbers('Images', (p) => layer.count[p]),
    numbers('Wrong', (p) => layer.others[p]),
    words('Ghost', (p) => (layer.ghost[p] ? 'ghost' : '')),
    numbers('x', (p) => cloud.normal(layer.x[p], 0), place),
    numbers('y', (p) => cloud.normal(layer.y[p], 1), place),
  ];
}

/**
 * @param {PanelView} view
 * @returns {Column[]}
 */
export function columnsOfImages({ data, cloud, layer, certainty }) {
  const { classes, by, beside } = data.model;
  const name = (/** @type {number} */ label) => (label === NOT_PREDICTED ? '' : classes[label]);
  return [
    {
      title: 'Image',
      text: (i) => imageTitle(cloud, i),
      value: (i) => i,
      point: (i) => nameOf(cloud, i),
    },
    words('Class', (i) => classes[cloud.labels[i]]),
    words(by, (i) => `${name(layer.predicted[i])} ${layer.predicted[i] === cloud.labels[i] ? '✓' : '✗'}`),
    ...(beside ? [words('Black box', (i) => name(cloud.blackBox[i]))] : []),
    words('Nearest prototype', (i) => layer.name[layer.nearest[i]] || titleOf(layer, data.model, layer.nearest[i])),
    ...(certainty
      ? [
          numbers(
            'Distance',
            (i) => certainty.distance[i],
            (value) => value.toPrecision(3),
          ),
          numbers('Confidence', (i) => certainty.confidence[i], percent),
        ]
      : []),
    numbers('x', (i) => cloud.xs[i], place),
    numbers('y', (i) => cloud.ys[i], place),
  ];
}
