// @ts-check
// Pictures with relevance maps over them.

import { element, penOf } from '../dom.js';
import { look, scaleOf } from './look.js';
import { blanch, blend, boxPixels, greyOf, levels, stretched, tableOf, unpacked } from './overlay.js';

/**
 * @typedef {object} RelevanceMap
 * @property {number} width
 * @property {number} height
 * @property {string} values see `unpacked`
 * @property {number} fade
 * @property {import('./overlay.js').Box} box where it is on the picture, as shares of its width and height
 *
 * @typedef {object} Figure
 * @property {string} picture a data URL
 * @property {RelevanceMap | null} map null for the picture alone
 * @property {string} caption
 * @property {string} about what it is, for those who cannot see it
 * @property {string} warning what is wrong with the map; "" for nothing
 *
 * @typedef {{ figures: Figure[], scales: import('./look.js').Scales, columns: number, frame: string }} FiguresData
 */

const SIDE = 256; // pixels that the longer side of a map has at least, as in kmex_core.data.display.overlay
const LINE = 2; // pixels
const SMALL = 96; // pictures up to this size are enlarged crisply

/** @param {string} address */
async function loaded(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}

export class Figures {
  /**
   * @param {HTMLElement} parent
   * @param {import('./look.js').Scales} scales
   */
  constructor(parent, scales) {
    this.scales = scales;
    this.frame = '';
    this.root = element('div', { class: 'kx-figures' }, parent);
    this.turn = 0; // of `update`: a newer one overtakes
    /** @type {Overlay[]} */
    this.maps = [];
  }

  /** @param {FiguresData} data */
  async update({ figures, scales, columns, frame }) {
    const turn = ++this.turn;
    this.scales = scales;
    this.frame = frame; // its colour around a map, where the picture is larger
    this.root.style.setProperty('--columns', String(columns));
    this.maps = [];
    const pictures = await Promise.all(figures.map(({ picture }) => loaded(picture)));
    if (turn !== this.turn) return;
    this.root.replaceChildren(...figures.map((figure, i) => this.figure(figure, pictures[i])));
    this.draw();
  }

  /**
   * @param {Figure} figure
   * @param {HTMLImageElement} image
   */
  figure({ picture, map, caption, about, warning }, image) {
    const root = element('figure');
    const crisp = Math.max(image.naturalWidth, image.naturalHeight) <= SMALL;
    if (map) {
      const canvas = element('canvas', { role: 'img', 'aria-label': about }, root);
      this.maps.push(new Overlay(canvas, image, map, this.frame));
    } else {
      element('img', { src: picture, alt: about, class: crisp ? 'kx-crisp' : '' }, root);
    }
    element('figcaption', { text: caption }, root);
    if (warning) element('p', { class: 'kx-warning', role: 'note', text: `⚠ ${warning}` }, root);
    return root;
  }

  draw() {
    const table = tableOf(scaleOf(this.scales));
    for (const map of this.maps) map.draw(table, look.opacity / 100);
  }

  leave() {
    this.root.remove();
  }
}

/** One map over one picture. */
class Overlay {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLImageElement} image
   * @param {RelevanceMap} map
   * @param {string} frame
   */
  constructor(canvas, image, { width, height, values, fade, box }, frame) {
    const factor = Math.max(1, Math.ceil(SIDE / Math.max(image.naturalWidth, image.naturalHeight)));
    canvas.width = image.naturalWidth * factor;
    canvas.height = image.naturalHeight * factor;
    const [left, top, right, bottom] = boxPixels(box, canvas.width, canvas.height);
    const [wide, high] = [right - left, bottom - top];
    this.pen = penOf(canvas, { willReadFrequently: true });
    this.pen.imageSmoothingEnabled = false;
    this.pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    this.left = left;
    this.top = top;
    this.shown = this.pen.getImageData(left, top, wide, high);
    this.grey = greyOf(this.shown.data);
    this.steps = levels(stretched(unpacked(values, fade), width, height, wide, high));
    this.fade = fade;
    if (wide < canvas.width || high < canvas.height) {
      const around = this.pen.getImageData(0, 0, canvas.width, canvas.height);
      blanch(around.data, greyOf(around.data));
      this.pen.putImageData(around, 0, 0);
      this.pen.fillStyle = frame;
      this.pen.fillRect(left - LINE, top - LINE, wide + 2 * LINE, high + 2 * LINE);
    }
  }

  /**
   * @param {import('./overlay.js').Table} table
   * @param {number} opacity 0…1
   */
  draw(table, opacity) {
    blend(this.shown.data, this.grey, this.steps, table, opacity, this.fade);
    this.pen.putImageData(this.shown, this.left, this.top);
  }
}
