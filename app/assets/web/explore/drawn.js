// @ts-check
// Which images the map draws. No DOM.

import { emptyMask } from '../map/mask.js';

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
  const isShown = new Uint8Array(65536).fill(classes ? 0 : 1); // by class
  for (const label of classes ?? []) isShown[label] = 1;
  const other = show === 'wrong' ? cloud.labels : cloud.blackBox;
  const mask = emptyMask(cloud.total);
  for (let i = 0; i < end; i += 1) {
    if (isShown[cloud.labels[i]] && (show === 'all' || predicted[i] !== other[i])) mask[i >> 3] |= 1 << (i & 7);
  }
  return mask;
}
