// @ts-check
// A large embedding: its density map and its prototypes, of which only what is seen is fetched.

import { serverTransport } from './explore/transport.js';
import { Large } from './large/view.js';

/** @typedef {import('./dom.js').Component<import('./large/view.js').LargeData>} LargeComponent */

/** @type {WeakMap<HTMLElement, Large>} */
const views = new WeakMap();

/**
 * @param {LargeComponent} component
 * @returns {Promise<() => void>} what takes it off the page
 */
export async function show(component) {
  const { parentElement, data } = component;
  const view = views.get(parentElement) ?? new Large(parentElement, serverTransport('').json);
  views.set(parentElement, view);
  await view.update(data, (told) => component.setStateValue('address', told));
  return () => {
    views.delete(parentElement);
    view.destroy();
  };
}
