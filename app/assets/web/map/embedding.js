// @ts-check
// What Python sends for a map on a page of its own, and which images that shows. No DOM.

import { maskOf } from './mask.js';

/** @typedef {import('./data.js').Cloud} Cloud */
/** @typedef {import('./data.js').Prototypes} Prototypes */

/**
 * Addresses and choices.
 *
 * @typedef {object} MapData
 * @property {{ url: string, train: number, test: number }} cloud where the images' positions are, and how many
 * @property {{ url: string }} layer where the prototypes are
 * @property {string} pictures the address of the folder of pictures
 * @property {string[]} names of the classes
 * @property {string[]} colours of the classes
 * @property {'all' | 'wrong' | 'disagree'} show which images
 * @property {number[] | null} classes show only these; null for all
 * @property {boolean} test whether test images are shown
 * @property {string} selected the name of what is marked; "" for nothing
 * @property {string} place which map on which page this is
 * @property {string} view what is seen (see `viewText`); "" for all of it
 * @property {string} instead where the same is for those who cannot see the map
 * @property {string} by who predicts
 * @property {boolean} beside whether a black box predicts, too
 */

/**
 * @param {Omit<Prototypes, 'predicted'> & { predicted: string }} answer as the server sends it: predictions in base64
 * @returns {Prototypes}
 */
export function readLayer(answer) {
  const bytes = Uint8Array.from(atob(answer.predicted), (letter) => letter.charCodeAt(0));
  return { ...answer, predicted: new Uint16Array(bytes.buffer) };
}

/**
 * The images to show, null for all.
 *
 * @param {Cloud} cloud
 * @param {Pick<Prototypes, 'predicted'>} layer
 * @param {{ show: 'all' | 'wrong' | 'disagree', classes: Set<number> | null, test: boolean }} choices
 * @returns {import('./mask.js').Mask | null}
 */
export function visible(cloud, { predicted }, { show, classes, test }) {
  if (show === 'all' && !classes && test) return null;
  const end = test ? cloud.total : cloud.train;
  return maskOf(cloud.total, (i) => {
    if (i >= end || (classes && !classes.has(cloud.labels[i]))) return false;
    if (show === 'wrong') return predicted[i] !== cloud.labels[i];
    return show === 'all' || predicted[i] !== cloud.blackBox[i];
  });
}
