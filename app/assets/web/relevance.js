// @ts-check
// Pictures with relevance maps over them, and the controls of how they are laid over. All of it is drawn here, so that
// opacity and colours change without the server.

import { Controls } from './relevance/controls.js';
import { Figures } from './relevance/figures.js';
import { listeners } from './relevance/look.js';

/** @typedef {import('./relevance/figures.js').FiguresData} FiguresData */
/** @typedef {{ scales: import('./relevance/look.js').Scales }} ControlsData */

/** @type {WeakMap<HTMLElement, { part: Controls | Figures, listener: () => void }>} */
const shown = new WeakMap();

/**
 * Shows figures, or the controls where there are none.
 *
 * @param {import('./dom.js').Component<FiguresData | ControlsData>} component
 * @returns {Promise<() => void>} what takes them off the page
 */
export async function show({ parentElement, data }) {
  if (!shown.has(parentElement)) {
    const part = new ('figures' in data ? Figures : Controls)(parentElement, data.scales);
    const listener = () => part.draw();
    shown.set(parentElement, { part, listener });
    listeners.add(listener);
  }
  const part = shown.get(parentElement)?.part;
  if (part instanceof Controls) part.update(data);
  else if (part && 'figures' in data) await part.update(data);
  return () => {
    const entry = shown.get(parentElement);
    if (!entry) return;
    listeners.delete(entry.listener);
    entry.part.leave();
    shown.delete(parentElement);
  };
}
