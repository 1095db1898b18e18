// @ts-check
// The map of an embedding on a page. Python sends addresses and choices only.

import { EmbeddingMap } from './map/component.js';

/** @typedef {import('./map/component.js').MapComponent} MapComponent */

/** @type {WeakMap<HTMLElement, EmbeddingMap>} */
const maps = new WeakMap();
/** @type {EmbeddingMap[]} */
const idle = []; // the map of the last page, so that coming back costs nothing and shows the same view
/** @type {WeakMap<Element, EmbeddingMap>} */
const roots = new WeakMap();

/**
 * Where an image ("train", "test") or a "prototype" is in the window, null for what is not on the map; for tests.
 *
 * @param {Element} root
 * @param {string} kind
 * @param {number} index
 */
export function places(root, kind, index) {
  const place = roots.get(root)?.placeOf(`${kind}-${index}`);
  const box = root.getBoundingClientRect();
  return place ? [box.left + place[0], box.top + place[1]] : null;
}

/** @param {MapComponent} component */
function mapFor(component) {
  const ready = idle.findIndex((map) => map.scene?.cloud.url === component.data.cloud.url);
  const map = ready < 0 ? new EmbeddingMap(component) : idle.splice(ready, 1)[0];
  roots.set(map.root, map);
  maps.set(component.parentElement, map);
  component.parentElement.append(map.root);
  return map;
}

/**
 * @param {MapComponent} component
 * @returns {Promise<() => void>} what takes the map off the page
 */
export async function show(component) {
  const { parentElement } = component;
  const map = maps.get(parentElement) ?? mapFor(component);
  await map.update(component);
  return () => {
    maps.delete(parentElement);
    map.leave();
    idle.unshift(map);
    while (idle.length > 1) idle.pop()?.destroy();
  };
}
