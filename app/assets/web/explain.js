// @ts-check
// The board of Explore at full width, on the page Explain.

import { ExplainPage } from './explain/page.js';
import { serverTransport } from './explore/transport.js';

/** @typedef {import('./dom.js').Component<import('./explain/page.js').ExplainData>} ExplainComponent */

/** @type {WeakMap<HTMLElement, { page: ExplainPage, base: string }>} */
const shown = new WeakMap();

/**
 * @param {ExplainComponent} component
 * @returns {() => void} what takes it off the page
 */
export function show({ parentElement, data, setStateValue, setTriggerValue }) {
  let here = shown.get(parentElement);
  if (here?.base !== data.base) {
    here?.page.destroy();
    here = { page: new ExplainPage(serverTransport(data.base)), base: data.base };
    shown.set(parentElement, here);
    parentElement.append(here.page.root);
  }
  here.page.update(data, {
    tell: (address) => setStateValue('address', address),
    open: (target) => setTriggerValue('open', target),
  });
  return () => {
    shown.get(parentElement)?.page.destroy();
    shown.delete(parentElement);
  };
}
