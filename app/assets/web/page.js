// @ts-check
// What every page does beside Streamlit: it fetches Explore ahead, and tells the server when torch is about to be needed.

import { REACHED } from './dom.js';

const EXPLORE = "a[href*='explore']";
// on the page New, the buttons that lead to the network: its images need no torch
const ENGINE =
  ".kx-explore, a[href*='explain'], a[href*='audit'], a[href*='compare'], .st-key-go-model, .st-key-step-model";

const fetchExplore = () => import('./explore.js');

/**
 * A hint was lost: what it could not do is done when it is needed.
 *
 * @param {unknown} error
 */
const missed = (error) => console.debug('Not done ahead:', error);

/**
 * Does something once, as soon as somebody is about to use what a selector has: by pointer, by keyboard or with a file.
 *
 * @param {string} selector
 * @param {() => Promise<unknown>} act a hint, see `missed`
 */
function ahead(selector, act) {
  const look = (/** @type {Event} */ { target }) => {
    if (!(target instanceof Element) || !target.closest(selector)) return;
    for (const kind of REACHED) removeEventListener(kind, look);
    act().catch(missed);
  };
  for (const kind of REACHED) addEventListener(kind, look, { passive: true });
}

if (location.pathname.endsWith('/explore')) fetchExplore().catch(missed);
else ahead(EXPLORE, fetchExplore);
ahead(ENGINE, () => fetch(new URL('engine', document.baseURI), { method: 'POST' }));
