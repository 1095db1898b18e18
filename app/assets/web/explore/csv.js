// @ts-check
// Images as comma-separated values, for spreadsheets. No DOM.

import { numberIn } from '../map/data.js';
import { numberOf } from './prototypes.js';
import { NOT_PREDICTED, isIn } from './selection.js';

/** @typedef {import('./panel_view.js').PanelView} PanelView */

const FORMULA = /^[=+\-@\t\r]/; // what a spreadsheet would compute instead of show

/**
 * A cell: text that a spreadsheet would take for a formula begins with an apostrophe.
 *
 * @param {string | number} value numbers stay as they are
 */
export function cell(value) {
  if (typeof value === 'number') return String(value);
  const text = FORMULA.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * @param {(string | number)[]} values
 */
const row = (values) => `${values.map(cell).join(',')}\r\n`;

/** @param {number} value as float32 it has about seven digits */
const short = (value) => Number(value.toPrecision(6));

/**
 * A line for each of some images, with what is known of it.
 *
 * @param {PanelView} view
 * @param {number[]} images
 */
export function csvOf({ data, cloud, layer, attributes, certainty }, images) {
  const { classes, beside, attributes: names } = data.model;
  const listed = attributes ? names : [];
  const head = ['split', 'index', 'class', 'predicted', ...(beside ? ['black box'] : []), 'nearest prototype'];
  const measured = certainty ? ['distance', 'confidence'] : [];
  const lines = [row([...head, ...measured, 'x', 'y', ...listed])];
  for (const i of images) {
    const isTrain = i < cloud.train;
    const p = layer.nearest[i];
    /** @type {(string | number)[]} */
    const values = [isTrain ? 'train' : 'test', numberIn(cloud, i), classes[cloud.labels[i]]];
    values.push(classes[layer.predicted[i]]);
    if (beside) values.push(cloud.blackBox[i] === NOT_PREDICTED ? '' : classes[cloud.blackBox[i]]);
    values.push(layer.name[p] || `${classes[layer.class[p]]} ${numberOf(layer, p)}`);
    if (certainty) values.push(short(certainty.distance[i]), short(certainty.confidence[i]));
    values.push(short(cloud.xs[i]), short(cloud.ys[i]));
    for (const a of listed.keys()) {
      const isKnown = attributes && isIn(attributes.known[a], i);
      values.push(isKnown ? Number(isIn(attributes.has[a], i)) : '');
    }
    lines.push(row(values));
  }
  return lines.join('');
}
