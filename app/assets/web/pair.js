// @ts-check
// Two embedding maps of the same images side by side: what is chosen on one is marked on both.

import { Pair } from './pair/linked.js';

/** @typedef {import('./dom.js').Component<import('./pair/linked.js').PairData>} PairComponent */

/** @type {WeakMap<HTMLElement, Pair>} */
const pairs = new WeakMap();

/**
 * @param {PairComponent} component
 * @returns {Promise<() => void>} what takes the maps off the page
 */
export async function show(component) {
  const { parentElement } = component;
  const pair = pairs.get(parentElement) ?? new Pair(parentElement);
  pairs.set(parentElement, pair);
  await pair.update(component.data);
  return () => {
    pairs.delete(parentElement);
    pair.destroy();
  };
}
