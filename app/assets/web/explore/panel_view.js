// @ts-check
// What the panel shows, and which of its views that needs. No DOM.

import { imageOf } from './prototypes.js';
import { pickedPrototype } from './state.js';

/**
 * What the panel draws from.
 *
 * @typedef {object} PanelView
 * @property {import('./state.js').WorkspaceData} data
 * @property {import('../map/data.js').Cloud} cloud
 * @property {import('./columns.js').Layer} layer
 * @property {import('./columns.js').Layer | null} before the layer of one prototype fewer per class, if it is here
 * @property {import('./columns.js').Attributes | null} attributes null until they are here
 * @property {import('./columns.js').Certainty | null} [certainty] of the layer; null until it is here
 * @property {import('./state.js').Address} address
 * @property {Uint8Array | null} shown mask of the images that are drawn on the map; null for all
 * @property {{ mask: Uint8Array, conditions: string[] } | null} selection
 * @property {object | null} board what draws into the panel's `boardSlot`
 *
 * @typedef {'gallery' | 'selection' | 'board' | 'prototype' | 'image'} Mode
 */

/**
 * What is on top: a card, else the board, else the selection, else all prototypes.
 *
 * @param {PanelView} view
 * @returns {Mode}
 */
export function modeOf({ cloud, layer, address, selection, board }) {
  if (address.point.startsWith('prototype-') && layer) return 'prototype';
  if (imageOf(cloud, address.point) >= 0) return 'image';
  if (board && address.picture) return 'board';
  return selection ? 'selection' : 'gallery';
}

/**
 * What closing the view on top changes in the address.
 *
 * @param {Mode} mode
 * @returns {Partial<import('./state.js').Address>}
 */
export function closed(mode) {
  if (mode === 'prototype' || mode === 'image') return { point: '' };
  if (mode === 'board') return { picture: '', framing: '' };
  return mode === 'selection' ? { select: [] } : {};
}

/**
 * The prototype that the card is of, -1 where this layer has none of that name.
 *
 * @param {PanelView} view
 */
export const cardPrototype = ({ layer, address }) => pickedPrototype(layer, address.point);

/**
 * Which classes are shown.
 *
 * @param {PanelView} view
 * @returns {(label: number) => boolean}
 */
export function shownClasses({ data, address }) {
  const { classes } = address;
  return (label) => !classes.length || classes.includes(data.model.classes[label]);
}
