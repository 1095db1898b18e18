// @ts-check
// A report: pictures of its sections, and Explore. Everything is in the page; names become text, never markup.

import { Workspace } from './explore/workspace.js';
import { embeddedTransport } from './report/embedded.js';

/**
 * What is in the page, see app.report.
 *
 * @typedef {object} Report
 * @property {Record<string, string>} thumbnails as data: addresses, by name
 * @property {number} small pixels of a side, up to which a picture's pixels are seen as squares
 * @property {{ data: import('./explore/state.js').WorkspaceData, files: Record<string, string> } | null} explore
 */

/** @param {Document} page */
export function showReport(page) {
  /** @type {Report} */
  const { thumbnails, small, explore } = JSON.parse(page.getElementById('data')?.textContent ?? '');
  for (const image of /** @type {NodeListOf<HTMLImageElement>} */ (page.querySelectorAll('img[data-image]'))) {
    image.addEventListener('load', () => {
      image.classList.toggle('small', Math.max(image.naturalWidth, image.naturalHeight) <= small);
    });
    image.src = thumbnails[image.dataset.image ?? ''];
  }
  const place = page.getElementById('component');
  if (!explore || !place) return;
  const workspace = new Workspace(embeddedTransport(explore.files, thumbnails));
  place.append(workspace.root);
  void workspace.update(explore.data, { tell: () => {}, open: () => {} }); // a file remembers and opens nothing
}
