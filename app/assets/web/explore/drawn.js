// @ts-check
// Which images the map draws. No DOM.

import { maskOf } from '../map/mask.js';

/**
 * The images to draw, null for all.
 *
 * @param {import('../map/data.js').Cloud} cloud
 * @param {Pick<import('./columns.js').Layer, 'predicted'>} layer
 * @param {{ show: import('./state.js').Address['show'], classes: Set<number> | null, test: boolean }} choices
 * @returns {import('../map/mask.js').Mask | null}
 */
export function drawnImages(cloud, { predicted }, { show, classes, test }) {
  if (show === 'all' && !classes && test) return null;
  const end = test ? cloud.total : cloud.train;
  return maskOf(cloud.total, (i) => {
    if (i >= end || (classes && !classes.has(cloud.labels[i]))) return false;
    if (show === 'wrong') return predicted[i] !== cloud.labels[i];
    return show === 'all' || predicted[i] !== cloud.blackBox[i];
  });
}
